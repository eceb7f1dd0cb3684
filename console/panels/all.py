"""All panels, in the order of the navigation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.panels.audit import AUDIT
from console.panels.dead import DEAD
from console.panels.overview import OVERVIEW
from console.panels.pools import POOLS
from console.panels.project import PROJECT

if TYPE_CHECKING:
    from console.panels import Panel

PANELS: tuple[Panel, ...] = (OVERVIEW, POOLS, DEAD, AUDIT, PROJECT)
