"""Answers producers' questions; each answer goes only to an inbox of the project that asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import ContractError, Wire, decode, encode
from job_contracts.desk import (
    AskBlob,
    AskChunks,
    AskEstimates,
    AskJobs,
    Chunks,
    Estimate,
    Estimates,
    Hello,
    Refusal,
    Results,
    Statuses,
    Tried,
)
from job_contracts.failures import Failure, FailureKind
from job_contracts.results import Result
from job_contracts.stream import Chunk
from runtime.bus.port import BusError, NotFound
from runtime.telemetry import WARNING
from scheduler.dead_desk import DeadDesk
from scheduler.letter_desk import LetterDesk
from scheduler.statuses import status_of, unread_status
from scheduler.trial_desk import TrialDesk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from job_contracts.jobs import JobStatus
    from runtime.bus.port import Message, Subscription
    from scheduler.letter_index import LetterIndex
    from scheduler.operator_desk import OperatorDesk
    from scheduler.term import Term
    from scheduler.trials import Trials

MAX_MESSAGE = 512 * 1024
"""Bytes a submission may have before its body must go as a blob."""
AGAIN = 1.0
"""Seconds after which a question may be asked again that the broker kept us from answering."""
BREATH = 50
"""Jobs estimated without letting anything else have its turn."""
MAX_CHUNKS = 500
"""Chunks in one answer at most."""


class Desk:
    """Serves ``hello``, ``status``, ``results``, ``chunks``, ``blob``, ``estimate``, ``LetterDesk``'s, ``DeadDesk``'s,
    ``TrialDesk``'s and ``OperatorDesk``'s while this process leads.
    """

    def __init__(self, term: Term, version: str, trials: Trials, operators: OperatorDesk, index: LetterIndex) -> None:
        self._term = term
        self._bus = term.bus
        self._version = version
        self._letters, self._dead = LetterDesk(term), DeadDesk(term, index)
        self._trials = TrialDesk(term, trials)
        self._operators = operators
        self._open: list[Subscription] = []

    async def start(self) -> None:
        """Begin to answer."""
        operations: dict[str, Callable[[str, bytes], Awaitable[bytes]]] = {
            "hello": self._hello,
            "status": self._status,
            "results": self._results,
            "chunks": self._chunks,
            "blob": self._blob,
            "estimate": self._estimate,
            **self._letters.operations(),
            **self._dead.operations(),
            **self._trials.operations(),
            **self._operators.operations(),
        }
        for name, answer in operations.items():
            responder = _Responder(self._term, answer)
            self._open.append(await self._bus.respond(subjects.api("*", name), responder.respond, inbox=_inbox))

    async def stop(self) -> None:
        """Stop answering."""
        while self._open:
            await self._open.pop().close()

    async def _hello(self, project: str, _: bytes) -> bytes:
        config = self._term.config
        rules = config.projects.get(project)
        if rules is None:
            return _refused(FailureKind.FORBIDDEN, f"there is no project {project!r}", "ask the operator for a project")
        return encode(
            Hello(
                project=project,
                routes=tuple(sorted(config.routes if rules.routes is None else rules.routes)),
                lanes=rules.lanes,
                max_message=min(MAX_MESSAGE, self._bus.max_payload),
                max_body=config.nats.max_body,
                server=self._version,
            )
        )

    async def _status(self, project: str, data: bytes) -> bytes:
        statuses: list[JobStatus] = []
        finished: list[str] = []
        attempts: list[Tried] = []
        asked = decode(AskJobs, data)
        room = self._bus.max_payload // 2
        for job in asked.jobs:
            status = status_of(self._term, project, subjects.check_job_id(job))
            if status is not None and asked.attempts:
                history = self._term.board.history(project, job)
                room -= sum(len(encode(record)) for record in history)
                if history and room >= 0:
                    attempts.append(Tried(job=job, attempts=history))
            if status is None and self._term.overflow.count(project):
                status = await unread_status(self._term, project, job)
            if status is not None:
                statuses.append(status)
            elif await self._record(project, job) is not None:
                finished.append(job)
        return encode(Statuses(statuses=tuple(statuses), finished=tuple(finished), attempts=tuple(attempts)))

    async def _results(self, project: str, data: bytes) -> bytes:
        records: list[str] = []
        room = int(self._bus.max_payload * 0.8)
        more = False
        for job in decode(AskJobs, data).jobs:
            record = await self._record(project, subjects.check_job_id(job))
            if record is None:
                continue
            room -= len(record)
            if room < 0 and records:
                more = True
                break
            records.append(record.decode())
        return encode(Results(records=tuple(records), more=more))

    async def _record(self, project: str, job: str) -> bytes | None:
        """The result as stored; what a lagging replica does not show yet is asked for again."""
        try:
            return (await self._bus.get_direct(subjects.RES, subjects.result(project, job))).data
        except NotFound:
            return None

    async def _chunks(self, project: str, data: bytes) -> bytes:
        asked = decode(AskChunks, data)
        subject = subjects.tokens(project, subjects.check_job_id(asked.job))
        after = (asked.generation, asked.sequence)
        found: list[Chunk] = []
        room = int(self._bus.max_payload * 0.6)
        seq = 1
        while True:
            try:
                stored = await self._bus.next(subjects.TOK, seq, subject)
            except NotFound:
                return encode(Chunks(chunks=tuple(found)))
            seq = stored.seq + 1
            chunk = decode(Chunk, stored.data)
            if (chunk.generation, chunk.sequence) <= after:
                continue
            room -= len(stored.data)
            if found and (room < 0 or len(found) >= MAX_CHUNKS):
                return encode(Chunks(chunks=tuple(found), more=True))
            found.append(chunk)

    async def _blob(self, project: str, data: bytes) -> bytes:
        asked = decode(AskBlob, data)
        record = await self._record(project, subjects.check_job_id(asked.job))
        ref = decode(Result, record).blob if record is not None else None
        if ref is None:
            raise NotFound(f"{asked.job} has no large result")
        subject = subjects.result_blob(project, asked.job, asked.index, ref.sha256)
        return (await self._bus.get_direct(subjects.BLOB, subject)).data

    async def _estimate(self, project: str, data: bytes) -> bytes:
        """What such jobs would cost now; nothing is reserved, nobody waits for it."""
        board, now = self._term.board, self._term.clock.monotonic()
        found: list[Estimate] = []
        for number, job in enumerate(decode(AskEstimates, data).jobs):
            if number % BREATH == 0:
                await asyncio.sleep(0)
            found.append(board.estimate(project, job, now))
        return encode(Estimates(estimates=tuple(found)))


class _Responder:
    """Puts one operation behind the error border: whatever is asked, there is an answer."""

    def __init__(self, term: Term, answer: Callable[[str, bytes], Awaitable[bytes]]) -> None:
        self._term = term
        self._answer = answer

    async def respond(self, message: Message) -> bytes:
        project = _project(message)
        try:
            return await self._answer(project, message.data)
        except ContractError as error:
            return _refused(FailureKind.BAD_REQUEST, str(error), error.remedy, field=error.field)
        except NotFound:
            return _refused(FailureKind.BAD_REQUEST, "there is no such thing", "check the job id")
        except BusError as error:
            self._term.telemetry.emit("desk.failed", WARNING, error=type(error).__name__)
            return _refused(FailureKind.INTERNAL, "the broker did not answer", "ask again in a moment", again=AGAIN)


def _project(message: Message) -> str:
    return message.subject.split(".")[3]


def _inbox(message: Message) -> tuple[str, ...]:
    """Where an answer may go: the project's own inboxes, or the way back that the broker made between two accounts."""
    return f"{subjects.inbox_prefix(_project(message))}.", subjects.IMPORTED_REPLY


def _refused(kind: FailureKind, message: str, remedy: str, *, field: str = "", again: float | None = None) -> bytes:
    failure = Failure(kind=kind, message=message, remedy=remedy or None, field=field or None, retry_after=again)
    refusal: Wire = Refusal(refused=failure)
    return encode(refusal)
