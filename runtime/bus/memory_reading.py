"""How the memory bus reads: tails that go on where they were, and pullers of durable consumers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING

from runtime.bus.memory_store import MemoryStream, Stored
from runtime.bus.port import ConsumerState, Handler, Message, NotFound, Unreachable

if TYPE_CHECKING:
    from runtime.bus.memory import MemoryBus

log = logging.getLogger(__name__)


def guarded(handler: Handler, message: Message) -> None:
    """Call a handler, and report what it should not have raised."""
    try:
        handler(message)
    except Exception:  # a handler's bug is reported, and must not stop what comes after it
        log.exception("bus.handler", extra={"subject": message.subject, "seq": message.seq})


class MemoryTail:
    """See ``port.Tail``."""

    def __init__(
        self,
        bus: MemoryBus,
        stream: MemoryStream,
        handler: Handler,
        *,
        subjects: Sequence[str],
        start: int,
        headers_only: bool,
    ) -> None:
        self.stream = stream
        self._bus = bus
        self._handler = handler
        self._subjects = tuple(subjects) or (">",)
        self._headers_only = headers_only
        self._position = max(start, 1) - 1
        self._seen = self._position
        self._scheduled = False
        self._closed = False
        self._context = copy_context()
        self._moved = asyncio.Event()

    @property
    def position(self) -> int:
        return self._position

    def pump_soon(self) -> None:
        """Hand over what is new when the loop comes round."""
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self._bus.hand_over(self._pump, self._context)

    def _pump(self) -> None:
        self._scheduled = False
        if self._closed or not self._bus.connected:
            return
        for stored in self._new():
            guarded(self._handler, stored.message(headers_only=self._headers_only))
            self._position = stored.seq
        self._seen = self.stream.last_seq
        self._moved.set()

    def _new(self) -> Iterator[Stored]:
        return self.stream.after(max(self._position, self._seen) + 1, self._subjects)

    async def caught_up(self, seq: int, *, timeout: float) -> bool:
        try:
            async with asyncio.timeout(timeout):
                while max(self._position, self._seen) < seq:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        self._closed = True
        self._bus.forget(self)


class MemoryDelivery:
    """See ``port.Delivery``."""

    def __init__(self, puller: MemoryPuller, message: Message) -> None:
        self._puller = puller
        self.message = message

    async def ack(self) -> None:
        self._puller.answer(self.message.seq, "ack")

    async def ack_confirmed(self, *, within: float) -> bool:
        return self._puller.answer(self.message.seq, "ack")

    async def in_progress(self) -> None:
        self._puller.answer(self.message.seq, "progress")


class MemoryPuller:
    """See ``port.Puller``."""

    def __init__(self, bus: MemoryBus, stream: str, durable: str) -> None:
        self.stream = stream
        self._bus = bus
        self._durable = durable
        self._woken = asyncio.Event()
        self._closed = False

    async def fetch(self, limit: int, *, expires: float) -> Sequence[MemoryDelivery]:
        try:
            async with asyncio.timeout(expires):
                while not self._closed:
                    self._woken.clear()
                    found = self._deliver(limit)
                    if found:
                        return [MemoryDelivery(self, message) for message in found]
                    await self._woken.wait()
        except TimeoutError:
            pass
        return []

    async def state(self) -> ConsumerState:
        if not self._bus.connected:
            raise Unreachable(f"{self._durable}: not connected")
        return self._bus.broker.stream(self.stream).consumer_state(self._durable)

    async def close(self) -> Sequence[MemoryDelivery]:
        self._closed = True
        self.wake()
        return []

    def wake(self) -> None:
        """There may be something."""
        self._woken.set()

    def answer(self, seq: int, word: str) -> bool:
        """Acknowledge or extend; False if it did not arrive."""
        bus = self._bus
        stream = bus.broker.streams.get(self.stream)
        if not bus.connected or stream is None:
            return False
        if bus.faults.acks_lost > 0:
            bus.faults.acks_lost -= 1
            return False
        (stream.ack if word == "ack" else stream.progress)(self._durable, seq)
        return True

    def _deliver(self, limit: int) -> list[Message]:
        if not self._bus.connected:
            return []
        try:
            return self._bus.broker.stream(self.stream).deliver(self._durable, limit)
        except NotFound:
            return []
