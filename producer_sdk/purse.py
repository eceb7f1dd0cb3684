"""What a run may still spend: some is set aside for each job before it is submitted, and paid when it has ended.

A job's worst case is that of one attempt where it would go first. One that fails there goes on somewhere dearer,
or tries once more, so it is held to what was set aside for it; while there is plenty, that is more than one attempt.
"""

from __future__ import annotations

import asyncio
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from producer_sdk.errors import BudgetExceeded, InvalidRequest, JobFailed, PenstockError, Refused

if TYPE_CHECKING:
    from job_contracts.desk import Estimate

REMEDY = "allow more, and run it again"
AMPLE = 20
"""Worst cases that are set aside for one job at most: as much dearer may the next place be."""
_STEP = Decimal("0.000000000001")


class Purse:
    """Holds ``limit`` US dollars for ``at_once`` jobs at a time. What has cost and may yet cost never exceeds it."""

    def __init__(self, limit: Decimal, at_once: int = 1) -> None:
        self._limit = limit
        self._at_once = at_once
        self._spent = Decimal()
        self._aside = Decimal()
        """For the jobs under way."""
        self._under_way = 0
        self._changed = asyncio.Condition()
        self._shut: str | None = None
        """Why nothing more is submitted."""

    def check(self) -> None:
        """Raise BudgetExceeded if nothing more is to be submitted."""
        if self._shut is not None:
            raise _exceeded(self._shut)

    async def take(self, estimate: Estimate) -> Decimal:
        """Set aside what a job may cost, and return it; where not even its worst case fits, wait for what is under way.

        Raises BudgetExceeded once one cannot fit any more, and for every further one; for one without a known price.
        """
        worst = estimate.worst
        if worst is None and estimate.refused is None:
            raise _exceeded("nobody knows what this request may cost")
        wanted = worst or Decimal()
        async with self._changed:
            await self._changed.wait_for(lambda: self._shut is not None or self._fits(wanted) or not self._under_way)
            if self._shut is None and not self._fits(wanted):
                left = self._limit - self._spent
                self._shut = f"{left} of {self._limit} US dollars are left, and the next request may cost {wanted}"
                self._changed.notify_all()
            self.check()
            aside = max(wanted, min(wanted * AMPLE, self._to_spare()))
            self._aside += aside
            self._under_way += 1
        return aside

    async def settle(self, aside: Decimal, cost: Decimal | None) -> None:
        """A job has ended: its cost takes the place of what was set aside; unknown, it counts as that."""
        async with self._changed:
            self._aside -= aside
            self._under_way -= 1
            self._spent += aside if cost is None else cost
            self._changed.notify_all()

    def _to_spare(self) -> Decimal:
        """For one of so many jobs, so that half of what is left stays free for those that come next."""
        return ((self._limit - self._spent - self._aside) / (2 * self._at_once)).quantize(_STEP, ROUND_DOWN)

    def _fits(self, wanted: Decimal) -> bool:
        return self._spent < self._limit and self._spent + self._aside + wanted <= self._limit


def cost_of(error: PenstockError) -> Decimal | None:
    """US dollars that a job without an answer has cost, ``None`` if they are not known."""
    if isinstance(error, JobFailed):
        return error.result.cost if error.result.attempts else Decimal()
    return Decimal() if isinstance(error, Refused | InvalidRequest) else None


def _exceeded(why: str) -> BudgetExceeded:
    return BudgetExceeded(f"max_cost: {why}", field="max_cost", remedy=REMEDY)
