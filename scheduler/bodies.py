"""Job bodies at hand: what the tail brought is kept for a dispatch soon to come, the rest is read when it is needed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from job_contracts import subjects
from runtime.bus.port import BusError, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runtime.bus.port import Bus

CACHE = 64 * 1024 * 1024
"""Bytes of bodies kept at most."""
AHEAD = 16 * 1024 * 1024
"""Bytes kept at most of what was read together with what was needed."""
LONGEST = 256
"""Messages read with one request at most."""
WORTH = 2
"""A run is read at once if at least every second of its messages is needed: the broker pays the same for a message of a
run as for one that is asked for by itself (27 us), the scheduler a fourth (15 us, not 65)."""


class Bodies:
    """A bounded cache of submitted bodies by their sequence, in front of the SUBMIT stream."""

    def __init__(self, bus: Bus, shard: int, *, limit: int = CACHE) -> None:
        self._bus = bus
        self._stream = subjects.stream_name(subjects.SUBMIT, shard)
        self._limit = limit
        self._held: OrderedDict[int, bytes] = OrderedDict()
        self._size = 0
        self._ahead: OrderedDict[int, bytes] = OrderedDict()
        self._ahead_size = 0

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
        self._take_ahead(seq)

    def at_hand(self, seq: int) -> bytes | None:
        """The body if it is held."""
        return self._held.get(seq)

    async def read_ahead(self, seqs: Iterable[int]) -> None:
        """Read what is needed in runs, where it lies close together: with a backlog a batch's bodies mostly do.

        Whatever is missing afterwards, for whatever reason, is left to ``read``. Never raises.
        """
        wanted = sorted(seq for seq in seqs if seq not in self._held and seq not in self._ahead)
        runs = [(first, last) for first, last, needed in _runs(wanted) if needed > 1]
        await asyncio.gather(*(self._read_run(first, last) for first, last in runs))

    async def _read_run(self, first: int, last: int) -> None:
        try:
            while first <= last:
                found = await self._bus.run(self._stream, first, limit=last - first + 1)
                for message in found:
                    self._keep_ahead(message.seq, message.data)
                if not found:
                    return
                first = found[-1].seq + 1
        except BusError:
            return

    def _keep_ahead(self, seq: int, body: bytes) -> None:
        self._take_ahead(seq)
        self._ahead[seq] = body
        self._ahead_size += len(body)
        while self._ahead_size > AHEAD:
            _, oldest = self._ahead.popitem(last=False)
            self._ahead_size -= len(oldest)

    def _take_ahead(self, seq: int) -> bytes | None:
        body = self._ahead.pop(seq, None)
        if body is not None:
            self._ahead_size -= len(body)
        return body

    async def read(self, seq: int) -> bytes | None:
        """The body as it is stored, unchecked; ``None`` if the submission is certainly no longer there.

        Raises BusError, NotFound where it is not found, and nothing proves that the answering node is new enough (R4).
        """
        ahead = self._take_ahead(seq)
        if ahead is not None:
            return ahead
        try:
            return (await self._bus.get(self._stream, seq)).data
        except NotFound:
            if await self._gone(seq):
                return None
            raise

    async def _gone(self, seq: int) -> bool:
        """Whether one answer shows a stream that has passed ``seq`` and does not hold it."""
        state = await self._bus.stream_state(self._stream)
        if state.first_seq > seq and state.last_seq >= seq:
            return True
        return (await self._bus.next(self._stream, seq, ">")).seq > seq


def _runs(seqs: list[int]) -> Iterator[tuple[int, int, int]]:
    """First and last of each run worth reading at once, and how many of the (ascending) ``seqs`` lie in it."""
    start = 0
    for place in range(1, len(seqs) + 1):
        if place < len(seqs) and seqs[place] - seqs[start] < LONGEST and seqs[place] - seqs[place - 1] <= WORTH:
            continue
        yield seqs[start], seqs[place - 1], place - start
        start = place
