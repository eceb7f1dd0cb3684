"""Jobs as operators look for them: those without a result that the leader knows, everything about one, and cancels.

Asked at the desk in place of a project by ``-``: ``jobs``, ``job`` and ``cancel_jobs``. A job's place is the sequence
of its submission in its stream, so pages go on at a place whatever came or went meanwhile.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from job_contracts.codec import VERSION, Version, Wire
from job_contracts.jobs import MAX_TAGS, JobState, JobStatus, Lane, Mark
from job_contracts.letters import LetterState
from job_contracts.operating import Name, Who, Words
from job_contracts.results import AttemptRecord, Result

Phase = Literal["queued", "held", "dispatched", "in_line"]
"""The first three as ``status`` says; ``in_line``: stands in a queue, whatever holds it. The overview counts those."""
PHASES: tuple[Phase, ...] = ("queued", "held", "dispatched", "in_line")

MAX_FOUND = 200
"""Jobs in one answer at most."""
MAX_CANCELLED = 500
"""Jobs one ``cancel_jobs`` may name."""
MAX_TOLD = 50
"""Ended attempts in a ``FoundJob`` without a result at most, the last ones."""

Place = Annotated[int, Field(ge=0, le=2**63)]
Given = Annotated[str, Field(max_length=256)]


class AskFind(Wire):
    """``jobs``: those that match all that is given, in the order of their submissions.

    An answer comes after a bounded look. Whoever wants all asks on from its ``after``; with ``limit`` 0 nothing is
    listed, only counted.
    """

    version: Version = VERSION
    project: Given | None = None
    route: Given | None = None
    """As its producer named it; of a job in an experiment's arm the route that serves it."""
    lane: Lane | None = None
    state: Phase | None = None
    pool: Given | None = None
    """Where it is under way, or would go first."""
    deployment: Given | None = None
    """Likewise."""
    key: Given | None = None
    """Id of the virtual key behind it."""
    tag: Given | None = None
    """``name=value``."""
    replay_of: Given | None = None
    """The job whose dead letter it was made of."""
    submitted_before: float | None = None
    """UTC seconds."""
    after: Place = 0
    """Only jobs behind this place."""
    until: Place | None = None
    """Only jobs up to this place: a ``last`` from before leaves out what came since."""
    before: Place | None = None
    """Go backwards: those nearest before this place. They are listed in the order of their submissions all the same."""
    limit: Annotated[int, Field(ge=0, le=MAX_FOUND)] = 50
    brief: bool = False
    """Rows need not tell what stands in the submissions alone: those are not read then, unless to find the jobs."""


class JobRow(Wire):
    """A job in a list."""

    place: int
    project: str
    job: str
    token: str
    """What a cancel of it must carry."""
    state: JobState
    route: str
    lane: Lane
    deployment: str | None = None
    """Where it is under way; of one that waits where it would go first, if that can be said."""
    attempts: int = 0
    """Dispatches so far."""
    submitted: float
    """UTC seconds on its producer's clock."""
    deadline: float | None = None
    waiting_for: str | None = None
    """In words."""
    key: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    replay_of: str | None = None
    read: bool = True
    """False if its submission could not be read now, or says more than an answer has room for: then key, tags and what
    it replays are not known.
    """


class JobPage(Wire):
    """Answer to ``jobs``."""

    version: Version = VERSION
    at: float
    """UTC seconds."""
    jobs: tuple[JobRow, ...] = ()
    matching: int = 0
    """How many of those that were looked at match."""
    looked: int = 0
    after: int = 0
    """The place up to which was looked; of a question that went backwards, down to which."""
    more: bool = False
    """Whether there is more to look at. A page may be short, or empty, and not be the last."""
    last: int = 0
    """The newest place there is."""
    unread: int = 0
    """About how many jobs (of that project) are queued beyond the index; nobody has looked at those."""


class AskJob(Wire):
    """``job``: everything about one."""

    version: Version = VERSION
    project: Name
    job: Given


class FoundJob(Wire):
    """Answer to ``job``; no prompt and no answer is in it. Status and result: both, if its id was used again."""

    version: Version = VERSION
    at: float
    """UTC seconds."""
    status: JobStatus | None = None
    """If it has no result."""
    attempts: tuple[AttemptRecord, ...] = ()
    """Its ended attempts, if it has no result."""
    key: str | None = None
    tags: Annotated[dict[str, str], Field(max_length=MAX_TAGS)] = Field(default_factory=dict)
    replay_of: str | None = None
    not_before: float | None = None
    max_cost: Decimal | None = None
    result: Result | None = None
    """If it has one: without the answer, the vectors, and what a verifier said in its own words."""
    letter: LetterState | None = None
    """Of its dead letter, if there is one."""


class Named(Wire):
    """One submission."""

    project: Name
    job: Given
    token: Mark
    """A later job of the same id has another one, and is left alone."""


class AskCancels(Wire):
    """``cancel_jobs``: do not work on these any further. May be asked again."""

    version: Version = VERSION
    by: Who
    """Who wants it, as the asking service knows them."""
    why: Words = ""
    """Kept with the jobs."""
    jobs: Annotated[tuple[Named, ...], Field(max_length=MAX_CANCELLED)]


class Cancels(Wire):
    """Answer to ``cancel_jobs``: from now on each of ``told`` is recorded as a producer's own cancel is."""

    version: Version = VERSION
    told: int
    gone: int = 0
    """Those that have ended, or were never there under that token."""
