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
    of_project,
    without_content,
)
from job_contracts.letters import AskLetters, failed_at, wanted
from scheduler.letters import Letters
from scheduler.operator_desk import operators_alone
from scheduler.replaying import SPEND, Replaying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from job_contracts.letters import DeadLetter, Handled
    from runtime.clock import Clock
    from scheduler.term import Term

MAX_READ = 2_000
"""Letters that are looked at for one answer at most, however few of them belong into it."""
AT_ONCE = 2
"""Questions that are answered at the same time: the leader has other work."""
CAUSE_BYTES = 2_000
"""What a cause takes of an answer at most, without its names."""
BREATH = 50
"""Letters read without letting anything else have its turn."""
PATIENCE = 2.0
"""Seconds of one look at most: letters of messages that are no jobs may be large."""


class DeadDesk:
    """Serves ``dead_causes``, ``dead_letters``, ``dead_letter`` and ``dead_handle``."""

    def __init__(self, term: Term) -> None:
        self._bus, self._clock = term.bus, term.clock
        self._letters = Letters(term)
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
            room -= found.setdefault(one.letter.fingerprint, _Part()).add(one)
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
            letter = one.told()
            found.append(letter)
            room -= len(encode(letter))
            if len(found) >= asked.limit or room < 0:
                look.stop()
        return encode(DeadLetters(letters=tuple(found), after=look.place, more=look.more, last=look.last))

    async def _look(self, asked: AskCauses) -> _Look:
        last = (await self._bus.stream_state(subjects.DEAD)).last_seq
        return _Look(self._letters, asked, last, self._clock)

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
            if asked.do == "replay" and not one.letter.replayable:
                continue
            tally.count(one.project, await self._handled(asked, one.project, one.name))
            if tally.seen >= asked.limit or self._clock.monotonic() >= until:
                look.stop()
        return encode(tally.told(after=look.place, more=look.more))

    async def _handled(self, asked: AskHandle, project: str, job: str) -> Handled:
        if asked.do == "replay":
            return (await self._replaying.replay(project, (job,), asked.onto, until=asked.until))[0]
        return (await self._replaying.discard(project, (job,), asked.why, until=asked.until))[0]


@dataclass(frozen=True, slots=True)
class _Found:
    """A letter as it lies in DEAD."""

    project: str
    name: str
    letter: DeadLetter
    seq: int

    def told(self) -> OfProject:
        return of_project(self.project, self.letter, self.seq, self.name)


@dataclass(slots=True)
class _Part:
    """Letters of one cause, added one by one."""

    count: int = 0
    replayable: int = 0
    first: float = 0.0
    last: float = 0.0
    names: tuple[set[str], set[str], set[str]] = field(default_factory=lambda: (set(), set(), set()))
    """Projects, routes, deployments."""
    newest: _Found | None = None

    def add(self, one: _Found) -> int:
        """Returns about how many bytes the answer grows by."""
        letter, grown = one.letter, 0 if self.count else CAUSE_BYTES
        self.first = min(self.first, letter.at) if self.count else letter.at
        self.last = max(self.last, letter.at) if self.count else letter.at
        self.count, self.replayable = self.count + 1, self.replayable + letter.replayable
        self.newest = one
        route = letter.ticket.route if letter.ticket is not None else ""
        for names, name in zip(self.names, (one.project, route, failed_at(letter)), strict=True):
            if name and name not in names and len(names) < MAX_NAMES:
                names.add(name)
                grown += len(name.encode("utf-8", "replace"))
        return grown

    def cause(self) -> Cause:
        assert self.newest is not None  # noqa: S101 - something was added
        projects, routes, deployments = (tuple(sorted(names)) for names in self.names)
        sums = {"count": self.count, "replayable": self.replayable, "first": self.first, "last": self.last}
        names = {"projects": projects, "routes": routes, "deployments": deployments}
        return cause(self.newest.told()).model_copy(update={**sums, **names})


class _Look:
    """One walk through DEAD, bounded: ``place`` is how far it came, ``more`` whether anything may lie behind it."""

    def __init__(self, letters: Letters, asked: AskCauses, last: int, clock: Clock) -> None:
        self._letters, self._clock = letters, clock
        self._end = clock.monotonic() + PATIENCE
        self._project = None if asked.project is None else _whose(asked.project)
        self._asked = AskLetters(state=asked.state, fingerprint=asked.fingerprint, route=asked.route)
        self._until = last if asked.until is None else min(asked.until, last)
        self._stopped = False
        self.place, self.last, self.more = asked.after, last, False

    def stop(self) -> None:
        """No further than the letter that was told last."""
        self._stopped = True

    async def letters(self) -> AsyncIterator[_Found]:
        """Those that are asked for."""
        read = 0
        async for project, name, letter, seq in self._all():
            if seq > self._until:
                break
            if self._stopped or read >= MAX_READ or (read and self._clock.monotonic() >= self._end):
                self.more = True
                return
            read += 1
            if read % BREATH == 0:
                await asyncio.sleep(0)
            self.place = seq
            if wanted(self._asked, letter):
                yield _Found(project, name, letter, seq)
        self.place = max(self.place, self._until)

    def _all(self) -> AsyncIterator[tuple[str, str, DeadLetter, int]]:
        return self._letters.many(self._project, self.place)


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
