"""Job bodies at hand: what the tail brought is kept for a dispatch soon to come, the rest is read on demand."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from job_contracts import subjects
from runtime.bus.port import NotFound

if TYPE_CHECKING:
    from runtime.bus.port import Bus

CACHE = 64 * 1024 * 1024
"""Bytes of bodies kept at most."""


class Bodies:
    """A bounded cache of submitted bodies by their sequence, in front of the SUBMIT stream."""

    def __init__(self, bus: Bus, shard: int, *, limit: int = CACHE) -> None:
        self._bus = bus
        self._stream = subjects.stream_name(subjects.SUBMIT, shard)
        self._limit = limit
        self._held: OrderedDict[int, bytes] = OrderedDict()
        self._size = 0

    def keep(self, seq: int, body: bytes) -> None:
        """Hold a body; when there are too many bytes, the newest stay out (the oldest are dispatched first)."""
        if self._size + len(body) <= self._limit:
            self._held[seq] = body
            self._size += len(body)

    def drop(self, seq: int) -> None:
        """The job is on its way or over."""
        body = self._held.pop(seq, None)
        if body is not None:
            self._size -= len(body)

    def at_hand(self, seq: int) -> bytes | None:
        """The body if it is held."""
        return self._held.get(seq)

    async def read(self, seq: int) -> bytes | None:
        """The body from its stream; ``None`` if the submission is no longer there. Raises BusError."""
        try:
            return (await self._bus.get(self._stream, seq)).data
        except NotFound:
            return None
