"""Whether the facts of a run say what the simulated providers billed: tokens by kind, and money to the picodollar.

    found = agreement(facts, bills)
    assert not found.wrong, found.wrong
    # what could not be told: the calls that were stopped or cut, an estimate beside what was billed
    assert not agreement(settled(facts, bills), bills).guesses

Calls are matched by the attempt's name, which the worker sends with them. What the provider reported must agree
exactly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from job_contracts.chat import Usage
from job_contracts.facts import AttemptFact
from simulator.reports import BillLine

KINDS = ("input", "cache_read", "cache_write", "output", "reasoning")


class Measure(NamedTuple):
    """Tokens by kind as ``Usage`` has them, and US dollars; ``None``: unknown."""

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    cost: Decimal | None = Decimal(0)

    def plus(self, other: Measure) -> Measure:
        """Both together; with an unknown cost the sum has none."""
        cost = None if self.cost is None or other.cost is None else self.cost + other.cost
        counts = (mine + theirs for mine, theirs in zip(self[:5], other[:5], strict=True))
        return Measure._make((*counts, cost))


@dataclass(frozen=True, slots=True)
class Guess:
    """An attempt whose usage its provider could not report: what we say of it, and what was billed."""

    fact: AttemptFact
    told: Measure
    billed: Measure


@dataclass(frozen=True, slots=True)
class Agreement:
    """``wrong``: in words, what does not agree and cannot be excused. ``told``, ``billed``: sums by model."""

    wrong: tuple[str, ...]
    guesses: tuple[Guess, ...]
    told: dict[str, Measure]
    billed: dict[str, Measure]

    @property
    def exact(self) -> bool:
        """Whether all sums are the same."""
        return not self.wrong and self.told == self.billed


def counting(facts: Iterable[AttemptFact]) -> dict[str, AttemptFact]:
    """Of several facts of an attempt the one that counts, by the attempt's name."""
    found: dict[str, AttemptFact] = {}
    for fact in facts:
        known = found.get(fact.attempt)
        if known is None or fact.outweighs(known):
            found[fact.attempt] = fact
    return found


def measure(fact: AttemptFact) -> Measure:
    """What a fact says."""
    return Measure._make((*(getattr(fact.usage, kind) for kind in KINDS), fact.cost))


def billed(lines: Iterable[BillLine]) -> dict[str, Measure]:
    """What was billed, by the name of the attempt."""
    found: dict[str, Measure] = defaultdict(Measure)
    for line in lines:
        found[line.request_id] = found[line.request_id].plus(_measure(line))
    return dict(found)


def agreement(facts: Iterable[AttemptFact], bills: Iterable[BillLine]) -> Agreement:
    """Compare. Models are taken without the simulator's suffixes."""
    lines = tuple(bills)
    counted, metered = counting(facts), billed(lines)
    wrong, guesses = [], []
    for attempt, fact in counted.items():
        told, bill = measure(fact), metered.get(attempt, Measure())
        if not fact.usage.reported:
            guesses.append(Guess(fact, told, bill))
        elif told != bill:
            wrong.append(f"{attempt} ({fact.model}, {fact.failure or 'succeeded'}): told {told}, billed {bill}")
    wrong += [
        f"{attempt}: billed {bill}, and no fact tells of it"
        for attempt, bill in metered.items()
        if attempt not in counted and bill != Measure()
    ]
    return Agreement(
        wrong=tuple(wrong),
        guesses=tuple(guesses),
        told=_sums((fact.model, measure(fact)) for fact in counted.values()),
        billed=_sums((line.model, _measure(line)) for line in lines),
    )


def settled(facts: Iterable[AttemptFact], bills: Iterable[BillLine]) -> tuple[AttemptFact, ...]:
    """The facts once the provider's statement, call by call, has taken the place of estimates."""
    metered = billed(bills)
    return tuple(
        fact if fact.usage.reported else _stated(fact, metered.get(fact.attempt, Measure()))
        for fact in counting(facts).values()
    )


def _stated(fact: AttemptFact, bill: Measure) -> AttemptFact:
    counts = dict(zip(KINDS, bill[:5], strict=True))
    return fact.model_copy(update={"usage": Usage.model_validate(counts), "cost": bill.cost, "stated": True})


def _sums(rows: Iterable[tuple[str, Measure]]) -> dict[str, Measure]:
    found: dict[str, Measure] = defaultdict(Measure)
    for model, one in rows:
        name = model.partition("+")[0]
        found[name] = found[name].plus(one)
    return {name: one for name, one in found.items() if one != Measure()}


def _measure(line: BillLine) -> Measure:
    return Measure(
        line.input_tokens,
        line.cached_read_tokens,
        line.cache_write_tokens,
        line.output_tokens,
        line.reasoning_tokens,
        line.cost_usd,
    )
