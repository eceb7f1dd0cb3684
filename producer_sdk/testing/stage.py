"""Where the jobs of one project are played: what a scheduler and its workers would do, on timers of the event loop."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, Protocol

from job_contracts.codec import ContractError, Wire, decode, encode
from job_contracts.desk import (
    AskBlob,
    AskChunks,
    AskEstimates,
    AskJobs,
    Estimate,
    Estimates,
    Hello,
    Planned,
    Refusal,
    Statuses,
    Tried,
)
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import LANES, Cancel, Job, JobState, JobStatus, Lane, Ticket
from job_contracts.results import AttemptRecord, Result, Times
from job_contracts.stream import Chunk, Delta, StartDelta
from job_contracts.trials import AskFeedback, TakenFeedback
from producer_sdk.testing.letters import OPERATIONS, StageLetters
from producer_sdk.testing.script import Reply, echo
from producer_sdk.testing.store import StageStore

MAX_MESSAGE = 480 * 1024
MAX_BODY = 4 * 1024 * 1024

Script = Callable[[Job], Reply]
Price = Callable[[Planned], Estimate]


class Publish(Protocol):
    """Tells live listeners: ``tok`` a chunk, ``res`` the result."""

    def __call__(self, kind: Literal["tok", "res"], job: str, data: bytes, /) -> None: ...


@dataclass(slots=True)
class Received:
    """A job as it arrived, and what has become of it."""

    job: Job
    ticket: Ticket
    state: JobState = JobState.QUEUED
    cancelled: Cancel | None = None
    chunks: list[Chunk] = field(default_factory=list)
    """What the store of tokens has of it."""
    told: tuple[int, int] = (0, 0)
    """Generation and sequence of its last chunk."""
    timer: asyncio.TimerHandle | None = None
    expiry: asyncio.TimerHandle | None = None
    attempts: list[AttemptRecord] = field(default_factory=list)


class Stage:
    """All jobs of one project. ``publish`` is called on the event loop of whoever submitted the job."""

    def __init__(
        self,
        project: str,
        publish: Publish,
        *,
        clock: Callable[[], float],
        routes: tuple[str, ...] | None = None,
        lanes: tuple[Lane, ...] = LANES,
        max_message: int = MAX_MESSAGE,
        max_body: int = MAX_BODY,
    ) -> None:
        self.project = project
        self.script: deque[Reply] = deque()
        self.otherwise: Script = echo
        self.received: list[Received] = []
        self.price: Price = lambda _: Estimate(deployment="fake/fake-1", expected=Decimal(), worst=Decimal())
        """What the desk says that jobs would cost."""
        self.held = False
        """Jobs stay queued while this is set; see ``release``."""
        self.scores: dict[str, float] = {}
        """What was said of answers, by job."""
        self.questions: list[str] = []
        """Operations the desk was asked for, in order."""
        self._publish = publish
        self._clock = clock
        self.routes = routes
        """What ``hello`` names; ``None``: the desk keeps silent about it."""
        self._lanes = lanes
        self._max_message = max_message
        self._max_body = max_body
        self.forbids = False
        """Whether the desk says that the project may do nothing."""
        self._open: dict[str, Received] = {}
        self.store = StageStore(max_message=max_message)
        self.letters = StageLetters(project, self.submitted, clock)
        self.letters.routes = routes

    @property
    def finished(self) -> Mapping[str, bytes]:
        """The results' records by job."""
        return self.store.records

    # -- what arrives

    def submitted(self, job_id: str, body: bytes, header: str | None) -> bool:
        """A submission; False if one of that id waits already. One of a finished job is taken and forgotten."""
        if job_id in self._open:
            return False
        if job_id in self.store.records:
            return True
        try:
            ticket = decode(Ticket, header or "")
            job = decode(Job, self.store.body(job_id, ticket.blob) if ticket.blob is not None else body)
        except ContractError as error:
            self._reject(job_id, error)
            return True
        received = self._open[job_id] = Received(job, ticket)
        self.store.follow(job_id, received.chunks)
        self.received.append(received)
        loop = asyncio.get_running_loop()
        if ticket.deadline is not None:
            received.expiry = loop.call_later(max(0.0, ticket.deadline - self._clock()), self._expire, received)
        if self.held:
            received.state = JobState.HELD
        else:
            wait = max(0.0, (ticket.not_before or 0.0) - self._clock())
            received.timer = loop.call_later(wait, self._play, received)
        return True

    def cancelled(self, cancel: Cancel) -> None:
        """A cancel; it counts only with the submission's own token."""
        received = self._open.get(cancel.job)
        if received is not None and received.ticket.token == cancel.token:
            received.cancelled = cancel
            self._finish(received, JobState.CANCELLED, _failure(FailureKind.CANCELLED, cancel.reason), None)

    def refuse(self, received: Received, kind: FailureKind, message: str) -> None:
        """End a job that no provider has been called for."""
        self._finish(received, JobState.FAILED, _failure(kind, message), None)

    def release(self) -> None:
        """Let held jobs go on."""
        self.held = False
        for received in list(self._open.values()):
            if received.state is JobState.HELD:
                self._play(received)

    def close(self) -> None:
        """Stop all timers."""
        for received in self._open.values():
            _stop(received)

    # -- the desk

    def asked(self, operation: str, question: bytes) -> bytes | None:
        """The desk's answer; ``None`` if it keeps silent."""
        self.questions.append(operation)
        try:
            match operation:
                case "hello":
                    return self._hello()
                case "status":
                    return encode(self._statuses(decode(AskJobs, question)))
                case "results":
                    return encode(self.store.results(decode(AskJobs, question)))
                case "chunks":
                    return encode(self.store.stream_after(decode(AskChunks, question)))
                case "blob":
                    return self.store.blob(decode(AskBlob, question))
                case "estimate":
                    return encode(self._estimates(decode(AskEstimates, question)))
                case "feedback":
                    scored = decode(AskFeedback, question)
                    first = scored.job not in self.scores
                    self.scores.setdefault(scored.job, scored.score)
                    return encode(TakenFeedback(job=scored.job, first=first))
                case _ if operation in OPERATIONS:
                    answer = self.letters.asked(operation, question)
                    return answer if isinstance(answer, bytes) else encode(answer)
                case _:
                    return _refusal(FailureKind.BAD_REQUEST, f"unknown operation {operation!r}")
        except ContractError as error:
            return _refusal(FailureKind.BAD_REQUEST, str(error))
        except KeyError:
            return _refusal(FailureKind.BAD_REQUEST, "there is no such thing")

    def _hello(self) -> bytes | None:
        if self.forbids:
            return _refusal(FailureKind.FORBIDDEN, f"there is no project {self.project!r}")
        if self.routes is None:
            return None
        return encode(
            Hello(
                project=self.project,
                routes=self.routes,
                lanes=self._lanes,
                max_message=self._max_message,
                max_body=self._max_body,
                server="fake",
            )
        )

    def _statuses(self, asked: AskJobs) -> Statuses:
        waiting = [received for received in self._open.values() if not received.attempts]
        found: list[JobStatus] = []
        for job in asked.jobs:
            if (received := self._open.get(job)) is not None:
                ticket = received.ticket
                price = self.price(_planned(ticket))
                queued = received.state in (JobState.QUEUED, JobState.HELD)
                found.append(
                    JobStatus(
                        job=job,
                        state=received.state,
                        route=ticket.route,
                        lane=ticket.lane,
                        token=ticket.token,
                        body_hash=ticket.body_hash,
                        submitted=ticket.submitted,
                        attempts=len(received.attempts),
                        position=waiting.index(received) if queued else None,
                        waiting_for="the script" if queued else None,
                        estimated_cost=price.expected,
                        worst_cost=price.worst,
                        deadline=ticket.deadline,
                    )
                )
        finished = tuple(job for job in asked.jobs if job in self.store.records)
        open_ = {job: self._open[job] for job in asked.jobs if asked.attempts and job in self._open}
        tried = (Tried(job=job, attempts=tuple(each.attempts)) for job, each in open_.items() if each.attempts)
        return Statuses(statuses=tuple(found), finished=finished, attempts=tuple(tried))

    def _estimates(self, asked: AskEstimates) -> Estimates:
        known = self.routes
        return Estimates(
            estimates=tuple(
                self.price(job)
                if known is None or job.route in known
                else Estimate(refused=_failure(FailureKind.UNKNOWN_ROUTE, f"there is no route {job.route!r}"))
                for job in asked.jobs
            )
        )

    # -- the play

    def _play(self, received: Received) -> None:
        received.state = JobState.DISPATCHED
        reply = self.script.popleft() if self.script else self.otherwise(received.job)
        self._attempt(received, reply, 0)

    def _attempt(self, received: Received, reply: Reply, index: int) -> None:
        attempt = reply.attempts[index]
        before = reply.attempts[index - 1] if index else None
        start = StartDelta(
            deployment=f"{attempt.provider}/{attempt.model}",
            provider=attempt.provider,
            model=attempt.model,
            switched_from=f"{before.provider}/{before.model}" if before is not None else None,
            reason=before.failure.kind.value if before is not None and before.failure is not None else None,
        )
        deltas: deque[Delta] = deque([start, *attempt.deltas(received.job)])
        after = asyncio.get_running_loop().call_later
        received.timer = after(attempt.delay, self._step, received, reply, index, deltas)

    def _step(self, received: Received, reply: Reply, index: int, deltas: deque[Delta]) -> None:
        attempt = reply.attempts[index]
        received.state = JobState.STREAMING
        while deltas:
            delta = deltas.popleft()
            if received.ticket.stream:
                self._say(received, index + 1, delta)
            if deltas and attempt.pace:
                after = asyncio.get_running_loop().call_later
                received.timer = after(attempt.pace, self._step, received, reply, index, deltas)
                return
        if not attempt.ends:
            return
        received.attempts.append(
            AttemptRecord(
                number=index + 1,
                deployment=f"{attempt.provider}/{attempt.model}",
                provider=attempt.provider,
                model=attempt.model,
                started=self._clock(),
                seconds=0.0,
                failure=attempt.failure,
                usage=attempt.used(received.job),
            )
        )
        if index + 1 < len(reply.attempts):
            self._attempt(received, reply, index + 1)
        else:
            self._finish(received, reply.state, reply.failure, reply)

    def _say(self, received: Received, generation: int, delta: Delta) -> None:
        told, sequence = received.told
        received.told = (generation, sequence + 1 if told == generation else 1)
        chunk = Chunk(generation=generation, sequence=received.told[1], deltas=(delta,))
        received.chunks.append(chunk)
        self._publish("tok", received.job.id, encode(chunk))

    def _expire(self, received: Received) -> None:
        self._finish(received, JobState.EXPIRED, _failure(FailureKind.EXPIRED, "the deadline passed"), None)

    def _finish(self, received: Received, state: JobState, failure: Failure | None, reply: Reply | None) -> None:
        job, ticket = received.job, received.ticket
        if self._open.pop(job.id, None) is None:
            return
        _stop(received)
        received.state = state
        succeeded = reply if reply is not None and state is JobState.SUCCEEDED else None
        result = Result(
            job=job.id,
            project=self.project,
            state=state,
            route=ticket.route,
            token=ticket.token,
            body_hash=ticket.body_hash,
            nonce=secrets.token_hex(8),
            answer=succeeded.answer if succeeded and job.embedding is None else None,
            embeddings=succeeded.embeddings(job) if succeeded else None,
            finish_reason=succeeded.reason if succeeded and job.embedding is None else None,
            usage=succeeded.used(job) if succeeded else received.attempts[-1].usage if received.attempts else _USED,
            cost=reply.cost if reply is not None else None,
            provider=reply.provider if reply is not None else None,
            model=reply.model if reply is not None else None,
            deployment=f"{reply.provider}/{reply.model}" if reply is not None else None,
            attempts=tuple(received.attempts),
            failure=failure,
            times=Times(submitted=ticket.submitted, finished=self._clock()),
            tags=job.tags,
            replay_of=job.replay_of,
        )
        self.letters.ended(job, ticket, state, failure, tuple(received.attempts))
        self._record(job.id, result)

    def _reject(self, job_id: str, error: ContractError) -> None:
        now = self._clock()
        result = Result(
            job=job_id,
            project=self.project,
            state=JobState.FAILED,
            route="",
            token="",
            body_hash="",
            nonce=secrets.token_hex(8),
            failure=Failure(kind=FailureKind.INVALID_JOB, message=str(error), field=error.field, remedy=error.remedy),
            times=Times(submitted=now, finished=now),
        )
        self._record(job_id, result)

    def _record(self, job_id: str, result: Result) -> None:
        self._publish("res", job_id, self.store.record(job_id, result))


_USED = AttemptRecord.model_fields["usage"].default


def _planned(ticket: Ticket) -> Planned:
    return Planned(
        route=ticket.route,
        input_estimate=ticket.input_estimate,
        max_output=ticket.max_output,
        needs=ticket.needs,
    )


def _failure(kind: FailureKind, message: str) -> Failure:
    return Failure(kind=kind, message=message)


def _refusal(kind: FailureKind, message: str) -> bytes:
    refusal: Wire = Refusal(refused=_failure(kind, message))
    return encode(refusal)


def _stop(received: Received) -> None:
    for timer in (received.timer, received.expiry):
        if timer is not None:
            timer.cancel()
