"""Questions about spend that services ask of the ledger (request and reply on ``subjects.ledger_desk(operation)``).

Sums are kept by the full hour (UTC), so a period begins and ends at one: ``since`` is taken down to it, ``until`` up.
Every sum leads to the attempts that make it: ``AskAttempts`` takes the same filters.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, PlainSerializer, model_validator

from job_contracts.codec import VERSION, Version, Wire
from job_contracts.configured import Configured
from job_contracts.money import Window

LedgerOperation = Literal["spend", "compare", "forecast", "attempts", "drafts", "state"]
"""``state`` is asked with ``{}``."""

Dimension = Literal[
    "provider", "model", "deployment", "route", "project", "key", "tag", "reason", "hour", "day", "month"
]
"""What sums may be told by; ``tag`` by the values of one tag, which ``AskSpend.tag`` names."""

MAX_ROWS = 1_000
"""Rows of one answer at most."""
MAX_DIMENSIONS = 4
LATEST = 4_102_444_800.0
"""The year 2100: no period goes on after it."""
Moment = Annotated[float, Field(ge=0, le=LATEST)]
"""UTC seconds."""
Name = Annotated[str, Field(max_length=400)]
Money = Annotated[Decimal, PlainSerializer(lambda amount: f"{amount:f}", return_type=str, when_used="json")]
"""US dollars; written without an exponent, which not everybody reads."""


class Filters(Wire):
    """Which attempts are meant: those that fit in everything that is said."""

    project: Name | None = None
    """A project's own key asks for its project alone."""
    provider: Name | None = None
    model: Name | None = None
    deployment: Name | None = None
    """``provider/model``."""
    route: Name | None = None
    key: Name | None = None
    """Id of a virtual key; empty: those without."""
    reason: Name | None = None
    """``user``, ``failed``, ``cancelled``, ``hedged``, ``shadow`` or ``verify``."""
    since: Moment = 0.0
    until: Moment | None = None
    """The first moment that does not belong to it; ``None``: all there is."""

    @model_validator(mode="after")
    def _in_order(self) -> Filters:
        if self.until is not None and self.until < self.since:
            message = "until: it is before since"
            raise ValueError(message)
        return self


class AskSpend(Filters):
    """``spend``: sums of a period."""

    version: Version = VERSION
    by: Annotated[tuple[Dimension, ...], Field(max_length=MAX_DIMENSIONS)] = ()
    """What the sums are told by, in this order; the rows come in it."""
    tag: Name | None = None
    """Name of a tag, for ``by`` and ``tag_value``."""
    tag_value: Name | None = None
    """Only attempts that have it as that tag's value."""
    limit: Annotated[int, Field(ge=1, le=MAX_ROWS)] = 100
    after: Annotated[str, Field(max_length=8_000)] | None = None
    """``Spend.after`` of the page before."""

    @model_validator(mode="after")
    def _can_be_told(self) -> AskSpend:
        tagged = "tag" in self.by or self.tag_value is not None
        if len(set(self.by)) < len(self.by):
            message = "by: something stands there twice"
            raise ValueError(message)
        if tagged and self.tag is None:
            message = "tag: name the tag that is meant"
            raise ValueError(message)
        if tagged and ("reason" in self.by or self.reason is not None):
            message = "reason: sums by tag are not kept by reason; leave one of them out, or ask for the attempts"
            raise ValueError(message)
        return self


class Sums(Wire):
    """What attempts came to."""

    attempts: int = 0
    won: int = 0
    """Those whose result became their job's."""
    unpriced: int = 0
    """Those whose cost is not known: it is in no sum of money."""
    estimated: int = 0
    """Those whose provider did not tell their usage."""
    input: int = 0
    """Tokens of prompts, cached ones included."""
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    """Reasoning included."""
    reasoning: int = 0
    cost: Money = Decimal(0)
    """US dollars, exactly."""
    waste: Money = Decimal(0)
    """The part of it that attempts cost which did not win."""


class SpendRow(Sums):
    """The sums of one group; of the names of its group, those that were asked for are told."""

    provider: str | None = None
    model: str | None = None
    deployment: str | None = None
    route: str | None = None
    project: str | None = None
    key: str | None = None
    tag: str | None = None
    """The tag's value; not there: these attempts do not have that tag."""
    reason: str | None = None
    hour: int | None = None
    """UTC seconds at which it began, as of day and month."""
    day: int | None = None
    month: int | None = None


class Read(Wire):
    """How far the ledger had read when it answered: what is told holds up to there at least."""

    version: Version = VERSION
    through: float | None = None
    """UTC seconds of the newest fact that is in the sums; ``None``: there has been none."""
    lag: float | None = None
    """Seconds since then. Where nothing runs, it grows and means nothing."""


class Spend(Read):
    """Answer to ``spend``."""

    since: float
    until: float | None = None
    """The full hours that are summed."""
    rows: tuple[SpendRow, ...]
    total: Sums
    """Of all rows on all pages."""
    after: str | None = None
    """There is more: what to ask on with."""


class AskAttempts(Filters):
    """``attempts``: the attempts behind a sum, newest first. Here a period is taken to the second."""

    version: Version = VERSION
    tag: Name | None = None
    tag_value: Name | None = None
    """Attempts with that tag, and with that value of it if one is named."""
    failure: Name | None = None
    """Kind of failure they ended in."""
    won: bool | None = None
    priced: bool | None = None
    """Whether their cost is known."""
    job: Annotated[str, Field(max_length=80)] | None = None
    """Of one job of ``project``, which must be named as well: two projects may have jobs with the same id."""
    experiment: Name | None = None
    arm: Name | None = None
    """Of jobs in this arm of ``experiment``, which must be named as well."""
    limit: Annotated[int, Field(ge=1, le=MAX_ROWS)] = 100
    after: Annotated[str, Field(max_length=200)] | None = None

    @model_validator(mode="after")
    def _named(self) -> AskAttempts:
        if self.tag_value is not None and self.tag is None:
            message = "tag: name the tag that is meant"
            raise ValueError(message)
        if self.job is not None and self.project is None:
            message = "project: name the project whose job is meant"
            raise ValueError(message)
        if self.arm is not None and self.experiment is None:
            message = "experiment: name the experiment whose arm is meant"
            raise ValueError(message)
        return self

    def told_too_much(self, page: AttemptPage) -> bool:
        """Whether an answer has attempts of other arms as well: an older ledger passes over what it does not know."""
        told = {(row.experiment, None if self.arm is None else row.arm) for row in page.rows}
        return self.experiment is not None and not told <= {(self.experiment, self.arm)}


class Attempt(Wire):
    """One attempt, as the ledger has it."""

    attempt: str
    """Project, job id and number, dots between."""
    project: str
    key: str
    route: str
    deployment: str
    provider: str
    model: str
    at: float
    """UTC seconds; its hour and day are those it is counted in."""
    seconds: float
    first_token: float | None = None
    reason: str
    failure: str | None = None
    won: bool
    told_by: str
    """``worker``, ``leader`` or ``statement``."""
    reported: bool
    """Whether the provider told the usage."""
    stated: bool
    """Whether it told the cost."""
    price: str | None = None
    """Version of the price it was reckoned by."""
    input: int
    cache_read: int
    cache_write: int
    output: int
    reasoning: int
    cost: Money | None = None
    reserved: Money | None = None
    experiment: str | None = None
    arm: str | None = None
    """Of ``experiment``, that its job was in."""
    tags: dict[str, str] = Field(default_factory=dict)


class AttemptPage(Read):
    """Answer to ``attempts``."""

    rows: tuple[Attempt, ...]
    after: str | None = None


class AskComparison(Filters):
    """``compare``: what the same traffic would have cost elsewhere."""

    version: Version = VERSION
    against: Annotated[tuple[Name, ...], Field(max_length=50)] = ()
    """``provider/model`` each; none: every deployment of the configured routes."""


class Alternative(Wire):
    """One deployment's price of the traffic that was seen."""

    deployment: str
    cost: Money | None = None
    """US dollars; ``None``: a price that it takes is not known."""
    difference: Money | None = None
    """Against what was paid; negative: it would have been cheaper."""
    notes: tuple[str, ...] = ()
    """What is approximated here, beside what is approximated everywhere."""


class Comparison(Read):
    """Answer to ``compare``; the cheapest first."""

    since: float
    until: float | None = None
    seen: Sums
    """The traffic."""
    rows: tuple[Alternative, ...]
    approximated: tuple[str, ...]
    """What is approximated in every row, in words."""


class AskDrafts(Wire):
    """``drafts``: what verifiers said of answers, and what that came to, by route."""

    version: Version = VERSION
    project: Name | None = None
    route: Name | None = None
    since: Moment = 0.0
    until: Moment | None = None
    """As in ``Filters``."""

    @model_validator(mode="after")
    def _in_order(self) -> AskDrafts:
        if self.until is not None and self.until < self.since:
            message = "until: it is before since"
            raise ValueError(message)
        return self


class VerifiedRoute(Wire):
    """One route whose answers are verified, before or after they are given."""

    route: str
    verifier: str
    """The route that verifies."""
    mode: Literal["before", "after"]
    accept: int = 0
    correct: int = 0
    replace: int = 0
    unread: int = 0
    """Verifications in the background that said nothing that can be read."""
    agreement: float | None = None
    """Share of ``accept`` among the verdicts that could be read; ``None``: there are none."""
    drafts: Sums = Sums()
    """What the route's own answers came to, all of them: those that nobody verified are among them."""
    verification: Money = Decimal(0)
    """US dollars of the attempts that gave verdicts."""
    alone: tuple[Alternative, ...] = ()
    """The drafts' tokens at the price of each of the verifier's deployments; ``difference`` against drafts and
    verification together: positive, so much was saved."""


class DraftReport(Read):
    """Answer to ``drafts``: the routes of the configuration that have ``verify``."""

    since: float
    until: float | None = None
    rows: tuple[VerifiedRoute, ...]
    approximated: tuple[str, ...]
    """What is approximated in ``alone``, in words."""


class AskForecast(Wire):
    """``forecast``: where each configured budget, and all spend, will be at the end of its window."""

    version: Version = VERSION
    project: Name | None = None
    """Those of this project alone."""


class Projection(Wire):
    """One budget's window, or all spend in one."""

    payer: Literal["all", "project", "route", "key", "tag"]
    name: str
    """Of the payer; of a tag ``name=value``; of all spend the project, or nothing."""
    project: str | None = None
    """Whose tag or key it is."""
    window: Window
    start: float
    end: float | None = None
    """UTC seconds; ``None``: never."""
    budget: Money | None = None
    soft: bool = False
    spent: Money
    """US dollars in the window so far."""
    rate: Money
    """US dollars an hour, over the last 24 hours."""
    projected: Money | None = None
    """US dollars at the window's end; ``None`` if it has none."""
    exhausted: float | None = None
    """UTC seconds at which the budget is used up if it goes on so, or was found used up; ``None``: not in the window,
    and of one without an end not within a year."""


class Forecast(Read):
    """Answer to ``forecast``."""

    at: float
    """UTC seconds for which it is made."""
    rows: tuple[Projection, ...]
    method: str
    """How it is reckoned, in words."""


class Missed(Wire):
    """What LEDGER no longer held when it came to be read: it is in no sum."""

    stream: str
    first: int
    last: int
    """Sequences, both missing."""
    at: float
    """UTC seconds at which that was found."""


class LedgerState(Read):
    """Answer to ``state``: the database, and how far LEDGER is read into it."""

    at: float
    """UTC seconds."""
    kind: str
    """``sqlite`` or ``postgresql``."""
    revision: str | None = None
    """Of its tables."""
    wrong: str | None = None
    """Why these are not the tables that this ledger needs, and what to do; ``None`` if they are."""
    bytes: int | None = None
    """Of the whole database."""
    attempts: int | None = None
    """Rows, about: as the database guesses them without counting; ``None`` before it has a guess."""
    position: int = 0
    """LEDGER sequence up to which all is stored."""
    missed: tuple[Missed, ...] = ()
    """The newest first, ten at most."""
    missed_messages: int = 0
    """In all that was missed."""
    configured: Configured | None = None
    """What the ledger that answers has of the configuration; ``None`` if it does not say."""
