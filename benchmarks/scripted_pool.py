"""A worker pool without a provider, in a process of its own: answers every assignment at once, as cheaply as it can.

    python -m benchmarks.scripted_pool --nats URL --pool sim [--slots 512]

For benchmarks in which a real worker would be the bottleneck and hide what is measured. What it writes and how it
acknowledges is a worker's: a create-only result, then the acknowledgement. It tells the first assignment of each term
on ``bench.epoch`` (a core message: epoch and monotonic time, which all processes of one machine share).
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from typing import TYPE_CHECKING

import uvloop

from job_contracts import subjects
from job_contracts.attempts import Assignment, Heartbeat
from job_contracts.chat import Answer, FinishReason, TextPart, Usage
from job_contracts.codec import decode, encode
from job_contracts.jobs import JobState
from job_contracts.results import AttemptRecord, Result, Settlement, Times
from runtime.bus import connect
from runtime.bus.port import BusError, WrongSequence
from runtime.bus.settings import BusSettings

if TYPE_CHECKING:
    from runtime.bus.port import Bus, Delivery

EPOCH = "bench.epoch"
USED = Usage(input=250, output=16)
ANSWER = Answer(parts=(TextPart(text="done"),))


def result_of(order: Assignment) -> tuple[Result, Settlement]:
    """What a worker would write of an attempt that succeeded at once."""
    record = AttemptRecord(
        number=order.attempt,
        deployment=order.deployment,
        provider=order.provider,
        model=order.model,
        started=order.grant.granted,
        seconds=0.0,
        usage=USED,
    )
    result = Result(
        job=order.job_id,
        project=order.project,
        state=JobState.SUCCEEDED,
        route=order.route,
        token=order.token,
        body_hash=order.body_hash,
        nonce=order.attempt_id,
        answer=ANSWER,
        finish_reason=FinishReason.STOP,
        usage=USED,
        deployment=order.deployment,
        attempts=(*order.history, record),
        times=Times(submitted=order.submitted, finished=time.time()),
    )
    settlement = Settlement(
        state=JobState.SUCCEEDED,
        token=order.token,
        body_hash=order.body_hash,
        attempt=order.attempt,
        deployment=order.deployment,
        usage=USED,
    )
    return result, settlement


class ScriptedPool:
    """One worker of one pool."""

    def __init__(self, bus: Bus, pool: str, slots: int) -> None:
        self._bus = bus
        self._pool = pool
        self._slots = slots
        self._held: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._epoch = 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Pull and answer until told to stop; what was pulled is answered."""
        beats = asyncio.create_task(self._beat())
        puller = await self._bus.pull(subjects.stream_name(subjects.WORK, 0), self._pool)
        while not stopping.is_set():
            if len(self._tasks) >= self._slots:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            for delivery in await puller.fetch(self._slots, expires=0.5):
                self._take(delivery)
        for delivery in await puller.close():
            self._take(delivery)
        await asyncio.gather(*self._tasks)
        beats.cancel()

    def _take(self, delivery: Delivery) -> None:
        task = asyncio.create_task(self._answer(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, delivery: Delivery) -> None:
        order = decode(Assignment, delivery.message.data)
        if order.epoch != self._epoch:
            self._epoch = order.epoch
            await self._bus.publish(EPOCH, f"{order.epoch} {time.monotonic()}".encode())
        self._held.add(order.attempt_id)
        result, settlement = result_of(order)
        headers = {subjects.H_SETTLEMENT: encode(settlement).decode()}
        subject, data = subjects.result(order.project, order.job_id), encode(result)
        while True:
            try:
                await self._bus.append(subject, data, headers=headers, expect_last=0)
                break
            except WrongSequence:
                break
            except BusError:
                await asyncio.sleep(0.05)
        await delivery.ack()
        self._held.discard(order.attempt_id)

    async def _beat(self) -> None:
        while True:
            held = tuple(self._held)
            beat = Heartbeat(pool=self._pool, worker="scripted", slots=self._slots, attempts=held)
            try:
                await self._bus.request(subjects.heartbeat(self._pool, "scripted"), encode(beat), timeout=1.0)
            except BusError:
                await asyncio.sleep(0.1)
            else:
                await asyncio.sleep(0.5)


async def _main(arguments: argparse.Namespace) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    bus = await connect(BusSettings(url=arguments.nats, name="scripted pool"))
    try:
        await ScriptedPool(bus, arguments.pool, arguments.slots).run(stopping)
    finally:
        await bus.close()


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nats", required=True)
    parser.add_argument("--pool", required=True)
    parser.add_argument("--slots", type=int, default=512)
    uvloop.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
