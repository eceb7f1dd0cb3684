"""What came of a stretch of traffic, added up: cost, latency, refusals, shares."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from job_contracts.jobs import JobState
from job_contracts.money import dollars, picodollars
from scheduler.whatif.traffic import ITS_OWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_contracts.facts import AttemptFact
    from scheduler.whatif.replay import Fate

HELD_UP = 1.0
"""Seconds of waiting from which on limits, budgets or places are said to have held a job up."""


@dataclass(frozen=True, slots=True)
class Spans:
    """Seconds that so many of a hundred kept to; ``None`` where there were none."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spans:
        """Of all of these."""
        if not seconds:
            return cls()
        told = sorted(seconds)
        at = [round(told[min(int(share * len(told)), len(told) - 1)], 3) for share in (0.5, 0.95, 0.99)]
        return cls(*at)


@dataclass(frozen=True, slots=True)
class Figures:
    """The sums of one side."""

    jobs: int = 0
    answered: int = 0
    attempts: int = 0
    cost: int = 0
    """Picodollars, as far as prices are known."""
    unpriced: int = 0
    """Attempts whose price is not known: their cost is in no sum."""
    latency: Spans = Spans()
    """From submission to answer."""
    waiting: Spans = Spans()
    """From submission to the first attempt."""
    first_token: Spans = Spans()
    held_up: int = 0
    """Jobs that waited a second or longer before their first attempt."""
    elsewhere: int = 0
    """Attempts beyond a job's first."""
    refused: dict[str, int] = field(default_factory=dict)
    """Jobs that got no answer, by why."""
    answers: dict[str, int] = field(default_factory=dict)
    """By deployment."""

    def as_json(self) -> dict[str, Any]:
        """Plain values; money in US dollars, as text."""
        return {**asdict(self), "cost": f"{dollars(self.cost).normalize():f}"}


def figures(fates: Sequence[Fate]) -> Figures:
    """Of a replay."""
    answered = [fate for fate in fates if fate.state is JobState.SUCCEEDED]
    refused: Counter[str] = Counter()
    for fate in fates:
        if fate.state is not JobState.SUCCEEDED:
            refused[fate.state.value if fate.failure is None else fate.failure.value] += 1
    places = Counter(fate.deployment or "" for fate in answered)
    return Figures(
        jobs=len(fates),
        answered=len(answered),
        attempts=sum(fate.attempts for fate in fates),
        cost=sum(fate.cost for fate in fates),
        unpriced=sum(fate.unpriced for fate in fates),
        latency=Spans.of([fate.seconds for fate in answered]),
        waiting=Spans.of([fate.waited for fate in fates if fate.first is not None]),
        first_token=Spans.of([fate.first_token for fate in answered if fate.first_token is not None]),
        held_up=sum(fate.waited >= HELD_UP for fate in fates),
        elsewhere=sum(max(0, fate.attempts - 1) for fate in fates),
        refused=dict(sorted(refused.items())),
        answers=dict(sorted(places.items())),
    )


def recorded(facts: Sequence[AttemptFact]) -> Figures:
    """Of what really happened, as far as facts tell; ``facts`` has one an attempt."""
    own = [fact for fact in facts if fact.reason in ITS_OWN]
    jobs: dict[tuple[str, float], list[AttemptFact]] = {}
    for fact in own:
        jobs.setdefault((fact.attempt.rpartition(".")[0], fact.submitted), []).append(fact)
    refused: Counter[str] = Counter()
    for attempts in jobs.values():
        if not any(fact.won for fact in attempts):
            last = attempts[-1].failure
            refused["no answer" if last is None else last.value] += 1
    won = [fact for fact in own if fact.won]
    first = [min(attempts, key=lambda fact: fact.started) for attempts in jobs.values()]
    waited = [max(0.0, fact.started - fact.submitted) for fact in first if fact.submitted]
    costs = [fact.cost for fact in own]
    return Figures(
        jobs=len(jobs),
        answered=len(won),
        attempts=len(own),
        cost=sum(picodollars(cost) for cost in costs if cost is not None),
        unpriced=sum(cost is None for cost in costs),
        latency=Spans.of([fact.started + fact.seconds - fact.submitted for fact in won if fact.submitted]),
        waiting=Spans.of(waited),
        first_token=Spans.of(
            [
                fact.started + fact.first_token - fact.submitted
                for fact in won
                if fact.submitted and fact.first_token is not None
            ]
        ),
        held_up=sum(seconds >= HELD_UP for seconds in waited),
        elsewhere=len(own) - len(jobs),
        refused=dict(sorted(refused.items())),
        answers=dict(sorted(Counter(fact.deployment for fact in won).items())),
    )
