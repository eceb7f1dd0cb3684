"""What a second attempt is worth: first tokens where one deployment is slow now and then, in simulated time.

python -m benchmarks.hedging                     # 10,000 jobs without hedges and with three shares; under a minute
python -m benchmarks.hedging --jobs 4000 --slow 0.1
"""

from __future__ import annotations

import argparse
from heapq import heappop, heappush
from math import exp
from random import Random

from job_contracts.chat import Usage
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from scheduler.policy.board import Board
from scheduler.policy.decisions import Abort, Dispatch
from scheduler.policy.facts import AttemptEnded, Begun, Fact, Late, PoolSeen, Settled, Submitted
from scheduler.policy.rules import DeploymentRule, DomainRule, HedgeRule, ProjectRule, RouteRule, Rules

PLACES = ("a/m", "b/m")
USUAL, SLOW, REST = 0.4, 8.0, 2.0
"""Seconds: a usual first token, a slow one (medians of lognormal ones), and what the rest of an answer takes."""
APART = 0.05
"""Seconds between two jobs."""
Attempt = tuple[str, int]


class Route:
    """One run: jobs come, attempts begin and end, the board decides."""

    def __init__(self, hedge: HedgeRule | None, *, slow: float, seed: int) -> None:
        self._random = Random(seed)
        self._slow = slow
        self._board = Board(rules(hedge))
        for pool in ("a", "b"):
            self._board.apply(PoolSeen(pool, 100_000), 0.0)
        self._events: list[tuple[float, int, Fact, Dispatch | None]] = []
        self._serial = 0
        self._flying: dict[Attempt, Dispatch] = {}
        self._begun: dict[str, int] = {}
        self.first_tokens: list[float] = []
        self.dispatches = 0
        self.hedges = 0

    def run(self, jobs: int) -> None:
        """All of them, to their ends."""
        for n in range(jobs):
            job = Submitted("p", f"j-{n}", n + 1, "r", "rt", 5, n * APART, 500, "t", "h")
            self._at(job.submitted, job)
        while self._events:
            now, _, fact, of = heappop(self._events)
            if of is None or (of.job, of.attempt) in self._flying:
                self._happen(fact, of, now)
                self._decide(now)

    def _at(self, time: float, fact: Fact, of: Dispatch | None = None) -> None:
        self._serial += 1
        heappush(self._events, (time, self._serial, fact, of))

    def _happen(self, fact: Fact, of: Dispatch | None, now: float) -> None:
        match fact:
            case Late() if fact.job in self._begun:
                return
            case Begun() if of is not None:
                if self._begun.setdefault(fact.job, fact.attempt) == fact.attempt:
                    self.first_tokens.append(now - int(fact.job[2:]) * APART)
            case Settled() if of is not None:
                del self._flying[of.job, of.attempt]
            case _:
                pass
        self._board.apply(fact, now)

    def _decide(self, now: float) -> None:
        for decision in self._board.decide(now, 1000):
            if isinstance(decision, Dispatch):
                self._board.stored([decision], now)
                self._make(decision, now)
            elif isinstance(decision, Abort) and (decision.job, decision.attempt) in self._flying:
                del self._flying[decision.job, decision.attempt]
                why = Failure(kind=FailureKind.HANDED_BACK, message="another attempt of the job was faster")
                ended = AttemptEnded(decision.project, decision.job, decision.attempt, decision.deployment, why, None)
                self._board.apply(ended, now)

    def _make(self, made: Dispatch, now: float) -> None:
        self.dispatches += 1
        self.hedges += made.hedge
        self._flying[made.job, made.attempt] = made
        slow = made.deployment == PLACES[0] and self._random.random() < self._slow
        begins = (SLOW if slow else USUAL) * exp(self._random.gauss(0.0, 0.3))
        used = Usage(input=made.input_tokens, output=made.output_tokens)
        if made.late is not None and made.late[0] is not None:
            self._at(now + made.late[0], Late("p", made.job, made.attempt), made)
        self._at(now + begins, Begun("p", made.job, made.attempt), made)
        total = begins + REST
        ends = Settled("p", made.job, JobState.SUCCEEDED, made.attempt, made.deployment, used, total, begins)
        self._at(now + total, ends, made)


def rules(hedge: HedgeRule | None) -> Rules:
    """Two deployments without limits."""
    return Rules(
        domains={name: DomainRule(name, name) for name in ("a", "b")},
        deployments={name: DeploymentRule(name, name[0], name[0]) for name in PLACES},
        routes={"r": RouteRule("r", PLACES, hedge=hedge)},
        projects={"p": ProjectRule("p")},
    )


def percentile(values: list[float], share: float) -> float:
    """Of what was measured."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--slow", type=float, default=0.04, help="share of slow attempts at the first deployment")
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    print("share   p50 s   p95 s   p99 s   second attempts")
    for share in (0.0, 0.02, 0.05, 0.1):
        route = Route(HedgeRule(share) if share else None, slow=told.slow, seed=told.seed)
        route.run(told.jobs)
        at = [percentile(route.first_tokens, one) for one in (0.5, 0.95, 0.99)]
        part = route.hedges / route.dispatches
        print(f"{share:5.2f}  {at[0]:6.2f}  {at[1]:6.2f}  {at[2]:6.2f}   {part:.2%}")


if __name__ == "__main__":
    main()
