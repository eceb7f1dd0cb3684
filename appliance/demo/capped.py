"""A project with a fifth of a cent, and far more jobs at once than that pays for: the cap holds, and jobs say why."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from appliance.demo.books import Account
from appliance.demo.screen import Screen
from appliance.demo.stage import Stage
from appliance.demo.staging import CAP, CAPPED_ROUTE, THRIFTY
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from job_contracts.results import Result
from producer_sdk import Producer

JOBS = 150
LONGEST = 40
"""Output tokens that each may have: with that its worst case is known."""
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Capped:
    """What became of the project with the small budget; ``metered``: what its calls were billed."""

    budget: Decimal
    results: Sequence[Result]
    metered: Account

    @property
    def answered(self) -> int:
        """Jobs that have an answer."""
        return sum(result.state is JobState.SUCCEEDED for result in self.results)

    @property
    def refused(self) -> list[Result]:
        """Jobs that the budget did not pay for."""
        return [one for one in self.results if one.failure is not None and one.failure.kind is FailureKind.BUDGET]

    @property
    def told(self) -> Decimal:
        """US dollars that the results say they cost."""
        return sum((result.cost or Decimal(0) for result in self.results), Decimal(0))


async def capped(screen: Screen, url: str, key: str, stage: Stage) -> Capped:
    """Submit all of them at once and wait for every result."""
    screen.title(f"A project with a hard budget of ${CAP} in all, and {JOBS} jobs at once")
    async with Producer(url, key=key, name=THRIFTY) as producer:
        handles = await asyncio.gather(
            *(
                producer.submit(model=CAPPED_ROUTE, messages=f"Name river number {number}.", max_tokens=LONGEST)
                for number in range(JOBS)
            )
        )
        results = await asyncio.gather(*(handle.record(PATIENCE) for handle in handles))
    bills = await stage.bills()
    metered = sum((bill for name, bill in bills.items() if name.startswith(f"{THRIFTY}.")), Account())
    seen = Capped(Decimal(CAP), results, metered)
    screen.say(
        f"{seen.answered} were answered for ${metered.cost:.6f}; each had reserved its worst case before its call"
    )
    if seen.refused and (failure := seen.refused[0].failure) is not None:
        screen.say(f"{len(seen.refused)} were not run: {failure.message}")
    return seen
