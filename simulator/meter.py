"""What the simulated providers bill: requests, tokens by kind and cost, for each provider, key and model (pure).

Money is counted in whole pico-dollars (1e-12 US dollars), so that sums are exact: a price of one millionth of a dollar
for a million tokens is one pico-dollar a token.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Literal, NamedTuple

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


class Bill(NamedTuple):
    """What one request was billed. ``at``: seconds of the epoch when it came; ``cost`` in pico-dollars.

    ``request_id``: what its client named it by, else the provider's own id. ``usage`` ``None``: nothing was billed.
    """

    at: float
    provider: str
    model: str
    request_id: str
    outcome: Outcome
    usage: Usage | None
    cost: int


@dataclass(slots=True)
class DaySum:
    """A day's sum of one provider and model, and its pico-dollars by what they are for."""

    counts: Sum = field(default_factory=Sum)
    items: dict[str, int] = field(default_factory=lambda: {"input": 0, "cached input": 0, "output": 0})

    def add(self, usage: Usage, tariff: Tariff) -> None:
        """One more call that was billed."""
        self.items["input"] += usage.input * tariff.input + usage.cache_write * tariff.cache_write
        self.items["cached input"] += usage.cached_read * tariff.cached_read
        self.items["output"] += usage.all_output * tariff.output


class Meter:
    """Counts every request once, when it has ended; of the last ``bills`` it can say what each was billed."""

    def __init__(self, bills: int = 0) -> None:
        self._rows: dict[Row, Sum] = {}
        self._days: dict[tuple[int, str, str], DaySum] = {}
        self._bills: deque[Bill] = deque(maxlen=bills)
        self.forgotten = 0
        """Bills that there was no more room for."""

    def record(
        self,
        row: Row,
        outcome: Outcome,
        usage: Usage | None = None,
        tariff: Tariff | None = None,
        *,
        at: float = 0.0,
        request_id: str = "",
    ) -> int:
        """Count a request that came ``at`` (seconds of the epoch); without usage and tariff it is free. Returns its
        cost in pico-dollars.
        """
        total = self._rows.get(row)
        if total is None:
            total = self._rows[row] = Sum()
        _count(total, outcome, usage)
        cost = 0
        if usage is not None and tariff is not None:
            cost = tariff.cost(usage)
            total.cost += cost
            day = (int(at // 86_400), row[0], row[2])
            billed = self._days.get(day)
            if billed is None:
                billed = self._days[day] = DaySum()
            _count(billed.counts, outcome, usage)
            billed.counts.cost += cost
            billed.add(usage, tariff)
        if self._bills.maxlen:
            self.forgotten += len(self._bills) == self._bills.maxlen
            self._bills.append(Bill(at, row[0], row[2], request_id, outcome, usage, cost))
        return cost

    def bills(self) -> Iterator[Bill]:
        """What the last requests were billed, in the order in which they ended."""
        yield from tuple(self._bills)

    def days(self, provider: str | None = None) -> Iterator[tuple[date, str, DaySum]]:
        """What was billed by day (UTC) and model, of one provider or of all."""
        for (day, name, model), one in sorted(self._days.items(), key=lambda found: found[0]):
            if provider is None or name == provider:
                yield date(1970, 1, 1) + timedelta(days=day), model, one

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
        self._days.clear()
        self._bills.clear()
        self.forgotten = 0


def _count(total: Sum, outcome: Outcome, usage: Usage | None) -> None:
    total.requests += 1
    setattr(total, outcome, getattr(total, outcome) + 1)
    if usage is not None:
        total.input += usage.input
        total.cached_read += usage.cached_read
        total.cache_write += usage.cache_write
        total.output += usage.output
        total.reasoning += usage.reasoning
