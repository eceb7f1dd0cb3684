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
    calls = (
        f"{scale.in_flight:,} {'call is' if scale.in_flight == 1 else 'calls are'} under way and"
        f" {scale.waiting:,} {'job waits' if scale.waiting == 1 else 'jobs wait'}"
    )
    place = f"each worker takes {scale.slots:,.3g} calls at once"
    held = (
        f"; about {scale.held_back:,} of the jobs wait for a limit, a breaker or their project: more workers would not"
        " help those"
        if scale.held_back
        else ""
    )
    if scale.needed == scale.desired:
        return f"{calls}{held}; {place}."
    later = "more are wanted" if scale.needed > scale.desired else "fewer are wanted"
    return f"{calls}{held}; {place}. For this moment alone {scale.needed:,} would do: {later} once that lasts."


WORKERS = Panel("workers", "Workers", "w", _read)
