"""Every worker that was heard of, by pool, and how many there should be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from console.panels import Desks, Panel

if TYPE_CHECKING:
    from console.people import Person
    from job_contracts.scaling import PoolScale


async def _read(desks: Desks, _: Person, __: Mapping[str, str]) -> Mapping[str, Any]:
    now = await desks.asking.overview()
    return {"now": now, "why": {pool.name: why(pool.scale) for pool in now.pools}}


def why(scale: PoolScale | None) -> str:
    """What a number of workers comes from, in a sentence."""
    if scale is None:
        return "How many there should be is not known: nobody has reckoned it in this term yet."
    calls = f"{scale.in_flight:,} calls are under way and {scale.waiting:,} jobs wait"
    place = f"each worker takes {scale.slots:,.3g} calls at once"
    held = (
        f"; about {scale.held_back:,} of the jobs wait for a limit, a breaker or their project: more workers would not"
        " help those"
        if scale.held_back
        else ""
    )
    if scale.needed == scale.desired:
        return f"{calls}{held}; {place}."
    sooner = "more are asked for once that lasts" if scale.needed > scale.desired else "fewer once that lasts"
    return f"{calls}{held}; {place}. This moment alone asks for {scale.needed:,}: {sooner}."


WORKERS = Panel("workers", "Workers", "w", _read)
