"""What a leader remembers of the dead letters in DEAD, so that to list or add them up it need not read them all again.

A letter never changes at its place: one that is replaced has a new one. So what was read stays true while it is there,
and two things remain to be seen before each answer: what came behind, and what has gone. The former is read on, the
latter is told by the first place that is left and by how many letters the broker counts.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from dataclasses import dataclass
from itertools import takewhile
from sys import intern
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import encode
from job_contracts.dead import of_project
from job_contracts.letters import failed_at
from runtime.bus.port import BusError
from runtime.telemetry import INFO
from scheduler.letters import Letters
from scheduler.mishaps import tell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from job_contracts.letters import DeadLetter, LetterState
    from runtime.bus.port import StreamState
    from scheduler.term import Term

MOST = 50_000
"""Letters that are remembered, at less than 1 KB each. Where there are more, none is, and each question reads them."""
MAX_READ = 2_000
"""Letters read for one question at most."""
SOME = 200
"""Letters read in one go where nobody waits for it."""
PAUSE, PERIOD = 0.05, 5.0
"""Seconds after such a go, and after the last one."""
BREATH = 25
"""Letters read without letting anything else have its turn: some milliseconds."""
ALL = subjects.letters_of("*")


@dataclass(frozen=True, slots=True)
class Known:
    """A letter as it lies in DEAD, as far as lists and sums ask."""

    seq: int
    project: str
    name: str
    state: LetterState
    fingerprint: str
    route: str
    """Empty for a message that is no job."""
    deployment: str
    """Where it failed last, if anywhere."""
    at: float
    replayable: bool
    told: bytes
    """An ``OfProject``, as answers have it."""


class LetterIndex:
    """Of one term. ``place``: everything up to there is remembered."""

    def __init__(self, term: Term) -> None:
        self._term, self._bus, self._telemetry = term, term.bus, term.telemetry
        self._letters = Letters(term)
        self._known: dict[tuple[str, str], Known] = {}
        """By project and name, in the order of their places."""
        self._reading = asyncio.Lock()
        self.place = 0
        self.full = False
        """Whether there are too many to be remembered."""

    async def run(self) -> None:
        """The leader's duty: read on, so that whoever asks need not wait for what has come since somebody asked."""
        while True:
            try:
                async with self._reading:
                    last = (await self._read_on(SOME)).last_seq
            except BusError as error:
                self._telemetry.emit("letters.read_failed", INFO, error=type(error).__name__)
                last = 0
            except Exception as error:  # noqa: BLE001 - the top of a duty: no letter is worth a term
                tell(self._term, "dead letters", "", error)
                last = 0
            await asyncio.sleep(PAUSE if self.place < last and not self.full else PERIOD)

    async def current(self) -> int:
        """See what has come and what has gone; returns the last place that is taken now.

        Where much has come, ``place`` is nearer: the next question reads on. Raises BusError.
        """
        async with self._reading:
            state = await self._read_on(MAX_READ)
            if self.full or self.place >= state.last_seq:
                await self._check()
            return state.last_seq

    def behind(self, place: int) -> Sequence[Known]:
        """What is remembered behind a place, in order; it stays as it is while it is looked at."""
        known = tuple(self._known.values())
        return known[bisect_right(known, place, key=lambda one: one.seq) :]

    async def read(self, project: str | None, place: int) -> AsyncIterator[Known]:
        """The same read from the broker, of one project or of all; nothing of it is remembered."""
        async for whose, name, letter, seq in self._letters.many(project, place):
            try:
                known = _known(whose, name, letter, seq)
            except Exception as error:  # noqa: BLE001 - one letter that cannot be told is in nobody's way
                tell(self._term, "dead letter", name, error)
            else:
                yield known

    async def _read_on(self, most: int) -> StreamState:
        """Remember further letters, so many at most, up to those that are there now."""
        state = await self._bus.stream_state(subjects.DEAD)
        if state.last_seq < self.place:
            self._forget()  # the stream was made anew
        for one in tuple(takewhile(lambda one: one.seq < state.first_seq, self._known.values())):
            del self._known[one.project, one.name]
        if self.full or self.place >= state.last_seq:
            return state
        read = 0
        async for one in self.read(None, self.place):
            self._known.pop((one.project, one.name), None)  # so that it goes behind all others
            self._known[one.project, one.name] = one
            self.place, read = one.seq, read + 1
            if len(self._known) > MOST:
                self._forget(full=True)
                return state
            if read >= most or self.place >= state.last_seq:
                return state
            if read % BREATH == 0:
                await asyncio.sleep(0)
        self.place = state.last_seq
        return state

    async def _check(self) -> None:
        """Forget what was removed in between: letters whose jobs have an answer after all, and whatever people do."""
        held = await self._bus.count(subjects.DEAD, ALL)
        if held > MOST:
            self._forget(full=True)
        elif self.full:
            self.full = False
        elif held != len(self._known):
            there = (await self._bus.stream_state(subjects.DEAD, subjects=ALL)).subjects or {}
            for key in [key for key in self._known if subjects.dead(*key) not in there]:
                del self._known[key]

    def _forget(self, *, full: bool = False) -> None:
        self._known.clear()
        self.place, self.full = 0, full


def _known(project: str, name: str, letter: DeadLetter, seq: int) -> Known:
    return Known(
        seq=seq,
        project=intern(project),
        name=name,
        state=letter.state,
        fingerprint=intern(letter.fingerprint),
        route=intern(letter.ticket.route if letter.ticket is not None else ""),
        deployment=intern(failed_at(letter) or ""),
        at=letter.at,
        replayable=letter.replayable,
        told=encode(of_project(project, letter, seq, name)),
    )
