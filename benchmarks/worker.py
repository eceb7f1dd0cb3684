"""What a worker costs: CPU a job of its process, bus work included, with a real broker and a raw upstream.

    python -m benchmarks.worker [--jobs 3000] [--stream] [--profile]

The assignments lie in the broker before the worker starts; the clock runs from its first result to the last.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import psutil
import uvloop
import yaml

from job_contracts import subjects
from job_contracts.attempts import Assignment, Grant
from job_contracts.chat import Conversation
from job_contracts.codec import encode
from job_contracts.jobs import Job
from runtime.broker import Broker, BrokerConfig
from runtime.bus import connect
from runtime.bus.port import Bus
from runtime.connection import bus_settings, declared
from runtime.settings import Config

ROOT = Path(__file__).parent.parent
PROMPT = "word " * 200


def configuration(nats: str, upstream: str) -> dict[str, Any]:
    """One pool in front of the upstream."""
    return {
        "providers": {"alpha": {"dialect": "openai_chat", "base_url": upstream, "key": "k"}},
        "routes": {"fast": {"deployments": ["alpha/m"]}},
        "nats": {"url": nats, "max_queue_bytes": 64 * 1024**2, "max_work_messages": 100_000},
    }


def assignment(number: int, *, stream: bool) -> Assignment:
    """The first attempt of a job with a prompt of 1 KB."""
    conversation = Conversation.model_validate({"messages": [{"role": "user", "content": PROMPT}]})
    now = time.time()
    return Assignment(
        job_id=f"bench-{number}",
        project="default",
        attempt=1,
        deployment="alpha/m",
        provider="alpha",
        model="stream" if stream else "m",
        grant=Grant(domain="alpha", input_tokens=200, output_tokens=80, valid_for=3600, granted=now),
        route="fast",
        token="t",
        body_hash="h",
        submitted=now,
        stream=stream,
        epoch=1,
        job=Job(id=f"bench-{number}", route="fast", conversation=conversation, stream=stream),
    )


async def hand_out(bus: Bus, jobs: int, *, stream: bool) -> None:
    """Store all assignments."""
    numbers = iter(range(jobs))

    async def publisher() -> None:
        for number in numbers:
            given = assignment(number, stream=stream)
            await bus.append(subjects.work(0, "alpha", given.project, given.job_id), encode(given))

    await asyncio.gather(*(publisher() for _ in range(100)))


@asynccontextmanager
async def upstream() -> AsyncIterator[str]:
    """The raw server of the transports' benchmark."""
    command = [sys.executable, "-m", "benchmarks.transport", "--serve"]
    server = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs yet
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        port = await asyncio.to_thread(cast("Any", server.stdout).readline)
        yield f"http://127.0.0.1:{port.strip()}"
    finally:
        server.communicate()


def worker(config: Path, *, profile: bool) -> subprocess.Popen[bytes]:
    """The worker's process."""
    command = [sys.executable]
    if profile:
        command += ["-m", "cProfile", "-o", str(ROOT / "build" / "worker.prof")]
    command += ["-m", "workers", "--pool", "alpha", "--config", str(config)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)


async def measure(jobs: int, *, stream: bool, profile: bool) -> None:
    """Run it and print one line."""
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(BrokerConfig(sync="default"), Path(folder) / "broker")
        await broker.start()
        async with upstream() as url:
            values = configuration(broker.url, url)
            path = Path(folder) / "penstock.yaml"
            path.write_text(yaml.safe_dump(values))
            config = Config.model_validate(values)
            bus = await connect(bus_settings(config.nats, name="benchmark"))
            await bus.ensure(declared(config))
            await hand_out(bus, jobs, stream=stream)
            process = worker(path, profile=profile)
            seen = psutil.Process(process.pid)
            serving = psutil.Process(broker.pid)
            await until(lambda: results(bus))
            done, cpu, served, begun = await results(bus), spent(seen), spent(serving), time.perf_counter()
            await until(lambda: drained(bus))
            took, count = time.perf_counter() - begun, jobs - done
            cpu, served = spent(seen) - cpu, spent(serving) - served
            memory = seen.memory_info().rss / 1024**2
            process.terminate()
            await asyncio.to_thread(process.wait, 60)
            await bus.close()
        await broker.stop()
    print(
        f"{count} jobs, {'streamed' if stream else 'plain'}: worker {cpu / count * 1e3:.3f} ms CPU a job, "
        f"broker {served / count * 1e3:.3f} ms, {count / took:.0f} jobs/s, {memory:.0f} MB"
    )


def spent(process: psutil.Process) -> float:
    """CPU seconds so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


async def results(bus: Bus) -> int:
    """How many results there are."""
    return (await bus.stream_state(subjects.RES)).messages


async def drained(bus: Bus) -> bool:
    """Whether every assignment is acknowledged."""
    return (await bus.stream_state(subjects.stream_name(subjects.WORK))).messages == 0


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Look until it is true."""
    while not await condition():  # noqa: ASYNC110 - the truth lies in another process
        await asyncio.sleep(0.02)


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=3000)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--profile", action="store_true", help="write build/worker.prof")
    given = parser.parse_args()
    uvloop.run(measure(given.jobs, stream=given.stream, profile=given.profile))


if __name__ == "__main__":
    main()
