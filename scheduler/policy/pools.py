"""Places for calls: how many a pool's workers, or a provider's concurrency limit, have room for at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from job_contracts.operating import State


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
    """The workers of one provider: what they have room for, and what the operator allows and orders of it.

    A pool that was never heard of has no room: what is not dispatched can still be reordered, rerouted and cancelled.
    """

    __slots__ = ("allowed", "name", "places", "said", "seen", "state")

    def __init__(self, name: str, allowed: int | None) -> None:
        self.name = name
        self.places = Slots(0)
        self.seen = 0
        self.allowed = allowed
        self.state: State = "running"
        self.said = ""
        """Who ordered it and why, unless it runs."""

    def hear(self, slots: int) -> None:
        """So many slots are alive."""
        self.seen = slots
        if self.state != "running":
            self.places.limit = 0
        else:
            self.places.limit = slots if self.allowed is None else min(slots, self.allowed)

    def order(self, state: State, said: str) -> None:
        """The operator says whether anything new may go there."""
        self.state, self.said = state, said
        self.hear(self.seen)

    @property
    def benched(self) -> bool:
        """Whether waiting for it could take long: nobody works there, or it is being emptied."""
        return self.seen == 0 or self.state == "draining"
