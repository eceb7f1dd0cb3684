"""Judges the last two books of a run: the ledger's database, and what results say they cost. Pure.

The first two, LEDGER's facts and the providers' bills, are held against each other in ``history``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING

from tests.e2e.faults.history_book import Book
from tests.e2e.faults.violations import Violation
from tests.support.agreement import counting

if TYPE_CHECKING:
    from decimal import Decimal

    from job_contracts.facts import AttemptFact


def booked(book: Book) -> Iterator[Violation]:
    """The ledger has of each attempt the fact that counts, and its sums and entries are those of all of them."""
    if not book.summed:  # a log without it
        return
    counted = counting(fact for facts in book.facts.values() for fact in facts)
    for attempt in sorted(counted.keys() | book.booked.keys()):
        fact, row = counted.get(attempt), book.booked.get(attempt)
        if fact is None or row is None:
            there, gone = ("LEDGER", "ledger's database") if row is None else ("ledger's database", "LEDGER")
            yield Violation("I7 ledger", attempt, f"it is in the {there} and not in the {gone}")
        elif _said(fact) != (has := (*_row(row), row.cost)):
            yield Violation("I7 ledger", attempt, f"told is {_said(fact)}, booked is {has}")
    told = _folded(counted.values())
    for of in ("hours", "days", "months", "entries"):
        found = {one.provider: (one.attempts, one.tokens, one.cost) for one in book.summed if one.of == of}
        for provider in sorted(told.keys() | found.keys()):
            expected = told.get(provider, (0, 0, 0))
            expected = (0, 0, expected[2]) if of == "entries" else expected
            if found.get(provider, (0, 0, 0)) != expected:
                words = f"its {of} are {found.get(provider)}, the facts that count are {expected}"
                yield Violation("I7 sums", provider, words)


def _row(row: object) -> tuple[int, ...]:
    """Tokens by kind."""
    return tuple(getattr(row, name) for name in ("input", "cache_read", "cache_write", "output", "reasoning"))


def _said(fact: AttemptFact) -> tuple[int | None, ...]:
    return (*_row(fact.usage), _pico(fact.cost))


def _pico(amount: Decimal | None) -> int | None:
    """Whole picodollars, what is smaller as one more: as the ledger and budgets count."""
    return None if amount is None else ceil(Fraction(amount) * 10**12)


def _folded(facts: Iterable[AttemptFact]) -> dict[str, tuple[int, int, int]]:
    attempts, tokens, cost = Counter[str](), Counter[str](), Counter[str]()
    for fact in facts:
        attempts[fact.provider] += 1
        tokens[fact.provider] += fact.usage.input + fact.usage.output
        cost[fact.provider] += _pico(fact.cost) or 0
    return {provider: (count, tokens[provider], cost[provider]) for provider, count in attempts.items()}
