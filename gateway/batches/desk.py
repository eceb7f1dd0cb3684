"""Which edge works on which batch: whoever made it, and when nothing is heard of that one any more, another.

Every edge reads all records as they change. A batch whose record has not changed for ``silence`` seconds, by this
edge's own clock, is taken over by writing its record; of several that try, one succeeds.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.batches.claim import Claim, Lost, take
from gateway.batches.records import decoded
from gateway.batches.runner import Runner
from job_contracts import subjects
from runtime.bus.port import BusError
from runtime.service import Duty, place_of
from runtime.telemetry import ERROR, INFO, WARNING

if TYPE_CHECKING:
    from gateway.bodies.openai_batches import Batch
    from gateway.edge import Edge
    from runtime.bus.port import Message, Tail

LOOK = 0.25
"""Seconds between two looks for batches to take."""
AFTER_FAILURE = 5.0
"""Seconds until a batch is tried again that this edge could not go on with."""
END = 3.0
"""Seconds an edge that ends has to give its batches back."""

Name = tuple[str, str]
"""Project and id of a batch."""


@dataclass(slots=True)
class _Seen:
    batch: Batch
    seq: int
    since: float
    """Loop time at which the record was heard of."""
    not_before: float = 0.0
    """Loop time before which this edge does not take it."""


class Batches(Duty):
    """Runs the batches that are this edge's to run."""

    def __init__(self, edge: Edge, name: str) -> None:
        super().__init__("batches", edge.telemetry)
        self._edge = edge
        self.owner = f"{name}-{secrets.token_hex(4)}"
        """This edge's name in records; another one after every start."""
        self._seen: dict[Name, _Seen] = {}
        self._claims: dict[Name, Claim] = {}
        self._tasks: dict[Name, asyncio.Task[None]] = {}
        self._tail: Tail | None = None
        self._changed = asyncio.Event()

    @property
    def has_room(self) -> bool:
        """Whether another batch can be worked on here."""
        return not self.stopping.is_set() and len(self._tasks) < self._edge.settings.batches.running

    def begin(self, batch: Batch, seq: int) -> None:
        """Work on a batch whose record names this edge."""
        self._run(Claim(self._edge.records, batch, seq))

    async def run(self) -> None:
        """Read the records, and take what nobody works on."""
        if self._tail is None:
            subject = subjects.batch("*", "*")
            self._tail = await self._edge.bus.tail(subjects.BATCHES, self._hear, subjects=(subject,))
        while not self.stopping.is_set():
            await self._look()
            await self._next()

    async def closed(self) -> None:
        """Give back what is not done: another edge goes on with it at once."""
        if self._tail is not None:
            await self._tail.close()
            self._tail = None
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        try:
            async with asyncio.timeout(END):
                await asyncio.gather(
                    *(claim.write(owner="") for claim in self._claims.values()), return_exceptions=True
                )
        except TimeoutError:
            self.telemetry.emit("batch.not_given_back", WARNING, batches=len(self._claims))
        self._claims.clear()

    def _hear(self, message: Message) -> None:
        batch = decoded(message)
        name = (batch.project, batch.id)
        if name in self._claims:
            self._claims[name].heard(batch)
        if batch.cleared:
            self._seen.pop(name, None)
            return
        self._seen[name] = _Seen(batch, message.seq, asyncio.get_running_loop().time())
        if not batch.owner:
            self._changed.set()

    async def _next(self) -> None:
        try:
            async with asyncio.timeout(LOOK):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    async def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        for name, seen in list(self._seen.items()):
            free = not seen.batch.owner or now - seen.since >= self._edge.settings.batches.silence
            if free and now >= seen.not_before and name not in self._tasks and self.has_room:
                await self._take(seen)

    async def _take(self, seen: _Seen) -> None:
        try:
            claim = await take(self._edge.records, seen.batch, seen.seq, self.owner)
        except (Lost, BusError):
            seen.not_before = asyncio.get_running_loop().time() + 1.0
            return
        self.telemetry.emit("batch.taken", INFO, batch=seen.batch.id, of=seen.batch.owner)
        self._run(claim)

    def _run(self, claim: Claim) -> None:
        name = (claim.batch.project, claim.batch.id)
        self._claims[name] = claim
        self._tasks[name] = asyncio.create_task(self._work(name, claim), name=f"run {claim.batch.id}")

    async def _work(self, name: Name, claim: Claim) -> None:
        try:
            await Runner(self._edge, claim).run()
        except Lost:
            self.telemetry.emit("batch.lost", WARNING, batch=claim.batch.id)
            self._claims.pop(name, None)
        except Exception as error:  # noqa: BLE001 - the top of the batch's task: the others go on, and so will it
            kind, place = type(error).__name__, place_of(error)
            self.telemetry.emit("batch.failed", ERROR, batch=claim.batch.id, error=kind, place=place)
            if name in self._seen:
                self._seen[name].not_before = asyncio.get_running_loop().time() + AFTER_FAILURE
            self._claims.pop(name, None)
        else:
            self._claims.pop(name, None)
        finally:
            self._tasks.pop(name, None)
