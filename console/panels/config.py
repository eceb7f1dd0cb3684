"""The configuration as the console's process has it, each value with where it is from, and who has another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from console.agreeing import asked
from console.panels import Desks, Panel
from runtime.provenance import SOURCES

if TYPE_CHECKING:
    from console.people import Person

GIVEN, ALL = "changed", "all"
"""What is shown: what somebody gave, which is what people look for, or the defaults as well."""
SHOWN = 200
"""Services that are named, of those that do not run with this console's configuration."""


async def _read(desks: Desks, _: Person, query: Mapping[str, str]) -> Mapping[str, Any]:
    told = await asked(desks)
    under, only = query.get("under", "").strip(), query.get("only", GIVEN)
    all_rows = desks.effective.rows
    below = [row for row in all_rows if not under or _below(row.path, under)]
    if only == GIVEN:
        rows = [row for row in below if row.source != "default"]
    else:
        rows = [row for row in below if only in {ALL, row.source}]
    counts = {source: sum(row.source == source for row in below) for source in SOURCES}
    return {
        "rows": rows,
        "under": under,
        "only": only,
        "counts": {source: count for source, count in counts.items() if count},
        "all": len(below),
        "sections": list(dict.fromkeys(_section(row.path) for row in all_rows)),
        "file": desks.effective.file,
        "changed": desks.effective.changed(),
        "own": desks.configured,
        "agreement": told,
        "others": (*told.apart, *told.untold)[:SHOWN],
        "shown": SHOWN,
    }


def _below(path: str, under: str) -> bool:
    return path == under or (path.startswith(under) and path[len(under)] in ".[")


def _section(path: str) -> str:
    return path.partition(".")[0].partition("[")[0]


CONFIG = Panel("config", "Configuration", "c", _read, group="System", live=False)
