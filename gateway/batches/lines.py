"""The lines of one batch in the broker's streams: requests out of a file, output lines into a stream and out of it.

An output line is one message on a subject of its own, and only the first one is stored: however many edges work on a
batch, and wherever they die, an input line has one output line. Their order in the stream is that of the file.
"""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

from gateway.bodies.batch_lines import Label, Said, label_of
from gateway.files.store import EVERYTHING
from gateway.storing import PATIENCE, create, patient, some
from job_contracts import subjects

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.bodies.openai_batches import Batch
    from gateway.bodies.openai_files import FileHead, Part
    from gateway.files.store import Files
    from runtime.bus.port import Bus, Handler, Message, Tail

H_LINE = "Penstock-Line"
"""On an output line: what is known of it without its text (``gateway.bodies.batch_lines.Label``)."""
LONGEST = 32 * 1024 * 1024
"""Bytes of one request."""
ROOM = 16 * 1024
"""Bytes of a message that are left to headers."""
_BOM = b"\xef\xbb\xbf"


class LineTooLong(Exception):
    """A line of the input file has more bytes than a request may have."""


async def rows(files: Files, project: str, head: FileHead) -> AsyncIterator[bytes]:
    """The lines of a file, empty ones too, without their ends. Raises LineTooLong, NotFound when it is gone."""
    held = b""
    async for data in files.read(project, head, 0, head.bytes):
        if not held and data.startswith(_BOM):
            data = data[len(_BOM) :]  # noqa: PLW2901 - only at the start of a file; JSON does not begin like that
        *whole, held = (held + data).split(b"\n")
        for row in whole:
            yield row
        if len(held) > LONGEST:
            raise LineTooLong
    if held:
        yield held


class Lines:
    """The output lines of one batch."""

    def __init__(self, bus: Bus, batch: Batch) -> None:
        self._bus = bus
        self._project, self._batch = batch.project, batch.id
        self._all = subjects.batch_line(self._project, self._batch, "*")

    async def store(self, number: int, said: Said, text: bytes) -> None:
        """See to it that a line is there: this one, unless there is one. Tries for ever."""
        piece = self._bus.max_payload - ROOM
        label = Label(said, len(text))
        if len(text) > piece:
            digest = sha256(text).hexdigest()
            parts = [text[at : at + piece] for at in range(0, len(text), piece)]
            for index, part in enumerate(parts):
                subject = subjects.batch_part(self._project, self._batch, number, digest, index)
                await create(self._bus, subjects.BATCHES, subject, part, patience=None)
            label, text = Label(said, len(text), digest, len(parts)), b""
        subject = subjects.batch_line(self._project, self._batch, number)
        await create(self._bus, subjects.BATCHES, subject, text, headers={H_LINE: str(label)}, patience=None)

    async def follow(self, handler: Handler) -> Tail:
        """Hear of every line there is and comes, in their order, without their texts."""
        tail = await patient(
            lambda: self._bus.tail(subjects.BATCHES, handler, subjects=(self._all,), headers_only=True), PATIENCE
        )
        last = (await patient(lambda: self._bus.stream_state(subjects.BATCHES), PATIENCE)).last_seq
        while not await tail.caught_up(last, timeout=PATIENCE):
            continue
        return tail

    async def page(self, seq: int) -> list[Message]:
        """The next lines in the stream from ``seq`` on; none if there are none yet."""
        return list(await some(self._bus, subjects.BATCHES, seq, self._all))

    async def text(self, message: Message, label: Label) -> AsyncIterator[bytes]:
        """A line's text, in pieces where it has some."""
        if not label.parts:
            yield message.data
            return
        number = number_of(message)
        for index in range(label.parts):
            subject = subjects.batch_part(self._project, self._batch, number, label.digest, index)
            yield (await patient(partial(self._bus.last, subjects.BATCHES, subject), PATIENCE)).data

    async def read(self, part: Part, begin: int, start: int, stop: int, seq: int) -> AsyncIterator[bytes]:
        """Bytes ``start`` up to ``stop`` of a part; from sequence ``seq`` on lies what begins at its byte ``begin``.

        After each piece the lines may be gone: ``Contents`` asks whether what was read counts.
        """
        at = begin
        while at < stop:
            page = await self.page(seq)
            if not page:
                return
            found: list[bytes] = []
            for message in page:
                label = label_in(message)
                if label.part != part:
                    continue
                if at + label.size > start and at < stop:
                    async for piece in self.text(message, label):
                        found.append(piece[max(0, start - at) : max(0, stop - at)])
                        at += len(piece)
                else:
                    at += label.size
            seq = page[-1].seq + 1
            yield b"".join(found)

    async def clear(self) -> None:
        """Remove all of them."""
        for subject in (self._all, subjects.batch_part(self._project, self._batch, "*")):
            await patient(
                partial(self._bus.purge, subjects.BATCHES, below=EVERYTHING, subjects=subject),
                None,
            )


def number_of(message: Message) -> int:
    """The number of an output line."""
    return int(message.subject.rpartition(".")[2])


def label_in(message: Message) -> Label:
    """The label of an output line."""
    return label_of((message.headers or {})[H_LINE])
