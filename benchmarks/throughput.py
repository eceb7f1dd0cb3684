"""Jobs end to end, durable accepts, added latency, memory: one table, with the CPU a job costs by process.

    python -m benchmarks.throughput [--seconds 8] [--in-flight 256] [--sync default,always] [--json FILE]

Everything runs on this machine over loopback: broker, simulator at 0 ms, scheduler, one worker pool, producers. The
figures of one run belong together; compare ratios, not runs of different days.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import uvloop

from producer_sdk import Producer

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMPT = "Summarise: " + "the quick brown fox jumps over the lazy dog. " * 23
"""About 1 KB."""


@dataclass
class Row:
    """One measurement; ``cpu_ms`` is CPU per job by process, milliseconds."""

    what: str
    sync: str
    figure: float
    unit: str
    cpu_ms: dict[str, float] = field(default_factory=dict)
    note: str = ""


class Stack:
    """The appliance as a child process, and what its processes have used."""

    def __init__(self, up: dict[str, Any], child: subprocess.Popen[str]) -> None:
        self.nats = str(up["nats_url"])
        self.key = str(up["project_key"])
        self.simulator = str(up["simulator_url"])
        self.pids: dict[str, int] = {name: int(pid) for name, pid in up["pids"].items()}
        self.child = child

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU by process so far, this one (the producer) included."""
        used = {name: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in self.pids.items()}
        own = resource.getrusage(resource.RUSAGE_SELF)
        return {**used, "producer": own.ru_utime + own.ru_stime}

    def memory(self) -> dict[str, float]:
        """Resident MiB by process."""
        return {name: psutil.Process(pid).memory_info().rss / 2**20 for name, pid in self.pids.items()}


@contextmanager
def stack(sync: str) -> Iterator[Stack]:
    """An appliance with the simulator, on free ports and a temporary data directory."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        command = [sys.executable, "-m", "appliance", "up", "--simulate", "--json", "--no-console", "--sync", sync]
        command += ["--port", "0", "--nats-port", "0", "--data-dir", folder]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            line = child.stdout.readline() if child.stdout else ""
            if not line.startswith("{"):
                raise SystemExit(f"the appliance did not start: {line!r}")
            yield Stack(json.loads(line), child)
        finally:
            child.terminate()
            child.wait(30)


def per_job(before: dict[str, float], after: dict[str, float], jobs: int) -> dict[str, float]:
    """Milliseconds of CPU per job by process."""
    used = {name: (after[name] - before.get(name, 0.0)) * 1000 / max(jobs, 1) for name in after}
    return {**{name: round(value, 3) for name, value in used.items()}, "all": round(sum(used.values()), 3)}


async def closed_loop(stack: Stack, seconds: float, in_flight: int) -> tuple[int, dict[str, float], list[float]]:
    """``in_flight`` callers, each with one job at a time; jobs done, CPU per job, latencies in seconds."""
    latencies: list[float] = []
    done = 0
    async with Producer(stack.nats, key=stack.key) as producer:

        async def caller(until: float, *, record: bool) -> None:
            nonlocal done
            while time.monotonic() < until:
                began = time.monotonic()
                await producer.complete(model="fast", messages=[{"role": "user", "content": PROMPT}], max_tokens=16)
                if record:
                    latencies.append(time.monotonic() - began)
                    done += 1

        warm = time.monotonic() + 2.0
        await asyncio.gather(*(caller(warm, record=False) for _ in range(in_flight)))
        before, began = stack.cpu(), time.monotonic()
        await asyncio.gather(*(caller(began + seconds, record=True) for _ in range(in_flight)))
        took, after = time.monotonic() - began, stack.cpu()
    return int(done / took), per_job(before, after, done), latencies


async def accepts(stack: Stack, jobs: int, callers: int) -> tuple[float, dict[str, float]]:
    """Submissions acknowledged as durable, per second; ``not_before`` holds them, so that only accepting is timed."""
    async with Producer(stack.nats, key=stack.key) as producer:
        await producer.complete(model="fast", messages=[{"role": "user", "content": "warm"}], max_tokens=4)

        async def caller(count: int) -> None:
            for _ in range(count):
                _ = await producer.submit(
                    model="fast",
                    messages=[{"role": "user", "content": PROMPT}],
                    max_tokens=16,
                    lane="bg",
                    not_before=600,
                )

        before, began = stack.cpu(), time.monotonic()
        await asyncio.gather(*(caller(jobs // callers) for _ in range(callers)))
        took, after = time.monotonic() - began, stack.cpu()
    return jobs / took, per_job(before, after, jobs)


async def paced(stack: Stack, rate: float, seconds: float) -> tuple[list[float], list[float]]:
    """Latencies at a fixed rate, seconds: through Penstock, and calling the simulator directly, in turn."""
    through: list[float] = []
    direct: list[float] = []
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": PROMPT}], "max_completion_tokens": 16}
    async with Producer(stack.nats, key=stack.key) as producer, httpx.AsyncClient(timeout=10) as client:

        async def one(into: list[float], call: Any) -> None:
            began = time.monotonic()
            await call()
            into.append(time.monotonic() - began)

        async def via_penstock() -> None:
            await producer.complete(model="fast", messages=[{"role": "user", "content": PROMPT}], max_tokens=16)

        async def via_http() -> None:
            answer = await client.post(
                f"{stack.simulator}/v1/chat/completions", json=body, headers={"authorization": "Bearer bench"}
            )
            answer.raise_for_status()

        for call, into in ((via_penstock, []), (via_http, []), (via_penstock, through), (via_http, direct)):
            tasks = []
            began = time.monotonic()
            count = int(rate * (seconds if into is through or into is direct else 1.0))
            for index in range(count):
                delay = began + index / rate - time.monotonic()
                if delay > 0:
                    await asyncio.sleep(delay)
                tasks.append(asyncio.create_task(one(into, call)))
            await asyncio.gather(*tasks)
    return through, direct


def percentile(values: list[float], share: float) -> float:
    """A percentile in milliseconds."""
    return statistics.quantiles(values, n=1000)[int(share * 1000) - 1] * 1000


async def measure(sync: str, seconds: float, in_flight: int) -> list[Row]:
    """All rows of one sync mode."""
    rows: list[Row] = []
    with stack(sync) as running:
        rows.extend(Row(f"idle memory, {name}", sync, round(size, 1), "MiB") for name, size in running.memory().items())
        through, direct = await paced(running, 100, min(seconds, 5))
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            added = percentile(through, share) - percentile(direct, share)
            note = f"{percentile(through, share):.1f} against {percentile(direct, share):.1f} ms directly"
            rows.append(Row(f"added latency at 100 jobs/s, {name}", sync, round(added, 2), "ms", note=note))
        rate, cpu, latencies = await closed_loop(running, seconds, in_flight)
        note = (
            f"{in_flight} in flight, p50 {percentile(latencies, 0.5):.0f} ms, p99 {percentile(latencies, 0.99):.0f} ms"
        )
        rows.append(Row("jobs end to end", sync, rate, "jobs/s", cpu, note))
        figure, cpu = await accepts(running, 30_000, 1_000)
        rows.append(
            Row("durable accepts", sync, int(figure), "jobs/s", cpu, "one producer, the scheduler reading along")
        )
    return rows


def import_time() -> Row:
    """What ``import producer_sdk`` takes in a fresh interpreter, the best of five: less is never measured by chance."""
    code = "import time; t = time.perf_counter(); import producer_sdk; print(time.perf_counter() - t)"
    runs = [float(subprocess.check_output([sys.executable, "-c", code], text=True)) for _ in range(5)]
    return Row("import producer_sdk", "-", round(min(runs) * 1000, 1), "ms", note="best of five")


def show(rows: list[Row]) -> None:
    """The table, on stdout."""
    for row in rows:
        sys.stdout.write(f"{row.what:38} sync={row.sync:8} {row.figure:>10} {row.unit:7} {row.note}\n")
        if row.cpu_ms:
            parts = "  ".join(f"{name} {value:.3f}" for name, value in row.cpu_ms.items())
            sys.stdout.write(f"{'':38} CPU ms/job: {parts}\n")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--sync", default="default,always")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = [import_time()]
    show(rows)
    for sync in arguments.sync.split(","):
        measured = uvloop.run(measure(sync, arguments.seconds, arguments.in_flight))
        show(measured)
        rows += measured
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
