"""What a run may still spend: each job's worst case is set aside before it is submitted, and paid when it has ended."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

from producer_sdk.errors import BudgetExceeded, InvalidRequest, JobFailed, PenstockError, Refused

if TYPE_CHECKING:
    from job_contracts.desk import Estimate

REMEDY = "allow more, and run it again"


class Purse:
    """Holds ``limit`` US dollars. What has cost and what may yet cost never exceed it together."""

    def __init__(self, limit: Decimal) -> None:
        self._limit = limit
        self._spent = Decimal()
        self._aside = Decimal()
        """Worst cases of the jobs under way."""
        self._under_way = 0
        self._changed = asyncio.Condition()
        self._shut: str | None = None
        """Why nothing more is submitted."""

    def check(self) -> None:
        """Raise BudgetExceeded if nothing more is to be submitted."""
        if self._shut is not None:
            raise _exceeded(self._shut)

    async def take(self, estimate: Estimate) -> Decimal:
        """Set a job's worst case aside, and return it; where it does not fit, wait for what is under way first.

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
            self._aside += wanted
            self._under_way += 1
        return wanted

    async def settle(self, aside: Decimal, cost: Decimal | None) -> None:
        """A job has ended: its cost takes the place of what was set aside; unknown, it counts as that."""
        async with self._changed:
            self._aside -= aside
            self._under_way -= 1
            self._spent += aside if cost is None else cost
            self._changed.notify_all()

    def _fits(self, wanted: Decimal) -> bool:
        return self._spent < self._limit and self._spent + self._aside + wanted <= self._limit


def cost_of(error: PenstockError) -> Decimal | None:
    """US dollars that a job without an answer has cost, ``None`` if they are not known."""
    if isinstance(error, JobFailed):
        return error.result.cost if error.result.attempts else Decimal()
    return Decimal() if isinstance(error, Refused | InvalidRequest) else None


def _exceeded(why: str) -> BudgetExceeded:
    return BudgetExceeded(f"max_cost: {why}", field="max_cost", remedy=REMEDY)
