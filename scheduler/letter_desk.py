"""The desk's answers about dead letters: a project sees and acts on its own alone; ``-`` are the operator's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import decode, encode
from job_contracts.letters import (
    AllHandled,
    AskDiscard,
    AskLetter,
    AskLetterBody,
    AskLetters,
    AskReplay,
    FoundLetter,
    LetterPage,
    LetterSummary,
    summary,
    wanted,
)
from runtime.bus.port import NotFound
from scheduler.letters import Letters
from scheduler.replaying import Replaying

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from scheduler.term import Term

MAX_READ = 200
"""Letters that are read for one page at most, however few of them belong into it."""
AT_ONCE = 4
"""Questions about letters that are answered at the same time: the leader has other work."""


class LetterDesk:
    """Serves ``letters``, ``letter``, ``letter_body``, ``replay`` and ``discard``."""

    def __init__(self, term: Term) -> None:
        self._bus = term.bus
        self._letters = Letters(term)
        self._replaying = Replaying(term, self._letters)
        self._places = asyncio.Semaphore(AT_ONCE)

    def operations(self) -> Mapping[str, Callable[[str, bytes], Awaitable[bytes]]]:
        """What it answers, by name."""
        answers: dict[str, Callable[[str, bytes], Awaitable[bytes]]] = {
            "letters": self._page,
            "letter": self._one,
            "letter_body": self._body,
            "replay": self._replay,
            "discard": self._discard,
        }
        return {name: self._in_turn(answer) for name, answer in answers.items()}

    def _in_turn(self, answer: Callable[[str, bytes], Awaitable[bytes]]) -> Callable[[str, bytes], Awaitable[bytes]]:
        async def answered(project: str, data: bytes) -> bytes:
            async with self._places:
                return await answer(project, data)

        return answered

    async def _page(self, project: str, data: bytes) -> bytes:
        asked = decode(AskLetters, data)
        last = (await self._bus.stream_state(subjects.DEAD)).last_seq
        until = last if asked.until is None else min(asked.until, last)
        found: list[LetterSummary] = []
        place, read, more = asked.after, 0, False
        async for name, letter, seq in self._letters.after(project, asked.after):
            if seq > until:
                break
            if len(found) >= asked.limit or read >= MAX_READ:
                more = True
                break
            place, read = seq, read + 1
            if wanted(asked, letter):
                found.append(summary(letter, seq, name))
        return encode(LetterPage(letters=tuple(found), after=place, more=more, last=last))

    async def _one(self, project: str, data: bytes) -> bytes:
        job = subjects.check_job_id(decode(AskLetter, data).job)
        found = await self._letters.find(project, job)
        return encode(FoundLetter(letter=found[0] if found is not None else None))

    async def _body(self, project: str, data: bytes) -> bytes:
        asked = decode(AskLetterBody, data)
        found = await self._letters.find(project, subjects.check_job_id(asked.job))
        if found is None or found[0].blob is None or asked.index >= found[0].blob.chunks:
            raise NotFound(f"there is no such piece of a body beside the letter of {asked.job}")
        return await self._letters.piece(project, asked.job, found[0].blob, asked.index)

    async def _replay(self, project: str, data: bytes) -> bytes:
        asked = decode(AskReplay, data)
        jobs = [subjects.check_job_id(job) for job in asked.jobs]
        return encode(AllHandled(handled=await self._replaying.replay(project, jobs, asked.route)))

    async def _discard(self, project: str, data: bytes) -> bytes:
        asked = decode(AskDiscard, data)
        jobs = [subjects.check_job_id(job) for job in asked.jobs]
        return encode(AllHandled(handled=await self._replaying.discard(project, jobs, asked.why)))
