"""What a call costs: prices as data, by kind of token, by length of the prompt, by date and hour.

All rates are US dollars. A rate that is not known is ``None`` and makes every cost that needs it unknown; nothing is
free unless its rate says 0. The form follows what providers publish and ``genai-prices`` collects: a longer prompt
changes the rate of all its tokens, not only of those beyond the threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from job_contracts.chat import Usage

__all__ = ["Price", "Rates", "Tier", "cost_of", "price_at"]

Rate = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
Kind = Literal["input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning"]

MILLION = Decimal(1_000_000)
THOUSAND = Decimal(1_000)

_WIDER: dict[Kind, Kind] = {
    "cache_read": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "reasoning": "output",
}
"""What a kind costs that has no rate of its own."""


class Rates(BaseModel):
    """US dollars per million tokens, by kind. Of the same names as ``job_contracts.chat.Usage``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Rate | None = None
    """Prompt tokens that were neither read from nor written to a cache."""
    output: Rate | None = None
    cache_read: Rate | None = None
    """Default: as ``input``."""
    cache_write: Rate | None = None
    """Default: as ``input``."""
    cache_write_1h: Rate | None = None
    """Writes that are kept for an hour; default: as ``cache_write``."""
    reasoning: Rate | None = None
    """Default: as ``output``."""


class Tier(Rates):
    """The rates of a call whose whole prompt, cached or not, has more than ``above`` tokens."""

    above: Annotated[int, Field(gt=0)]


class Price(Rates):
    """What one model costs from a date on, or at certain hours."""

    since: date | None = None
    """First day (UTC) on which it holds; default: always."""
    hours: tuple[time, time] | None = None
    """From and until which time of day (UTC, end excluded; over midnight if the end is the earlier)."""
    requests: Rate | None = None
    """US dollars per thousand requests, beside the tokens; default: none are charged."""
    searches: Rate | None = None
    """US dollars per thousand searches the provider makes for an answer."""
    tiers: tuple[Tier, ...] = ()

    @field_validator("tiers")
    @classmethod
    def _in_order(cls, value: tuple[Tier, ...]) -> tuple[Tier, ...]:
        return tuple(sorted(value, key=lambda tier: tier.above))

    @property
    def conditional(self) -> bool:
        """Whether it holds only since a date or at certain hours."""
        return self.since is not None or self.hours is not None

    @property
    def known(self) -> bool:
        """Whether it says anything about tokens."""
        return self.input is not None or self.output is not None

    def holds(self, at: datetime) -> bool:
        """Whether it is in force at a moment (UTC if it names no zone)."""
        moment = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        if self.since is not None and moment.date() < self.since:
            return False
        if self.hours is None:
            return True
        start, end = self.hours
        clock = moment.time()
        return start <= clock < end if start <= end else clock >= start or clock < end

    def shared(self, share: Decimal) -> Price:
        """The price where every rate is that share of it."""
        tiers = tuple(tier.model_copy(update=_shared(tier, share)) for tier in self.tiers)
        return self.model_copy(update={**_shared(self, share), "tiers": tiers})

    def rate(self, kind: Kind, prompt: int = 0) -> Decimal | None:
        """US dollars per million tokens of a kind in a call whose prompt has so many tokens; ``None``: unknown."""
        for tier in reversed(self.tiers):
            if prompt > tier.above:
                found: Decimal | None = getattr(tier, kind)
                if found is not None:
                    return found
        found = getattr(self, kind)
        if found is None and kind in _WIDER:
            return self.rate(_WIDER[kind], prompt)
        return found

    def cost(self, usage: Usage, *, searches: int = 0) -> Decimal | None:
        """US dollars of one call; ``None`` if it used anything whose rate is not known."""
        written = usage.cache_write - usage.cache_write_1h
        counts: tuple[tuple[Kind, int], ...] = (
            ("input", usage.input - usage.cache_read - usage.cache_write),
            ("cache_read", usage.cache_read),
            ("cache_write", written),
            ("cache_write_1h", usage.cache_write_1h),
            ("output", usage.output - usage.reasoning),
            ("reasoning", usage.reasoning),
        )
        total = (self.requests or Decimal(0)) / THOUSAND
        for kind, count in counts:
            # A provider's figures need not add up; a negative rest is nothing, not a credit.
            if count <= 0:
                continue
            rate = self.rate(kind, usage.input)
            if rate is None:
                return None
            total += rate * count / MILLION
        if searches:
            if self.searches is None:
                return None
            total += self.searches * searches / THOUSAND
        return total if self.known else None


def _shared(rates: Rates, share: Decimal) -> dict[str, Decimal]:
    known = {kind: getattr(rates, kind) for kind in Rates.model_fields}
    return {kind: rate * share for kind, rate in known.items() if rate is not None}


def price_at(prices: Sequence[Price], at: datetime) -> Price | None:
    """Which price holds at a moment: the last in force, as later entries are exceptions from earlier ones."""
    return next((price for price in reversed(prices) if price.holds(at)), None)


def cost_of(usage: Usage, prices: Sequence[Price], at: datetime, *, searches: int = 0) -> Decimal | None:
    """US dollars of one call at a moment; ``None`` if the price is not known.

    Where the provider states what it charged (``Decoded.cost``), that is the better figure.
    """
    price = price_at(prices, at)
    return None if price is None else price.cost(usage, searches=searches)
