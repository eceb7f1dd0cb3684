"""What telemetry costs at 1,000 jobs a second: the events of real jobs, told to nobody and to metrics and logs.

    python -m benchmarks.telemetry [--jobs 300] [--rounds 15] [--json FILE]

A scheduler and a worker run jobs on the bus in memory, and every event is noted with its fields. These events are then
told again, by themselves: once with nobody listening, once to the process's metrics, once to metrics and log lines. The
difference is what listening costs a job, whatever else the machine does meanwhile: CPU seconds of this process, the
best of some rounds. What a scrape costs is measured beside it, with all the series that those events have made.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from job_contracts import subjects
from job_contracts.chat import Conversation
from job_contracts.codec import encode
from job_contracts.jobs import Job, Ticket, body_hash
from runtime.bus.memory import MemoryBroker
from runtime.clock import SystemClock
from runtime.connection import declared
from runtime.settings import Config
from runtime.telemetry import COMMON, Event, Instrument, Metrics, Telemetry, write_logs
from scheduler.instruments import INSTRUMENTS as OF_THE_SCHEDULER
from scheduler.service import Scheduler
from workers.assembly import Worker, assemble
from workers.dialects import DIALECTS
from workers.instruments import INSTRUMENTS as OF_WORKERS

RATE = 1000
"""Jobs a second that the share of a CPU is told for."""
SCRAPES = 0.1
"""Scrapes a second of each process."""
ANSWER = {
    "id": "c",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "fine"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 200, "completion_tokens": 16, "total_tokens": 216},
}


@dataclass
class Row:
    """Of one process: what a job's events cost it, in microseconds of CPU."""

    process: str
    events: float
    """A job."""
    off: float
    metrics: float
    all: float
    """With the log lines that are written by default."""
    scrape: float
    """Milliseconds of one scrape."""
    share: float
    """Of one CPU, at ``RATE`` jobs and ``SCRAPES`` scrapes a second."""


class Answering(httpx.AsyncBaseTransport):
    """A provider in this process."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The same answer to everything."""
        return httpx.Response(200, json=ANSWER, request=request)


def configuration() -> Config:
    """One provider with limits, one route, one project with a budget."""
    return Config.model_validate(
        {
            "providers": {
                "alpha": {
                    "dialect": "openai_chat",
                    "base_url": "http://127.0.0.1:1",
                    "key": "k",
                    "slots": 64,
                    "limits": {"rpm": 600_000, "tpm": 600_000_000},
                }
            },
            "routes": {"fast": {"deployments": ["alpha/m"]}},
            "projects": {"demo": {}},
        }
    )


@asynccontextmanager
async def fleet(scheduling: Telemetry, working: Telemetry) -> AsyncIterator[Any]:
    """A scheduler that leads and a worker, on one bus."""
    config, broker, clock = configuration(), MemoryBroker(), SystemClock()
    bus = broker.bus()
    await bus.ensure(declared(config))
    scheduler = Scheduler(broker.bus(), clock, scheduling, config, {}, owner="s", version="benchmark")
    worker: Worker = assemble(
        config,
        pool="alpha",
        worker="w",
        bus=broker.bus(),
        clock=clock,
        telemetry=working,
        catalogue={},
        dialects=DIALECTS,
        transport=Answering(),
    )
    duties = [scheduler, *worker.duties]
    for duty in duties:
        await duty.start()
    await until(lambda: scheduler.leads)
    try:
        yield bus
    finally:
        for duty in reversed(duties):
            await duty.stop()


async def until(true: Callable[[], bool]) -> None:
    """Wait for it."""
    while not true():  # noqa: ASYNC110 - what is waited for has no event of its own
        await asyncio.sleep(0.02)


def heard_of(events: list[Event], name: str) -> int:
    """How many of that name."""
    return sum(event.name == name for event in events)


async def recorded(jobs: int) -> dict[str, list[Event]]:
    """The events of so many jobs, by process; those of the start apart."""
    heard: dict[str, list[Event]] = {"scheduler": [], "workers": []}
    scheduling, working = Telemetry(), Telemetry()
    async with fleet(scheduling, working) as bus:
        scheduling.subscribe(heard["scheduler"].append)
        working.subscribe(heard["workers"].append)
        for number in range(jobs):
            await submit(bus, f"bench-{number}")
        await until(lambda: heard_of(heard["workers"], "attempt.ended") == jobs)
        await until(lambda: heard_of(heard["scheduler"], "job.settled") == jobs)
    return {process: list(events) for process, events in heard.items()}


async def submit(bus: Any, name: str) -> None:
    """Store one job."""
    text = {"messages": [{"role": "user", "content": "word " * 200}]}
    body = encode(Job(id=name, route="fast", conversation=Conversation.model_validate(text)))
    ticket = Ticket(
        route="fast", token="t", body_hash=body_hash(body), submitted=time.time(), input_estimate=200, max_output=16
    )
    headers = {subjects.H_TICKET: encode(ticket).decode()}
    await bus.append(subjects.submit("demo", name), body, headers=headers)


def told(events: list[Event], listen: Callable[[Telemetry], object]) -> float:
    """CPU seconds that telling the events takes."""
    telemetry = Telemetry()
    listen(telemetry)
    emit, begun = telemetry.emit, time.process_time()
    for event in events:
        emit(event.name, event.level, **event.fields)
    return time.process_time() - begun


def measure(
    process: str, events: list[Event], instruments: tuple[Instrument, ...], jobs: int, rounds: int
) -> tuple[Row, Metrics]:
    """One process's row, and its metrics."""
    metrics = Metrics(process)
    lines: list[str] = []

    def on(telemetry: Telemetry) -> None:
        nonlocal metrics
        metrics = Metrics(process)
        metrics.listen(telemetry, (*COMMON, *instruments))

    def every(telemetry: Telemetry) -> None:
        on(telemetry)
        write_logs(telemetry, process, lines.append)

    off, counted, all_of_it = (
        min(told(events, how) for _ in range(rounds)) / jobs * 1e6 for how in (lambda _: None, on, every)
    )
    begun = time.process_time()
    for _ in range(rounds):
        metrics.exposition()
    scrape = (time.process_time() - begun) / rounds
    share = (all_of_it - off) * 1e-6 * RATE + scrape * SCRAPES
    return Row(process, len(events) / jobs, off, counted, all_of_it, scrape * 1e3, share), metrics


def main() -> None:
    """Run it and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    events = asyncio.run(recorded(given.jobs))
    rows = []
    print(
        "process    events/job  off µs/job  metrics µs/job  with logs µs/job  scrape ms  share of a CPU at 1,000 jobs/s"
    )
    for process, instruments in (("scheduler", OF_THE_SCHEDULER), ("workers", OF_WORKERS)):
        row, _ = measure(process, events[process], instruments, given.jobs, given.rounds)
        rows.append(row)
        print(
            f"{process:10} {row.events:10.2f} {row.off:11.2f} {row.metrics:15.2f} {row.all:17.2f}"
            f" {row.scrape:10.2f} {row.share:15.2%}"
        )
        print("           ", dict(Counter(event.name for event in events[process]).most_common(8)))
    print(f"together {sum(row.share for row in rows):.2%} of one CPU")
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=2))


if __name__ == "__main__":
    main()
