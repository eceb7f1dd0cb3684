"""Bodies off the wire: bounded as they come and as they unpack.

A body may be packed with gzip or deflate (RFC 9110, 8.4.1): it is unpacked piece by piece and never beyond the limit,
so that a bomb costs what an honest body of that size does. Other codings are refused by name, with those that are
read.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from gateway.bodies.failures import ApiError, Failed, invalid

if TYPE_CHECKING:
    from starlette.requests import Request

GZIP, DEFLATE = "gzip", "deflate"
_WINDOW = {GZIP: 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, DEFLATE: zlib.MAX_WBITS}
PIECE = 256 * 1024
"""Bytes that are unpacked at a time; others get their turn in between."""


async def read_body(request: Request, limit: int) -> bytes:
    """All bytes of a body. Raises ``Failed`` as ``body_parts`` does."""
    parts = [part async for part in body_parts(request, limit)]
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def body_parts(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The bytes of a body as they come, unpacked.

    Raises ``Failed``: 413 as soon as there are, or are announced, more than ``limit`` (packed or not); 415 for a coding
    that is not read; 400 for what does not unpack.
    """
    _check_announced(request, limit)
    unpacking = _unpacking(request)
    size = 0
    async for part in request.stream():
        if unpacking is None:
            size = _bounded(size + len(part), limit)
            if part:
                yield part
            continue
        for piece in unpacking.pieces(part):
            size = _bounded(size + len(piece), limit)
            yield piece
            if len(piece) == PIECE:
                await asyncio.sleep(0)
    if unpacking is not None:
        unpacking.end()


def _check_announced(request: Request, limit: int) -> None:
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdecimal() and (len(announced) > len(str(limit)) or int(announced) > limit):
        raise _too_large(limit)


def _bounded(size: int, limit: int) -> int:
    if size > limit:
        raise _too_large(limit)
    return size


def _too_large(limit: int) -> Failed:
    message = f"the body has more than {limit} bytes"
    return Failed(ApiError(413, "request_too_large", message, remedy="send less, or upload it as a file"))


def _unpacking(request: Request) -> _Unpacking | None:
    coding = ", ".join(request.headers.getlist("content-encoding")).strip().lower()
    if coding in {"", "identity"}:
        return None
    if coding not in _WINDOW:
        known = {"accept-encoding": f"{GZIP}, {DEFLATE}"}
        remedy = f"send it as it is, or packed with {GZIP} or {DEFLATE}"
        message = f"a body with content-encoding {coding[:100]!r} is not read"
        raise Failed(ApiError(415, "unsupported_encoding", message, remedy=remedy, headers=known))
    return _Unpacking(_WINDOW[coding])


class _Unpacking:
    """A packed body, which may be several members one after the other (RFC 1952, 2.2)."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._member = zlib.decompressobj(window)
        self._begun = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` adds, at most ``PIECE`` bytes at a time. Raises ``Failed`` with 400."""
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(self._window)
            self._begun = True
            try:
                piece = self._member.decompress(data, PIECE)
            except zlib.error as error:
                raise _broken() from error
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if piece:
                yield piece

    def end(self) -> None:
        """There is no more. Raises ``Failed`` with 400 if there should be."""
        if self._begun and not self._member.eof:
            raise _broken()


def _broken() -> Failed:
    remedy = "check what packs it; content-encoding must say how it is packed"
    return invalid("the body does not unpack", code="invalid_encoding", remedy=remedy)
