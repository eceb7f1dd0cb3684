"""What traffic that was seen would have cost at another deployment's prices. Only computes.

Known are sums of tokens by kind for each source, not single calls: whatever depends on one call is approximated, and
said so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from catalogue.prices import MILLION, THOUSAND, Kind, Price
from job_contracts.spend import Alternative, Sums

EVERYWHERE = (
    "the same tokens: another model may count the same text as more or fewer, and answer at another length",
    "all attempts that cost are priced anew, those included that failed or were cancelled",
    "prices are those at the end of the period",
    "prompts kept in a cache for an hour are priced like other writes to a cache; searches are left out",
)
"""What is approximated in every comparison."""


@dataclass(frozen=True, slots=True)
class Other:
    """A deployment to compare with."""

    deployment: str
    prices: tuple[Price, ...] = ()
    window: int | None = None
    """Tokens its model takes in at most."""


def compared(seen: Sequence[Sums], others: Sequence[Other], at: float) -> tuple[Alternative, ...]:
    """The traffic (sums of one source each) priced anew by ``others`` with their prices of ``at``; cheapest first."""
    paid = sum((one.cost for one in seen), Decimal(0))
    rows = [_alternative(seen, other, paid, at) for other in others]
    return tuple(sorted(rows, key=lambda row: (row.cost is None, row.cost or 0, row.deployment)))


def _alternative(seen: Sequence[Sums], other: Other, paid: Decimal, at: float) -> Alternative:
    moment = datetime.fromtimestamp(at, UTC)
    steady = [price for price in other.prices if price.hours is None and price.holds(moment)]
    if not steady:
        return Alternative(deployment=other.deployment, notes=("its price is not known",))
    price = steady[-1]
    notes = _notes(seen, price, other)
    total = Decimal(0)
    for one in seen:
        cost = repriced(one, price)
        if cost is None:
            return Alternative(deployment=other.deployment, notes=("a rate that this takes is not known", *notes))
        total += cost
    return Alternative(deployment=other.deployment, cost=total, difference=total - paid, notes=notes)


def repriced(seen: Sums, price: Price) -> Decimal | None:
    """US dollars of the attempts behind sums; ``None`` if a rate is not known. Tiers go by the average prompt."""
    counts: tuple[tuple[Kind, int], ...] = (
        ("input", seen.input - seen.cache_read - seen.cache_write),
        ("cache_read", seen.cache_read),
        ("cache_write", seen.cache_write),
        ("output", seen.output - seen.reasoning),
        ("reasoning", seen.reasoning),
    )
    prompt = seen.input // seen.attempts if seen.attempts else 0
    total = (price.requests or Decimal(0)) * seen.attempts / THOUSAND
    for kind, count in counts:
        if count <= 0:  # a provider's figures need not add up, as in ``Price.cost``
            continue
        rate = price.rate(kind, prompt)
        if rate is None:
            return None
        total += rate * count / MILLION
    return total


def _notes(seen: Sequence[Sums], price: Price, other: Other) -> tuple[str, ...]:
    longest = max((one.input // one.attempts for one in seen if one.attempts), default=0)
    notes: list[str] = []
    if price.cache_read is None and any(one.cache_read for one in seen):
        notes.append("it has no price for cached tokens: they count as any others")
    if price.cache_write is None and any(one.cache_write for one in seen):
        notes.append("it has no price for writing to its cache: those tokens count as any others")
    if price.tiers:
        first = price.tiers[0].above
        notes.append(f"its rates change above prompts of {first} tokens: decided by the average prompt of each source")
    if any(one.hours is not None for one in other.prices):
        notes.append("its prices at certain hours of the day are left out")
    if other.window is not None and longest > other.window:
        notes.append(f"prompts of {longest} tokens on average do not fit into its window of {other.window}")
    return tuple(notes)
