"""How deployments answer: seconds by rank and failures by hour, as facts tell, drawn by fingerprint and never by dice.

What a job draws depends on its name, its attempt and the seed alone: two configurations meet the same luck, so what
differs between them is their doing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from zlib import crc32

from job_contracts.failures import FailureKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_contracts.facts import AttemptFact
    from scheduler.whatif.traffic import Arrival

HOUR = 3600.0
ENOUGH = 20
"""Attempts at a place within an hour from which on that hour has a rate of failures of its own."""
UNKNOWN = 1.0
"""Seconds of an answer where no place has ever answered."""
POINTS = 200
"""Percentiles kept of each place, at most."""
OURS = frozenset({"cancelled", "handed_back", "grant_expired", "expired", "constraint", "invalid_job"})
"""Ends that say nothing of the place."""

Points = tuple[tuple[float, float | None], ...]
"""Seconds of an answer, and of its first token, from the fastest to the slowest."""


@dataclass(frozen=True, slots=True)
class Ends:
    """How an attempt ends: after ``seconds``, with an answer or (``kind``) with a failure."""

    seconds: float
    first_token: float | None = None
    kind: FailureKind | None = None
    retry_after: float | None = None


class Answering(Protocol):
    """Whoever says how an attempt ends."""

    def ends(self, arrival: Arrival, deployment: str, attempt: int, wall: float) -> Ends:
        """Of an attempt that began at ``wall`` (UTC seconds)."""


def drawn(seed: int, *words: object) -> float:
    """From 0 to 1, the same for the same words."""
    return crc32("/".join(map(str, (seed, *words))).encode()) / 2**32


@dataclass(frozen=True, slots=True)
class Failing:
    """How an hour, or all of the time, failed at one place."""

    attempts: int
    kinds: tuple[tuple[float, FailureKind, float], ...]
    """Share of the attempts up to and with this kind, the kind, and the seconds it took on average."""

    def at(self, chance: float) -> tuple[FailureKind, float] | None:
        """The failure that ``chance`` meets, if it meets any."""
        return next(((kind, seconds) for share, kind, seconds in self.kinds if chance < share), None)


class Places:
    """What facts tell of deployments. One of which they tell nothing answers like its model elsewhere, or like all."""

    def __init__(self, facts: Sequence[AttemptFact], *, seed: int = 0) -> None:
        self._seed = seed
        self._answers: dict[str, Points] = {}
        self._failures: dict[str, Failing] = {}
        self._hours: dict[tuple[str, int], Failing] = {}
        self._guessed: dict[str, Points] = {}
        self.guesses: dict[str, str] = {}
        """Deployments that were asked for and of which nothing is known, and what stands in for them."""
        self._learn(facts)

    def _learn(self, facts: Sequence[AttemptFact]) -> None:
        places: dict[str, list[AttemptFact]] = {}
        hours: dict[tuple[str, int], list[AttemptFact]] = {}
        for fact in facts:
            if fact.failure is None or fact.failure not in OURS:
                places.setdefault(fact.deployment, []).append(fact)
                hours.setdefault((fact.deployment, int(fact.started // HOUR)), []).append(fact)
        for name, told in sorted(places.items()):
            self._failures[name] = _failing(told)
            points = _points([fact for fact in told if fact.won])
            if points:
                self._answers[name] = points
        self._hours = {key: _failing(told) for key, told in hours.items() if len(told) >= ENOUGH}

    def ends(self, arrival: Arrival, deployment: str, attempt: int, wall: float) -> Ends:
        """See ``Answering``."""
        failing = self._hours.get((deployment, int(wall // HOUR))) or self._failures.get(deployment)
        if failing is not None and failing.kinds:
            met = failing.at(drawn(self._seed, arrival.project, arrival.job, attempt, deployment))
            if met is not None:
                return Ends(max(met[1], 0.001), kind=met[0])
        rank = arrival.rank
        if rank is None or attempt > 1:
            rank = drawn(self._seed, arrival.project, arrival.job, attempt)
        points = self._answers.get(deployment) or self._guess(deployment)
        seconds, first = points[min(int(rank * len(points)), len(points) - 1)]
        return Ends(max(seconds, 0.001), first)

    def _guess(self, deployment: str) -> Points:
        found = self._guessed.get(deployment)
        if found is None:
            model = deployment.partition("/")[2]
            alike = [name for name in self._answers if name.partition("/")[2] == model]
            chosen = alike or list(self._answers)
            merged = sorted((point for name in chosen for point in self._answers[name]), key=lambda point: point[0])
            found = self._guessed[deployment] = tuple(merged) or ((UNKNOWN, None),)
            words = f"like {' and '.join(alike)}" if alike else "like all others together" if chosen else "in a second"
            self.guesses[deployment] = f"{deployment} has no answers in the facts: it answers {words}, and never fails"
        return found


def _points(answers: Sequence[AttemptFact]) -> Points:
    told = sorted((fact.seconds, fact.first_token) for fact in answers if fact.first_token is not None)
    mute: list[tuple[float, float | None]] = [(fact.seconds, None) for fact in answers if fact.first_token is None]
    every = sorted([*told, *mute], key=lambda point: point[0])
    if len(every) <= POINTS:
        return tuple(every)
    return tuple(every[int((place + 0.5) * len(every) / POINTS)] for place in range(POINTS))


def _failing(told: Sequence[AttemptFact]) -> Failing:
    kinds: dict[FailureKind, list[float]] = {}
    for fact in told:
        if fact.failure is not None:
            kinds.setdefault(FailureKind(fact.failure), []).append(fact.seconds)
    bounds, found = [], 0
    for kind, seconds in sorted(kinds.items()):
        found += len(seconds)
        bounds.append((found / len(told), kind, sum(seconds) / len(seconds)))
    return Failing(len(told), tuple(bounds))
