"""Places for calls: how many a pool's workers, or a provider's concurrency limit, have room for at once."""

from __future__ import annotations


class Slots:
    """Counted places; ``limit`` of ``None`` means any number."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.used = 0

    @property
    def free(self) -> bool:
        """Whether one more fits."""
        return self.limit is None or self.used < self.limit


class Pool:
    """The workers of one provider: what they have room for, and what the operator allows of it.

    A pool that was never heard of has no room: what is not dispatched can still be reordered, rerouted and cancelled.
    """

    __slots__ = ("_allowed", "name", "places", "seen")

    def __init__(self, name: str, allowed: int | None) -> None:
        self.name = name
        self.places = Slots(0)
        self.seen = 0
        self._allowed = allowed

    def hear(self, slots: int) -> None:
        """So many slots are alive."""
        self.seen = slots
        self.places.limit = slots if self._allowed is None else min(slots, self._allowed)
