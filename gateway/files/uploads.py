"""An upload: a multipart form whose one file goes to the store while it arrives, never whole in memory.

The form is RFC 7578's; ``python_multipart`` finds its parts.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.bodies.failures import ApiError, Failed, invalid
from gateway.bodies.openai_files import FileHead, form
from gateway.files.store import Writer
from runtime.telemetry import INFO

if TYPE_CHECKING:
    from gateway.call import Call

FIELDS = 16
"""Parts of a form besides the file."""
FIELD_BYTES = 4_096
"""Bytes of the value of one of them."""
LONGEST_NAME = 255
"""Characters of a file's name that are kept."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


async def upload(call: Call) -> FileHead:
    """Store the file of a request's form.

    Nothing is seen of it before all of it is stored, and nothing is left of it when that does not come about. Raises
    ``Failed``: 400 for the form, 413 over the limit, 408 when nothing comes any more, 507 when the store is full.
    """
    edge, project = call.edge, call.caller.project
    file = f"file-{secrets.token_hex(12)}"
    writer = edge.files.writer(project, file)
    try:
        reading = _Reading(call, writer)
        await reading.run()
        asked = form(reading.fields, reading.filename)
        await writer.end()
        edge.telemetry.emit("file.chunks_stored", file=file)
        head = FileHead(
            id=file,
            bytes=writer.size,
            chunk=writer.chunk,
            created_at=edge.clock.wall(),
            expires_at=edge.files.expiry(asked.expires_after),
            filename=asked.filename,
            purpose=asked.purpose,
        )
        if not await edge.files.add(project, head):
            raise Failed(ApiError(408, "upload_given_up", "this upload was given up", remedy="send it again"))
    except BaseException:
        await asyncio.shield(_undone(call, writer, file))
        raise
    edge.telemetry.emit("file.stored", INFO, file=file, project=project, bytes=head.bytes)
    return head


async def _undone(call: Call, writer: Writer, file: str) -> None:
    await writer.abandon()
    if writer.size:
        await call.edge.files.drop(call.caller.project, file)


def _cut(status: int, code: str, message: str, remedy: str) -> ApiError:
    """An error in the middle of a body: what still comes of it is not read."""
    return ApiError(status, code, message, remedy=remedy, headers={"connection": "close"})


@dataclass
class _Reading:
    """Takes a form apart. The parser calls back for each piece; what it finds is written between its calls."""

    call: Call
    writer: Writer
    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    _headers: dict[str, bytes] = field(default_factory=dict)
    _header: bytes = b""
    _value: bytes = b""
    _name: str = ""
    _of_file: bool = False
    _field: bytearray = field(default_factory=bytearray)
    _content: list[bytes] = field(default_factory=list)
    _ended: bool = False

    async def run(self) -> None:
        """Read to the end of the form."""
        parser = self._parser()
        limit = self.call.edge.settings.max_upload
        parts = self.call.request.stream().__aiter__()
        while True:
            try:
                async with asyncio.timeout(self.call.edge.settings.body_timeout):
                    part = await anext(parts, None)
            except TimeoutError as error:
                raise Failed(_cut(408, "timeout", "the body stopped coming", "send it again")) from error
            if part is None:
                break
            try:
                parser.write(part)
            except FormParserError as error:
                raise invalid(f"the form cannot be read: {error}", code="invalid_form") from error
            for piece in self._content:
                if self.writer.size + len(piece) > limit:
                    raise Failed(_cut(413, "request_too_large", f"the file has more than {limit} bytes", "split it"))
                await self.writer.write(piece)
            self._content.clear()
        if not self._ended:
            raise invalid("the form has no end", code="invalid_form", remedy="close it with its boundary")

    def _parser(self) -> MultipartParser:
        kind, options = parse_options_header(self.call.request.headers.get("content-type"))
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            message = f"a body of type {kind.decode('latin-1')[:80]!r} is not read here"
            remedy = "send multipart/form-data with the parts purpose and file"
            raise Failed(ApiError(415, "unsupported_media_type", message, remedy=remedy))
        return MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begins,
                "on_part_data": self._part_data,
                "on_part_end": self._part_ends,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_ends,
                "on_headers_finished": self._headers_end,
                "on_end": self._form_ends,
            },
        )

    def _part_begins(self) -> None:
        self._headers.clear()
        self._field.clear()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        self._headers[self._header.decode("latin-1").lower()] = self._value
        self._header = self._value = b""

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition"))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        named = options.get(b"filename")
        self._of_file = self._name == "file"
        if self._of_file:
            if self.filename is not None:
                raise invalid("file: there are two of them", param="file", remedy="upload one at a time")
            self.filename = _UNPRINTABLE.sub("?", (named or b"upload").decode("utf-8", "replace"))[:LONGEST_NAME]
        elif len(self.fields) >= FIELDS:
            raise invalid(f"the form has more than {FIELDS} fields", code="invalid_form")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._of_file:
            self._content.append(data[start:end])
            return
        self._field += data[start:end]
        if len(self._field) > FIELD_BYTES:
            raise invalid(f"{self._name[:60]}: that is too long", param=self._name[:60])

    def _part_ends(self) -> None:
        if not self._of_file:
            self.fields[self._name] = self._field.decode("utf-8", "replace")

    def _form_ends(self) -> None:
        self._ended = True
