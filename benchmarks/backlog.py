"""A backlog of a million jobs: memory, replay, takeover, and the dispatch rate against an empty queue.

    python -m benchmarks.backlog [--jobs 1000000] [--sync always] [--seconds 15] [--json FILE]
    python -m benchmarks.backlog --quick                # 50,000 jobs

A real broker, a leader and a standby as processes, and a scripted pool: a real worker would be the bottleneck. The rate
is measured twice in one run in the same way, each finished job being followed by a new one: with as many unfinished
jobs as there are places for them, and with the whole backlog. Only the depth of the queue differs, so their ratio says
what the backlog costs. Everything runs on this machine; compare figures of one run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.backlog_fleet import PROJECTS, Fleet
from job_contracts import subjects
from job_contracts.chat import Conversation, UserTurn
from job_contracts.codec import decode, encode
from job_contracts.desk import AskJobs, Statuses
from job_contracts.jobs import Job, Lane, Ticket, body_hash
from runtime.bus import connect
from runtime.bus.port import Bus, BusError, Message
from runtime.bus.settings import BusSettings

PROMPT = "Summarise: " + "the quick brown fox jumps over the lazy dog. " * 20
"""About 1 KB with the rest of the body."""
LANES: tuple[Lane, ...] = ("std", "batch", "bg")
SLOTS = 512
ASKING = PROJECTS[-1]
"""The project that asks the desk."""
LATEST = 300.0
"""Seconds after which a step that does not end is a failure."""


@dataclass
class Row:
    """One measurement."""

    what: str
    figure: float
    unit: str
    note: str = ""
    cpu_ms: dict[str, float] = field(default_factory=dict)


class Crowd:
    """Producers of ten projects in one process, close to the wire so that they cost little."""

    def __init__(self, bus: Bus, asking: Bus) -> None:
        self._bus = bus
        self._asking = asking
        self._stem = secrets.token_hex(8)
        self._numbers = count()
        self._body = encode(
            Job(id="@-@", route="fast", conversation=Conversation(messages=(UserTurn(role="user", content=PROMPT),)))
        ).split(b"@-@")
        self.ended = 0
        self.following = False
        self._soon: dict[str, asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[str]] = set()

    async def listen(self) -> None:
        """Hear of every result."""
        await self._bus.subscribe(f"{subjects.PUBLIC}.live.*.*.*.res", self._on_result)

    def _on_result(self, message: Message) -> None:
        self.ended += 1
        future = self._soon.pop(message.subject.rsplit(".", 2)[-2], None)
        if future is not None:
            future.set_result(None)
        elif self.following:
            task = asyncio.get_running_loop().create_task(self.submit())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def submit(self, lane: Lane | None = None, *, leaf: str = "") -> str:
        """One job, acknowledged; returns its id."""
        number = next(self._numbers)
        project = PROJECTS[number % len(PROJECTS)]
        job = f"{self._stem}-{leaf or f'{number:012x}'}"
        body = job.encode().join(self._body)
        ticket = Ticket(
            route="fast",
            lane=lane or LANES[number % len(LANES)],
            submitted=time.time(),
            token=secrets.token_urlsafe(16),
            body_hash=body_hash(body),
            input_estimate=250 + number % 50,
            max_output=64,
            deadline=time.time() + 86_400,
        )
        headers = {subjects.H_TICKET: encode(ticket).decode()}
        while True:
            try:
                await self._bus.append(subjects.submit(project, job), body, headers=headers)
            except BusError:
                await asyncio.sleep(0.05)
            else:
                return f"{project}/{job}"

    async def fill(self, jobs: int) -> str:
        """That many jobs, as fast as the broker takes them; returns the last one of the project that asks."""
        numbers = iter(range(jobs))
        last = ""

        async def some() -> None:
            nonlocal last
            for _ in numbers:
                submitted = await self.submit()
                last = max(last, submitted) if submitted.startswith(f"{ASKING}/") else last

        await asyncio.gather(*(some() for _ in range(1_000)))
        return last

    async def round_trip(self) -> float:
        """Seconds from the submission of a job in the fastest lane to its result."""
        leaf = f"rt{secrets.token_hex(8)}"
        future = self._soon[leaf] = asyncio.get_running_loop().create_future()
        began = time.monotonic()
        await self.submit("rt", leaf=leaf)
        async with asyncio.timeout(60):
            await future
        return time.monotonic() - began

    async def status(self, place: str) -> Statuses | None:
        """What the desk says of a job, ``None`` without an answer."""
        project, _, job = place.partition("/")
        try:
            answer = await self._asking.request(
                subjects.api(project, "status"), encode(AskJobs(jobs=(job,))), timeout=5.0
            )
            return decode(Statuses, answer.data)
        except (BusError, ValueError):
            return None


async def until(condition: Any, what: str, *, pause: float = 0.02, within: float = LATEST) -> float:
    """Ask until it is so; returns the seconds it took."""
    began = time.monotonic()
    while time.monotonic() - began < within:
        if await condition():
            return time.monotonic() - began
        await asyncio.sleep(pause)
    raise SystemExit(f"{what}: not within {within:.0f} s")


class Measuring:
    """The steps, in order; each adds its rows."""

    def __init__(self, fleet: Fleet, crowd: Crowd, jobs: int, seconds: float) -> None:
        self.fleet = fleet
        self.crowd = crowd
        self.jobs = jobs
        self.seconds = seconds
        self.rows: list[Row] = []
        self.last = ""
        self.bare = 0.0
        self.rates: dict[str, float] = {}

    def tell(self, what: str, figure: float, unit: str, note: str = "", **more: Any) -> None:
        """One row, shown at once."""
        row = Row(what, round(figure, 3), unit, note, **more)
        self.rows.append(row)
        sys.stdout.write(f"{row.what:46} {row.figure:>12,.10g} {row.unit:7} {row.note}\n")
        if row.cpu_ms:
            parts = "  ".join(f"{name} {value:.3f}" for name, value in row.cpu_ms.items())
            sys.stdout.write(f"{'':46} CPU ms/job: {parts}\n")
        sys.stdout.flush()

    async def rate(self, name: str) -> None:
        """Jobs ended a second with whatever is queued, each followed by a new one, and a fast lane job meanwhile."""
        waits: list[float] = []
        await asyncio.sleep(3.0)
        before, began, ended = self.fleet.cpu(), time.monotonic(), self.crowd.ended
        while time.monotonic() - began < self.seconds:
            waits.append(await self.crowd.round_trip())
            await asyncio.sleep(0.05)
        took, done, after = time.monotonic() - began, self.crowd.ended - ended, self.fleet.cpu()
        self.rates[name] = done / took
        cpu = {each: round((after[each] - before.get(each, 0.0)) * 1000 / max(done, 1), 3) for each in after}
        cpu["all"] = round(sum(cpu.values()), 3)
        self.tell(f"jobs ended, {name}", done / took, "jobs/s", cpu_ms=cpu)
        self.tell(f"new job in the rt lane, {name}, p50", statistics.median(waits) * 1000, "ms", f"{len(waits)} jobs")
        self.tell(f"new job in the rt lane, {name}, max", max(waits) * 1000, "ms")

    async def empty(self) -> None:
        """As many unfinished jobs as places."""
        self.crowd.following = True
        async with self.fleet.pool():
            ended = self.crowd.ended
            await self.crowd.fill(SLOTS)
            await self.rate("empty queue")
            self.crowd.following = False
            await until(self._quiet, "the last jobs", within=30)
            self.bare = self.fleet.memory()["leader"]
            self.tell("leader's memory, empty queue", self.bare, "MiB", f"after {self.crowd.ended - ended} jobs")
        await asyncio.sleep(self.fleet.beat_missed + 1.0)

    async def _quiet(self) -> bool:
        before = self.crowd.ended
        await asyncio.sleep(1.0)
        return self.crowd.ended == before

    async def filled(self) -> None:
        """The backlog, and what it weighs."""
        began = time.monotonic()
        self.last = await self.crowd.fill(self.jobs)
        took = time.monotonic() - began
        self.tell("submissions accepted", self.jobs / took, "jobs/s", "the schedulers reading along")
        lag = await until(self._known, "the last job to be known")
        self.tell("last job known after", lag, "s")
        await self._weigh()
        waits: list[float] = []
        for _ in range(200):
            asked = time.monotonic()
            answer = await self.crowd.status(self.last)
            waits.append(time.monotonic() - asked)
            if answer is None or not answer.statuses:
                raise SystemExit("the desk does not know the last job")
        self.tell("status of the last job, p50", statistics.median(waits) * 1000, "ms")
        self.tell("status of the last job, max", max(waits) * 1000, "ms")

    async def _weigh(self) -> None:
        memory = self.fleet.memory()
        note = f"{(memory['leader'] - self.bare) * 2**20 / self.jobs:,.0f} bytes a job"
        self.tell(f"leader's memory, {self.jobs:,} jobs", memory["leader"], "MiB", note)
        if "standby" in memory:
            self.tell("standby's memory", memory["standby"], "MiB")

    async def _known(self) -> bool:
        answer = await self.crowd.status(self.last)
        return answer is not None and bool(answer.statuses)

    async def drained(self) -> None:
        """The rate with the whole backlog, then the two ways to lose a leader."""
        self.crowd.following = True
        async with self.fleet.pool():
            await self.rate("backlog")
            ratio = self.rates["backlog"] / self.rates["empty queue"]
            self.tell("rate with the backlog / with an empty queue", ratio, "")
            await self._weigh()
            await self._change("planned hand-over", kill=False)
            await self._change("takeover after kill -9", kill=True)
        self.crowd.following = False

    async def _change(self, what: str, *, kill: bool) -> None:
        """End the leader; until the first assignment of the next term is at the pool."""
        await self.fleet.stand_by()
        epoch, lost = self.fleet.epoch, time.monotonic()
        await self.fleet.end_leader(kill=kill)

        async def succeeded() -> bool:
            return self.fleet.epoch > epoch

        await until(succeeded, what, pause=0.005)
        note = "from the signal to the first assignment of the next term"
        self.tell(what, self.fleet.epoch_since - lost, "s", f"lease {self.fleet.lease:g} s; {note}" if kill else note)

    async def cold(self) -> None:
        """Nobody stands by: a process starts and reads everything that is queued."""
        await self.fleet.end_all()
        began = time.monotonic()
        await self.fleet.start_scheduler()
        await until(self.fleet.leads, "a cold start", pause=0.05)
        took = time.monotonic() - began
        used = self.fleet.cpu()["leader"]
        note = f"{self.jobs / took:,.0f} jobs/s, the process's own start included; {used:.1f} s of its CPU"
        self.tell("cold start", took, "s", note)
        self.tell("leader's memory after it", self.fleet.memory()["leader"], "MiB")


@asynccontextmanager
async def producers(url: str) -> AsyncIterator[Crowd]:
    """A connection of producers."""
    bus = await connect(BusSettings(url=url, name="producers", publish_timeout=30.0))
    asking = await connect(BusSettings(url=url, name="asking", inbox_prefix=subjects.inbox_prefix(ASKING)))
    try:
        crowd = Crowd(bus, asking)
        await crowd.listen()
        yield crowd
    finally:
        await asking.close()
        await bus.close()


async def measure(arguments: argparse.Namespace) -> list[Row]:
    """All steps."""
    with tempfile.TemporaryDirectory(prefix="penstock-backlog-") as folder:
        async with Fleet(Path(folder), sync=arguments.sync, slots=SLOTS) as fleet, producers(fleet.url) as crowd:
            await fleet.start_scheduler()
            await until(fleet.leads, "the first leader", pause=0.05, within=60)
            await fleet.start_scheduler()
            measuring = Measuring(fleet, crowd, arguments.jobs, arguments.seconds)
            await measuring.empty()
            await measuring.filled()
            await measuring.drained()
            await measuring.cold()
            return measuring.rows


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="50,000 jobs, shorter measurements")
    parser.add_argument("--sync", choices=("default", "always"), default="always")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each rate")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.jobs, arguments.seconds = 50_000, 6.0
    sys.stdout.write(f"{arguments.jobs:,} jobs of {len(PROJECTS)} projects, sync {arguments.sync}\n")
    rows = uvloop.run(measure(arguments))
    if arguments.json:
        told = {"jobs": arguments.jobs, "sync": arguments.sync, "rows": [asdict(row) for row in rows]}
        arguments.json.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
