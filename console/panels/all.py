"""All panels, in the order of the navigation; the first that somebody may see is where they arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.panels.attempts import ATTEMPTS
from console.panels.audit import AUDIT
from console.panels.config import CONFIG
from console.panels.dead import DEAD
from console.panels.drafts import DRAFTS
from console.panels.experiments import EXPERIMENTS
from console.panels.health import HEALTH
from console.panels.job import JOB
from console.panels.jobs import JOBS
from console.panels.keys import KEYS
from console.panels.models import MODELS
from console.panels.overview import OVERVIEW
from console.panels.playground import PLAYGROUND
from console.panels.pools import POOLS
from console.panels.project import PROJECT
from console.panels.spend import SPEND
from console.panels.workers import WORKERS

if TYPE_CHECKING:
    from console.panels import Panel

PANELS: tuple[Panel, ...] = (
    OVERVIEW,
    POOLS,
    WORKERS,
    JOBS,
    JOB,
    DEAD,
    SPEND,
    ATTEMPTS,
    MODELS,
    EXPERIMENTS,
    DRAFTS,
    PLAYGROUND,
    KEYS,
    AUDIT,
    CONFIG,
    HEALTH,
    PROJECT,
)
