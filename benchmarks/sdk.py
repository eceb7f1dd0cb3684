"""What a job costs the process that submits it: CPU of the SDK alone, over a real broker.

    python -m benchmarks.sdk [--jobs 6000] [--flight 1,64] [--uvloop]

Another process answers every submission at once with a result of 400 characters, published as a worker would; there is
no scheduler and no provider. Prompts are 1 KB. The goal is 0.2 ms of CPU a job at 64 in flight.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from job_contracts import subjects
from job_contracts.chat import Answer, FinishReason, TextPart, Usage
from job_contracts.codec import decode, encode
from job_contracts.desk import Hello
from job_contracts.jobs import LANES, JobState, Ticket
from job_contracts.results import AttemptRecord, Result, Times
from job_contracts.stream import Chunk, Delta, EndDelta, StartDelta, TextDelta
from producer_sdk import Producer, Token
from runtime.broker import Broker, BrokerConfig
from runtime.bus import BusSettings, connect
from runtime.bus.manifest import StreamLimits, manifest

if TYPE_CHECKING:
    from runtime.bus.port import Message

ROOT = Path(__file__).parent.parent
PROJECT = "bench"
PROMPT = [{"role": "user", "content": "Summarise: " + "the quick brown fox jumps over the lazy dog. " * 23}]
TOKENS = 20
_JOB = "stem-leaf"


def _result() -> bytes:
    attempt = AttemptRecord(number=1, deployment="p/m", provider="p", model="m", started=1.0, seconds=0.1)
    result = Result(
        job=_JOB,
        project=PROJECT,
        state=JobState.SUCCEEDED,
        route="fast",
        token="t",
        body_hash="h",
        nonce="n",
        answer=Answer(parts=(TextPart(text="word " * 80),)),
        finish_reason=FinishReason.STOP,
        usage=Usage(input=260, output=80),
        provider="p",
        model="m",
        deployment="p/m",
        attempts=(attempt,),
        times=Times(submitted=1.0, dispatched=1.1, finished=1.2),
    )
    return encode(result)


def _chunks() -> list[bytes]:
    start = StartDelta(deployment="p/m", provider="p", model="m")
    end = EndDelta(finish_reason=FinishReason.STOP, usage=Usage(input=260, output=80))
    deltas: list[Delta] = [start, *[TextDelta(text="word " * (80 // TOKENS)) for _ in range(TOKENS)], end]
    return [encode(Chunk(generation=1, sequence=n, deltas=(delta,))) for n, delta in enumerate(deltas, 1)]


async def answer_everything(url: str) -> None:
    """The other process: a result for every submission, and the desk's hello."""
    bus = await connect(BusSettings(url=url))
    await bus.ensure(manifest(StreamLimits()))
    record, chunks = _result(), _chunks()
    running: set[asyncio.Task[None]] = set()

    async def answer(message: Message) -> None:
        project, job = subjects.project_and_job(message.subject)
        if decode(Ticket, (message.headers or {})[subjects.H_TICKET]).stream:
            for chunk in chunks:
                await bus.publish(subjects.tokens(project, job), chunk)
        await bus.publish(subjects.result(project, job), record.replace(_JOB.encode(), job.encode()))

    def heard(message: Message) -> None:
        task = asyncio.get_running_loop().create_task(answer(message))
        running.add(task)
        task.add_done_callback(running.discard)

    async def hello(_: Message) -> bytes:
        size = 1024 * 1024
        return encode(
            Hello(project=PROJECT, routes=("fast",), lanes=LANES, max_message=size // 2, max_body=size, server="bench")
        )

    await bus.subscribe(f"{subjects.PUBLIC}.submit.>", heard)
    await bus.respond(subjects.api(PROJECT, "hello"), hello)
    print("ready", flush=True)
    await asyncio.Event().wait()


async def _measured(what: str, jobs: int, flight: int, one: Callable[[], Awaitable[object]]) -> None:
    async def caller(count: int) -> None:
        for _ in range(count):
            await one()

    await asyncio.gather(*[caller(5) for _ in range(flight)])
    each = max(1, jobs // flight)
    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*[caller(each) for _ in range(flight)])
    taken, cpu = time.perf_counter() - started, time.process_time() - cpu
    count = each * flight
    print(f"{what:<32} {flight:>6} {count / taken:>9.0f} {cpu / count * 1000:>10.3f}")


async def measure(jobs: int, flights: list[int]) -> None:
    """Start broker and answerer, and print the table."""
    with tempfile.TemporaryDirectory() as directory:
        broker = await Broker(BrokerConfig(sync="default"), Path(directory)).start()
        answering = subprocess.Popen(  # noqa: ASYNC220 - a fork is short
            [sys.executable, "-m", "benchmarks.sdk", "--answer", broker.url], cwd=ROOT, stdout=subprocess.PIPE
        )
        try:
            await asyncio.to_thread(answering.stdout.readline if answering.stdout else answering.wait)
            async with Producer(broker.url, "", project=PROJECT) as producer:

                async def stream() -> int:
                    return sum(
                        [isinstance(event, Token) async for event in producer.stream(model="fast", messages=PROMPT)]
                    )

                print(f"{'':<32} {'flight':>6} {'jobs/s':>9} {'CPU ms/job':>10}")
                for flight in flights:
                    await _measured("complete", jobs, flight, lambda: producer.complete(model="fast", messages=PROMPT))
                    await _measured("submit", jobs, flight, lambda: producer.submit(model="fast", messages=PROMPT))
                    await _measured(f"stream, {TOKENS} tokens", jobs // 5, flight, stream)
        finally:
            answering.kill()
            answering.wait()
            await broker.stop()


def main() -> None:
    """Measure, or be the other process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=6_000)
    parser.add_argument("--flight", default="1,64")
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("--answer", metavar="URL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer:
        uvloop.run(answer_everything(arguments.answer))
        return
    run = uvloop.run if arguments.uvloop else asyncio.run
    run(measure(arguments.jobs, [int(one) for one in arguments.flight.split(",")]))


if __name__ == "__main__":
    main()
