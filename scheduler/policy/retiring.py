"""When the models that routes name retire: what there is still time to do something about."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from scheduler.policy.rules import DeploymentRule

MOST = 500
"""Deployments that are told, those that retire first: as many series as a metric may have."""


def days_left(deployments: Iterable[DeploymentRule], today: date) -> dict[str, int]:
    """Whole days (UTC) until each of those that retire does, the soonest first; 0 and below: it has."""
    found = sorted((rule.retires, rule.name) for rule in deployments if rule.retires is not None)
    return {name: (day - today).days for day, name in found[:MOST]}
