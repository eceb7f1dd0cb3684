"""The right to work on one batch: held by who wrote its record last, renewed by writing it, lost when another did."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gateway.bodies.failures import Failed
from runtime.bus.port import WrongSequence

if TYPE_CHECKING:
    from gateway.batches.records import Records
    from gateway.bodies.openai_batches import Batch


class Lost(Exception):
    """Another edge works on the batch now."""


class Claim:
    """One edge's hold on one batch. ``batch`` is its record as it was last read or written here."""

    def __init__(self, records: Records, batch: Batch, seq: int) -> None:
        self._records = records
        self._seq = seq
        self._writing = asyncio.Lock()
        self.batch = batch
        self.called_off = asyncio.Event()
        """The batch was cancelled."""
        self._look(batch)

    async def write(self, **changes: Any) -> None:
        """Change the record. Raises Lost; tries for ever while the broker does not answer.

        What another edge changed in between (it was asked to cancel) stays.
        """
        async with self._writing:
            while True:
                new = self.batch.model_copy(update={**changes, "beat": self.batch.beat + 1})
                try:
                    self._seq = await self._records.put(new, seen=self._seq, patience=None)
                except WrongSequence:
                    await self._read()
                else:
                    self.batch = new
                    return

    async def _read(self) -> None:
        owner = self.batch.owner
        try:
            batch, self._seq = await self._records.get(self.batch.project, self.batch.id, patience=None)
        except Failed:  # it was forgotten
            raise Lost from None
        if batch.owner != owner:
            raise Lost
        self._look(batch)

    def heard(self, batch: Batch) -> None:
        """The record was seen to say this: what counts is whether it was cancelled, the rest is read when writing."""
        if batch.cancelling_at is not None:
            self.called_off.set()

    def _look(self, batch: Batch) -> None:
        self.batch = batch
        self.heard(batch)


async def take(records: Records, batch: Batch, seq: int, owner: str) -> Claim:
    """Take over a batch whose record was seen to be this one. Raises Lost if somebody was faster."""
    taken = batch.model_copy(update={"owner": owner, "beat": batch.beat + 1})
    try:
        return Claim(records, taken, await records.put(taken, seen=seq))
    except WrongSequence:
        raise Lost from None
