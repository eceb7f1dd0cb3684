"""Frames of AWS's binary event stream out of bytes that may be cut anywhere.

A frame is: total length and length of the headers (4 bytes each, big-endian), a CRC-32 of these 8 bytes, the headers,
the payload, a CRC-32 of everything before it. A header is a name with its length in one byte, the type of its value in
one byte, the value. https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html has the layout,
https://smithy.io/2.0/aws/amazon-eventstream.html what the headers ``:message-type`` and the like mean.

``Frames`` has the interface of ``sse.Events``, so that the reader of answers need not know which of them it reads.
"""

from __future__ import annotations

import struct
from zlib import crc32

from pydantic_core import to_json

from workers.dialects.sse import MAX_EVENT

MEDIA_TYPE = "application/vnd.amazon.eventstream"
EXCEPTION = "exception:"
"""Begins the name of an event that reports a failure; its type follows (``throttlingException``)."""
BROKEN = "broken"
"""Name of the event that stands for bytes which are no frame; its ``message`` says why. Nothing comes after it."""
TOO_LARGE = "too-large"
"""The same for a frame beyond the bound."""

_LENGTHS = struct.Struct(">II")
_CRC = struct.Struct(">I")
_LENGTH = struct.Struct(">H")
_AROUND = 16
"""Bytes of a frame that are neither headers nor payload."""
_MOST_HEADERS = 128 * 1024
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a value by the number of its type: truths, integers, a time, a UUID."""
_BYTES, _STRING = 6, 7
_MOST_NAMES = 256


class Frames:
    """An incremental parser: feed bytes, take ``(name, payload)`` pairs.

    The name is the event's type, or begins with ``EXCEPTION``, or is ``BROKEN`` or ``TOO_LARGE``.
    """

    __slots__ = ("_held", "_held_size", "_max", "_names", "_over", "_wanted")

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self._max = max_event
        self._held: list[bytes] = []  # pieces of a frame that is not whole; joined once, so that cost stays linear
        self._held_size = 0
        self._wanted = _AROUND
        self._over = False
        self._names: dict[bytes, str] = {}

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """The events these bytes complete. Never raises: what is no frame becomes a last event, ``BROKEN``."""
        if self._over:
            return []
        if self._held:
            self._held.append(data)
            self._held_size += len(data)
            if self._held_size < self._wanted:
                return []
            data = b"".join(self._held)
            self._held, self._held_size = [], 0
        found: list[tuple[str, bytes]] = []
        at, end = 0, len(data)
        while end - at >= 12 and not self._over:
            total, headers = _LENGTHS.unpack_from(data, at)
            if crc32(data[at : at + 8]) != _CRC.unpack_from(data, at + 8)[0]:
                self._give_up(found, BROKEN, "the checksum of a frame's lengths is wrong")
            elif total < headers + _AROUND or headers > _MOST_HEADERS:
                self._give_up(found, BROKEN, f"a frame of {total} bytes says it has {headers} bytes of headers")
            elif total > self._max:
                self._give_up(found, TOO_LARGE, f"a frame of {total} bytes")
            elif end - at < total:
                self._wanted = total
                break
            else:
                self._take(data, at, total, headers, found)
                at += total
                self._wanted = _AROUND
        if at < end and not self._over:
            self._held, self._held_size = [data[at:]], end - at
        return found

    def flush(self) -> list[tuple[str, bytes]]:
        """What the end of the body leaves: nothing, because a frame without its last byte is none."""
        return []

    def _give_up(self, found: list[tuple[str, bytes]], name: str, message: str) -> None:
        self._over = True
        found.append((name, to_json({"message": message})))

    def _take(self, data: bytes, at: int, total: int, size: int, found: list[tuple[str, bytes]]) -> None:
        end = at + total - 4
        if crc32(data[at:end]) != _CRC.unpack_from(data, end)[0]:
            self._give_up(found, BROKEN, "the checksum of a frame is wrong")
            return
        block = data[at + 12 : at + 12 + size]
        payload = data[at + 12 + size : end]
        name = self._names.get(block)  # the headers of all events of a type are the same bytes
        if name is None:
            try:
                headers = _read(block)
            except (IndexError, struct.error, UnicodeDecodeError):
                self._give_up(found, BROKEN, "the headers of a frame cannot be read")
                return
            if headers.get(":message-type") == "error":
                told = {"code": headers.get(":error-code", ""), "message": headers.get(":error-message", "")}
                found.append((EXCEPTION + told["code"], to_json(told)))
                return
            name = _name(headers)
            if len(self._names) < _MOST_NAMES:
                self._names[block] = name
        found.append((name, payload or b"{}"))


def _name(headers: dict[str, str]) -> str:
    if headers.get(":message-type") == "exception":
        return EXCEPTION + headers.get(":exception-type", "")
    return headers.get(":event-type", "")


def _read(block: bytes) -> dict[str, str]:
    """Headers whose values are strings. Raises IndexError, struct.error or UnicodeDecodeError if they are cut short."""
    found: dict[str, str] = {}
    at, end = 0, len(block)
    while at < end:
        start = at + 1
        at = start + block[at]
        name, kind = block[start:at].decode(), block[at]
        at += 1
        if kind in _FIXED:
            at += _FIXED[kind]
        elif kind in {_BYTES, _STRING}:
            size = _LENGTH.unpack_from(block, at)[0]
            value = block[at + 2 : at + 2 + size]
            at += 2 + size
            if kind == _STRING:
                found[name] = value.decode()
        else:
            raise IndexError
        if at > end:
            raise IndexError
    return found
