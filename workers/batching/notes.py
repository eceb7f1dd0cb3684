"""What is written down of a batch before it is made, so that whoever takes over finds it; one message each in BATCHES.

A note is replaced only by who has read the one before: two workers cannot both take a batch over.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from job_contracts import subjects
from job_contracts.codec import VERSION, ContractError, Version, Wire, decode, encode
from runtime.bus.port import BusError, NotFound, StreamFull, TooLarge, WrongSequence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runtime.bus.port import Bus, Message

__all__ = ["Kept", "Note", "Notes"]

T = TypeVar("T")

PERSIST = 30.0
"""Seconds to go on trying while the broker does not answer."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0


class Note(Wire):
    """One batch at a provider, from the moment before it is made until the last of its jobs is answered for."""

    version: Version = VERSION
    key: str
    """Chosen by us; in the ids of the batch's requests, and in its metadata where it has any."""
    pool: str
    worker: str
    """Who cares for it; empty: nobody, whoever comes first may."""
    path: str
    """What its requests ask for."""
    at: float
    """UTC seconds when it was first written."""
    seqs: tuple[int, ...]
    """Where the assignments lie in WORK, in the order of the batch's requests."""
    batch: str = ""
    """The provider's name of it, once that is known."""


class Notes:
    """One pool's notes. Raises BusError where nothing else is said."""

    def __init__(self, bus: Bus, pool: str) -> None:
        self._bus, self._pool = bus, pool

    async def write(self, note: Note, *, seen: int) -> int:
        """Store a note in place of that of sequence ``seen`` (0: of none); its own sequence. Raises WrongSequence."""
        subject, data = subjects.batch_sent(self._pool, note.key), encode(note)

        async def write() -> int:
            return (await self._bus.append(subject, data, expect_last=seen)).seq

        try:
            return await _patiently(write)
        except WrongSequence:
            last = await _patiently(lambda: self._bus.last(subjects.BATCHES, subject))
            if last.seq > seen and last.data == data:
                return last.seq  # our own, whose answer was lost
            raise

    async def remove(self, seq: int) -> None:
        """The batch is over, and all its jobs have been answered for."""
        await _patiently(lambda: self._bus.delete(subjects.BATCHES, seq))

    async def all(self) -> list[tuple[int, Note]]:
        """Every note with its sequence."""
        subject, seq = subjects.batch_sent(self._pool, "*"), 1
        found: list[tuple[int, Note]] = []
        while True:
            try:
                message = await self._bus.next(subjects.BATCHES, seq, subject)
            except NotFound:
                return found
            seq = message.seq + 1
            try:
                found.append((message.seq, decode(Note, message.data)))
            except ContractError:
                continue  # a newer version's: its own workers care for it


class Kept:
    """An assignment that outlives the broker's patience and its worker: it is acknowledged by being removed.

    It is delivered once, so an acknowledgement hours later, or by another worker, would mean nothing to the broker.
    """

    __slots__ = ("_bus", "_stream", "message")

    def __init__(self, bus: Bus, stream: str, message: Message) -> None:
        self._bus, self._stream = bus, stream
        self.message = message

    async def ack(self) -> None:
        await self._bus.delete(self._stream, self.message.seq)

    async def ack_confirmed(self, *, within: float) -> bool:
        try:
            async with asyncio.timeout(within):
                await _patiently(lambda: self._bus.delete(self._stream, self.message.seq), within)
        except (BusError, TimeoutError):
            return False
        return True

    async def in_progress(self) -> None:
        pass


async def _patiently(work: Callable[[], Awaitable[T]], within: float = PERSIST) -> T:
    """Do it, and again while the broker gives no clear answer."""
    loop = asyncio.get_running_loop()
    until, pause = loop.time() + within, _FIRST_PAUSE
    while True:
        try:
            return await work()
        except (WrongSequence, NotFound, StreamFull, TooLarge):
            raise
        except BusError:
            if loop.time() + pause >= until:
                raise
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
