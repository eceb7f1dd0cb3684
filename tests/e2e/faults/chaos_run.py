"""One run: a fleet, producers, faults; in the end everything the broker and the providers know goes into the log."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from job_contracts import subjects
from runtime.broker import binary
from runtime.bus import NatsBus
from runtime.bus.port import BusError, Message, NotFound, Tail
from tests.e2e.faults import chaos_plan as plan
from tests.e2e.faults.chaos_blows import Striker
from tests.e2e.faults.chaos_ledger import ask_ledger
from tests.e2e.faults.chaos_load import Load
from tests.e2e.faults.events import Began, Billed, Called, Event, EventLog, Metered, Said, Stored
from tests.e2e.faults.fleet import Fleet, fleet
from tests.e2e.faults.fleet_settings import PLACES, limits_told
from tests.support.eventually import eventually
from tests.support.simulated import SimulatorControl

ATTEMPT = "x-penstock-attempt"
"""The header in which a worker tells the provider whose call it is."""
OUT, SUBMIT, WORK = (subjects.stream_name(name) for name in (subjects.OUT, subjects.SUBMIT, subjects.WORK))
WHOLE = (subjects.RES, OUT, subjects.LEDGER, subjects.DEAD)
QUEUES = ((SUBMIT, f"{subjects.PREFIX}.q.>"), (WORK, f"{subjects.PREFIX}.work.>"))


@dataclass(frozen=True, slots=True)
class Settings:
    """What makes a run. ``seconds`` of load; in the last ``calm`` of them nothing new is broken.

    ``patience``: seconds that producers wait for what is left, ``settling``: that the queues may take to be empty.
    """

    seed: int
    seconds: float
    jobs: int
    pace: plan.Pace
    lease: float = 8.0
    beat_missed: float = 10.0
    calm: float = 10.0
    patience: float = 120.0
    settling: float = 60.0
    command: str = ""


async def run(settings: Settings, directory: Path) -> Path:
    """Run it below ``directory``; returns the event log, whatever happened."""
    directory.mkdir(parents=True, exist_ok=True)
    log = EventLog(directory / "events.jsonl")
    try:
        async with fleet(directory, log.write, lease=settings.lease, beat_missed=settings.beat_missed) as made:
            await _under_fire(settings, made, log.write)
    finally:
        log.close()
    return log.path


async def _under_fire(settings: Settings, made: Fleet, tell: Callable[[Event], None]) -> None:
    tails = [await made.bus.tail(stream, _teller(tell, stream, made.bus)) for stream in (*WHOLE[:3],)]
    load = Load(made.nodes.url, tell, settings.seed)
    await load.open()
    tell(_began(settings, made))
    broken_for = settings.seconds - settings.calm
    striker, began = Striker(made, tell, nodes_roll=settings.pace.nodes_roll), time.monotonic()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(striker.carry_out(plan.blows(settings.seed, broken_for, settings.pace), began))
            tasks.create_task(striker.disturb(plan.disturbances(settings.seed, broken_for), began))
            wishes = plan.wishes(settings.seed, settings.jobs, settings.seconds)
            tasks.create_task(load.run(wishes, began, settings.patience))
        await _settle(settings, made, tell)
        await ask_ledger(made, tell)
        await _collect(made, tell)
    finally:
        await load.close()
        for tail in tails:
            await _closed(tail)


def _teller(tell: Callable[[Event], None], stream: str, bus: NatsBus) -> Callable[[Message], None]:
    del bus

    def told(message: Message) -> None:
        tell(_stored(message, stream, dump=False))

    return told


def _stored(message: Message, stream: str, *, dump: bool) -> Stored:
    return Stored(
        at=time.time(),
        seen="dump" if dump else "tail",
        stream=stream,
        seq=message.seq,
        subject=message.subject,
        body=message.data.decode("utf-8", "replace"),
    )


async def _closed(tail: Tail) -> None:
    with contextlib.suppress(BusError):
        await tail.close()


# -- the end


async def _settle(settings: Settings, made: Fleet, tell: Callable[[Event], None]) -> None:
    """Give what is under way the time to end; what has not ended by then is the judge's business."""

    async def nothing_left() -> bool:
        try:
            for stream, subject in QUEUES:
                if (await made.bus.stream_state(stream, subjects=subject)).subjects:
                    return False
        except BusError:
            return False
        overview = await made.simulator.control.overview()
        return not any(provider.in_progress for provider in overview.providers)

    try:
        await eventually(nothing_left, within=settings.settling, every=0.25)
        await asyncio.sleep(2.0)  # facts follow results
    except AssertionError as late:
        tell(Said(at=time.time(), process="chaos", event="not.settled", fields={"why": str(late)[:300]}))


async def _collect(made: Fleet, tell: Callable[[Event], None]) -> None:
    for stream in WHOLE:
        last = (await made.bus.stream_state(stream)).last_seq

        def dumped(message: Message, stream: str = stream) -> None:
            tell(_stored(message, stream, dump=True))

        tail = await made.bus.tail(stream, dumped)
        whole = await tail.caught_up(last, timeout=120.0)
        await _closed(tail)
        if not whole:
            tell(Said(at=time.time(), process="chaos", event="dump.incomplete", fields={"stream": stream}))
    for stream, subject in QUEUES:
        seq = 1
        with contextlib.suppress(NotFound):
            while True:
                message = await made.bus.next(stream, seq, subject)
                tell(_stored(message, stream, dump=True))
                seq = message.seq + 1
    await _ask_providers(made.simulator.control, tell)


async def _ask_providers(control: SimulatorControl, tell: Callable[[Event], None]) -> None:
    for line in await control.log(last=10**9):
        tell(
            Called(
                at=line.at,
                ended=line.at + line.seconds,
                provider=line.provider,
                attempt=line.headers.get(ATTEMPT, ""),
                status=line.status,
                outcome=line.outcome,
                fault=line.fault,
                input_tokens=line.input_tokens,
                output_tokens=line.output_tokens,
            )
        )
    bills = await control.bills()
    if bills.forgotten:
        tell(Said(at=time.time(), process="chaos", event="bills.forgotten", fields={"count": str(bills.forgotten)}))
    for bill in bills.lines:
        tell(Billed(line=bill))
    report = await control.meter()
    for provider in PLACES:
        rows = [row for row in report.rows if row.provider == provider]
        inputs = sum(row.input_tokens + row.cached_read_tokens + row.cache_write_tokens for row in rows)
        outputs = sum(row.output_tokens + row.reasoning_tokens for row in rows)
        requests = sum(row.requests for row in rows)
        tell(Metered(at=time.time(), provider=provider, requests=requests, input_tokens=inputs, output_tokens=outputs))


def _began(settings: Settings, made: Fleet) -> Began:
    server = subprocess.run([str(binary()), "--version"], capture_output=True, text=True, check=True, timeout=10)
    about = {
        "command": settings.command,
        "load": f"{settings.jobs} jobs in {settings.seconds:g} s",
        "lease": f"{settings.lease:g} s, a worker is missed after {settings.beat_missed:g} s",
        "processes": f"{len(made.schedulers)} schedulers, {len(made.workers)} workers, "
        f"{len(made.nodes.brokers)} nodes, a ledger",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": f"penstock {version('penstock')}, {server.stdout.strip()}, Python {platform.python_version()}",
    }
    return Began(
        at=time.time(),
        seed=settings.seed,
        pools=tuple(PLACES),
        limits=limits_told(),
        grant_valid=made.config.scheduler.grant_valid,
        about=about,
    )
