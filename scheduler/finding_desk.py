"""The desk's answers to operators who look for jobs, look at one, or have many cancelled.

A backlog may be a million jobs, and the leader has other work: a question looks at a bounded number of them, in slices
of a millisecond or two between which everything else has its turn.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import ContractError, decode, encode
from job_contracts.failures import in_our_words
from job_contracts.finding import (
    MAX_TOLD,
    AskCancels,
    AskFind,
    AskJob,
    Cancels,
    FoundJob,
    JobPage,
    JobRow,
)
from job_contracts.jobs import Cancel, Ticket
from job_contracts.results import Result
from runtime.bus.port import BusError, NotFound, Unreachable
from scheduler.letters import Letters
from scheduler.statuses import status_of, unread_status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from job_contracts.finding import Named
    from job_contracts.jobs import JobStatus
    from job_contracts.results import AttemptRecord
    from runtime.bus.port import Message
    from scheduler.entries import Entry
    from scheduler.policy.listing import Listed
    from scheduler.term import Term

MOST = 20_000
"""Jobs looked at for one answer."""
MOST_READ = 1_000
"""Submissions read for one answer, where what is asked for stands only there."""
SLICE, THICK_SLICE = 500, 100
"""Jobs looked at in one go; the latter where each has to be asked what it waits for."""
READ, ROWS = 250, 50
"""Submissions read in one go; rows made in one go."""
WIDE = 2_000
"""Places within which all submissions are read rather than those alone that are wanted: to look for many subjects costs
the broker more than to send some headers that nobody wants.
"""
PATIENCE = 2.0
"""Seconds for those."""
AT_ONCE = 2
"""Such questions that are answered at the same time."""
STORED_AT_ONCE = 50
"""Cancels that are stored at the same time."""


class FindingDesk:
    """Serves ``jobs``, ``job`` and ``cancel_jobs``."""

    def __init__(self, term: Term) -> None:
        self._term = term
        self._letters = Letters(term)
        self._places = asyncio.Semaphore(AT_ONCE)

    def operations(self) -> Mapping[str, Callable[[bytes], Awaitable[bytes]]]:
        """What it answers, by name."""
        return {"jobs": self._jobs, "job": self._job, "cancel_jobs": self._cancel}

    # ------------------------------------------------------------------------------------------------------- looking

    async def _jobs(self, data: bytes) -> bytes:
        asked = decode(AskFind, data)
        if asked.tag is not None and not asked.tag.partition("=")[1]:
            raise ContractError(f"{asked.tag!r} is no tag", field="tag", remedy="write name=value")
        async with self._places:
            found = await self._found(asked)
        term = self._term
        unread = term.overflow.total if asked.project is None else term.overflow.count(asked.project)
        return encode(
            JobPage(
                at=term.clock.wall(),
                jobs=_fitting(sorted(found.rows, key=lambda row: row.place), term.bus.max_payload // 2),
                matching=found.matching,
                looked=found.looked,
                after=found.place,
                more=found.more,
                last=term.submissions.top,
                unread=unread,
            )
        )

    async def _found(self, asked: AskFind) -> _Found:
        term, found = self._term, _Found(_start(asked))
        size = THICK_SLICE if asked.state in {"queued", "held"} else SLICE
        while found.more and found.looked < MOST and found.read < MOST_READ and not found.full(asked):
            rows = READ if _by_ticket(asked) else min(ROWS, asked.limit - len(found.rows)) if asked.limit else 0
            run = term.board.stretch(asked, found.place, term.clock.monotonic(), most=size, rows=rows)
            found.looked, found.place, found.more = found.looked + run.looked, run.place, run.more
            if _by_ticket(asked):
                found.read += len(run.jobs)
                self._sift(asked, found, run.jobs, await self._tickets(run.jobs))
            else:
                found.matching += run.matching
                found.rows += self._rows(run.jobs)
            await asyncio.sleep(0)
        if found.rows and not asked.brief and not _by_ticket(asked):
            found.rows = await self._read(found.rows)
        return found

    def _sift(self, asked: AskFind, found: _Found, jobs: Sequence[Listed], tickets: Mapping[int, Ticket]) -> None:
        """Take those whose submissions say what is wanted; where there are enough of them the look ends."""
        for one in jobs:
            if found.full(asked):
                found.place, found.more = found.rows[-1].place, True
                return
            ticket = tickets.get(one.place)
            if ticket is not None and _wanted(asked, ticket):
                found.matching += 1
                found.rows += [_with(row, ticket) for row in self._rows([one])] if asked.limit else ()

    def _rows(self, jobs: Sequence[Listed]) -> list[JobRow]:
        """Rows of those that have not ended meanwhile."""
        peek = self._term.submissions.entries.peek
        entries = [(one, peek((one.project, one.job))) for one in jobs]
        return [_row(one, entry) for one, entry in entries if entry is not None]

    async def _read(self, rows: Sequence[JobRow]) -> list[JobRow]:
        """The same with what their submissions alone say, as far as they can be read."""
        tickets: dict[int, Ticket] = {}
        with suppress(BusError):  # a list without these is worth more than none
            for start in range(0, len(rows), READ):
                tickets |= await self._tickets(rows[start : start + READ])
        return [_with(row, tickets[row.place]) if row.place in tickets else row for row in rows]

    async def _tickets(self, jobs: Sequence[Listed | JobRow]) -> Mapping[int, Ticket]:
        """The headers of these submissions, by their places; without the bodies."""
        if not jobs:
            return {}
        term, places = self._term, {one.place for one in jobs}
        first, last, found = min(places), max(places), dict[int, Ticket]()

        def heard(message: Message) -> None:
            if message.seq not in places:
                return
            try:
                found[message.seq] = decode(Ticket, (message.headers or {}).get(subjects.H_TICKET, ""))
            except ContractError:
                return  # it is being refused

        whose = {one.project for one in jobs}
        names = [f"{subjects.PREFIX}.q.{term.shard}.{whose.pop() if len(whose) == 1 else '*'}.*.*"]
        if last - first >= WIDE:
            names = [subjects.queued(term.shard, one.project, one.job) for one in jobs]
        stream = term.stream(subjects.SUBMIT)
        tail = await term.bus.tail(stream, heard, subjects=names, start=first, headers_only=True)
        try:
            if not await tail.caught_up(last, timeout=PATIENCE):
                raise Unreachable("the submissions could not be read in time")
        finally:
            await tail.close()
        return found

    # ------------------------------------------------------------------------------------------------------- one job

    async def _job(self, data: bytes) -> bytes:
        asked = decode(AskJob, data)
        project, job = subjects.check_token(asked.project, "project"), subjects.check_job_id(asked.job)
        status = await self._status(project, job)
        ticket = None if status is None else await self._ticket(project, job, status)
        letter = await self._letters.find(project, job)
        result = await self._result(project, job)
        if status is None and result is None and letter is None:
            raise ContractError(f"there is no job {job} of {project}", field="job", remedy="its result may be gone")
        found = FoundJob(
            at=self._term.clock.wall(),
            status=status,
            attempts=() if status is None else quiet(self._term.board.history(project, job)[-MAX_TOLD:]),
            result=result,
            letter=None if letter is None else letter[0].state,
            tags={} if result is None else result.tags,
            replay_of=None if result is None else result.replay_of,
        )
        if ticket is not None:
            told = ("key", "tags", "replay_of", "not_before", "max_cost")
            found = found.model_copy(update={name: getattr(ticket, name) for name in told})
        return encode(found)

    async def _status(self, project: str, job: str) -> JobStatus | None:
        found = status_of(self._term, project, job)
        if found is None and self._term.overflow.count(project):
            return await unread_status(self._term, project, job)
        return found

    async def _ticket(self, project: str, job: str, status: JobStatus) -> Ticket | None:
        stream, subject = self._term.stream(subjects.SUBMIT), subjects.queued(self._term.shard, project, job)
        try:
            stored = await self._term.bus.get_direct(stream, subject)
            ticket = decode(Ticket, (stored.headers or {}).get(subjects.H_TICKET, ""))
        except (NotFound, ContractError):
            return None
        return ticket if ticket.token == status.token else None

    async def _result(self, project: str, job: str) -> Result | None:
        try:
            record = await self._term.bus.get_direct(subjects.RES, subjects.result(project, job))
        except NotFound:
            return None
        return without_content(decode(Result, record.data))

    # ----------------------------------------------------------------------------------------------------- cancelling

    async def _cancel(self, data: bytes) -> bytes:
        """Each is stored by itself, as its producer's own would be: whoever is killed in between has cancelled some."""
        asked = decode(AskCancels, data)
        for one in asked.jobs:
            subjects.check_token(one.project, "project")
            subjects.check_job_id(one.job)
        those = [one for one in asked.jobs if self._is_there(one)]
        reason = f"cancelled by {asked.by}" + (f": {asked.why}" if asked.why else "")
        for start in range(0, len(those), STORED_AT_ONCE):
            some = those[start : start + STORED_AT_ONCE]
            await asyncio.gather(*(self._stored(one, reason) for one in some))
        return encode(Cancels(told=len(those), gone=len(asked.jobs) - len(those)))

    def _is_there(self, one: Named) -> bool:
        """One that is not indexed yet may be: its token tells, when it is read."""
        entry = self._term.submissions.entries.peek((one.project, one.job))
        return entry.token == one.token if entry is not None else self._term.overflow.count(one.project) > 0

    async def _stored(self, one: Named, reason: str) -> None:
        wish = Cancel(job=one.job, token=one.token, reason=reason)
        await self._term.bus.append(subjects.cancel(one.project, one.job), encode(wish))


@dataclass(slots=True)
class _Found:
    """What a look has found so far."""

    place: int
    rows: list[JobRow] = field(default_factory=list)
    matching: int = 0
    looked: int = 0
    read: int = 0
    more: bool = True

    def full(self, asked: AskFind) -> bool:
        """Whether no further row is wanted."""
        return 0 < asked.limit <= len(self.rows)


def _start(asked: AskFind) -> int:
    if asked.before is None:
        return asked.after
    return asked.before if asked.until is None else min(asked.before, asked.until + 1)


def _by_ticket(asked: AskFind) -> bool:
    """Whether submissions have to be read to tell."""
    return asked.key is not None or asked.tag is not None or asked.replay_of is not None


def _wanted(asked: AskFind, ticket: Ticket) -> bool:
    name, _, value = (asked.tag or "").partition("=")
    return (
        (asked.key is None or ticket.key == asked.key)
        and (asked.tag is None or ticket.tags.get(name) == value)
        and (asked.replay_of is None or ticket.replay_of == asked.replay_of)
    )


def _row(one: Listed, entry: Entry) -> JobRow:
    return JobRow(
        place=one.place,
        project=one.project,
        job=one.job,
        token=entry.token,
        state=one.state,
        route=one.route,
        lane=one.lane,
        deployment=one.deployment,
        attempts=one.attempts,
        submitted=entry.submitted,
        deadline=entry.deadline,
        waiting_for=one.waiting_for,
        read=False,
    )


def _with(row: JobRow, ticket: Ticket) -> JobRow:
    told = {"key": ticket.key, "tags": ticket.tags, "replay_of": ticket.replay_of, "read": True}
    return row.model_copy(update=told)


def _fitting(rows: Sequence[JobRow], room: int) -> tuple[JobRow, ...]:
    """The same, those whose producers wrote more into their submissions than one answer has room for without that."""
    told: list[JobRow] = []
    for row in rows:
        size = len(encode(row))
        fits = size <= room
        room -= size if fits else 0
        told.append(row if fits else row.model_copy(update={"key": None, "tags": {}, "replay_of": None, "read": False}))
    return tuple(told)


def without_content(result: Result) -> Result:
    """All of it that tells nothing of what was asked or answered: not a provider's words either."""
    said = result.verification
    return result.model_copy(
        update={
            "answer": None,
            "embeddings": None,
            "failure": None if result.failure is None else in_our_words(result.failure),
            "attempts": quiet(result.attempts),
            "verification": None if said is None else said.model_copy(update={"reason": None}),
        }
    )


def quiet(attempts: tuple[AttemptRecord, ...]) -> tuple[AttemptRecord, ...]:
    """The same, each failure in our words."""
    return tuple(
        one if one.failure is None else one.model_copy(update={"failure": in_our_words(one.failure)})
        for one in attempts
    )
