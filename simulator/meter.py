"""What the simulated providers bill: requests, tokens by kind and cost, for each provider, key and model (pure).

Money is counted in whole pico-dollars (1e-12 US dollars), so that sums are exact: a price of one millionth of a dollar
for a million tokens is one pico-dollar a token.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import lru_cache
from typing import Literal

from simulator.settings import Price

PICO = Decimal(10) ** 12
MILLION = 1_000_000

Outcome = Literal["ok", "rate_limited", "refused", "failed", "broken", "aborted"]
"""How a request ended: answered in full · over a limit · another error status · failed before an answer began (reset,
hang) · an answer broken off or spoiled by a fault · left by the client."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens by kind, without overlap: all input is the sum of the first three, all output of the last two."""

    input: int = 0
    cached_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def all_input(self) -> int:
        return self.input + self.cached_read + self.cache_write

    @property
    def all_output(self) -> int:
        return self.output + self.reasoning

    def produced(self, tokens: int) -> Usage:
        """The same input with only the first ``tokens`` of the output; reasoning comes before the rest."""
        reasoning = min(self.reasoning, tokens)
        output = min(self.output, tokens - reasoning)
        return Usage(self.input, self.cached_read, self.cache_write, output, reasoning)


@dataclass(frozen=True, slots=True)
class Tariff:
    """A price list in pico-dollars a token."""

    input: int
    cached_read: int
    cache_write: int
    output: int

    def cost(self, usage: Usage) -> int:
        """Pico-dollars."""
        return (
            usage.input * self.input
            + usage.cached_read * self.cached_read
            + usage.cache_write * self.cache_write
            + usage.all_output * self.output
        )


def tariff_of(price: Price) -> Tariff:
    """The price list of a price. Exact: prices have at most six decimals."""
    rows = (price.input, price.cached_read, price.cache_write, price.output)
    return Tariff(*(int(one * PICO) // MILLION for one in rows))


@lru_cache(maxsize=4_096)
def key_id(key: str) -> str:
    """A name for an API key that does not tell the key: 12 hexadecimal digits."""
    return hashlib.blake2b(key.encode(), digest_size=6).hexdigest()


@dataclass(slots=True)
class Sum:
    """Counts of one row, or of many added up. ``cost`` in pico-dollars; tokens without overlap, as in ``Usage``."""

    requests: int = 0
    ok: int = 0
    rate_limited: int = 0
    refused: int = 0
    failed: int = 0
    broken: int = 0
    aborted: int = 0
    input: int = 0
    cached_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    cost: int = 0

    def add(self, other: Sum) -> None:
        """Add another sum to this one."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    @property
    def cost_usd(self) -> Decimal:
        return Decimal(self.cost) / PICO


Row = tuple[str, str, str]
"""Provider, key id, model."""


class Meter:
    """Counts every request once, when it has ended."""

    def __init__(self) -> None:
        self._rows: dict[Row, Sum] = {}

    def record(self, row: Row, outcome: Outcome, usage: Usage | None = None, tariff: Tariff | None = None) -> int:
        """Count a request; without usage and tariff it is free. Returns its cost in pico-dollars."""
        total = self._rows.get(row)
        if total is None:
            total = self._rows[row] = Sum()
        total.requests += 1
        setattr(total, outcome, getattr(total, outcome) + 1)
        if usage is None or tariff is None:
            return 0
        total.input += usage.input
        total.cached_read += usage.cached_read
        total.cache_write += usage.cache_write
        total.output += usage.output
        total.reasoning += usage.reasoning
        cost = tariff.cost(usage)
        total.cost += cost
        return cost

    def rows(self) -> Iterator[tuple[Row, Sum]]:
        yield from sorted(self._rows.items())

    def total(self) -> Sum:
        """Everything together."""
        everything = Sum()
        for one in self._rows.values():
            everything.add(one)
        return everything

    def reset(self) -> None:
        self._rows.clear()
