"""Limits of a project or a key beside those of its providers: the same buckets and slots, at no pool's places."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.policy.buckets import NEVER, TOLERANCE
from scheduler.policy.domains import Domain, amount_of
from scheduler.policy.pools import Pool
from scheduler.policy.rules import DomainRule, Limit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.policy.domains import Tokens
    from scheduler.policy.rules import Pace


class Quota:
    """A domain of our own: nobody refuses calls or tells of its limits but this scheduler."""

    __slots__ = ("configured", "domain")

    def __init__(self, name: str, limits: tuple[Limit, ...], concurrency: int | None, pace: Pace) -> None:
        pool = Pool("", None)
        pool.places.limit = None
        self.configured = DomainRule(name, "", limits, concurrency)
        self.domain = Domain(self.configured, pool, pace)

    def hold_to(self, limits: tuple[Limit, ...], concurrency: int | None, now: float) -> None:
        """A key is held to other limits than before."""
        domain = self.domain
        domain.slots.limit = concurrency
        for limit in limits:
            bucket = domain.buckets.get(limit.unit)
            if bucket is not None and bucket.limit != limit:
                bucket.relimit(limit, now)

    def wait(self, tokens: Tokens, places: int, now: float) -> float:
        """Seconds until there is room for so many tokens and ``places`` attempts; infinite if only an end gives it."""
        slots = self.domain.slots
        if slots.limit is not None and slots.used + places > slots.limit:
            return NEVER
        longest = 0.0
        for unit, bucket in self.domain.buckets.items():
            amount = places if unit == "requests" else amount_of(unit, tokens)
            if places > 1 and amount > bucket.level_at(now) + TOLERANCE:
                return NEVER  # not all of them at once
            longest = max(longest, bucket.wait(amount, now))
        return longest

    @property
    def idle(self) -> bool:
        """Whether nothing of it is in use."""
        return self.domain.slots.used == 0

    def full(self, now: float) -> bool:
        """Whether nothing of it has been used lately."""
        return self.idle and all(
            bucket.level_at(now) >= bucket.size and not bucket.pending for bucket in self.domain.buckets.values()
        )

    def restore(self, told: Mapping[str, float], silence: float, now: float) -> None:
        """Take over what an earlier owner left."""
        self.domain.restore(told, silence, now)
