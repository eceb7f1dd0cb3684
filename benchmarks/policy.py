"""What the scheduler's policy costs: CPU per job in a steady state, and memory and pace with a backlog.

python -m benchmarks.policy                      # 40,000 jobs through, in batches of 50
python -m benchmarks.policy --backlog 1000000    # and what a million queued jobs take
python -m benchmarks.policy --strategy cheapest  # on routes that go by price
"""

from __future__ import annotations

import argparse
import gc
import resource
import time
from collections.abc import Iterator
from decimal import Decimal

from catalogue.prices import Price
from job_contracts.chat import Usage
from job_contracts.jobs import LANES, JobState
from scheduler.policy.board import Board
from scheduler.policy.decisions import Dispatch
from scheduler.policy.facts import PoolSeen, Settled, Submitted
from scheduler.policy.routes import STRATEGIES
from scheduler.policy.rules import DeploymentRule, DomainRule, Limit, ProjectRule, RouteRule, Rules

PROJECTS, BATCH = 20, 50
USED = Usage(input=310, output=200)


def rules(strategy: str = "ordered") -> Rules:
    """Three providers, two of them limited (far above what is used), three routes over them, twenty projects."""
    limits = (Limit("requests", 9e6), Limit("input_tokens", 9e9), Limit("output_tokens", 9e9))
    providers = ("alpha", "beta", "gamma")
    priced = () if strategy == "ordered" else (Price(input=Decimal(1), output=Decimal(2)),)
    names = [f"{provider}/{model}" for provider in providers for model in ("large", "small")]
    return Rules(
        domains={name: DomainRule(name, name, () if name == "gamma" else limits) for name in providers},
        deployments={
            name: DeploymentRule(name, name.partition("/")[0], name.partition("/")[0], prices=priced) for name in names
        },
        routes={
            "fast": RouteRule("fast", ("alpha/small", "beta/small", "gamma/small"), strategy),
            "good": RouteRule("good", ("beta/large", "alpha/large"), strategy),
            "free": RouteRule("free", ("gamma/small",), strategy),
        },
        projects={f"p{n}": ProjectRule(f"p{n}", max_queued=10**9) for n in range(PROJECTS)},
    )


def submissions(count: int, *, first: int = 0) -> Iterator[Submitted]:
    """As the scheduler makes them: every string its own object, as it is when it was read from a message."""
    routes = ("fast", "good", "free")
    for seq in range(first, first + count):
        yield Submitted(
            project=f"p{seq % PROJECTS}",
            job=f"{seq % 97:08x}-{seq:016x}",
            seq=seq,
            route=routes[seq % 3],
            lane=LANES[seq % 4],
            priority=5,
            submitted=seq * 0.001,
            input_estimate=300 + seq % 50,
            token=f"{seq:022d}",
            body_hash=f"{seq:032x}",
            deadline=seq * 0.001 + 86_400.0,
        )


def board(strategy: str = "ordered") -> Board:
    """With workers everywhere."""
    made = Board(rules(strategy))
    for pool in ("alpha", "beta", "gamma"):
        made.apply(PoolSeen(pool, 100_000), 0.0)
    return made


def through(made: Board, count: int, *, arriving: bool, first: int = 0, start: float = 0.0) -> float:
    """Microseconds of CPU a job, from its submission (or from the backlog) to its settlement."""
    now = start
    spent = 0.0
    done = 0
    facts = submissions(count, first=first)
    while done < count:
        batch = [fact for _, fact in zip(range(BATCH), facts, strict=False)] if arriving else []
        began = time.process_time()
        for fact in batch:
            made.apply(fact, now)
        decisions = made.decide(now, BATCH)
        dispatches = [decision for decision in decisions if isinstance(decision, Dispatch)]
        made.stored(dispatches, now + 0.003)
        spent += time.process_time() - began
        now += 0.025
        results = [
            Settled(d.project, d.job, JobState.SUCCEEDED, d.attempt, d.deployment, USED, 0.5) for d in dispatches
        ]
        began = time.process_time()
        for result in results:
            made.apply(result, now)
        spent += time.process_time() - began
        done += len(dispatches)
        if not dispatches:
            now += 0.1
    return spent / count * 1e6


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=40_000)
    parser.add_argument("--backlog", type=int, default=0, help="queue so many jobs first")
    parser.add_argument("--strategy", choices=sorted(STRATEGIES), default="ordered")
    asked = parser.parse_args()
    print(f"steady state: {through(board(asked.strategy), asked.jobs, arriving=True):6.1f} µs a job")
    if asked.backlog:
        made = board(asked.strategy)
        gc.collect()
        gc.disable()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.process_time()
        for fact in submissions(asked.backlog):
            made.apply(fact, 0.0)
        seconds = time.process_time() - began
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        gc.enable()
        size = (after - before) * 1024 / asked.backlog
        print(f"backlog of {asked.backlog:,}: {size:,.0f} B a job (its strings included)")
        print(f"to queue one: {seconds / asked.backlog * 1e6:6.1f} µs (making the fact included)")
        print(f"from the backlog: {through(made, asked.jobs, arriving=False):6.1f} µs a job")


if __name__ == "__main__":
    main()
