"""All panels, in the order of the navigation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.panels.audit import AUDIT
from console.panels.job import JOB
from console.panels.jobs import JOBS
from console.panels.overview import OVERVIEW
from console.panels.pools import POOLS
from console.panels.project import PROJECT
from console.panels.workers import WORKERS

if TYPE_CHECKING:
    from console.panels import Panel

PANELS: tuple[Panel, ...] = (OVERVIEW, POOLS, WORKERS, JOBS, JOB, AUDIT, PROJECT)
