"""The desk's answers to operators about dead letters of all projects: summed by cause, listed, and handled."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import ContractError, decode, encode
from job_contracts.dead import (
    MAX_NAMES,
    MAX_SAMPLES,
    NOBODY,
    AskCauses,
    AskDeadLetter,
    AskDeadLetters,
    AskHandle,
    Cause,
    Causes,
    DeadLetters,
    FoundDead,
    HandledOf,
    HandledUpTo,
    OfProject,
    cause,
    without_content,
)
from scheduler.letter_index import BREATH, MAX_READ
from scheduler.letters import Letters
from scheduler.operator_desk import operators_alone
from scheduler.replaying import SPEND, Replaying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from job_contracts.letters import Handled
    from runtime.clock import Clock
    from scheduler.letter_index import Known, LetterIndex
    from scheduler.term import Term

MAX_LOOKED = 50_000
"""Remembered letters that are looked at for one answer at most, however few of them belong into it."""
AT_ONCE = 2
"""Questions that are answered at the same time: the leader has other work."""
CAUSE_BYTES = 2_000
"""What a cause takes of an answer at most, without its names."""
LONG_BREATH = 500
"""Remembered letters looked at without letting anything else have its turn: a millisecond or two."""
PATIENCE = 2.0
"""Seconds of one look at most: letters of messages that are no jobs may be large."""


class DeadDesk:
    """Serves ``dead_causes``, ``dead_letters``, ``dead_letter`` and ``dead_handle``."""

    def __init__(self, term: Term, index: LetterIndex) -> None:
        self._bus, self._clock = term.bus, term.clock
        self._letters, self._index = Letters(term), index
        self._replaying = Replaying(term, self._letters)
        self._places = asyncio.Semaphore(AT_ONCE)

    def operations(self) -> Mapping[str, Callable[[str, bytes], Awaitable[bytes]]]:
        """What it answers, by name."""
        answers: dict[str, Callable[[bytes], Awaitable[bytes]]] = {
            "dead_causes": self._causes,
            "dead_letters": self._page,
            "dead_letter": self._one,
            "dead_handle": self._handle,
        }
        return {name: operators_alone(self._in_turn(answer)) for name, answer in answers.items()}

    def _in_turn(self, answer: Callable[[bytes], Awaitable[bytes]]) -> Callable[[bytes], Awaitable[bytes]]:
        async def answered(data: bytes) -> bytes:
            async with self._places:
                return await answer(data)

        return answered

    async def _causes(self, data: bytes) -> bytes:
        look = await self._look(decode(AskCauses, data))
        found: dict[str, _Part] = {}
        room = self._bus.max_payload // 2
        async for one in look.letters():
            room -= found.setdefault(one.fingerprint, _Part()).add(one)
            if room < 0:
                look.stop()
        causes = tuple(part.cause() for part in found.values())
        return encode(Causes(causes=causes, after=look.place, more=look.more, last=look.last))

    async def _page(self, data: bytes) -> bytes:
        asked = decode(AskDeadLetters, data)
        look = await self._look(asked)
        found: list[OfProject] = []
        room = self._bus.max_payload // 2
        async for one in look.letters():
            found.append(decode(OfProject, one.told))
            room -= len(one.told)
            if len(found) >= asked.limit or room < 0:
                look.stop()
        return encode(DeadLetters(letters=tuple(found), after=look.place, more=look.more, last=look.last))

    async def _look(self, asked: AskCauses) -> _Look:
        return _Look(self._index, asked, await self._index.current(), self._clock)

    async def _one(self, data: bytes) -> bytes:
        asked = decode(AskDeadLetter, data)
        found = await self._letters.find(_whose(asked.project), subjects.check_job_id(asked.job))
        if found is None:
            return encode(FoundDead())
        letter, seq = found
        return encode(FoundDead(letter=without_content(letter), seq=seq))

    # -- acting

    async def _handle(self, data: bytes) -> bytes:
        """One letter after the other, so that a leader holds one body at a time, until the time is over."""
        asked, until = decode(AskHandle, data), self._clock.monotonic() + SPEND
        tally = _Tally()
        if asked.job is not None:
            if asked.project is None:
                raise ContractError("a job is one of a project", field="project", remedy="say whose it is")
            project, job = _whose(asked.project), subjects.check_job_id(asked.job)
            tally.count(project, await self._handled(asked, project, job))
            return encode(tally.told(after=asked.until, more=False))
        fields = asked.model_dump(include={"project", "route", "fingerprint", "after", "until"})
        look = await self._look(AskCauses(**fields))
        async for one in look.letters():
            if asked.do == "replay" and not one.replayable:
                continue
            tally.count(one.project, await self._handled(asked, one.project, one.name))
            if tally.seen >= asked.limit or self._clock.monotonic() >= until:
                look.stop()
        return encode(tally.told(after=look.place, more=look.more))

    async def _handled(self, asked: AskHandle, project: str, job: str) -> Handled:
        if asked.do == "replay":
            return (await self._replaying.replay(project, (job,), asked.onto, until=asked.until))[0]
        return (await self._replaying.discard(project, (job,), asked.why, until=asked.until))[0]


@dataclass(slots=True)
class _Part:
    """Letters of one cause, added one by one."""

    count: int = 0
    replayable: int = 0
    first: float = 0.0
    last: float = 0.0
    names: tuple[set[str], set[str], set[str]] = field(default_factory=lambda: (set(), set(), set()))
    """Projects, routes, deployments."""
    newest: Known | None = None

    def add(self, one: Known) -> int:
        """Returns about how many bytes the answer grows by."""
        grown = 0 if self.count else CAUSE_BYTES
        self.first = min(self.first, one.at) if self.count else one.at
        self.last = max(self.last, one.at) if self.count else one.at
        self.count, self.replayable = self.count + 1, self.replayable + one.replayable
        self.newest = one
        for names, name in zip(self.names, (one.project, one.route, one.deployment), strict=True):
            if name and name not in names and len(names) < MAX_NAMES:
                names.add(name)
                grown += len(name.encode("utf-8", "replace"))
        return grown

    def cause(self) -> Cause:
        assert self.newest is not None  # noqa: S101 - something was added
        projects, routes, deployments = (tuple(sorted(names)) for names in self.names)
        sums = {"count": self.count, "replayable": self.replayable, "first": self.first, "last": self.last}
        names = {"projects": projects, "routes": routes, "deployments": deployments}
        return cause(decode(OfProject, self.newest.told)).model_copy(update={**sums, **names})


class _Look:
    """One walk through DEAD, bounded: ``place`` is how far it came, ``more`` whether anything may lie behind it."""

    def __init__(self, index: LetterIndex, asked: AskCauses, last: int, clock: Clock) -> None:
        self._index, self._clock = index, clock
        self._end = clock.monotonic() + PATIENCE
        self._project = None if asked.project is None else _whose(asked.project)
        self._asked = asked
        self._until = last if asked.until is None else min(asked.until, last)
        self._stopped = False
        self.place, self.last, self.more = asked.after, last, False

    def stop(self) -> None:
        """No further than the letter that was told last."""
        self._stopped = True

    async def letters(self) -> AsyncIterator[Known]:
        """Those that are asked for."""
        reads, known = self._index.full, self._index.place
        most, breath = (MAX_READ, BREATH) if reads else (MAX_LOOKED, LONG_BREATH)
        looked = 0
        async for one in self._index.read(self._project, self.place) if reads else self._remembered():
            if one.seq > self._until:
                break
            if self._stopped or looked >= most or (looked and self._clock.monotonic() >= self._end):
                self.more = True
                return
            looked += 1
            if looked % breath == 0:
                await asyncio.sleep(0)
            self.place = one.seq
            if self._wanted(one):
                yield one
        if not reads and known < self._until:  # the rest is not read yet
            self.place, self.more = max(self.place, known), True
        else:
            self.place = max(self.place, self._until)

    async def _remembered(self) -> AsyncIterator[Known]:
        for one in self._index.behind(self.place):
            yield one

    def _wanted(self, one: Known) -> bool:
        asked = self._asked
        return (
            asked.state in ("any", one.state)
            and self._project in (None, one.project)
            and asked.fingerprint in (None, one.fingerprint)
            and asked.route in (None, one.route or None)
        )


class _Tally:
    """What was done so far."""

    def __init__(self) -> None:
        self._done = self._already = self._failed = 0
        self._failures: list[HandledOf] = []

    @property
    def seen(self) -> int:
        return self._done + self._already + self._failed

    def count(self, project: str, handled: Handled) -> None:
        match handled.done:
            case "replayed" | "discarded":
                self._done += 1
            case "already" | "missing":
                self._already += 1
            case _:
                self._failed += 1
                if len(self._failures) < MAX_SAMPLES:
                    self._failures.append(HandledOf(project=project, **dict(handled)))

    def told(self, *, after: int, more: bool) -> HandledUpTo:
        return HandledUpTo(
            done=self._done,
            already=self._already,
            failed=self._failed,
            failures=tuple(self._failures),
            after=after,
            more=more,
        )


def _whose(project: str) -> str:
    """A project as it stands in a subject. Raises ContractError for what can be none."""
    return project if project == NOBODY else subjects.check_token(project, "project")
