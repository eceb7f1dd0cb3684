"""Which jobs may go where answers take long: those of the patient lanes, while their deadlines leave time enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.jobs import LANES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scheduler.policy.jobs import Job
    from scheduler.policy.rules import DeploymentRule

PATIENT = ("batch", "bg")
"""Lanes whose jobs may go to such a place."""
_HOUR, _MINUTE = 3_600.0, 60.0


class Waits:
    """One route's places of that kind."""

    __slots__ = ("_now", "_places")

    def __init__(self, rules: Sequence[DeploymentRule], now: Callable[[], float]) -> None:
        self._places = {index: rule.wait for index, rule in enumerate(rules) if rule.wait is not None}
        self._now = now
        """Now, on the clock of the jobs' deadlines."""

    def __bool__(self) -> bool:
        return bool(self._places)

    def barred(self, job: Job) -> int:
        """Mask of the deployments that take too long for it."""
        patient, left = LANES[job.lane] in PATIENT, job.deadline - self._now()
        mask = 0
        for index, wait in self._places.items():
            if not patient or left < wait.turnaround + wait.spare:
                mask |= 1 << index
        return mask

    def reason(self, index: int, job: Job) -> str | None:
        """Why the deployment at that place takes too long for it, ``None`` if it does not."""
        wait = self._places.get(index)
        if wait is None or not self.barred(job) >> index & 1:
            return None
        if LANES[job.lane] not in PATIENT:
            return f"it is of lane {LANES[job.lane]}, and the {wait.tier} tier is for {' and '.join(PATIENT)}"
        left = _span(max(job.deadline - self._now(), 0.0))
        return (
            f"its deadline leaves {left}, and the {wait.tier} tier takes up to {_span(wait.turnaround)}, "
            f"with {_span(wait.spare)} to spare for another place"
        )


def _span(seconds: float) -> str:
    if seconds >= _HOUR:
        return f"{seconds / _HOUR:.3g} h"
    return f"{seconds / _MINUTE:.3g} min" if seconds >= _MINUTE else f"{seconds:.3g} s"
