"""All panels, in the order of the navigation; the first that somebody may see is where they arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.panels.attempts import ATTEMPTS
from console.panels.audit import AUDIT
from console.panels.overview import OVERVIEW
from console.panels.pools import POOLS
from console.panels.project import PROJECT
from console.panels.spend import SPEND

if TYPE_CHECKING:
    from console.panels import Panel

PANELS: tuple[Panel, ...] = (OVERVIEW, PROJECT, POOLS, SPEND, ATTEMPTS, AUDIT)
