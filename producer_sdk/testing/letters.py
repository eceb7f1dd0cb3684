"""The dead letters of a stage: what a scheduler keeps in a stream, and its desk does with it, in a dictionary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from job_contracts.codec import Wire, decode, encode
from job_contracts.failures import Failure, FailureKind
from job_contracts.fingerprints import of_failure
from job_contracts.jobs import BlobRef, Job, JobState, Ticket
from job_contracts.letters import (
    AllHandled,
    AskDiscard,
    AskLetter,
    AskLetterBody,
    AskLetters,
    AskReplay,
    DeadLetter,
    FoundLetter,
    Handled,
    LetterPage,
    leaves_letter,
    replay_of,
    resubmission,
    summary,
    wanted,
)
from job_contracts.results import AttemptRecord

PIECE = 256 * 1024
OPERATIONS = frozenset({"letters", "letter", "letter_body", "replay", "discard"})


@dataclass(slots=True)
class Kept:
    """A letter, its place in the list, and its body."""

    letter: DeadLetter
    place: int
    body: bytes


class StageLetters:
    """All letters of one project. ``submit`` takes a replay as any other submission: id, body, ticket."""

    def __init__(self, project: str, submit: Callable[[str, bytes, str], bool], clock: Callable[[], float]) -> None:
        self._project = project
        self._submit = submit
        self._clock = clock
        self._kept: dict[str, Kept] = {}
        self._last = 0
        self.routes: tuple[str, ...] | None = None
        """Routes a replay may name; ``None``: any."""

    def ended(
        self, job: Job, ticket: Ticket, state: JobState, failure: Failure | None, history: tuple[AttemptRecord, ...]
    ) -> None:
        """A job came to its end: it is set aside if jobs that end so are."""
        if failure is None or not leaves_letter(job.id, state, failure, history):
            return
        body = encode(job)
        letter = DeadLetter(
            project=self._project,
            job=job.id,
            reason="poison" if state is JobState.DEAD else "exhausted",
            detail=failure.message,
            fingerprint=of_failure(failure, history, ticket.route),
            at=self._clock(),
            attempts=len(history),
            failure=failure,
            ticket=ticket,
            history=history,
            blob=BlobRef(chunks=max(1, -(-len(body) // PIECE)), size=len(body), sha256=sha256(body).hexdigest()),
        )
        self._put(job.id, letter, body)

    def asked(self, operation: str, question: bytes) -> Wire | bytes:
        """The desk's answer. Raises KeyError for a body that is not there."""
        match operation:
            case "letters":
                return self._page(decode(AskLetters, question))
            case "letter":
                kept = self._kept.get(decode(AskLetter, question).job)
                return FoundLetter(letter=kept.letter if kept is not None else None)
            case "letter_body":
                piece = decode(AskLetterBody, question)
                return self._kept[piece.job].body[piece.index * PIECE :][:PIECE]
            case "replay":
                replayed = decode(AskReplay, question)
                return AllHandled(handled=tuple(self._replay(job, replayed.route) for job in replayed.jobs))
            case _:
                discarded = decode(AskDiscard, question)
                return AllHandled(handled=tuple(self._discard(job, discarded.why) for job in discarded.jobs))

    def _put(self, name: str, letter: DeadLetter, body: bytes) -> None:
        self._last += 1
        self._kept.pop(name, None)
        self._kept[name] = Kept(letter, self._last, body)

    def _page(self, asked: AskLetters) -> LetterPage:
        until = self._last if asked.until is None else asked.until
        fits = [
            kept for kept in self._kept.values() if asked.after < kept.place <= until and wanted(asked, kept.letter)
        ]
        page = fits[: asked.limit]
        after = page[-1].place if page else max(asked.after, until)
        shown = tuple(summary(kept.letter, kept.place) for kept in page)
        return LetterPage(letters=shown, after=after, more=len(fits) > len(page), last=self._last)

    def _replay(self, job: str, route: str | None) -> Handled:
        kept = self._kept.get(job)
        if kept is None:
            return Handled(job=job, done="missing")
        letter = kept.letter
        if letter.state == "replayed" and letter.replay is not None:
            return Handled(job=job, done="already", became=letter.replay.job)
        if letter.state == "discarded":
            return _refused(job, FailureKind.BAD_REQUEST, "this letter was discarded")
        begun = replay_of(letter, route, self._clock())
        if self.routes is not None and begun.route not in self.routes:
            return _refused(job, FailureKind.UNKNOWN_ROUTE, f"there is no route {begun.route!r} here")
        body, ticket = resubmission(letter, begun, kept.body)
        self._put(job, letter.model_copy(update=self._closed() | {"state": "replayed", "replay": begun}), b"")
        self._submit(begun.job, body, encode(ticket).decode())
        return Handled(job=job, done="replayed", became=begun.job)

    def _discard(self, job: str, why: str) -> Handled:
        kept = self._kept.get(job)
        if kept is None:
            return Handled(job=job, done="missing")
        if kept.letter.state != "open":
            return Handled(job=job, done="already")
        self._put(job, kept.letter.model_copy(update=self._closed() | {"state": "discarded", "why": why}), b"")
        return Handled(job=job, done="discarded")

    def _closed(self) -> dict[str, object]:
        return {"blob": None, "closed": self._clock()}


def _refused(job: str, kind: FailureKind, message: str) -> Handled:
    return Handled(job=job, done="refused", failure=Failure(kind=kind, message=message))
