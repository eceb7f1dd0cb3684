"""Dead letters of a project: the jobs that were set aside, by cause; submitted again after a repair, or let go."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from job_contracts.codec import ContractError, decode
from job_contracts.jobs import Job
from job_contracts.letters import (
    MAX_HANDLED,
    MAX_LISTED,
    AllHandled,
    AnyState,
    AskDiscard,
    AskLetter,
    AskLetterBody,
    AskLetters,
    AskReplay,
    DeadLetter,
    FoundLetter,
    Handled,
    LetterPage,
    LetterSummary,
)
from producer_sdk.border import refused
from producer_sdk.errors import NotFound, PenstockError, Refused, Unreachable
from producer_sdk.exchange import checked_job
from producer_sdk.handle import JobHandle

if TYPE_CHECKING:
    from producer_sdk.desk import Desk
    from producer_sdk.producer import Producer

T = TypeVar("T")

RATE = 100.0
"""Letters a second at most, unless told otherwise: what is replayed competes with what is submitted meanwhile."""
PATIENCE = 30.0
"""Seconds without any progress (no room in the queue, no answer) until what is left counts as failed."""
PAUSE = 0.5
MOST_FAILURES = 100
"""Failures that a tally tells one by one."""


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """Letters of one cause; ``first`` and ``last`` are UTC seconds, the rest of one of them stands for all."""

    fingerprint: str
    reason: str
    kind: str
    detail: str
    count: int
    replayable: int
    """How many of them hold a job that can be submitted again."""
    first: float
    last: float
    routes: tuple[str, ...]
    deployment: str | None
    sample: str
    """The job of the newest one."""


@dataclass(slots=True)
class Tally:
    """How far a replay or discard of many is."""

    done: int = 0
    """Letters that were replayed, or discarded, by this call."""
    already: int = 0
    """Those that were so before, or whose job has an answer after all."""
    failed: int = 0
    """Those that are as they were; ``failures`` says why."""
    failures: list[Handled] = field(default_factory=list)

    @property
    def seen(self) -> int:
        """Letters looked at."""
        return self.done + self.already + self.failed


class DeadLetters:
    """``producer.dead``. Every method raises Unreachable, Forbidden and Closed as the producer's do."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    # -- looking

    async def page(
        self,
        *,
        after: int = 0,
        until: int | None = None,
        limit: int = MAX_LISTED,
        state: AnyState = "open",
        fingerprint: str | None = None,
        model: str | None = None,
    ) -> LetterPage:
        """One page, oldest first; the next begins at its ``after`` while ``more`` is true.

        ``until`` bounds it by an earlier page's ``last``; ``state`` may be ``any``; ``model`` is the route the
        jobs were submitted to. A page may be short or empty although there is more.
        """
        question = AskLetters(after=after, until=until, limit=limit, state=state, fingerprint=fingerprint, route=model)
        desk = await self._desk()
        return await desk.ask("letters", question, LetterPage)

    async def list(
        self,
        *,
        state: AnyState = "open",
        fingerprint: str | None = None,
        model: str | None = None,
    ) -> AsyncGenerator[LetterSummary, None]:
        """All that there are now, oldest first, drawn page by page."""
        after: int = 0
        until: int | None = None
        while True:
            page = await self.page(after=after, until=until, state=state, fingerprint=fingerprint, model=model)
            for letter in page.letters:
                yield letter
            if not page.more:
                return
            after, until = page.after, page.last if until is None else until

    async def groups(self, *, state: AnyState = "open", model: str | None = None) -> Sequence[LetterGroup]:
        """The letters by cause, most of them first. Reads every letter, and holds one group each in memory."""
        found: dict[str, LetterGroup] = {}
        async for letter in self.list(state=state, model=model):
            found[letter.fingerprint] = _with(found.get(letter.fingerprint), letter)
        return sorted(found.values(), key=lambda group: (-group.count, group.first))

    async def show(self, job: str) -> DeadLetter:
        """One letter with the story of its attempts, without its body. Raises NotFound."""
        desk = await self._desk()
        found = await desk.ask("letter", AskLetter(job=checked_job(job)), FoundLetter)
        if found.letter is None:
            raise _missing(job)
        return found.letter

    async def body(self, job: str) -> Job:
        """The job of an open letter as it was submitted. Raises NotFound if there is none (any more)."""
        letter = await self.show(job)
        if letter.blob is None:
            raise NotFound(f"there is no body beside the dead letter of {job!r}", job=job)
        desk = await self._desk()
        pieces = [
            await desk.ask_bytes("letter_body", AskLetterBody(job=job, index=index))
            for index in range(letter.blob.chunks)
        ]
        try:
            return decode(Job, b"".join(pieces))
        except ContractError as error:
            raise PenstockError(f"the body of the dead letter cannot be read: {error}", job=job) from error

    # -- acting

    async def replay(self, job: str, *, model: str | None = None) -> JobHandle:
        """Submit the letter's job again, as a new job: on ``model``, if that is given. Returns the new job.

        A letter is replayed once: asked again, this returns the job it became. A deadline that has passed is dropped.
        Raises NotFound if there is no such letter, Refused if it cannot be replayed.
        """
        (handled,) = await self._handle((checked_job(job),), AskReplay(jobs=(job,), route=model), "replay")
        return JobHandle(self._producer, handled.became or job)

    async def discard(self, job: str, *, why: str = "") -> None:
        """Close a letter and drop its body; ``why`` stays with it. Asked again, this changes nothing."""
        await self._handle((checked_job(job),), AskDiscard(jobs=(job,), why=why), "discard")

    async def replay_all(
        self,
        *,
        fingerprint: str | None = None,
        model: str | None = None,
        rate: float | None = RATE,
        progress: Callable[[Tally], None] | None = None,
    ) -> Tally:
        """Replay every open letter there is now, or those of one cause; on ``model``, if that is given.

        At most ``rate`` a second (``None``: as fast as it goes); a full queue is waited for. Interrupted, the same call
        goes on where it was: nothing runs twice. ``progress`` is called now and then.
        """
        tally = Tally()

        async def act(desk: Desk, jobs: tuple[str, ...]) -> AllHandled:
            return await desk.ask("replay", AskReplay(jobs=jobs, route=model), AllHandled)

        await self._all(act, tally, fingerprint, rate, progress)
        return tally

    async def discard_all(
        self,
        *,
        fingerprint: str | None = None,
        why: str = "",
        rate: float | None = RATE,
        progress: Callable[[Tally], None] | None = None,
    ) -> Tally:
        """Discard every open letter there is now, or those of one cause. See ``replay_all``."""
        tally = Tally()

        async def act(desk: Desk, jobs: tuple[str, ...]) -> AllHandled:
            return await desk.ask("discard", AskDiscard(jobs=jobs, why=why), AllHandled)

        await self._all(act, tally, fingerprint, rate, progress)
        return tally

    # -- inside

    async def _desk(self) -> Desk:
        exchange = await self._producer._ready()  # noqa: SLF001 - it is a part of the producer
        exchange.check_usable()
        return exchange.desk

    async def _handle(
        self, jobs: tuple[str, ...], question: AskReplay | AskDiscard, operation: str
    ) -> tuple[Handled, ...]:
        desk = await self._desk()
        answer = await desk.ask("replay" if operation == "replay" else "discard", question, AllHandled)
        for handled in answer.handled:
            if handled.done == "missing":
                raise _missing(handled.job)
            if handled.failure is not None:
                raise refused(handled.failure, job=handled.job)
        if len(answer.handled) != len(jobs):
            raise Unreachable(f"the desk did not come to {', '.join(jobs)}", remedy="ask again; nothing runs twice")
        return answer.handled

    async def _all(
        self,
        act: Callable[[Desk, tuple[str, ...]], Awaitable[AllHandled]],
        tally: Tally,
        fingerprint: str | None,
        rate: float | None,
        progress: Callable[[Tally], None] | None,
    ) -> None:
        """Page by page up to what there was at the beginning: what fails again meanwhile is not taken up again."""
        after: int = 0
        until: int | None = None
        while True:
            place, bound = after, until
            page = await _patiently(
                lambda place=place, bound=bound: self.page(  # type: ignore[misc]  # bound now
                    after=place, until=bound, limit=MAX_HANDLED, fingerprint=fingerprint
                )
            )
            await self._part(act, [letter.job for letter in page.letters], tally, rate, progress)
            if not page.more:
                return
            after, until = page.after, page.last if until is None else until

    async def _part(
        self,
        act: Callable[[Desk, tuple[str, ...]], Awaitable[AllHandled]],
        jobs: builtins.list[str],
        tally: Tally,
        rate: float | None,
        progress: Callable[[Tally], None] | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        waiting, moved = dict.fromkeys(jobs), loop.time()
        while waiting:
            asked, began, before = tuple(waiting), loop.time(), len(waiting)
            desk = await self._desk()
            answer = await _patiently(lambda: act(desk, asked))  # noqa: B023 - awaited here
            late = loop.time() - moved > PATIENCE
            for handled in answer.handled:
                later = handled.failure is not None and handled.failure.retry_after is not None
                if handled.job in waiting and (late or not later):
                    del waiting[handled.job]
                    _count(tally, handled)
            if progress is not None:
                progress(tally)
            if len(waiting) < before:
                moved = loop.time()
                await asyncio.sleep(max(0.0, (before - len(waiting)) / rate - (moved - began)) if rate else 0.0)
            else:
                await asyncio.sleep(PAUSE)


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer to a question that may be repeated, through a change of the leader. Raises Unreachable in the end."""
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENCE
    while True:
        try:
            return await ask()
        except (Unreachable, Refused) as error:
            passing = isinstance(error, Unreachable) or error.retry_after is not None
            if not passing or loop.time() >= until:
                raise
            await asyncio.sleep(PAUSE)


def _count(tally: Tally, handled: Handled) -> None:
    match handled.done:
        case "replayed" | "discarded":
            tally.done += 1
        case "already" | "missing":
            tally.already += 1
        case _:
            tally.failed += 1
            if len(tally.failures) < MOST_FAILURES:
                tally.failures.append(handled)


def _with(group: LetterGroup | None, letter: LetterSummary) -> LetterGroup:
    """The group and one more letter, which is the newest."""
    routes = set(group.routes) if group is not None else set()
    return LetterGroup(
        fingerprint=letter.fingerprint,
        reason=letter.reason,
        kind=letter.kind,
        detail=letter.detail,
        count=(group.count if group is not None else 0) + 1,
        replayable=(group.replayable if group is not None else 0) + letter.replayable,
        first=min(group.first, letter.at) if group is not None else letter.at,
        last=max(group.last, letter.at) if group is not None else letter.at,
        routes=tuple(sorted(routes | ({letter.route} if letter.route else set()))),
        deployment=letter.deployment,
        sample=letter.job,
    )


def _missing(job: str) -> NotFound:
    remedy = "list them; a letter is kept for two weeks"
    return NotFound(f"there is no dead letter of {job!r}", job=job, remedy=remedy)
