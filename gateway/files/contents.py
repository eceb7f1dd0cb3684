"""The content of a file, wherever it lies: in chunks, or as the lines of a batch that goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.batches.lines import Lines
from gateway.bodies.failures import Failed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.batches.records import Records
    from gateway.bodies.openai_batches import Batch
    from gateway.bodies.openai_files import FileHead
    from gateway.files.store import Files
    from runtime.bus.port import Bus


@dataclass(frozen=True, slots=True)
class Content:
    """What there is of a file at this moment; of one that grows, whole lines."""

    head: FileHead
    size: int
    batch: Batch | None = None


class Contents:
    """Reads files."""

    def __init__(self, bus: Bus, files: Files, records: Records) -> None:
        self._bus = bus
        self._files = files
        self._records = records

    async def find(self, project: str, file: str) -> Content:
        """A file as it is now. Raises ``Failed`` with 404."""
        return await self.of(project, await self._files.head(project, file))

    async def of(self, project: str, head: FileHead) -> Content:
        """The same, of a head at hand."""
        if not head.live or head.batch is None:
            return Content(head, head.bytes)
        try:
            batch, _ = await self._records.get(project, head.batch)
        except Failed:
            return Content(head, 0)
        return Content(head, batch.last.of(head.part), batch)

    async def read(self, project: str, content: Content, start: int, stop: int) -> AsyncIterator[bytes]:
        """Bytes ``start`` up to ``stop``. Raises BusError (NotFound when the file is deleted meanwhile)."""
        head, batch = content.head, content.batch
        if head.live and batch is not None:
            async for data in self._growing(project, head, batch, start, stop):
                start += len(data)
                yield data
            if start >= stop:
                return
            head = await self._files.head(project, head.id)  # the batch has ended: the same bytes lie in chunks now
        async for data in self._files.read(project, head, start, stop):
            yield data

    async def _growing(self, project: str, head: FileHead, batch: Batch, start: int, stop: int) -> AsyncIterator[bytes]:
        """What can be read of the lines before they are moved; lines are removed only after the head says so."""
        mark = batch.before(start, head.part)
        lines = Lines(self._bus, batch)
        async for data in lines.read(head.part, mark.of(head.part), start, stop, mark.seq + 1):
            now = await self._files.found(project, head.id)
            if now is None or not now[0].live:
                return
            yield data
