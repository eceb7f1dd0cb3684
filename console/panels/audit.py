"""Who did what, newest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from console.panels import Desks, Panel
from job_contracts.operating import AskAudit

if TYPE_CHECKING:
    from console.people import Person

FILTERS = ("by", "did", "on", "name")


async def _read(desks: Desks, _: Person, query: Mapping[str, str]) -> Mapping[str, Any]:
    wanted = {name: query[name].strip() for name in FILTERS if query.get(name, "").strip()}
    below = query.get("below", "")
    place = int(below) if below.isdecimal() and len(below) < 19 else None
    asked = AskAudit.model_validate({**wanted, "below": place})
    return {"page": await desks.asking.audit(asked), "wanted": wanted, "filters": FILTERS}


AUDIT = Panel("audit", "Audit", "a", _read, group="System", live=False)
