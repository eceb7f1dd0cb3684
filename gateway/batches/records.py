"""The records of batches in the broker: one message each, replaced only by who has read the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.bodies.openai_batches import Batch, no_batch
from gateway.storing import PATIENCE, create, every, patient, replace
from job_contracts import subjects
from runtime.bus.port import NotFound, WrongSequence

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.bus.port import Bus, Message


class Records:
    """Raises BusError where nothing else is said."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def add(self, batch: Batch) -> bool:
        """Store a new batch; False if another one has its id."""
        return await create(self._bus, subjects.BATCHES, subjects.batch(batch.project, batch.id), encoded(batch))

    async def get(self, project: str, batch: str, *, patience: float | None = PATIENCE) -> tuple[Batch, int]:
        """A batch and the sequence of its record. Raises ``Failed`` with 404."""
        subject = subjects.batch(project, batch)
        try:
            message = await patient(lambda: self._bus.last(subjects.BATCHES, subject), patience)
        except NotFound:
            raise no_batch(batch) from None
        return decoded(message), message.seq

    async def listed(self, project: str) -> list[Batch]:
        """All batches of a project, oldest first."""
        found = [decoded(one) for one in await every(self._bus, subjects.BATCHES, subjects.batch(project, "*"))]
        return sorted({one.id: one for one in found}.values(), key=lambda one: one.created_at)

    async def put(self, batch: Batch, *, seen: int, patience: float | None = PATIENCE) -> int:
        """Replace the record of sequence ``seen``; the new one's sequence. Raises WrongSequence."""
        subject = subjects.batch(batch.project, batch.id)
        return await replace(self._bus, subjects.BATCHES, subject, encoded(batch), seen=seen, patience=patience)

    async def change(self, project: str, name: str, change: Callable[[Batch], dict[str, Any]]) -> Batch:
        """Change a batch that another edge may be changing too: read, change, write, again until nobody was between.

        ``change`` gives the fields that are to be others, none if it shall stay as it is. Raises ``Failed`` with 404.
        """
        while True:
            batch, seq = await self.get(project, name)
            fields = change(batch)
            if not fields:
                return batch
            changed = batch.model_copy(update={**fields, "beat": batch.beat + 1})
            try:
                await self.put(changed, seen=seq)
            except WrongSequence:
                continue
            return changed

    async def in_use(self, project: str, file: str) -> bool:
        """Whether a batch that has not ended reads this file."""
        return any(one.input.id == file and one.phase != "ended" for one in await self.listed(project))


def encoded(batch: Batch) -> bytes:
    """The record's bytes."""
    return batch.model_dump_json(exclude_defaults=True).encode()


def decoded(message: Message) -> Batch:
    """Read a record."""
    return Batch.model_validate_json(message.data)
