"""How much of each limit is left, what it holds at most and what it allows: for gauges, never for decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler.policy.domains import Domain
    from scheduler.policy.world import World

Room = dict[tuple[str, str], tuple[float, float, float]]
"""By limit and unit: what could be taken now, and at most; and what it allows a minute, or at once."""


def room(world: World, now: float) -> Room:
    """Of every provider's limits, and of those of projects; a key's are left out: its id is no label."""
    told: Room = {}
    for name, gate in world.gates.items():
        told.update({(name, unit): amounts for unit, amounts in _of(gate.domain, now)})
    for payer in world.accounts.payers.named.values():
        if payer.quota is not None and payer.name.startswith("project:"):
            told.update({(payer.name, unit): amounts for unit, amounts in _of(payer.quota.domain, now)})
    return told


def _of(domain: Domain, now: float) -> Iterator[tuple[str, tuple[float, float, float]]]:
    for unit, bucket in domain.buckets.items():
        limit = bucket.limit
        yield unit, (max(0.0, bucket.level_at(now)), bucket.size, limit.amount * 60.0 / limit.window)
    places = domain.slots.limit
    if places is not None:
        yield "concurrency", (float(max(0, places - domain.slots.used)), float(places), float(places))
