"""Dead letters as operators see them: of all projects, added up by cause, and handled many at once.

Asked at the desk in place of a project by ``-``: ``dead_causes``, ``dead_letters``, ``dead_letter`` and
``dead_handle``. Messages that are no jobs belong to the project ``-``. No answer holds content: neither bodies nor
headers, nor what a provider said of a failure, because that may repeat a prompt or a key.

A sum is made of answers that each look at a bounded number of letters, in the order of their places; whoever asks adds
them up (``added``). What is handled lies at or before a place that was counted: what is set aside later is left.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from job_contracts.codec import VERSION, Version, Wire
from job_contracts.failures import Failure, in_our_words
from job_contracts.letters import (
    MAX_HANDLED,
    MAX_LISTED,
    AnyState,
    DeadLetter,
    Handled,
    LetterSummary,
    Reason,
    summary,
)

NOBODY = "-"
"""The project of messages that are no jobs."""
MAX_NAMES = 20
"""Projects, routes and deployments that a cause names; where it names so many, there may be more."""
MAX_SAMPLES = 10
"""Letters that could not be handled, of those that an answer tells one by one."""

Place = Annotated[int, Field(ge=0)]
Filter = Annotated[str, Field(max_length=200)]
Act = Literal["replay", "discard"]


class AskCauses(Wire):
    """``dead_causes``: letters added up by cause, from one place on; what is given narrows it."""

    version: Version = VERSION
    project: Filter | None = None
    """``-``: messages that are no jobs."""
    route: Filter | None = None
    fingerprint: Filter | None = None
    state: AnyState = "open"
    after: Place = 0
    """Only those behind this place."""
    until: Place | None = None
    """Only those up to this place."""


class Cause(Wire):
    """Letters of one fingerprint; of what differs among them, the newest one stands for all."""

    fingerprint: str
    reason: Reason
    kind: str = ""
    """The kind of failure, where one ended the job."""
    detail: str = ""
    count: int
    replayable: int
    """How many of them hold a job that can be submitted again."""
    first: float
    """UTC seconds."""
    last: float
    projects: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    deployments: tuple[str, ...] = ()
    """Where they failed last."""
    sample: str
    """The job of the newest one, and its project."""
    sample_project: str


class Causes(Wire):
    """Answer to ``dead_causes``: those that were looked at, in no order. There may be none although there is more."""

    version: Version = VERSION
    causes: tuple[Cause, ...]
    after: int
    """Where the next answer begins; all up to there is added up."""
    more: bool
    last: int
    """The last place that is taken now: what is set aside later lies behind it."""


class AskDeadLetters(AskCauses):
    """``dead_letters``: a page of them, oldest first."""

    limit: Annotated[int, Field(ge=1, le=MAX_LISTED)] = MAX_LISTED


class OfProject(LetterSummary):
    """A letter in a list of several projects' letters."""

    project: str


class DeadLetters(Wire):
    """Answer to ``dead_letters``. It may be short, or empty, and there may be more all the same."""

    version: Version = VERSION
    letters: tuple[OfProject, ...]
    after: int
    more: bool
    last: int


class AskDeadLetter(Wire):
    """``dead_letter``: one letter, without its body."""

    version: Version = VERSION
    project: Filter
    job: Filter


class FoundDead(Wire):
    """Answer to ``dead_letter``."""

    version: Version = VERSION
    letter: DeadLetter | None = None
    """``None``: there is none of that job."""
    seq: int = 0
    """Its place."""


class AskHandle(Wire):
    """``dead_handle``: replay or discard open letters, in the order of their places. Asking again changes nothing."""

    version: Version = VERSION
    do: Act
    project: Filter | None = None
    route: Filter | None = None
    """Of the letters."""
    fingerprint: Filter | None = None
    job: Filter | None = None
    """One letter alone, of ``project``."""
    after: Place = 0
    until: Place
    """The last place that was counted."""
    limit: Annotated[int, Field(ge=1, le=MAX_HANDLED)] = MAX_HANDLED
    onto: Filter | None = None
    """The route of the new jobs, in place of the one they were submitted to."""
    why: Annotated[str, Field(max_length=500)] = ""


class HandledOf(Handled):
    """What became of one letter, of whose project it was."""

    project: str


class HandledUpTo(Wire):
    """Answer to ``dead_handle``. It may have handled none although there is more: ask again from ``after`` on."""

    version: Version = VERSION
    done: int = 0
    already: int = 0
    """Handled before, or their job has an answer after all."""
    failed: int = 0
    """As they were; a later call may do it."""
    failures: Annotated[tuple[HandledOf, ...], Field(max_length=MAX_SAMPLES)] = ()
    """Some of those that failed."""
    after: int
    more: bool


def cause(letter: OfProject) -> Cause:
    """One letter, as the first of its cause."""
    return Cause(
        fingerprint=letter.fingerprint,
        reason=letter.reason,
        kind=letter.kind,
        detail=letter.detail,
        count=1,
        replayable=int(letter.replayable),
        first=letter.at,
        last=letter.at,
        projects=(letter.project,),
        routes=(letter.route,) if letter.route else (),
        deployments=(letter.deployment,) if letter.deployment else (),
        sample=letter.job,
        sample_project=letter.project,
    )


def joined(one: Cause, later: Cause) -> Cause:
    """Two parts of one cause, the second of letters that lie behind those of the first."""
    return later.model_copy(
        update={
            "count": one.count + later.count,
            "replayable": one.replayable + later.replayable,
            "first": min(one.first, later.first),
            "last": max(one.last, later.last),
            "projects": _names(one.projects, later.projects),
            "routes": _names(one.routes, later.routes),
            "deployments": _names(one.deployments, later.deployments),
        }
    )


def added(found: dict[str, Cause], more: Iterable[Cause]) -> None:
    """Add the next answer's causes to those ``found`` before, by fingerprint."""
    for one in more:
        there = found.get(one.fingerprint)
        found[one.fingerprint] = one if there is None else joined(there, one)


def ranked(found: dict[str, Cause]) -> list[Cause]:
    """Most letters first."""
    return sorted(found.values(), key=lambda one: (-one.count, one.first, one.fingerprint))


def of_project(project: str, letter: DeadLetter, seq: int, name: str) -> OfProject:
    """A letter as such a list shows it."""
    plain = letter.model_copy(update={"detail": cause_told(letter)})
    return OfProject(project=project, **dict(summary(plain, seq, name)))


def cause_told(letter: DeadLetter) -> str:
    """Why a letter's job failed last, in our words alone: kind, status, and a code that looks like one."""
    failure = next((one.failure for one in reversed(letter.history) if one.failure is not None), letter.failure)
    if failure is None:
        return letter.detail
    plain = in_our_words(failure)
    told = [plain.kind.value, *([f"status {plain.status}"] if plain.status else [])]
    return ", ".join([*told, *([f"code {plain.code}"] if plain.code else [])])


def without_content(letter: DeadLetter) -> DeadLetter:
    """A letter without anything that a client wrote or a provider said."""
    history = tuple(one.model_copy(update={"failure": _silent(one.failure)}) for one in letter.history)
    silent = {"failure": _silent(letter.failure), "history": history, "detail": cause_told(letter)}
    return letter.model_copy(update={**silent, "body": "", "headers": {}})


def _silent(failure: Failure | None) -> Failure | None:
    return None if failure is None else in_our_words(failure)


def _names(some: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    if set(others) <= set(some):
        return some
    return tuple(sorted({*some, *others})[:MAX_NAMES])
