"""Submissions become facts: reads the SUBMIT stream from its beginning, and never stops at a message it cannot use."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import ContractError, decode
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import Job, JobState, Ticket
from runtime.bus.port import BusError, NotFound
from runtime.telemetry import ERROR, WARNING
from scheduler.policy.decisions import Finish
from scheduler.policy.facts import Submitted
from scheduler.submissions import Entry

if TYPE_CHECKING:
    from collections.abc import Collection

    from job_contracts.tracing import Trace
    from runtime.bus.port import Message
    from scheduler.endings import Endings
    from scheduler.submissions import JobKey
    from scheduler.term import Term

AGAIN = 0.5
"""Seconds until a letter that could not be stored is tried again."""
SKEW = 5.0
"""Seconds by which a producer's clock may be ahead of ours for its submissions to be told from those of a term ago."""
MANY = 10**12
"""More submissions than there are: a standby refuses none."""
H_SIZE = "Nats-Msg-Size"
"""How many bytes a message has whose headers alone were asked for, says the broker."""
LARGEST = 2**40
"""Bytes of a body whose size nobody tells: then the context windows bound what it may cost."""
FRESH = 60.0
"""Seconds: a submission this young, under a random id, cannot be a resubmission of a job that is forgotten already."""


class Intake:
    """Turns each stored submission into an entry and a ``Submitted`` fact, or into a readable refusal."""

    def __init__(self, term: Term, endings: Endings) -> None:
        self._term = term
        self._stream = term.stream(subjects.SUBMIT)
        self._board = term.board
        self._submissions = term.submissions
        self._bodies = term.bodies
        self._background = term.background
        self._clock = term.clock
        self._endings = endings
        self._overflow = term.overflow
        self._followups = term.followups
        self._tracing = term.tracing
        self._odd: dict[int, JobKey | None] = {}
        """Submissions read while standing by that only a leader may answer, by sequence."""

    def on_message(self, message: Message) -> None:
        """One submission, in order; ``data`` is empty when only headers were asked for (replay)."""
        self._read(message, late=False)

    def on_unread(self, message: Message) -> None:
        """One that had been left in the stream until there was room, or until something was asked of it."""
        self._read(message, late=True)

    def _read(self, message: Message, *, late: bool) -> None:
        now = self._clock.monotonic()
        try:
            project, job = subjects.project_and_job(message.subject)
            subjects.check_job_id(job)
        except (ValueError, ContractError):
            self._submissions.hold(message.seq)
            self._set_unreadable_aside(message, "the subject names no job")
            return
        if message.subject.startswith(f"{subjects.PREFIX}.submit_barrier."):
            self._submissions.skip(message.seq, now)
            return
        key = (project, job)
        known = self._submissions.entries.seq(key)
        if known == message.seq:
            return  # it was asked for before its turn
        if not late and known is None and self._stays_unread(project, message.seq, key):
            return
        if late:
            self._overflow.indexed(project)
        if self._submissions.finished(key) or known is not None:
            if known is not None or not self._followups.found(message, key):
                self._submissions.skip(message.seq, now, key)
            if self._term.leads:
                self._term.republish(project, job)
            return
        try:
            self._accept(message, project, job, now, late=late)
        except Exception as error:  # noqa: BLE001 - a bug must cost this job an answer, not its place in memory
            self._give_up(message, project, job, error)
        self._term.wake.set()

    def _stays_unread(self, project: str, seq: int, key: JobKey) -> bool:
        rule = self._term.config.projects.get(project)
        if rule is None or self._submissions.finished(key):
            return False
        left = self._overflow.leaves(project, seq, most=rule.max_queued if self._term.leads else MANY)
        if left:
            self._submissions.leave(seq)
        return left

    def _accept(self, message: Message, project: str, job: str, now: float, *, late: bool = False) -> None:
        try:
            ticket = decode(Ticket, (message.headers or {}).get(subjects.H_TICKET, ""))
        except ContractError as error:
            if self._term.leads:
                self._background.start(self._endings.set_aside(message, self._stream, "unreadable", str(error)))
            self._refuse(message, project, job, None, error)
            return
        if message.data and ticket.blob is None:
            problem = body_problem(message.data, job)
            if problem is not None:
                self._refuse(message, project, job, ticket, problem)
                return
            self._bodies.keep(message.seq, message.data)
        trace = self._tracing.of(message.headers or {}, (project, job), ticket.token)
        self._submissions.add((project, job), self._entry(message.seq, job, ticket, late=late, trace=trace))
        unread = 0 if late else self._overflow.count(project)
        fact = self._fact(message.seq, project, job, ticket, now, unread=unread, size=_size(message, ticket))
        self._board.apply(fact, now)
        if self._term.leads:
            self._term.telemetry.emit("job.queued", project=project, lane=ticket.lane)

    def _entry(self, seq: int, job: str, ticket: Ticket, *, late: bool, trace: Trace | None) -> Entry:
        """What lay unread has to be looked up: its result may have come, and been forgotten, meanwhile."""
        age = self._clock.wall() - ticket.submitted
        before = ticket.submitted < self._term.followed + SKEW  # the term before may have seen it end
        return Entry(
            seq=seq,
            token=ticket.token,
            body_hash=ticket.body_hash,
            submitted=ticket.submitted,
            deadline=ticket.deadline,
            stream=ticket.stream,
            blob=ticket.blob,
            unsure=not subjects.names_one_submission(job) or not -FRESH < age < FRESH or before or late,
            tags=ticket.tags if ticket.blob is not None else {},
            followed=self._followups.due(job, ticket),
            trace=trace,
        )

    def _fact(
        self, seq: int, project: str, job: str, ticket: Ticket, now: float, *, unread: int, size: int
    ) -> Submitted:
        offset = now - self._clock.wall()
        return Submitted(
            project=project,
            job=job,
            seq=seq,
            route=ticket.route,
            lane=ticket.lane,
            priority=ticket.priority,
            submitted=ticket.submitted + offset,
            input_estimate=ticket.input_estimate,
            token=ticket.token,
            body_hash=ticket.body_hash,
            max_output=ticket.max_output,
            deadline=None if ticket.deadline is None else ticket.deadline + offset,
            not_before=None if ticket.not_before is None else ticket.not_before + offset,
            stream=ticket.stream,
            session=ticket.session,
            needs=ticket.needs,
            max_cost=ticket.max_cost,
            counted=self._term.leads,
            unread=unread,
            key=ticket.key,
            bounds=ticket.bounds,
            tags=ticket.tags,
            size=size,
            constraints=ticket.constraints,
        )

    def _give_up(self, message: Message, project: str, job: str, error: Exception) -> None:
        name = type(error).__name__
        self._term.telemetry.emit("intake.failed", ERROR, job_id=job, error=name)
        if self._term.leads:
            self._background.start(self._endings.set_aside(message, self._stream, "invalid", f"internal error: {name}"))
        why = ContractError(f"the scheduler could not take this job in ({name})", remedy="tell the operator")
        self._refuse(message, project, job, None, why)

    def _refuse(self, message: Message, project: str, job: str, ticket: Ticket | None, error: ContractError) -> None:
        """Answer a submission that cannot be run with a failed result that names the field and the remedy."""
        token, body_hash = (ticket.token, ticket.body_hash) if ticket else ("", "")
        if (project, job) not in self._submissions.entries:
            entry = Entry(message.seq, token, body_hash, 0.0, None, stream=False, blob=None, unsure=False)
            self._submissions.add((project, job), entry)
        if not self._term.leads:
            self._odd[message.seq] = (project, job)
            return
        self._endings.write(
            Finish(
                project=project,
                job=job,
                seq=message.seq,
                state=JobState.FAILED,
                failure=refusal(error),
                history=(),
                route=ticket.route if ticket else "",
                token=token,
                body_hash=body_hash,
                submitted=ticket.submitted if ticket else self._clock.wall(),
            )
        )

    def _set_unreadable_aside(self, message: Message, detail: str) -> None:
        """Keep what names no job as a dead letter; it leaves its stream once the letter is stored."""
        if not self._term.leads:
            self._odd[message.seq] = None
            return
        self._term.telemetry.emit("intake.unreadable", WARNING, seq=message.seq)
        self._background.start(self._replace_by_letter(message, detail))

    async def _replace_by_letter(self, message: Message, detail: str) -> None:
        while True:
            try:
                await self._endings.set_aside(message, self._stream, "unreadable", detail)
            except BusError:
                await asyncio.sleep(AGAIN)
            else:
                break
        self._submissions.done(message.seq, self._clock.monotonic())

    def forget(self, first: int, gone: Collection[int]) -> None:
        """The leader there is has dealt with everything below ``first``, and with what is ``gone`` from above it."""
        for seq in [*gone, *(seq for seq in self._odd if seq < first)]:
            self._odd.pop(seq, None)
        self._followups.forget(first, gone)

    async def take_over(self) -> None:
        """This process leads now: answer what had to wait for that, as far as the leader before has not."""
        odd, self._odd = self._odd, {}
        for seq, key in odd.items():
            if key is not None and self._submissions.entries.seq(key) != seq:
                continue  # it has its result
            try:
                message = await self._term.bus.get(self._stream, seq)
            except NotFound:
                if key is None:
                    self._submissions.deleted(seq)  # it is a letter by now
                continue
            self._answer_odd(message)

    def _answer_odd(self, message: Message) -> None:
        try:
            project, job = subjects.project_and_job(message.subject)
            subjects.check_job_id(job)
        except (ValueError, ContractError):
            self._set_unreadable_aside(message, "the subject names no job")
            return
        entry = self._submissions.entries.get((project, job))
        if entry is None or entry.seq != message.seq:
            return  # it has its result
        try:
            self._accept(message, project, job, self._clock.monotonic())
        except Exception as error:  # noqa: BLE001 - as in on_message
            self._give_up(message, project, job, error)


def _size(message: Message, ticket: Ticket) -> int:
    """Bytes of a job's body, which bound what its attempts may cost.

    Nobody's word is taken for it: read by headers, the broker's own count stands last and wins over one that a producer
    has written; of a blob the worker takes no other number of bytes than its reference says.
    """
    if ticket.blob is not None:
        return ticket.blob.size
    if message.data:
        return len(message.data)
    told = (message.headers or {}).get(H_SIZE, "")
    return int(told) if told.isdecimal() else LARGEST


def body_problem(body: bytes, job: str) -> ContractError | None:
    """What is wrong with a submitted body, ``None`` if it can be sent to a worker as it is."""
    try:
        read = decode(Job, body)
    except ContractError as error:
        return error
    if read.id != job:
        return ContractError(
            f"Job: id: the body says {read.id!r:.100}, the subject {job!r}",
            field="id",
            remedy="publish it under its own id",
        )
    return None


def refusal(problem: ContractError) -> Failure:
    """How a job ends that cannot be run."""
    return Failure(
        kind=FailureKind.INVALID_JOB, message=str(problem), field=problem.field or None, remedy=problem.remedy or None
    )
