"""Jobs as they came, told again from the facts that their attempts left, and what of them can only be approximated."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING

from job_contracts.chat import Usage
from job_contracts.jobs import Lane, Need

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from job_contracts.constraints import Constraints
    from job_contracts.facts import AttemptFact

ITS_OWN = frozenset({"user", "failed", "cancelled"})
"""Reasons of attempts that a job itself asks for; the others follow from the configuration."""
APPROXIMATED = (
    "jobs that were refused, or expired, before any attempt left no fact: they are in neither side",
    "facts tell no lane, priority, deadline or constraints: every job has its project's usual lane, and no more",
    "facts tell no bound of an answer: budgets reserve for the longest that the model gives",
    "facts tell no session: what prompt caches save is as it was",
    "the same tokens everywhere: another model may count a text differently, and answer at another length",
    "bounds of keys, and of single jobs on their cost, are left out",
)
"""What holds of any replay of facts."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One job as it came."""

    at: float
    """UTC seconds."""
    project: str
    job: str
    route: str
    usage: Usage
    """Tokens by kind that its answer takes."""
    lane: Lane | None = None
    """``None``: the first that its project may use."""
    rank: float | None = None
    """From 0 to 1: how long it took among the answers of its place. ``None``: by chance."""
    session: str | None = None
    needs: tuple[Need, ...] = ()
    max_output: int | None = None
    deadline: float | None = None
    """UTC seconds."""
    key: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    constraints: Constraints | None = None
    size: int = 0
    """Bytes of its body; 0 where that is not known."""


def counting(facts: Iterable[AttemptFact]) -> list[AttemptFact]:
    """Of all facts of one attempt the one that counts, in the order in which they began."""
    found: dict[tuple[str, float], AttemptFact] = {}
    for fact in facts:
        key = (fact.attempt, fact.submitted)
        before = found.get(key)
        if before is None or fact.outweighs(before):
            found[key] = fact
    return sorted(found.values(), key=attrgetter("started", "attempt"))


def arrivals(facts: Sequence[AttemptFact]) -> list[Arrival]:
    """The jobs behind facts (one an attempt, see ``counting``), in the order of their submission."""
    jobs: dict[tuple[str, float], list[AttemptFact]] = {}
    for fact in facts:
        if fact.reason in ITS_OWN:
            jobs.setdefault((fact.attempt.rpartition(".")[0], fact.submitted), []).append(fact)
    ranks, lengths = _ranks(facts), _lengths(facts)
    found = [_arrival(name, attempts, ranks, lengths) for (name, _), attempts in jobs.items()]
    found.sort(key=attrgetter("at", "project", "job"))
    return found


def _arrival(name: str, attempts: list[AttemptFact], ranks: Mapping[int, float], lengths: Mapping[str, int]) -> Arrival:
    told = next((fact for fact in attempts if fact.won), attempts[-1])
    usage = told.usage
    if not told.won:
        # What a job would have taken that nobody answered is not known: as much as the answers of its route.
        most = max(attempts, key=lambda fact: fact.usage.input)
        usage = Usage(input=most.usage.input, output=lengths.get(told.route, 0), reported=False)
    return Arrival(
        at=told.submitted or min(fact.started for fact in attempts),
        project=told.project,
        # The same id may have been submitted again after its result was gone.
        job=f"{name.removeprefix(f'{told.project}.')}@{told.submitted:.3f}",
        route=told.route,
        usage=usage,
        rank=ranks.get(id(told)),
        # Vectors are the one answer without a token.
        needs=("embeddings",) if told.won and usage.reported and not usage.output else (),
        tags=told.tags,
    )


def _ranks(facts: Sequence[AttemptFact]) -> dict[int, float]:
    """Of each answer, how long it took among those of its place."""
    places: dict[str, list[AttemptFact]] = {}
    for fact in facts:
        if fact.won:
            places.setdefault(fact.deployment, []).append(fact)
    ranks: dict[int, float] = {}
    for answers in places.values():
        answers.sort(key=attrgetter("seconds"))
        ranks.update((id(fact), (place + 0.5) / len(answers)) for place, fact in enumerate(answers))
    return ranks


def _lengths(facts: Sequence[AttemptFact]) -> dict[str, int]:
    """Output tokens of an average answer, by route."""
    sums: dict[str, tuple[int, int]] = {}
    for fact in facts:
        if fact.won:
            count, total = sums.get(fact.route, (0, 0))
            sums[fact.route] = (count + 1, total + fact.usage.output)
    return {route: round(total / count) for route, (count, total) in sums.items()}
