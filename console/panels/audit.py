"""Who did what, newest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from console.filters import address, place
from console.panels import Desks, Panel
from job_contracts.operating import AskAudit

if TYPE_CHECKING:
    from console.people import Person

FILTERS = {"by": "who", "did": "did", "on": "on what", "name": "called"}
"""By what the scheduler is asked for, as people read it."""


async def _read(desks: Desks, _: Person, query: Mapping[str, str]) -> Mapping[str, Any]:
    wanted = {name: query[name].strip() for name in FILTERS if query.get(name, "").strip()}
    page = await desks.asking.audit(AskAudit.model_validate({**wanted, "below": place(query, "below")}))
    older = None if page.below is None else address("/audit", {"below": page.below}, wanted)
    return {"page": page, "wanted": wanted, "filters": tuple(FILTERS), "labels": FILTERS, "older": older}


AUDIT = Panel("audit", "Audit", "a", _read, group="System", live=False)
