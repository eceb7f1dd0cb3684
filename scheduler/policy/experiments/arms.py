"""Which arm serves a job: decided by a fingerprint of its unit alone, so that every process says the same for ever.

The share that takes part and the arm are two independent parts of the fingerprint. So a larger share brings units in
and moves none, and at every step the arms get their units in the same proportion: what changes from day to day changes
for all arms alike, and sums over all steps may be compared.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from typing import TYPE_CHECKING

from scheduler.policy.experiments.moments import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_contracts.experiments import Experiment
    from scheduler.policy.experiments.ramp import Progress

_WHOLE = 2**64


@dataclass(slots=True, frozen=True)
class Assigned:
    """Where a job goes. ``arm`` is ``None`` for one that takes no part: its route serves it, and nobody counts it."""

    route: str
    arm: str | None = None
    bucket: int = 0
    """Of its unit, for ``moments``."""


@dataclass(slots=True, frozen=True)
class Place:
    """A unit's own place in an experiment: where it stands in the order of joining, in its arm, in which bucket."""

    joins: float
    """It takes part from the step on whose share is larger than this."""
    arm: str
    bucket: int


def unit_of(experiment: Experiment, *, session: str | None, key: str | None, tags: Mapping[str, str]) -> str | None:
    """Who stays in an arm, ``None`` where the job does not say."""
    if experiment.unit == "session":
        return session
    user = tags.get("user")
    return f"user {user}" if user else None if key is None else f"key {key}"


def place_of(name: str, experiment: Experiment, project: str, unit: str) -> Place:
    """The same unit of another project is another unit; another experiment shuffles all units anew."""
    mark = blake2b(f"{name}\0{project}\0{unit}".encode(), digest_size=18).digest()
    joins, turn = (int.from_bytes(part, "big") / _WHOLE for part in (mark[:8], mark[8:16]))
    weights = experiment.weights
    ends = tuple(accumulate(weights.values()))
    arm = tuple(weights)[min(bisect_right(ends, turn * ends[-1]), len(ends) - 1)]
    return Place(joins, arm, int.from_bytes(mark[16:], "big") % BUCKETS)


def assigned(name: str, experiment: Experiment, progress: Progress, project: str, unit: str | None) -> Assigned:
    """Where a job of the experiment's route goes, now."""
    if experiment.adopted is not None and experiment.adopted not in progress.halted:
        return Assigned(experiment.served_by(experiment.adopted))
    if unit is None or experiment.adopted is not None:
        return Assigned(experiment.route)
    place = place_of(name, experiment, project, unit)
    if place.joins >= progress.share(experiment.ramp) or place.arm in progress.halted:
        return Assigned(experiment.route)
    return Assigned(experiment.served_by(place.arm), place.arm, place.bucket)
