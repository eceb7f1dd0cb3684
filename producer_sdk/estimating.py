"""Questions after the cost of single jobs: those of the same moment travel to the desk together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from job_contracts.desk import MAX_ASKED, AskEstimates, Estimates
from producer_sdk.errors import Closed, PenstockError

if TYPE_CHECKING:
    from job_contracts.desk import Estimate, Planned
    from producer_sdk.desk import Desk

GATHER = 0.004
"""Seconds in which questions are gathered into one."""

Asked = tuple["Planned", "asyncio.Future[Estimate]"]


class Estimating:
    """Asks one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._gathered: list[Asked] = []
        self._awaited: set[asyncio.Future[Estimate]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def of(self, planned: Planned) -> Estimate:
        """What such a job would cost now. Raises Unreachable, or what the desk's refusal means."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Estimate] = loop.create_future()
        if not self._gathered:
            loop.call_later(GATHER, self._post)
        self._gathered.append((planned, future))
        self._awaited.add(future)
        try:
            return await future
        finally:
            self._awaited.discard(future)

    def _post(self) -> None:
        gathered, self._gathered = self._gathered, []
        for start in range(0, len(gathered), MAX_ASKED):
            task = asyncio.get_running_loop().create_task(self._ask(gathered[start : start + MAX_ASKED]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask(self, asked: list[Asked]) -> None:
        try:
            question = AskEstimates(jobs=tuple(planned for planned, _ in asked))
            told = (await self._desk.ask("estimate", question, Estimates)).estimates
            if len(told) != len(asked):
                raise PenstockError(f"the desk told {len(told)} estimates of {len(asked)} jobs")
        except PenstockError as error:
            for _, future in asked:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), estimate in zip(asked, told, strict=True):
            if not future.done():
                future.set_result(estimate)

    def close(self) -> None:
        """Stop asking. Whoever still waits for an answer gets Closed, whether the question is under way or not."""
        for task in self._tasks:
            task.cancel()
        self._gathered.clear()
        for future in self._awaited:
            if not future.done():
                future.set_exception(Closed("the producer was closed before the desk answered"))
