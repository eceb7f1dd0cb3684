"""Stores what became of an attempt: the job's one result, an outcome, or a dead letter.

A write whose fate is unknown is read back and repeated until it is known (rules R10 of the fence): a result is
create-only and carries its writer's nonce, so whoever finds it knows whose it is; an outcome names its attempt, and
never takes the place of a later attempt's.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum

from job_contracts import subjects
from job_contracts.attempts import Outcome
from job_contracts.codec import ContractError, decode, encode
from job_contracts.letters import DeadLetter
from job_contracts.results import Result, Settlement
from job_contracts.tracing import Trace
from runtime.bus.port import (
    AlreadyStored,
    Bus,
    BusError,
    NotFound,
    Refused,
    StreamFull,
    TooLarge,
    Unreachable,
    WrongSequence,
)
from runtime.clock import Clock
from runtime.telemetry import ERROR, WARNING, Telemetry
from workers.records import pointer_of

__all__ = ["Reporter", "Stored"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
HEADROOM = 512
"""Bytes of a message that belong to the protocol."""


class Stored(Enum):
    """What became of a write."""

    OURS = "ours"
    """It is stored."""
    THEIRS = "theirs"
    """Another record was there first; nothing of ours is visible."""
    UNKNOWN = "unknown"
    """The broker did not answer in all the time we had."""
    TOO_LARGE = "too_large"
    """Not even a record without its answer fits into a message: nothing is stored, and nothing would ever be."""


class Reporter:
    """Writes one pool's reports. ``persist``: seconds to go on trying; ``sleep`` waits, a test may hold it.

    ``ttl``: seconds a result is kept, ``None`` for ever.
    """

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        telemetry: Telemetry,
        *,
        shard: int,
        persist: float,
        sleep: Callable[[float], Awaitable[object]],
        ttl: int | None = None,
    ) -> None:
        self._bus, self._clock, self._telemetry = bus, clock, telemetry
        self._shard, self._persist, self._sleep = shard, persist, sleep
        self._ttl = ttl
        self._stream = subjects.stream_name(subjects.OUT, shard)

    async def result(self, result: Result, settlement: Settlement, *, trace: Trace | None = None) -> Stored:
        """Make ``result`` the job's one visible end, unless another record is there already, or it fits nowhere."""
        headers = {subjects.H_SETTLEMENT: encode(settlement).decode()}
        if trace is not None:
            headers |= trace.headers
        data = encode(result)
        subject = subjects.result(result.project, result.job)

        async def write() -> None:
            payload = await self._in_blob(result, data) if self._too_large(data, headers) else data
            try:
                await self._bus.append(subject, payload, headers=headers, expect_last=0, ttl=self._ttl)
            except TooLarge:
                pointer = await self._in_blob(result, data)
                await self._bus.append(subject, pointer, headers=headers, expect_last=0, ttl=self._ttl)

        async def look() -> Stored | None:
            there = await self._bus.last(subjects.RES, subject)
            return Stored.OURS if _nonce(there.data) == result.nonce else Stored.THEIRS

        return await self._until_known("result", write, look, exclusive=True)

    async def outcome(self, outcome: Outcome) -> Stored:
        """Tell the leader how an attempt ended that did not write the job's result.

        The subject keeps one outcome, so it must not be an older one than is there: ``THEIRS`` if this attempt, or a
        later one of the same submission, has its outcome already. Its worker was held to be lost then.
        """
        subject = subjects.outcome(self._shard, outcome.project, outcome.job_id, hedge=outcome.hedge)
        data = encode(outcome)
        last = 0

        async def write() -> None:
            await self._bus.append(subject, data, expect_last=last)

        async def look() -> Stored | None:
            nonlocal last
            last = 0
            there = await self._bus.last(self._stream, subject)
            if there.data == data:
                return Stored.OURS
            if _is_as_new(there.data, outcome):
                return Stored.THEIRS
            last = there.seq
            return None

        if outcome.history:  # the outcome of the attempt before it lies there, most likely
            try:
                seen = await look()
            except BusError:
                seen = None  # the write finds out
            if seen is not None:
                return seen
        return await self._until_known("outcome", write, look)

    async def dead_letter(self, letter: DeadLetter) -> Stored:
        """Set a message aside for the operator to look at; the job it was about is the leader's to end, or to repeat.
        May be stored twice if the broker does not answer.
        """
        subject = subjects.unreadable(letter.stream, letter.seq)
        data = encode(letter)

        async def write() -> None:
            await self._bus.append(subject, data)

        async def look() -> Stored | None:
            return None

        return await self._until_known("dead_letter", write, look)

    async def _until_known(
        self,
        what: str,
        write: Callable[[], Awaitable[None]],
        look: Callable[[], Awaitable[Stored | None]],
        *,
        exclusive: bool = False,
    ) -> Stored:
        """Write, and after anything but a clear answer look and write again, until ``persist`` seconds are over.

        ``exclusive``: a refusal of the very first write means that somebody else was there first; what is too large
        is not tried again, unless a write of unknown fate came before.
        """
        until = self._clock.monotonic() + self._persist
        pause, first, sure = _FIRST_PAUSE, True, True
        while True:
            try:
                await write()
            except BusError as error:
                if exclusive and first and isinstance(error, WrongSequence | AlreadyStored):
                    return Stored.THEIRS
                if exclusive and sure and isinstance(error, TooLarge):
                    self._telemetry.emit("report.given_up", ERROR, what=what)
                    return Stored.TOO_LARGE
                sure = sure and isinstance(error, Refused | Unreachable)
                severity = ERROR if isinstance(error, StreamFull) else WARNING
                self._telemetry.emit("report.retried", severity, what=what, error=type(error).__name__)
            else:
                self._telemetry.emit(f"{what}.stored")
                return Stored.OURS
            first = False
            seen: Stored | None = None
            looked = False
            while not looked:
                if self._clock.monotonic() >= until:
                    self._telemetry.emit("report.given_up", ERROR, what=what)
                    return Stored.UNKNOWN
                await self._sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, _LONGEST_PAUSE)
                try:
                    seen, looked = await look(), True
                except NotFound:
                    looked = True  # as far as a read can know: write again, create-only keeps it single
                except BusError:
                    continue
            if seen is not None:
                return seen

    def _too_large(self, data: bytes, headers: Mapping[str, str]) -> bool:
        more = sum(len(name) + len(value.encode()) + 4 for name, value in headers.items())
        return len(data) + more + HEADROOM > self._bus.max_payload

    async def _in_blob(self, result: Result, data: bytes) -> bytes:
        """Put the whole record where there is room; returns the record that points there."""
        blob = await self._bus.put_blob(f"{result.project}.{result.job}", data, of="result")
        self._telemetry.emit("result.blob_stored", job=result.job)
        return encode(pointer_of(result, blob))


def _is_as_new(data: bytes, ours: Outcome) -> bool:
    try:
        there = decode(Outcome, data)
    except ContractError:
        return False
    return there.token == ours.token and there.record.number >= ours.record.number


def _nonce(data: bytes) -> str | None:
    try:
        return decode(Result, data).nonce
    except ContractError:
        return None  # another version's record: not ours
