"""Tells the ledger what attempts used, many in a message, and acknowledges each assignment once its fact is stored.

The job's result is visible before an attempt comes here; what waits here is the cost. While the ledger's stream does
not take it, acknowledgements wait and facts stay in memory, up to a bound at which the pool takes no more work:
nothing that was spent is forgotten.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass

from job_contracts import subjects
from job_contracts.codec import encode
from job_contracts.facts import AttemptFact, Facts
from runtime.bus.port import Bus, BusError, Delivery, TooLarge
from runtime.service import Duty
from runtime.telemetry import ERROR, WARNING, Telemetry

__all__ = ["Books"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
ACK_WITHIN = 30.0
"""Seconds an acknowledgement is repeated when the connection was away; then the leader finds the remnant."""


@dataclass(frozen=True, slots=True)
class _Entry:
    delivery: Delivery | None
    fact: AttemptFact | None


class Books(Duty):
    """The duty that stores facts and acknowledges.

    ``batch`` facts go into a message at most, collected for ``linger`` seconds; ``grace``: seconds at the end in which
    what is left must be stored.
    """

    def __init__(
        self,
        bus: Bus,
        telemetry: Telemetry,
        *,
        pool: str,
        worker: str,
        batch: int = 64,
        linger: float = 0.005,
        grace: float = 10.0,
    ) -> None:
        super().__init__("books", telemetry, grace=grace)
        self._bus = bus
        self._subject = subjects.usage(pool, worker)
        self._batch, self._linger = batch, linger
        self._entries: deque[_Entry] = deque()
        self._facts = 0
        self._storing = 0
        self._late: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._full = asyncio.Event()

    @property
    def unsettled(self) -> int:
        """Attempts whose fact is not stored yet, or whose acknowledgement is not out."""
        return len(self._entries) + self._storing + len(self._late)

    def enter(self, delivery: Delivery | None, fact: AttemptFact | None) -> None:
        """Store ``fact``, if there is one, then acknowledge ``delivery``, if there is one."""
        self._entries.append(_Entry(delivery, fact))
        if fact is not None:
            self._facts += 1
            if self._facts >= self._batch:
                self._full.set()
        self._woken.set()

    async def run(self) -> None:
        """Store and acknowledge until told to stop and nothing is left."""
        while True:
            if not self._entries:
                if self.stopping.is_set():
                    break
                self._woken.clear()
                await self._woken.wait()
                continue
            if self._facts < self._batch and not self.stopping.is_set():
                await self._gather()
            await self._store(self._take())
        if self._late:
            await asyncio.wait(self._late)

    async def stop(self) -> None:
        """Store what is left, within the grace."""
        self.stopping.set()
        self._woken.set()
        self._full.set()
        await super().stop()

    async def closed(self) -> None:
        """Whatever could not be told is said to be lost."""
        for task in tuple(self._late):
            task.cancel()
        if self.unsettled:
            self.telemetry.emit("books.unsettled_at_the_end", WARNING, attempts=self.unsettled)

    async def _gather(self) -> None:
        """Wait for company, not longer than ``linger``."""
        self._full.clear()
        try:
            async with asyncio.timeout(self._linger):
                await self._full.wait()
        except TimeoutError:
            pass

    def _take(self) -> list[_Entry]:
        taken: list[_Entry] = []
        facts = 0
        while self._entries and facts < self._batch:
            entry = self._entries.popleft()
            taken.append(entry)
            facts += entry.fact is not None
        self._facts -= facts
        return taken

    async def _store(self, entries: list[_Entry]) -> None:
        self._storing = len(entries)
        facts = tuple(entry.fact for entry in entries if entry.fact is not None)
        try:
            if facts:
                await self._tell(facts)
        except BaseException:
            self._entries.extendleft(reversed(entries))  # the grace is over: say so in ``closed``
            raise
        finally:
            self._storing = 0
        for entry in entries:
            if entry.delivery is not None:
                await self._acknowledge(entry.delivery)

    async def _tell(self, facts: tuple[AttemptFact, ...]) -> None:
        """Store them in as many messages as it takes. Tags are all that can be too large of one fact: it goes without
        them then, lest it be in the way of everybody else's for ever; whose it is and what it cost stay.
        """
        try:
            await self._append(encode(Facts(facts=facts)), len(facts), whole=len(facts) == 1 and not facts[0].tags)
        except TooLarge:
            if len(facts) > 1:
                half = len(facts) // 2
                await self._tell(facts[:half])
                await self._tell(facts[half:])
                return
            self.telemetry.emit("books.tags_lost", ERROR, attempt=facts[0].attempt, tags=len(facts[0].tags))
            await self._tell((facts[0].model_copy(update={"tags": {}}),))

    async def _append(self, data: bytes, facts: int, *, whole: bool) -> None:
        """Store, as often as it takes: a fact that is told twice counts once. Raises TooLarge, unless there is nothing
        to take away from it (``whole``).
        """
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._bus.append(self._subject, data)
            except BusError as error:
                if isinstance(error, TooLarge) and not whole:
                    raise
                self.telemetry.emit("books.retried", WARNING, error=type(error).__name__, facts=facts)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                self.telemetry.emit("books.stored", facts=facts)
                return

    async def _acknowledge(self, delivery: Delivery) -> None:
        if self._bus.connected:
            try:
                await delivery.ack()
            except BusError:
                pass
            else:
                self.telemetry.emit("books.acknowledged")
                return
        task = asyncio.create_task(self._acknowledge_late(delivery))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _acknowledge_late(self, delivery: Delivery) -> None:
        try:
            answered = await delivery.ack_confirmed(within=ACK_WITHIN)
        except BusError:
            answered = False
        if not answered:
            self.telemetry.emit("books.acknowledgement_lost", WARNING)
