"""Dead letters acted on: replayed as new jobs, each once however often it is asked for, or discarded.

A replay is three durable steps. The letter is marked with the job it becomes; that job is submitted, under an id made
of the letter; the letter is closed. Whoever comes after a crash between two of them goes on where the mark says, with
the same bytes under the same id, and the broker and the job's result keep a second run out.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import ContractError, decode, encode
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from job_contracts.letters import Handled, replay_of, resubmission
from job_contracts.results import Settlement
from runtime.bus.port import BusError, NotFound, StreamFull, TooLarge, WrongSequence
from runtime.telemetry import INFO
from scheduler.letters import Letters

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from job_contracts.jobs import Ticket
    from job_contracts.letters import DeadLetter, Replay
    from runtime.bus.port import Message
    from scheduler.term import Term

MAX_MESSAGE = 480 * 1024
"""Bytes of a body that travels in its submission; a larger one goes as a blob."""
HEADER_ROOM = 8 * 1024
SPEND = 2.0
"""Seconds one question may take; what is left is asked for again."""
ROOM = 100
"""Places a project's queue must have left: what was replayed a moment ago may not be counted yet."""
WAIT = 1.0
"""Seconds after which a full queue may have room."""
LAST = 2**63 - 1
"""No bound of places."""
SURE = 0.9
"""Share of a result's life in which its absence proves that a job has not run."""


class Unfit(Exception):
    """It cannot be done, for a reason a person can read."""

    def __init__(self, kind: FailureKind, message: str, remedy: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.failure = Failure(kind=kind, message=message, remedy=remedy, retry_after=retry_after)


class Replaying:
    """Replays and discards letters of one project at a time. Raises BusError only before anything was done."""

    def __init__(self, term: Term, letters: Letters) -> None:
        self._term = term
        self._bus = term.bus
        self._clock = term.clock
        self._letters = letters
        self._submit = term.stream(subjects.SUBMIT)

    async def replay(
        self, project: str, jobs: Sequence[str], route: str | None, *, until: int = LAST
    ) -> tuple[Handled, ...]:
        """Each of them as a new job, on ``route`` if one is named; one that lies behind ``until`` counts as missing,
        unless its replay is begun: that is what moved it there.
        """

        async def one(job: str) -> Handled:
            return await self._replay(project, job, route, until)

        return await self._each(jobs, one)

    async def discard(self, project: str, jobs: Sequence[str], why: str, *, until: int = LAST) -> tuple[Handled, ...]:
        """Close them without a replay; one that lies behind ``until`` counts as missing."""

        async def one(job: str) -> Handled:
            return await self._discard(project, job, why, until)

        return await self._each(jobs, one)

    async def _each(self, jobs: Sequence[str], act: Callable[[str], Awaitable[Handled]]) -> tuple[Handled, ...]:
        """One after the other, so that a leader holds one body at a time, until the time is over."""
        until = self._clock.monotonic() + SPEND
        done: list[Handled] = []
        for job in dict.fromkeys(jobs):
            if done and self._clock.monotonic() >= until:
                break
            done.append(await self._answered(job, act))
            await asyncio.sleep(0)
        return tuple(done)

    @staticmethod
    async def _answered(job: str, act: Callable[[str], Awaitable[Handled]]) -> Handled:
        try:
            return await act(job)
        except Unfit as error:
            return Handled(job=job, done="refused", failure=error.failure)
        except WrongSequence:
            words = "somebody else acted on this letter at the same moment"
            return Handled(job=job, done="refused", failure=_later(words))
        except BusError as error:
            words = f"the broker did not confirm it ({type(error).__name__})"
            return Handled(job=job, done="refused", failure=_later(words))

    # -- replay

    async def _replay(self, project: str, job: str, route: str | None, until: int) -> Handled:
        found = await self._letters.find(project, job)
        if found is None or (found[1] > until and found[0].replay is None):
            return Handled(job=job, done="missing")
        letter, seq = found
        if letter.state == "replayed" and letter.replay is not None:
            return Handled(job=job, done="already", became=letter.replay.job)
        if letter.state == "discarded":
            raise Unfit(FailureKind.BAD_REQUEST, "this letter was discarded", "submit the job anew")
        if letter.ticket is None or letter.blob is None:
            raise Unfit(FailureKind.BAD_REQUEST, "this letter holds no job that could be replayed", "discard it")
        if await self._has_answer(letter):
            await self._letters.withdraw(project, job, letter.token)
            return Handled(job=job, done="already", became=job)
        begun = letter.replay
        if begun is None:
            self._check(project, letter, route)
            begun = replay_of(letter, route, self._clock.wall())
            letter = letter.model_copy(update={"replay": begun})
            seq = await self._letters.replace(letter, job, seq)
        await self._submitted(project, letter, begun)
        await self._letters.close(letter.model_copy(update={"state": "replayed"}), project, job, seq)
        self._term.telemetry.emit("letter.replayed", INFO, reason=letter.reason)
        return Handled(job=job, done="replayed", became=begun.job)

    def _check(self, project: str, letter: DeadLetter, route: str | None) -> None:
        """What the intake would refuse, refused while there is still a letter."""
        config, ticket = self._term.config, letter.ticket
        rules = config.projects.get(project)
        name = route or (ticket.route if ticket is not None else "")
        lane = ticket.lane if ticket is not None else ""
        if rules is None:
            raise Unfit(FailureKind.FORBIDDEN, f"there is no project {project!r}", "ask the operator for a project")
        if name not in config.routes or (rules.routes is not None and name not in rules.routes):
            allowed = ", ".join(sorted(config.routes if rules.routes is None else rules.routes))
            raise Unfit(FailureKind.UNKNOWN_ROUTE, f"there is no route {name!r} here", f"use one of: {allowed}")
        if lane not in rules.lanes:
            words = f"project {project!r} may not use lane {lane!r} any more"
            raise Unfit(FailureKind.FORBIDDEN, words, "ask the operator for the lane")
        queued = self._term.board.unfinished(project) + self._term.overflow.count(project)
        if queued + min(ROOM, rules.max_queued // 10) >= rules.max_queued:
            words = f"project {project!r} has as many unfinished jobs as it may have"
            raise Unfit(FailureKind.QUEUE_FULL, words, "replay when some have finished", retry_after=WAIT)

    async def _submitted(self, project: str, letter: DeadLetter, begun: Replay) -> None:
        """Return when the new job is durable, has ended, or both."""
        if await self._last(subjects.RES, subjects.result(project, begun.job)) is not None:
            return
        if await self._last(self._submit, subjects.queued(self._term.shard, project, begun.job)) is not None:
            return
        if self._clock.wall() - begun.at > SURE * self._term.config.nats.result_ttl:
            # It may have run, and its result may have gone since. Nobody can tell any more; a person must.
            words = f"its replay {begun.job} was begun so long ago that its result may be gone"
            raise Unfit(FailureKind.BAD_REQUEST, words, "look at the job's body, submit it anew, and discard this")
        self._check(project, letter, begun.route)  # it may have been begun under another configuration
        data, ticket = await self._made(project, letter, begun)
        try:
            if len(data) > min(MAX_MESSAGE, self._bus.max_payload - HEADER_ROOM):
                ref = await self._bus.put_blob(f"{project}.{begun.job}", data, of="job")
                data, ticket = b"", ticket.model_copy(update={"blob": ref})
            traced = {
                name: said for name, said in letter.headers.items() if name in {subjects.H_TRACE, subjects.H_STATE}
            }
            headers = {subjects.H_TICKET: encode(ticket).decode(), **traced}
            await self._bus.append(subjects.submit(project, begun.job), data, headers=headers, expect_last=0)
        except WrongSequence:
            return
        except StreamFull as error:
            raise Unfit(FailureKind.QUEUE_FULL, "the queue is full", "replay later", retry_after=WAIT) from error
        except TooLarge as error:
            raise Unfit(FailureKind.BAD_REQUEST, "the body is larger than the broker takes", "discard it") from error

    async def _made(self, project: str, letter: DeadLetter, begun: Replay) -> tuple[bytes, Ticket]:
        assert letter.blob is not None  # noqa: S101 - looked at by the caller
        try:
            body = await self._letters.body(project, letter.job, letter.blob)
            return resubmission(letter, begun, body)
        except NotFound as error:
            words = "the body of this letter is no longer there"
            raise Unfit(FailureKind.BAD_REQUEST, words, "submit the job anew, and discard this letter") from error
        except ContractError as error:
            raise Unfit(FailureKind.INVALID_JOB, f"the body is no job: {error}", "discard it") from error

    async def _has_answer(self, letter: DeadLetter) -> bool:
        """Whether an attempt that was given up for lost brought the job's answer after the letter was written."""
        record = await self._last(subjects.RES, subjects.result(letter.project, letter.job))
        if record is None:
            return False
        try:
            settlement = decode(Settlement, (record.headers or {}).get(subjects.H_SETTLEMENT, ""))
        except ContractError:
            return False
        return settlement.state is JobState.SUCCEEDED and settlement.token == letter.token

    async def _last(self, stream: str, subject: str) -> Message | None:
        try:
            return await self._bus.last(stream, subject)
        except NotFound:
            return None

    # -- discard

    async def _discard(self, project: str, job: str, why: str, until: int) -> Handled:
        found = await self._letters.find(project, job)
        if found is None or found[1] > until:
            return Handled(job=job, done="missing")
        letter, seq = found
        if letter.state != "open":
            return Handled(job=job, done="already", became=letter.replay.job if letter.replay is not None else None)
        closed = letter.model_copy(update={"state": "discarded", "why": why})
        await self._letters.close(closed, project, job, seq)
        self._term.telemetry.emit("letter.discarded", INFO, reason=letter.reason)
        return Handled(job=job, done="discarded")


def _later(words: str) -> Failure:
    return Failure(kind=FailureKind.INTERNAL, message=words, remedy="ask again; nothing runs twice", retry_after=WAIT)
