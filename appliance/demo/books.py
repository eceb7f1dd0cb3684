"""The books of one run, held against each other (pure): facts in LEDGER, and the providers' meters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from job_contracts.facts import AttemptFact


@dataclass(frozen=True, slots=True)
class Account:
    """Attempts, their tokens (``input`` with what was cached, ``output`` with reasoning), and US dollars."""

    attempts: int = 0
    input: int = 0
    output: int = 0
    cost: Decimal = Decimal(0)

    def __add__(self, other: Account) -> Account:
        return Account(
            self.attempts + other.attempts,
            self.input + other.input,
            self.output + other.output,
            self.cost + other.cost,
        )

    def __str__(self) -> str:
        return f"{self.attempts} attempts, {self.input:,} + {self.output:,} tokens, ${self.cost:f}"


@dataclass(frozen=True, slots=True)
class Guess:
    """An attempt whose usage nobody could report, and why: what we say of it, and what was billed."""

    attempt: str
    why: str
    told: Account
    billed: Account


@dataclass(frozen=True, slots=True)
class Books:
    """``facts``: what counts of LEDGER. ``reported``: of that, attempts whose usage was reported; ``metered``: the same
    by their providers. ``differing``: those where the two are not alike.
    """

    facts: Account
    reported: Account
    metered: Account
    guesses: tuple[Guess, ...] = ()
    differing: tuple[str, ...] = ()
    unpriced: int = 0


def counting(facts: Iterable[AttemptFact]) -> dict[str, AttemptFact]:
    """Of several facts of an attempt the one that counts, by the attempt's name."""
    found: dict[str, AttemptFact] = {}
    for fact in facts:
        known = found.get(fact.attempt)
        if known is None or fact.outweighs(known):
            found[fact.attempt] = fact
    return found


def balanced(facts: Iterable[AttemptFact], bills: Mapping[str, Account]) -> Books:
    """Hold them against each other; ``bills`` by the name of the attempt, which providers are told."""
    counted = counting(facts)
    total, reported, metered = Account(), Account(), Account()
    guesses: list[Guess] = []
    differing = [name for name, bill in bills.items() if name not in counted and bill != Account(bill.attempts)]
    for name, fact in counted.items():
        told = Account(1, fact.usage.input, fact.usage.output, fact.cost or Decimal(0))
        # A call that was refused, or never reached its provider, is one attempt all the same.
        bill = bills.get(name, Account())
        bill = Account(1, bill.input, bill.output, bill.cost)
        total += told
        if not fact.usage.reported:
            guesses.append(Guess(name, fact.failure.value if fact.failure else "not told", told, bill))
            continue
        reported, metered = reported + told, metered + bill
        if told != bill:
            differing.append(name)
    unpriced = sum(1 for fact in counted.values() if fact.cost is None)
    return Books(total, reported, metered, tuple(guesses), tuple(sorted(differing)), unpriced)


def billed(lines: Iterable[Mapping[str, Any]]) -> dict[str, Account]:
    """The simulator's bills, by the name of the attempt."""
    found: dict[str, Account] = {}
    for line in lines:
        one = Account(1, line["input_tokens"], line["output_tokens"], Decimal(line["cost_usd"]))
        found[line["request_id"]] = found.get(line["request_id"], Account()) + one
    return found
