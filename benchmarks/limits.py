"""How much of each limit is used, and whether any is overshot, beside a limiter that counts per replica.

    python -m benchmarks.limits [--window 20] [--json FILE]

Processes of their own on loopback: broker (every write synced), simulator, 3 schedulers, 8 workers of 2 pools. The
simulator enforces each limit in fixed or sliding windows of ``--window`` seconds and logs every call; all figures are
computed from that log. Each limit is the only one of its limit domain, and there is always more to do than it allows.
After the steady state come faults: the leader killed (-9), paused beyond its lease (SIGSTOP), its commits held back.
``--window 60`` takes 9 minutes and is the window that real providers have.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from benchmarks.fleet import ROOT, Fleet, cpu_count, fleet
from benchmarks.windows import busy, seen, used
from job_contracts import subjects
from job_contracts.attempts import Outcome
from job_contracts.codec import ContractError, decode
from producer_sdk import PenstockError, Producer
from runtime.settings import Config
from scheduler.policy.buckets import Bucket
from scheduler.policy.resolving import rules_from

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from runtime.bus import NatsBus
    from runtime.bus.port import Message
    from simulator.reports import LogLine

FIRST, SECOND = "first", "second"
"""The pools: one speaks with OpenAI's words, one with Anthropic's, whose headers tell input and output apart."""
WORKERS = {FIRST: 4, SECOND: 4}
SCHEDULERS = 3
OUTSTANDING = 120
"""Jobs of each case that are queued or under way all the time."""
WORDS = "the quick brown fox jumps over the lazy dog and runs on through the wet grass"


@dataclass(frozen=True, slots=True)
class Case:
    """One limit that is to bind: ``per_second`` units of it, or so many calls at once."""

    name: str
    pool: str
    unit: str
    window: str
    per_second: float

    @property
    def setting(self) -> str:
        """Its name in the configuration's ``limits``."""
        words = {"requests": "rpm", "input_tokens": "input_tpm", "output_tokens": "output_tpm"}
        return words.get(self.unit, self.unit)

    def amount(self, window: float) -> int:
        """Units in one window, or calls at once."""
        return int(self.per_second if self.unit == "concurrency" else self.per_second * window)

    def taken(self, line: LogLine) -> int:
        """What one call took of it."""
        return {"input_tokens": line.input_tokens, "output_tokens": line.output_tokens}.get(self.unit, 1)


CASES = (
    Case("requests-fixed", FIRST, "requests", "fixed", 15),
    Case("requests-sliding", FIRST, "requests", "sliding", 15),
    Case("concurrency", FIRST, "concurrency", "sliding", 32),
    Case("input-fixed", SECOND, "input_tokens", "fixed", 1_500),
    Case("input-sliding", SECOND, "input_tokens", "sliding", 1_500),
    Case("output-fixed", SECOND, "output_tokens", "fixed", 450),
    Case("output-sliding", SECOND, "output_tokens", "sliding", 450),
)
SPREADS = {"even": (1 / 3, 1 / 3, 1 / 3), "uneven": (0.7, 0.2, 0.1)}
"""How the load comes to three replicas."""
ALONE = 15
"""Requests a second that the provider allows to those who count per replica."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to count per replica: which part of the limit each believes in, and how much there is to do, in limits."""

    name: str
    share: float
    demand: float
    paced: bool


VARIANTS = (
    Variant("the whole limit each", 1.0, 3.0, paced=False),
    Variant("a third each", 1 / 3, 1.2, paced=True),
)


@dataclass
class Row:
    """What the provider's log says of one limit in one phase."""

    limit: str
    phase: str
    used: float
    """Share of the limit."""
    ceiling: float
    """Share that a bucket of this size and rate can give at most."""
    refused: int
    """429 received."""
    fullest: float
    """Most in any window (or at once), as a share of the limit."""
    needed: float | None
    """Smallest bucket that would have sufficed, over what may be needed; at most 1."""
    calls: int


def configuration(cases: Sequence[Case], window: float, **limits: float) -> dict[str, Any]:
    """Penstock's settings: a limit domain and a route for each case; ``limits`` are further words of every limit."""
    paths = {FIRST: ("openai", "/v1"), SECOND: ("anthropic", "/v1")}
    providers: dict[str, Any] = {
        pool: {"catalogue": dialect, "base_url": path, "key": "sk-bench", "slots": 128, "domains": {}}
        for pool, (dialect, path) in paths.items()
    }
    for case in cases:
        amount = case.amount(window) if case.unit == "concurrency" else case.per_second * 60
        told = {case.setting: amount, "window": window, **limits}
        providers[case.pool]["domains"][case.name] = {"models": [case.name], "limits": told}
    return {
        "providers": providers,
        "routes": {case.name: {"deployments": [f"{case.pool}/{case.name}"]} for case in cases},
        "projects": {"default": {"retry_share": 1.0}},
    }


def simulation(cases: Sequence[Case], window: float) -> dict[str, Any]:
    """The simulator's settings: what each case's model is allowed, and how long it takes."""

    def model(case: Case) -> dict[str, Any]:
        pace = {"ttft": 0.1, "tokens_per_second": 200, "jitter": 0.5}
        if case.unit == "concurrency":
            pace = {"ttft": 3.0, "tokens_per_second": 50, "jitter": 0.3}
        limits = {case.unit: case.amount(window), "period": window, "window": case.window}
        return {"limits": limits, "pace": pace}

    providers = [
        {"name": pool, "dialect": dialect, "models": {case.name: model(case) for case in cases if case.pool == pool}}
        for pool, dialect in ((FIRST, "openai"), (SECOND, "anthropic"))
    ]
    limit = {"requests": int(ALONE * window), "period": window, "window": "sliding"}
    names = [f"{index}-{spread}" for index in range(len(VARIANTS)) for spread in SPREADS]
    alone = {"name": "alone", "dialect": "openai", "models": {name: {"limits": limit} for name in names}}
    return {"providers": [*providers, alone], "log_size": 400_000}


@contextlib.asynccontextmanager
async def load(url: str, cases: Sequence[Case], outstanding: int) -> AsyncIterator[dict[str, int]]:
    """Keep ``outstanding`` jobs of every case on their way; yields a counter of what came back, by case."""
    done: dict[str, int] = dict.fromkeys((case.name for case in cases), 0)
    words = WORDS.split()
    dice = random.Random(7)
    async with Producer(url, project="default") as producer:

        async def caller(case: Case) -> None:
            for number in itertools.count():
                text = f"{number} " + " ".join(dice.choices(words, k=dice.randint(30, 140)))
                try:
                    await producer.complete(
                        model=case.name, messages=[{"role": "user", "content": text}], max_tokens=64
                    )
                except PenstockError:
                    done.setdefault("errors", 0)
                    done["errors"] += 1
                    await asyncio.sleep(0.5)
                else:
                    done[case.name] += 1

        tasks = [asyncio.create_task(caller(case)) for case in cases for _ in range(outstanding)]
        try:
            yield done
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def failures(bus: NatsBus) -> AsyncIterator[Counter[str]]:
    """How attempts failed, by kind; ``grant_expired`` is one that came too late to be used and was given anew."""
    found: Counter[str] = Counter()

    def note(message: Message) -> None:
        with contextlib.suppress(ContractError):
            found[decode(Outcome, message.data).failure.kind.value] += 1

    tail = await bus.tail(subjects.stream_name(subjects.OUT), note)
    try:
        yield found
    finally:
        await tail.close()


def bucket_of(config: Config, case: Case) -> Bucket | None:
    """The bucket that the policy makes of the configuration; none for calls at once."""
    limits = rules_from(config, {}).domains[f"{case.pool}:{case.name}"].limits
    return Bucket(limits[0]) if limits else None


def judged(
    case: Case, lines: Sequence[LogLine], bucket: Bucket | None, window: float, *, phase: str, span: tuple[float, float]
) -> Row:
    """One row from the provider's log. What is overfull or too dense is looked for from the start to the end of it."""
    mine = [line for line in lines if line.model == case.name and line.at < span[1]]
    refused = sum(line.status == 429 for line in mine)
    taken = [line for line in mine if line.status == 200]
    calls = sum(line.at >= span[0] for line in taken)
    limit = case.amount(window)
    if bucket is None:
        share, most = busy([(line.at, line.at + line.seconds) for line in taken], limit, *span)
        return Row(case.name, phase, share, 1.0, refused, most / limit, most / limit, calls)
    each = [(line.at, case.taken(line)) for line in taken]
    found = seen(each, limit, window, bucket.rate)
    allowed = bucket.size + bucket.rate * bucket.limit.skew
    share = used(each, limit, window, *span)
    ceiling = bucket.rate * window / limit
    return Row(case.name, phase, share, ceiling, refused, found.fullest, found.needed / allowed, calls)


async def faults(running: Fleet, lease: float, rest: float) -> list[str]:
    """The leader is killed, paused past its lease, and cannot commit for a while, several times; what was done."""
    told = []
    took = await running.kill_leader()
    told.append(f"leader killed: the next one leads after {took:.1f} s")
    await asyncio.sleep(rest)
    name = await running.leader()
    began = time.monotonic()
    pausing = asyncio.create_task(running.pause_leader(lease * 1.6))
    await running.other_leader(name, lease * 3)
    told.append(f"leader paused {lease * 1.6:.0f} s: the next one leads after {time.monotonic() - began:.1f} s")
    await pausing
    await asyncio.sleep(rest)
    for seconds in (0.3, 1.2, lease * 0.4):
        await running.stall_commits(seconds)
        await asyncio.sleep(rest / 2)
    told.append(f"commits held back for 0.3, 1.2 and {lease * 0.4:.1f} s")
    return told


async def penstock(window: float, directory: Path) -> tuple[list[Row], list[Row], list[str]]:
    """Ours, then the one that counts per replica, at the same simulator."""
    values = configuration(CASES, window)
    config = Config.model_validate(
        {**values, "providers": {name: {**row, "base_url": "http://x"} for name, row in values["providers"].items()}}
    )
    rows: list[Row] = []
    async with fleet(directory, values, simulation(CASES, window), schedulers=SCHEDULERS, workers=WORKERS) as running:
        async with failures(running.bus) as failed, load(running.broker.url, CASES, OUTSTANDING) as done:
            await asyncio.sleep(1.5 * window)
            steady = time.time()
            await asyncio.sleep(3 * window)
            broken = time.time()
            notes = await faults(running, config.scheduler.lease, rest=min(window / 4, 10.0))
            await asyncio.sleep(window / 2)
            end = time.time()
        notes.append(f"jobs answered {sum(done.values()) - done.get('errors', 0)}, errors {done.get('errors', 0)}")
        notes.append(f"attempts that failed, by kind: {dict(failed) or 'none'}")
        lines = await running.simulator.control.log(400_000)
        for case in CASES:
            bucket = bucket_of(config, case)
            rows.append(judged(case, lines, bucket, window, phase="steady", span=(steady, broken)))
            rows.append(judged(case, lines, bucket, window, phase="faults", span=(broken, end)))
        return rows, await per_replica(running, window), notes


async def per_replica(running: Fleet, window: float) -> list[Row]:
    """Three replicas that count for themselves, with the whole limit each and with a third of it each."""
    seconds, limit, url = 3 * window, int(ALONE * window), running.simulator.base_urls["alone"]
    await running.simulator.control.reset_log()
    children = []
    began = time.time()
    for replica in range(3):
        streams = [
            {
                "url": url,
                "model": f"{index}-{spread}",
                "limit": int(limit * variant.share),
                "offered": variant.demand * ALONE * shares[replica],
                "paced": variant.paced,
            }
            for index, variant in enumerate(VARIANTS)
            for spread, shares in SPREADS.items()
        ]
        order = json.dumps({"seconds": seconds, "window": window, "streams": streams})
        children.append(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "benchmarks.per_replica", order), cwd=ROOT, stdout=asyncio.subprocess.PIPE
            )
        )
    for child in children:
        await child.communicate()
    lines = await running.simulator.control.log(400_000)
    rows = []
    for (index, variant), spread in itertools.product(enumerate(VARIANTS), SPREADS):
        mine = [line for line in lines if line.model == f"{index}-{spread}"]
        sent = seen([(line.at, 1) for line in mine], limit, window, limit / window)
        taken = [(line.at, 1) for line in mine if line.status == 200]
        share = used(taken, limit, window, began, began + seconds)
        name = f"{variant.name}, {variant.demand:g}x demand, {spread}"
        rows.append(Row(name, "per replica", share, 1.0, len(mine) - len(taken), sent.fullest, None, len(mine)))
    return rows


def show(rows: Sequence[Row]) -> None:
    """The table, on stdout."""
    print(f"{'limit':42} {'phase':11} {'used':>7} {'ceiling':>8} {'429':>6} {'fullest':>8} {'bucket':>7} {'calls':>7}")
    for row in rows:
        needed = "-" if row.needed is None else f"{row.needed:.1%}"
        print(
            f"{row.limit:42} {row.phase:11} {row.used:>7.1%} {row.ceiling:>8.1%} {row.refused:>6} {row.fullest:>8.1%}"
            f" {needed:>7} {row.calls:>7}"
        )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--window", type=float, default=20.0, help="seconds of the providers' windows")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        ours, theirs, notes = uvloop.run(penstock(arguments.window, Path(folder)))
    print(f"windows of {arguments.window:g} s, {SCHEDULERS} schedulers, {sum(WORKERS.values())} workers, ", end="")
    print(f"{cpu_count()} processors")
    show([*sorted(ours, key=lambda row: row.phase, reverse=True), *theirs])
    print("\n".join(notes))
    if arguments.json:
        told = {"window": arguments.window, "rows": [asdict(row) for row in (*ours, *theirs)], "notes": notes}
        arguments.json.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
