"""CPU per bus operation in this process (the broker's own beside it), as a table: ``python -m benchmarks.bus``."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop

from runtime.broker import Broker, BrokerConfig
from runtime.bus import BusSettings, NatsBus, connect
from runtime.bus.port import Message, Outgoing

BODY = b"x" * 1_024
HEADERS = {"Penstock-Ticket": '{"route":"fast","lane":"std","priority":0,"estimate":512}'}
AT_ONCE = 64
STREAM, QUEUE = "BENCH", "QUEUE"


@dataclass(frozen=True)
class Row:
    """One measured operation: how many, and seconds of CPU here, at the broker and of the wall."""

    name: str
    count: int
    here: float
    broker: float
    wall: float

    def __str__(self) -> str:
        micro = 1e6 / self.count
        rate = self.count / self.wall
        return f"{self.name:<44}{self.here * micro:>9.1f}{self.broker * micro:>11.1f}{rate:>12,.0f}"


class Bench:
    """Measures against one broker, which it does not share."""

    def __init__(self, bus: NatsBus, other: NatsBus, broker: Broker, count: int) -> None:
        self.bus = bus
        self.other = other
        self.count = count
        self._broker = psutil.Process(broker.pid)

    async def measure(self, name: str, count: int, work: Callable[[], Awaitable[object]]) -> Row:
        """Run ``work``, which does ``count`` operations."""
        theirs, mine, wall = self._their_cpu(), time.process_time(), time.perf_counter()
        await work()
        mine, wall = time.process_time() - mine, time.perf_counter() - wall
        row = Row(name, count, mine, self._their_cpu() - theirs, wall)
        print(row, flush=True)
        return row

    def _their_cpu(self) -> float:
        times = self._broker.cpu_times()
        return float(times.user + times.system)

    async def publish(self) -> None:
        for _ in range(self.count):
            await self.bus.publish("core.a", BODY)
        await self.bus.append("s.flush", b"")

    async def append(self, at_once: int, headers: dict[str, str] | None) -> None:
        async def one(start: int) -> None:
            for number in range(start, self.count, at_once):
                await self.bus.append(f"s.{number}", BODY, headers=headers)

        await asyncio.gather(*(one(start) for start in range(at_once)))

    async def batches(self, size: int) -> None:
        for start in range(0, self.count, size):
            messages = [Outgoing(f"w.{start + number}", BODY, HEADERS) for number in range(size)]
            await self.bus.append_batch(messages)

    async def tail(self, *, headers_only: bool) -> None:
        last = (await self.bus.stream_state(STREAM)).last_seq
        tail = await self.bus.tail(STREAM, _ignore, start=last - self.count + 1, headers_only=headers_only)
        if not await tail.caught_up(last, timeout=60):
            raise TimeoutError
        await tail.close()

    async def core_receive(self) -> None:
        """Core messages from the second connection of this process: the sender's cost is in it."""
        heard = asyncio.Event()
        seen = 0

        def handler(_: Message) -> None:
            nonlocal seen
            seen += 1
            if seen == self.count:
                heard.set()

        subscription = await self.bus.subscribe("live.>", handler)
        for number in range(self.count):
            await self.other.publish("live.a", BODY)
            if number % 200 == 0:
                await asyncio.sleep(0)
        await heard.wait()
        await subscription.close()

    async def pull(self, limit: int) -> None:
        puller = await self.bus.pull(QUEUE, "pool")
        done = 0
        while done < self.count:
            for delivery in await puller.fetch(limit, expires=2):
                await delivery.ack()
                done += 1
        await puller.close()

    async def reads(self, *, direct: bool) -> None:
        last = (await self.bus.stream_state(STREAM)).last_seq

        async def one(start: int) -> None:
            for number in range(start, self.count // 4, AT_ONCE):
                if direct:
                    await self.bus.get(STREAM, last - number)
                else:
                    await self.bus.next(STREAM, last - number, ">")

        await asyncio.gather(*(one(start) for start in range(AT_ONCE)))

    async def deletes(self) -> None:
        last = (await self.bus.stream_state(STREAM)).last_seq

        async def one(start: int) -> None:
            for number in range(start, self.count // 4, AT_ONCE):
                await self.bus.delete(STREAM, last - number)

        await asyncio.gather(*(one(start) for start in range(AT_ONCE)))


def _ignore(_: Message) -> None:
    pass


async def _assets(bus: NatsBus) -> None:
    common = {"storage": "file", "allow_direct": True}
    queue = {"name": QUEUE, "subjects": ["w.>"], "retention": "workqueue", "allow_atomic": True, **common}
    consumer = {"name": "pool", "durable_name": "pool", "ack_policy": "explicit", "max_deliver": 1}
    await bus.ensure(
        [
            {"kind": "stream", "config": {"name": STREAM, "subjects": ["s.>"], **common}},
            {"kind": "stream", "config": queue},
            {"kind": "consumer", "stream": QUEUE, "config": {**consumer, "max_ack_pending": 100_000}},
        ]
    )


async def run(count: int, sync: str, only: str) -> None:
    """Measure everything once."""
    with tempfile.TemporaryDirectory() as directory:
        broker = Broker(BrokerConfig.model_validate({"sync": sync}), Path(directory))
        await broker.start()
        bus = await connect(BusSettings(url=broker.url))
        other = await connect(BusSettings(url=broker.url))
        await _assets(bus)
        bench = Bench(bus, other, broker, count)
        print(f"{'sync ' + sync + ', 1 KB bodies':<44}{'us CPU':>9}{'us broker':>11}{'per second':>12}")
        rows: list[tuple[str, int, Callable[[], Awaitable[object]]]] = [
            ("publish (core)", count, bench.publish),
            ("publish and receive (core)", count, bench.core_receive),
            ("append, one at a time", count // 4, lambda: _quarter(bench).append(1, None)),
            (f"append, {AT_ONCE} in flight", count, lambda: bench.append(AT_ONCE, None)),
            (f"append with a header, {AT_ONCE} in flight", count, lambda: bench.append(AT_ONCE, HEADERS)),
            ("tail", count, lambda: bench.tail(headers_only=False)),
            ("tail, headers only", count, lambda: bench.tail(headers_only=True)),
            ("append_batch, a message of 50", count, lambda: bench.batches(50)),
            ("pull by 100 and ack", count, lambda: bench.pull(100)),
            ("append_batch, a message of 10", count, lambda: bench.batches(10)),
            ("pull by 5 and ack", count, lambda: bench.pull(5)),
            ("get (direct)", count // 4, lambda: bench.reads(direct=True)),
            ("next (leader)", count // 4, lambda: bench.reads(direct=False)),
            ("delete", count // 4, bench.deletes),
        ]
        try:
            for name, operations, work in rows:
                if only in name:
                    await bench.measure(name, operations, work)
        finally:
            await bus.close()
            await other.close()
            await broker.stop()


def _quarter(bench: Bench) -> Bench:
    copy = object.__new__(Bench)
    copy.__dict__.update(bench.__dict__)
    copy.count = bench.count // 4
    return copy


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bus", description=__doc__)
    parser.add_argument("--count", type=int, default=8_000, help="operations of each kind")
    parser.add_argument("--sync", choices=("default", "always"), default="default")
    parser.add_argument("--only", default="", help="rows whose name contains this (a pull needs its appends)")
    options = parser.parse_args()
    uvloop.run(run(options.count, options.sync, options.only))
    sys.exit(0)


if __name__ == "__main__":
    main()
