"""Dead letters: what is kept of a job or message that was set aside, and what may be asked about it at the desk.

A letter is the one message on its job's subject in DEAD. The job's body lies beside it, in pieces (``letter_body``), so
that a letter is small to list and a body may have any size. It is ``open`` until it is replayed or discarded; then it
stays, without its body, and says what became of it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic_core import from_json, to_json

from job_contracts.codec import VERSION, ContractError, Version, Wire, decode
from job_contracts.failures import Failure, FailureKind
from job_contracts.followups import follows
from job_contracts.jobs import BlobRef, Job, JobState, Lane, Ticket, body_hash
from job_contracts.problems import brief
from job_contracts.results import AttemptRecord
from job_contracts.subjects import REPLAY_STEM, replay_job_id

Reason = Literal["poison", "unreadable", "invalid", "exhausted"]
LetterState = Literal["open", "replayed", "discarded"]
AnyState = Literal["open", "replayed", "discarded", "any"]

MAX_LISTED = 100
"""Letters in one answer at most."""
MAX_HANDLED = 50
"""Letters one ``replay`` or ``discard`` may name."""
MAX_HISTORY = 20
"""Attempts a letter tells, the last ones."""


class Replay(Wire):
    """The job a letter was replayed as. Written before that job is submitted, so what was begun can be finished."""

    job: str
    route: str
    at: float
    """UTC seconds."""


class DeadLetter(Wire):
    """Why a job or a message was set aside, with enough to find and replay it."""

    version: Version = VERSION
    project: str
    job: str
    """Empty where no job could be named."""
    reason: Reason
    detail: str
    fingerprint: str
    """The same for letters of the same cause."""
    at: float
    """UTC seconds."""
    stream: str = ""
    seq: int = 0
    attempts: int = 0
    headers: dict[str, str] = Field(default_factory=dict)
    body: str = ""
    """The beginning of a message that is no job, base64, for a person to look at."""
    state: LetterState = "open"
    failure: Failure | None = None
    ticket: Ticket | None = None
    """The job's own, as it was submitted; ``None`` for a message that is no job."""
    history: tuple[AttemptRecord, ...] = ()
    """Its attempts, the last ones if there were very many."""
    blob: BlobRef | None = None
    """The job's body beside the letter; without one there is nothing to replay."""
    kept_until: float | None = None
    """UTC seconds until which its body is kept, if the store does not run full before."""
    replay: Replay | None = None
    """What it was replayed as, or is being; the new job's ticket names this one in ``replay_of``."""
    closed: float | None = None
    """UTC seconds at which it was replayed or discarded."""
    why: str = ""
    """The reason given for discarding it."""

    @property
    def token(self) -> str:
        """Of the submission it is about: it tells a letter from one of a later job under the same id."""
        return self.ticket.token if self.ticket is not None else ""

    @property
    def replayable(self) -> bool:
        """Whether it holds a job that can be submitted again."""
        return self.state == "open" and self.ticket is not None and self.blob is not None


class LetterSummary(Wire):
    """A letter in a list."""

    job: str
    seq: int
    """Its place in the list: pages go on after it."""
    state: LetterState
    reason: Reason
    kind: str = ""
    """The kind of failure, where one ended the job."""
    detail: str
    fingerprint: str
    at: float
    route: str = ""
    lane: Lane | None = None
    deployment: str | None = None
    """Where it failed last."""
    attempts: int = 0
    size: int = 0
    """Bytes of its body."""
    replayable: bool = False
    kept_until: float | None = None
    replayed_as: str | None = None
    replay_of: str | None = None
    """The dead letter that this job was a replay of."""


class AskLetters(Wire):
    """``letters``: a page of the project's letters, oldest first."""

    version: Version = VERSION
    after: Annotated[int, Field(ge=0)] = 0
    """Only those behind this place."""
    until: Annotated[int, Field(ge=0)] | None = None
    """Only those up to this place."""
    limit: Annotated[int, Field(ge=1, le=MAX_LISTED)] = MAX_LISTED
    state: AnyState = "open"
    fingerprint: str | None = None
    route: str | None = None


class LetterPage(Wire):
    """Answer to ``letters``. It may be short, or empty, and there may be more all the same."""

    version: Version = VERSION
    letters: tuple[LetterSummary, ...]
    after: int
    """Where the next page begins."""
    more: bool
    last: int
    """The last place that is taken now: what is set aside later lies behind it."""


class AskLetter(Wire):
    """``letter``: one letter, whole but for its body."""

    version: Version = VERSION
    job: str


class FoundLetter(Wire):
    """Answer to ``letter``."""

    version: Version = VERSION
    letter: DeadLetter | None = None
    """``None``: there is none of that job."""


class AskLetterBody(Wire):
    """``letter_body``: one piece of a letter's body; the answer is its bytes."""

    version: Version = VERSION
    job: str
    index: Annotated[int, Field(ge=0)]


class AskReplay(Wire):
    """``replay``: submit these letters' jobs again, each as a new job. Asking again changes nothing."""

    version: Version = VERSION
    jobs: Annotated[tuple[str, ...], Field(max_length=MAX_HANDLED)]
    route: str | None = None
    """In place of the one they were submitted to."""


class AskDiscard(Wire):
    """``discard``: close these letters and drop their bodies."""

    version: Version = VERSION
    jobs: Annotated[tuple[str, ...], Field(max_length=MAX_HANDLED)]
    why: Annotated[str, Field(max_length=500)] = ""


class Handled(Wire):
    """What became of one letter."""

    job: str
    done: Literal["replayed", "discarded", "already", "missing", "refused"]
    """``already``: it was replayed or discarded before, or its job has an answer after all."""
    became: str | None = None
    """The job it was replayed as."""
    failure: Failure | None = None
    """Why it was refused."""


class AllHandled(Wire):
    """Answer to ``replay`` and ``discard``; what is not in it was not looked at for lack of time: ask again."""

    version: Version = VERSION
    handled: tuple[Handled, ...]


def leaves_letter(job: str, state: JobState, failure: Failure | None, history: tuple[AttemptRecord, ...]) -> bool:
    """Whether a job that ends so is set aside.

    One that was given up is judged by its attempts: if all of them failed by the request's own fault, so would others.
    A replay has its letter again, however it failed: the letter that it came from has given its body away.
    """
    if failure is None or state not in (JobState.FAILED, JobState.DEAD) or follows(job):
        return False
    if job.startswith(f"{REPLAY_STEM}-"):
        return True
    story = [record.failure for record in history if record.failure is not None]
    if failure.kind is FailureKind.RETRIES_EXHAUSTED and story:
        return any(each.permits.letter for each in story)
    return failure.permits.letter


def summary(letter: DeadLetter, seq: int, name: str = "") -> LetterSummary:
    """A letter as a list shows it; ``name`` is what to call it by where that is not its job."""
    failure, ticket = letter.failure, letter.ticket
    return LetterSummary(
        job=name or letter.job,
        seq=seq,
        state=letter.state,
        reason=letter.reason,
        kind=failure.kind.value if failure is not None else "",
        detail=letter.detail[:300],
        fingerprint=letter.fingerprint,
        at=letter.at,
        route=ticket.route if ticket is not None else "",
        lane=ticket.lane if ticket is not None else None,
        deployment=failed_at(letter),
        attempts=letter.attempts,
        size=letter.blob.size if letter.blob is not None else 0,
        replayable=letter.replayable,
        kept_until=letter.kept_until,
        replayed_as=letter.replay.job if letter.replay is not None and letter.state == "replayed" else None,
        replay_of=ticket.replay_of if ticket is not None else None,
    )


def failed_at(letter: DeadLetter) -> str | None:
    """The deployment where its job failed last."""
    last = letter.history[-1].deployment if letter.history else None
    return (letter.failure.deployment if letter.failure is not None else None) or last


def wanted(asked: AskLetters, letter: DeadLetter) -> bool:
    """Whether a letter belongs into the list that was asked for."""
    route = letter.ticket.route if letter.ticket is not None else None
    return (
        asked.state in ("any", letter.state)
        and asked.fingerprint in (None, letter.fingerprint)
        and asked.route in (None, route)
    )


def told(history: tuple[AttemptRecord, ...]) -> tuple[AttemptRecord, ...]:
    """The attempts as a letter tells them: not more than fit, each without what only takes room."""
    return tuple(
        record.model_copy(update={"losses": (), "failure": shortened(record.failure)})
        for record in history[-MAX_HISTORY:]
    )


def shortened(failure: Failure | None) -> Failure | None:
    """A failure whose words fit into a letter."""
    if failure is None:
        return None
    said = {name: getattr(failure, name) for name in ("message", "field", "remedy", "code")}
    return failure.model_copy(update={name: brief(text) for name, text in said.items() if text is not None})


def replay_of(letter: DeadLetter, route: str | None, now: float) -> Replay:
    """The job a letter is to be replayed as: always the same id, so that it never runs twice."""
    asked = letter.ticket.route if letter.ticket is not None else ""
    return Replay(job=replay_job_id(letter.job, letter.token), route=route or asked, at=now)


def resubmission(letter: DeadLetter, replay: Replay, body: bytes) -> tuple[bytes, Ticket]:
    """Body and ticket of the new job: the old one's, under a new id, on ``replay.route``; the same bytes every time.

    Moments that have passed are dropped, those still to come stand. The idempotency key stays with the old job. Raises
    ContractError if the body is no job.
    """
    ticket = letter.ticket
    if ticket is None:
        raise ContractError("this letter holds no job", remedy="discard it")
    fields: Any = from_json(_checked(body))  # as it was written: fields of a newer version stay in it
    changed = {"id": replay.job, "route": replay.route, "replay_of": letter.job}
    kept = {name: value for name, value in fields.items() if name not in ("idempotency_key", "deadline", "not_before")}
    data = to_json({**kept, **changed})
    again = ticket.model_copy(
        update={
            "route": replay.route,
            "deadline": _to_come(ticket.deadline, replay.at),
            "not_before": _to_come(ticket.not_before, replay.at),
            "submitted": replay.at,
            "token": body_hash(f"{replay.job} {replay.at!r}".encode()),
            "body_hash": body_hash(data),
            "blob": None,
            "replay_of": letter.job,
        }
    )
    return data, again


def _checked(body: bytes) -> bytes:
    decode(Job, body)
    return body


def _to_come(moment: float | None, now: float) -> float | None:
    return moment if moment is not None and moment > now else None
