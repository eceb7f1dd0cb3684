"""Reads along while another process leads, so that whoever takes over knows the queue already.

A standby tails what is queued and what has ended, hears the workers, and applies it to the same board that it will lead
with. It decides nothing and writes nothing; what only a leader may do (answer an unreadable submission, remove a blob)
waits in ``term.odd`` or is left to the leader there is.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import encode
from job_contracts.operating import ToldStandby
from runtime.bus.port import BusError
from runtime.telemetry import INFO

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from runtime.bus.port import Handler, Message, Subscription, Tail
    from scheduler.leadership import LeaseRecord
    from scheduler.lifeline import Lifeline
    from scheduler.term import Term

FOLLOW = 1.0
"""Seconds between two looks at what the leader has removed."""
AGAIN = 0.5
"""Seconds until a stream that could not be opened is tried again."""


class Standby:
    """One candidate's reading; ``look`` begins it, ``close`` ends it. Both are safe at any time, and twice."""

    def __init__(
        self,
        term: Term,
        lifeline: Lifeline,
        *,
        on_submission: Handler,
        on_result: Handler,
        on_removed: Callable[[int, Collection[int]], None],
        on_open: Callable[[], Awaitable[None]],
    ) -> None:
        self._term = term
        self._lifeline = lifeline
        self._on_submission = on_submission
        self._on_result = on_result
        self._on_removed = on_removed
        self._on_open = on_open
        self._record: LeaseRecord | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()
        self._beats: Subscription | None = None
        self._there: Subscription | None = None
        """Says to whoever asks that somebody stands by."""
        self._submissions: Tail | None = None
        """What is queued, headers alone."""
        self._results: Tail | None = None
        """What has ended, headers alone, from the leader's settled cursor on."""

    def look(self, record: LeaseRecord | None) -> None:
        """The lease was looked at, and this is what it said; the first look begins the reading."""
        self._record = record
        if self._reading is None:
            self._term.submissions.begin(0 if record is None else record.settled)
            if record is not None:  # else nobody has ever led: there is nothing that was not read
                self._term.followed = self._term.clock.wall()
            self._reading = asyncio.get_running_loop().create_task(self._read(), name="standby")

    async def opened(self) -> tuple[Tail, Tail]:
        """The lease is ours: the readings of what has ended, and of what is queued. Raises BusError if one cannot be.

        Workers are overheard until ``answered``: those that were called a moment ago may beat only now.
        """
        await self._end_reading()
        await self._open()
        if self._there is not None:
            await self._there.close()
        assert self._results is not None  # noqa: S101 - _open
        assert self._submissions is not None  # noqa: S101 - _open
        return self._results, self._submissions

    async def answered(self) -> None:
        """Whoever leads answers the workers from now on: they are not overheard any more."""
        beats, self._beats = self._beats, None
        if beats is not None:
            await beats.close()

    async def close(self) -> None:
        """Read no more."""
        await self._end_reading()
        for reading in (self._submissions, self._results, self._beats, self._there):
            if reading is not None:
                await reading.close()
        self._submissions = self._results = self._beats = self._there = None

    async def _end_reading(self) -> None:
        """Never cancelled within a step: a tail that is half open would go on reading."""
        self._ending.set()
        if self._reading is not None:
            await asyncio.wait({self._reading})

    async def _read(self) -> None:
        """Until it is to end: open what is not open yet, then forget what the leader has removed."""
        while not self._ending.is_set():
            pause = FOLLOW
            try:
                await self._open()
                await self._follow()
                await self._on_open()
            except BusError as error:
                self._term.telemetry.emit("standby.interrupted", INFO, error=type(error).__name__)
                pause = AGAIN
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._ending.wait()

    async def _open(self) -> None:
        bus, term = self._term.bus, self._term
        if self._results is None:
            start = term.submissions.last_result + 1
            self._results = await bus.tail(subjects.RES, self._on_result, start=start, headers_only=True)
        if self._submissions is None:
            stream = term.stream(subjects.SUBMIT)
            self._submissions = await bus.tail(stream, self._on_submission, headers_only=True)
        if self._beats is None:
            self._beats = await bus.subscribe(subjects.heartbeat("*", "*"), self._lifeline.overhear)
            await self._lifeline.call_up()
        if self._there is None and not self._ending.is_set():
            self._there = await bus.respond(subjects.standing_by(term.shard), self._say_there)
        await term.figures.follow(bus, term.shard)

    async def _follow(self) -> None:
        settled = 0 if self._record is None else self._record.settled
        state = await self._term.bus.stream_state(self._term.stream(subjects.SUBMIT))
        gone = self._term.submissions.follow(settled, state.first_seq)
        self._on_removed(state.first_seq, gone)
        self._lifeline.forget_silent()

    async def _say_there(self, message: Message) -> bytes:
        owner = self._term.lease.owner
        if not message.data:  # an older console's question
            return owner.encode()
        return encode(ToldStandby(owner=owner, configured=self._term.configured))
