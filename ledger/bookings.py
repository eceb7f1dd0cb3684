"""What a fact says in the ledger's own words: texts that a column takes, whole picodollars, whole hours (pure).

A fact comes from our own workers, but names, tags and models in it come from clients and providers. What no database
text holds is replaced, what is too long is cut and keeps a digest of the whole, so different stays different.
"""

from __future__ import annotations

import json
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from job_contracts.money import picodollars

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

    from job_contracts.facts import AttemptFact
    from job_contracts.trials import Trial

MOST_TOKENS = 2**40
MOST_DOLLARS = 1_000_000
LATEST = 2.0**35
"""UTC seconds of a year whose dates every tool still writes."""
SIZES = (64, 64, 200, 64, 300, 400)
"""Characters that the texts of a source may have."""
ALIKE = 4096
"""Sources and tags that many facts share, which are made to fit once."""


class Misfit(ValueError):
    """A figure of a fact is none that the ledger can keep; the text names the field."""


class Source(NamedTuple):
    """Where an attempt ran, and for whom."""

    project: str
    key: str
    route: str
    provider: str
    model: str
    deployment: str


class Arm(NamedTuple):
    """An arm of an experiment."""

    experiment: str
    name: str


class Booking(NamedTuple):
    """One attempt as the ledger keeps it, in the order of the columns of ``attempts``; money in picodollars."""

    attempt: str
    source: Source
    submitted: int
    """UTC milliseconds of the job's submission; ``attempt`` alone comes again when a job is submitted anew."""
    at: float
    seconds: float
    first_token: float | None
    reason: str
    failure: str | None
    won: bool
    told_by: str
    reported: bool
    stated: bool
    price: str | None
    input: int
    cache_read: int
    cache_write: int
    output: int
    reasoning: int
    cost: int | None
    reserved: int | None
    verdict: str | None
    """What it said of another answer, where it was asked to."""
    arm: Arm | None
    """The arm that its job was in, if any."""
    tags: tuple[tuple[str, str], ...]

    @property
    def identity(self) -> tuple[str, int]:
        """Which attempt it is of."""
        return self.attempt, self.submitted

    def outweighs(self, other: Booking) -> bool:
        """As ``AttemptFact.outweighs``; what a provider's statement corrected, no fact changes any more."""
        return self._weight() > other._weight()

    def instead_of(self, lighter: Booking) -> Booking:
        """As it is kept in place of ``lighter``, of the same attempt: what a statement does not tell of stays."""
        return self._replace(verdict=self.verdict or lighter.verdict, arm=self.arm or lighter.arm)

    def _weight(self) -> tuple[bool, bool, bool, bool]:
        return self.told_by == "statement", self.won, self.reported, self.told_by == "worker"


def booking(fact: AttemptFact) -> Booking:
    """Raises Misfit."""
    usage = fact.usage
    return Booking(
        attempt=fitted(fact.attempt, 200),
        source=_source((fact.project, fact.key or "", fact.route, fact.provider, fact.model, fact.deployment)),
        submitted=round(_time("submitted", fact.submitted) * 1000),
        at=_time("at", fact.at),
        seconds=_time("seconds", fact.seconds),
        first_token=None if fact.first_token is None else _time("first_token", fact.first_token),
        reason=fact.reason,
        failure=None if fact.failure is None else fitted(fact.failure, 64),
        won=fact.won,
        told_by=fact.told_by,
        reported=usage.reported,
        stated=fact.stated,
        price=None if fact.price is None else fitted(fact.price, 128),
        input=_tokens("input", usage.input),
        cache_read=_tokens("cache_read", usage.cache_read),
        cache_write=_tokens("cache_write", usage.cache_write),
        output=_tokens("output", usage.output),
        reasoning=_tokens("reasoning", usage.reasoning),
        cost=_money("cost", fact.cost),
        reserved=_money("reserved", fact.reserved),
        verdict=None if fact.verdict is None else fitted(fact.verdict, 32),
        arm=None if fact.trial is None else _arm(fact.trial),
        tags=_tags(tuple(fact.tags.items())) if fact.tags else (),
    )


def counting(told: Iterable[Booking], known: Mapping[tuple[str, int], Booking]) -> dict[tuple[str, int], Booking]:
    """Of each attempt the booking that counts, unless that is the one that is known already; of equals the first."""
    found: dict[tuple[str, int], Booking] = {}
    for one in told:
        before = found.get(one.identity) or known.get(one.identity)
        if before is None:
            found[one.identity] = one
        elif one.outweighs(before):
            found[one.identity] = one.instead_of(before)
    return found


def fitted(text: str, size: int) -> str:
    """Text that a column of ``size`` characters takes."""
    if len(text) <= size and text.isascii() and "\0" not in text:
        return text
    clean = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if len(clean) <= size:
        return clean
    mark = f"~{sha256(clean.encode()).hexdigest()[:16]}"
    return clean[: size - len(mark)] + mark


@lru_cache(ALIKE)
def written(tags: tuple[tuple[str, str], ...]) -> str | None:
    """Tags as the column keeps them."""
    return json.dumps(dict(tags), ensure_ascii=False, separators=(",", ":")) if tags else None


@lru_cache(ALIKE)
def read(tags: str | None) -> tuple[tuple[str, str], ...]:
    """Tags as they were written."""
    return tuple(sorted(json.loads(tags).items())) if tags else ()


@lru_cache(ALIKE)
def _source(told: tuple[str, str, str, str, str, str]) -> Source:
    return Source._make(fitted(text, size) for text, size in zip(told, SIZES, strict=True))


def _arm(trial: Trial) -> Arm:
    return Arm(fitted(trial.experiment, 64), fitted(trial.arm, 64))


@lru_cache(ALIKE)
def _tags(told: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({fitted(name, 200): fitted(value, 200) for name, value in told}.items()))


def _time(name: str, seconds: float) -> float:
    if not 0 <= seconds < LATEST:  # nor is what is no number
        raise Misfit(name)
    return seconds


def _tokens(name: str, count: int) -> int:
    if not 0 <= count < MOST_TOKENS:
        raise Misfit(name)
    return count


def _money(name: str, amount: Decimal | None) -> int | None:
    if amount is None:
        return None
    if not amount.is_finite() or not 0 <= amount < MOST_DOLLARS:
        raise Misfit(name)
    return picodollars(amount)
