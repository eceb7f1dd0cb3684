"""The wallboard: pools, limits and lanes as the leader has them now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from console.panels import Desks, Panel

if TYPE_CHECKING:
    from console.people import Person


async def _read(desks: Desks, _: Person, __: Mapping[str, str]) -> Mapping[str, Any]:
    now = await desks.asking.overview()
    return {"now": now, "queued": sum(lane.queued for lane in now.lanes)}


OVERVIEW = Panel("overview", "Overview", "o", _read)
