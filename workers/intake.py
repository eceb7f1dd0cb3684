"""Reads what a pool is handed: an assignment, or a value that says why it is none. Pure."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import Any

from pydantic_core import from_json

from job_contracts import subjects
from job_contracts.attempts import Assignment, Outcome
from job_contracts.codec import ContractError, check, decode
from job_contracts.failures import Failure, FailureKind
from job_contracts.fingerprints import fingerprint, plain
from job_contracts.jobs import Job
from job_contracts.letters import DeadLetter
from job_contracts.results import AttemptRecord
from runtime.bus.port import Message

__all__ = ["InvalidJob", "Readable", "Unreadable", "dead_letter", "outcome_of_unreadable", "read", "read_job"]

MAX_LETTER = 256 * 1024
"""Bytes of a message that are kept in its dead letter."""


@dataclass(frozen=True, slots=True)
class Readable:
    """An assignment; its job is in it, or lies in a blob."""

    assignment: Assignment


@dataclass(frozen=True, slots=True)
class InvalidJob:
    """The assignment is in order, the job its producer wrote is not."""

    assignment: Assignment
    failure: Failure


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Not an assignment we can act on; ``project`` and ``job`` are the subject's, ``fields`` whatever could be read."""

    project: str
    job: str
    detail: str
    fingerprint: str
    fields: dict[str, Any]


def read(message: Message, pool: str) -> Readable | InvalidJob | Unreadable:
    """What a message of ``pool``'s work subject holds."""
    try:
        assignment = decode(Assignment, message.data)
    except ContractError as error:
        return _what_is_wrong(message, error)
    project, job = subjects.project_and_job(message.subject)
    if (assignment.project, assignment.job_id) != (project, job):
        return _unreadable(message, "project or job_id is not the subject's", assignment.model_dump(exclude={"job"}))
    if assignment.provider != pool:
        return _unreadable(message, "provider is not this pool's", assignment.model_dump(exclude={"job"}))
    if (assignment.job is None) == (assignment.blob is None):
        return _unreadable(message, "not exactly one of job and blob", assignment.model_dump(exclude={"job"}))
    if assignment.job is not None and assignment.job.id != job:
        return InvalidJob(assignment, _wrong_id())
    return Readable(assignment)


def read_job(assignment: Assignment, body: bytes) -> Job | Failure:
    """The job whose body came from a blob."""
    if assignment.blob is not None and sha256(body).hexdigest() != assignment.blob.sha256:
        return Failure(kind=FailureKind.INVALID_JOB, message="the job's body is not what its reference describes")
    try:
        job = decode(Job, body)
    except ContractError as error:
        return _invalid(error)
    return job if job.id == assignment.job_id else _wrong_id()


def _wrong_id() -> Failure:
    words = "the body names another job than the subject it was submitted on"
    return Failure(kind=FailureKind.INVALID_JOB, message=words, field="id", remedy="submit under the job's own id")


def _invalid(error: ContractError) -> Failure:
    field = error.field.removeprefix("job.") or None
    return Failure(kind=FailureKind.INVALID_JOB, message=str(error), field=field, remedy=error.remedy or None)


def _what_is_wrong(message: Message, error: ContractError) -> InvalidJob | Unreadable:
    try:
        fields = from_json(message.data)
    except ValueError:
        return _unreadable(message, str(error), {})
    if not isinstance(fields, dict):
        return _unreadable(message, str(error), {})
    job = fields.pop("job", None)
    if job is not None and error.field.partition(".")[0] == "job":
        try:
            return InvalidJob(check(Assignment, fields), _invalid(error))
        except ContractError as deeper:
            error = deeper
    return _unreadable(message, str(error), fields)


def _unreadable(message: Message, detail: str, fields: dict[str, Any]) -> Unreadable:
    project, job = subjects.project_and_job(message.subject)
    return Unreadable(project, job, detail, fingerprint("assignment", plain(detail)), fields)


def dead_letter(message: Message, found: Unreadable, *, stream: str, at: float) -> DeadLetter:
    """The message set aside, with why, so that a person can look at it."""
    return DeadLetter(
        project=found.project,
        job=found.job,
        reason="unreadable",
        detail=found.detail,
        fingerprint=found.fingerprint,
        at=at,
        stream=stream,
        seq=message.seq,
        headers=dict(message.headers or {}),
        body=base64.b64encode(message.data[:MAX_LETTER]).decode(),
    )


def outcome_of_unreadable(found: Unreadable, *, pool: str, worker: str, at: float) -> Outcome | None:
    """What the scheduler can be told of it; ``None`` if not even the attempt can be named (it will be missed)."""
    fields = found.fields
    number = fields.get("attempt")
    if not isinstance(number, int) or isinstance(number, bool):
        return None
    failure = Failure(kind=FailureKind.INTERNAL, message=f"the assignment cannot be read here: {found.detail}")
    texts = {name: str(fields.get(name) or "") for name in ("token", "body_hash", "deployment", "provider", "model")}
    record = AttemptRecord(
        number=number,
        deployment=texts["deployment"],
        provider=texts["provider"],
        model=texts["model"],
        started=at,
        seconds=0.0,
        failure=failure,
        cost=Decimal(0),
    )
    return Outcome(
        job_id=found.job,
        project=found.project,
        token=texts["token"],
        body_hash=texts["body_hash"],
        pool=pool,
        worker=worker,
        record=record,
        failure=failure,
        called=False,
    )
