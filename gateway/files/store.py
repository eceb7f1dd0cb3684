"""Files in the broker: chunks on numbered subjects, and a head whose creation is the moment at which a file is there.

A file's content never changes. Its head is created behind its last chunk, and only if it is the first message of its
subject: whoever gives an upload up creates a mark in its place, so an upload is either completed or removed. A head
has a time to live; chunks without one are swept.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from gateway.bodies.failures import ApiError, Failed
from gateway.bodies.openai_files import FileHead, no_file
from gateway.storing import PATIENCE, create, every, patient, replace
from job_contracts import subjects
from runtime.bus.port import BusError, NotFound, StreamFull, WrongSequence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runtime.bus.port import Bus
    from runtime.clock import Clock
    from runtime.settings.services import Filing

CHUNK = 256 * 1024
"""Bytes of a chunk; less where the broker takes less."""
AT_ONCE = 4
"""Chunks of one file on their way at the same time."""
DAY = 86_400.0
EVERYTHING = 2**63 - 1
"""A sequence that no message reaches."""


class Files:
    """The files of all projects. Raises BusError where nothing else is said."""

    def __init__(self, bus: Bus, clock: Clock, settings: Filing) -> None:
        self._bus = bus
        self._clock = clock
        self._settings = settings

    @property
    def chunk(self) -> int:
        """Bytes of a chunk of what is stored now."""
        return min(CHUNK, self._bus.max_payload // 2)

    def writer(self, project: str, file: str, *, chunk: int | None = None) -> Writer:
        """What stores the content of a file."""
        return Writer(self._bus, project, file, chunk or self.chunk)

    def expiry(self, after: int | None) -> float:
        """When a file that is completed now expires: ``after`` seconds from now, and when all do at the latest."""
        longest = self._settings.keep_days * DAY
        return self._clock.wall() + min(after or longest, longest)

    async def add(self, project: str, head: FileHead) -> bool:
        """Let a file be there; False if another head is in its place."""
        return await create(self._bus, subjects.FILES, *self._told(project, head), ttl=self._ttl(head))

    async def change(self, project: str, head: FileHead, *, seen: int) -> None:
        """Put another head in the place of the one with that sequence. Raises WrongSequence if it is not the last."""
        await replace(self._bus, subjects.FILES, *self._told(project, head), seen=seen, ttl=self._ttl(head))

    async def head(self, project: str, file: str) -> FileHead:
        """What is known of a file. Raises ``Failed`` with 404."""
        found = await self.found(project, file)
        if found is None:
            raise no_file(file)
        return found[0]

    async def found(self, project: str, file: str) -> tuple[FileHead, int] | None:
        """A file's head and its sequence; ``None`` if there is no such file."""
        subject = subjects.file(project, file)
        try:
            message = await patient(lambda: self._bus.last(subjects.FILES, subject), PATIENCE)
        except NotFound:
            return None
        head = FileHead.model_validate_json(message.data)
        gone = head.expires_at is not None and head.expires_at <= self._clock.wall()
        return None if head.dropped or gone else (head, message.seq)

    async def listed(self, project: str) -> list[FileHead]:
        """All files of a project, oldest first."""
        now = self._clock.wall()
        messages = await every(self._bus, subjects.FILES, subjects.file(project, "*"))
        heads = [FileHead.model_validate_json(message.data) for message in messages]
        alive = [head for head in heads if not head.dropped and (head.expires_at is None or head.expires_at > now)]
        return sorted(alive, key=lambda head: head.created_at)

    async def remove(self, project: str, file: str) -> None:
        """Let there be no such file; its content is left to ``forget``. Raises ``Failed`` with 404.

        In the place of results that a batch goes on with stays a mark: whoever takes it up adds what is not there.
        """
        while (found := await self.found(project, file)) is not None:
            head, seq = found
            if not head.live:
                if await patient(partial(self._bus.delete, subjects.FILES, seq), PATIENCE):
                    return
                break
            with suppress(WrongSequence):  # it was completed, or deleted by another
                await self.change(project, self._mark(file), seen=seq)
                return
        raise no_file(file)

    async def drop(self, project: str, file: str) -> None:
        """Give an upload up: it can never be completed, and nothing of it is left. A file that is there is left alone.

        The mark stays for a day: no upload goes on for that long without a chunk.
        """
        if await self.add(project, self._mark(file)):
            await self.forget(project, file)

    async def forget(self, project: str, file: str) -> None:
        """Remove the content of a file that has no head."""
        chunks = subjects.file_chunk(project, file, "*")
        await patient(lambda: self._bus.purge(subjects.FILES, below=EVERYTHING, subjects=chunks), PATIENCE)

    async def read(self, project: str, head: FileHead, start: int, stop: int) -> AsyncIterator[bytes]:
        """The bytes from ``start`` up to ``stop``. Raises NotFound when they are removed meanwhile."""
        first, behind = start // head.chunk, -(-stop // head.chunk)
        for at in range(first, behind, AT_ONCE):
            wanted = range(at, min(at + AT_ONCE, behind))
            for index, data in zip(
                wanted, await asyncio.gather(*(self._chunk(project, head.id, one) for one in wanted)), strict=True
            ):
                begins = index * head.chunk
                yield data[max(0, start - begins) : stop - begins]

    async def _chunk(self, project: str, file: str, index: int) -> bytes:
        subject = subjects.file_chunk(project, file, index)
        try:
            return (await patient(lambda: self._bus.get_direct(subjects.FILES, subject), PATIENCE)).data
        except NotFound:  # a replica may lag: only the leader's word is a no
            return (await patient(lambda: self._bus.last(subjects.FILES, subject), PATIENCE)).data

    def _mark(self, file: str) -> FileHead:
        """What stands for a day where no file shall be. Its time makes it unlike any other."""
        now = self._clock.wall()
        return FileHead(id=file, chunk=1, created_at=now, expires_at=now + DAY, filename="", purpose="", dropped=True)

    def _told(self, project: str, head: FileHead) -> tuple[str, bytes]:
        return subjects.file(project, head.id), head.model_dump_json(exclude_defaults=True).encode()

    def _ttl(self, head: FileHead) -> int | None:
        if head.expires_at is None:
            return None
        return max(1, math.ceil(head.expires_at - self._clock.wall()))


class Writer:
    """Stores one file's content in chunks while it comes, a few of them at once. Storing the same again is safe."""

    def __init__(self, bus: Bus, project: str, file: str, chunk: int) -> None:
        self._bus = bus
        self._project, self._file = project, file
        self._held = bytearray()
        self._index = 0
        self._under_way: set[asyncio.Task[bool]] = set()
        self.chunk = chunk
        self.size = 0
        """Bytes that were given."""

    async def write(self, data: bytes) -> None:
        """Take some of the content; waits while enough is on its way. Raises ``Failed`` with 507 for want of room."""
        self._held += data
        self.size += len(data)
        while len(self._held) >= self.chunk:
            await self._send(bytes(self._held[: self.chunk]))
            del self._held[: self.chunk]

    async def end(self) -> None:
        """Return when everything is stored."""
        if self._held:
            await self._send(bytes(self._held))
            self._held.clear()
        while self._under_way:
            await self._one_less()

    async def abandon(self) -> None:
        """Send nothing more, and wait until nothing is on its way."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        self._under_way.clear()

    async def _send(self, data: bytes) -> None:
        while len(self._under_way) >= AT_ONCE:
            await self._one_less()
        subject = subjects.file_chunk(self._project, self._file, self._index)
        self._index += 1
        sending = asyncio.ensure_future(create(self._bus, subjects.FILES, subject, data))
        sending.add_done_callback(_heeded)
        self._under_way.add(sending)

    async def _one_less(self) -> None:
        done, self._under_way = await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            try:
                if not task.result():
                    raise BusError(f"{self._file}: a chunk is there already, and it is another one")
            except StreamFull as error:
                remedy = "delete files, or let the operator allow more: gateway.files.store"
                raise Failed(ApiError(507, "storage_full", "there is no room for more files", remedy=remedy)) from error


def _heeded(done: asyncio.Task[bool]) -> None:
    """One chunk that is refused ends the writing, and what became of those beside it is not asked any more."""
    if not done.cancelled():
        done.exception()
