"""Load for an HTTP edge from a process of its own that costs little: bare asyncio protocols that only look for ends.

    python -m benchmarks.edge_load '{"url": …}'        (see ``Order``); used by benchmarks.edge

It says ``begin`` when what it measures begins and ``end`` when that is over, so that whoever started it can look at
the CPU of what is measured, and then one line of JSON (``Found``). Bodies are not parsed: an answer is whole when its
length or the last chunk is there, an event is ``data: ``, and the first token is the first text that is not empty.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from time import perf_counter  # the loop's own clock stands still for up to a millisecond
from typing import Any
from urllib.parse import urlsplit

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_TEXT = re.compile(rb'"content": ?"[^"]')
_END = b"\r\n0\r\n\r\n"
_EVENT = b"data: "
PATIENCE = 60.0
"""Seconds that the last answers may take once the time is over."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to send, to whom, and how much of it."""

    url: str
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 5.0
    warm: float = 1.0
    """Seconds before the measuring begins."""
    in_flight: int = 64
    """Connections with one request each, the next one as soon as it is answered; where ``rate`` is given: at most."""
    rate: float = 0.0
    """Requests a second, each at its moment whatever became of the others; 0: as ``in_flight`` says."""
    spread: float = 0.0
    """Seconds over which the connections begin."""
    count: int = 0
    """End after so many answers instead of ``seconds``."""


@dataclass(frozen=True, slots=True)
class Found:
    """What came of it. Latencies in milliseconds, by percentile."""

    done: int
    failed: int
    seconds: float
    events: int
    whole: dict[str, float]
    """From the request to the end of its answer."""
    first: dict[str, float]
    """From the request to the first text of its answer."""
    why: str = ""
    """The beginning of an answer that was no success."""


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.transport: asyncio.Transport | None = None
        self.begun = 0.0
        self.first = 0.0
        self.head = b""
        self.left = -1
        """Bytes of the body to come; -1 where its end is a chunk."""
        self.tail = b""
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def ask(self, begun: float) -> None:
        """Send the request."""
        self.begun, self.first, self.head, self.tail, self.busy = begun, 0.0, b"", b"", True
        if self.transport is not None:
            self.transport.write(self.load.request)

    def data_received(self, data: bytes) -> None:
        if not self.busy:
            return
        if not self.head.endswith(b"\r\n\r\n"):
            head, found, data = (self.head + data).partition(b"\r\n\r\n")
            self.head = head + found
            if not found:
                return
            length = _LENGTH.search(head)
            self.left = int(length.group(1)) if length else -1
        if self.left >= 0:
            self.left -= len(data)
            if self.left <= 0:
                self._ended(data)
            return
        seen = self.tail + data
        self.load.events += seen.count(_EVENT)
        if not self.first and _TEXT.search(seen):
            self.first = perf_counter()
        self.tail = seen[-7:].rpartition(_EVENT)[2] if _EVENT in seen[-7:] else seen[-7:]
        if seen.endswith(_END):
            self._ended(data)

    def _ended(self, data: bytes) -> None:
        self.busy = False
        good = self.head.startswith(b"HTTP/1.1 200")
        if not good:
            self.load.why = self.load.why or (self.head[:40] + data[:300]).decode("latin-1")
        if _CLOSES.search(self.head) and self.transport is not None:
            self.transport.close()
        self.load.answered(self, good=good)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.busy:
            self.busy = False
            self.load.why = self.load.why or f"the connection ended: {exc}"
            self.load.answered(self, good=False)


class Load:
    """Carries out one order."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.loop = asyncio.get_running_loop()
        parts = urlsplit(order.url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        body = json.dumps(order.body).encode()
        lines = {
            "host": parts.netloc,
            "content-type": "application/json",
            "content-length": str(len(body)),
            **order.headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.request = f"POST {parts.path} HTTP/1.1\r\n{head}\r\n".encode() + body
        self.events = self._done = self._failed = 0
        self.why = ""
        self._measuring = False
        self._until = 0.0
        self._whole: list[float] = []
        self._first: list[float] = []
        self._idle: deque[_Connection] = deque()
        self._open = 0
        self._over = asyncio.Event()
        self._all_idle = asyncio.Event()
        self._tasks: set[asyncio.Future[Any]] = set()

    async def run(self) -> Found:
        """Warm up, measure, wait for the last answers."""
        order = self.order
        began = perf_counter()
        self._until = began + order.warm + order.spread + (order.seconds if not order.count else 1e9)
        going = asyncio.ensure_future(self._paced() if order.rate else self._closed())
        await asyncio.sleep(order.warm + order.spread)
        self._say("begin")
        self.events, self._measuring, began = 0, True, perf_counter()
        if order.count:
            await self._over.wait()
        else:
            await asyncio.sleep(order.seconds)
        took = perf_counter() - began
        done, failed, events = self._done, self._failed, self.events
        self._say("end")
        self._until, self._measuring = 0.0, bool(order.rate)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):  # nothing is left behind for the next measurement
                await going
                await asyncio.gather(*self._tasks)
                if self._open > len(self._idle):
                    await self._all_idle.wait()
        if order.rate:  # the answers to what was asked in time count however late they come
            done, failed = self._done, self._failed
        return Found(done, failed, took, events, _percentiles(self._whole), _percentiles(self._first), self.why)

    async def _closed(self) -> None:
        pause = self.order.spread / max(1, self.order.in_flight)
        for _ in range(self.order.in_flight):
            if not self._until:
                return
            await self._ask(perf_counter)
            if pause:
                await asyncio.sleep(pause)

    async def _paced(self) -> None:
        began, index = perf_counter(), 0
        while (moment := began + index / self.order.rate) < self._until:
            index += 1
            if (pause := moment - perf_counter()) > 0:
                await asyncio.sleep(pause)
            if self._idle:
                self._idle.popleft().ask(moment)
            else:
                task = asyncio.ensure_future(self._ask(lambda moment=moment: moment))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _ask(self, moment: Any) -> None:
        self._open += 1
        _, connection = await self.loop.create_connection(lambda: _Connection(self), self._host, self._port)
        connection.ask(moment())

    def answered(self, connection: _Connection, *, good: bool) -> None:
        """A connection has its answer, or lost it."""
        now = perf_counter()
        if self._measuring:
            self._done += good
            self._failed += not good
            if good:
                self._whole.append(now - connection.begun)
                if connection.first:
                    self._first.append(connection.first - connection.begun)
            if self.order.count and self._done + self._failed >= self.order.count:
                self._over.set()
        if not self.order.rate and now < self._until:
            self._again(connection)
            return
        self._keep(connection)
        if not self._until and self._open == len(self._idle):
            self._all_idle.set()

    def _keep(self, connection: _Connection) -> None:
        if connection.transport is None or connection.transport.is_closing():
            self._open -= 1
        else:
            self._idle.append(connection)

    def _again(self, connection: _Connection) -> None:
        if connection.transport is not None and not connection.transport.is_closing():
            connection.ask(perf_counter())
            return
        self._open -= 1
        task = asyncio.ensure_future(self._ask(perf_counter))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _say(self, word: str) -> None:
        sys.stdout.write(f"{word}\n")
        sys.stdout.flush()


def _percentiles(values: list[float]) -> dict[str, float]:
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=1000)
    return {"p50": cuts[499] * 1000, "p99": cuts[989] * 1000}


def main() -> None:
    """Carry out the order in the first argument."""

    async def carried_out() -> Found:
        return await Load(Order(**json.loads(sys.argv[1]))).run()

    sys.stdout.write(json.dumps(asdict(uvloop.run(carried_out()))) + "\n")


if __name__ == "__main__":
    main()
