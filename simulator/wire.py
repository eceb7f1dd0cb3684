"""HTTP/1.1 as bytes: heads of responses, chunks, and what a request arrives as."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus

JSON = b"application/json"
EVENTS = b"text/event-stream; charset=utf-8"
HTML = b"text/html; charset=utf-8"
TEXT = b"text/plain; version=0.0.4; charset=utf-8"

LAST_CHUNK = b"0\r\n\r\n"

_REASONS = {status.value: status.phrase for status in HTTPStatus} | {529: "Site is overloaded"}
_STATUS_LINES = {
    code: f"HTTP/1.1 {code} {_REASONS.get(code, 'Unknown')}\r\n".encode() for code in range(100, 600)
}  # fmt: skip

SECRET_HEADERS = frozenset((b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key", b"cookie"))


@dataclass(slots=True)
class Request:
    """A request as it came: ``path`` without its query and still percent-encoded, header names in lower case."""

    method: str
    path: str
    query: str
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""


def head(status: int, content_type: bytes, headers: bytes = b"", length: int | None = None) -> bytes:
    """The head of a response, up to and with its blank line.

    ``headers`` are whole lines, each with its CRLF. ``length`` None announces a chunked body.
    """
    framing = b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length
    return b"%bcontent-type: %b\r\n%b%b\r\n\r\n" % (_STATUS_LINES[status], content_type, headers, framing)


def whole(status: int, content_type: bytes, body: bytes, headers: bytes = b"") -> bytes:
    """A whole response with a body of known length."""
    return head(status, content_type, headers, len(body)) + body


def chunk(data: bytes) -> bytes:
    """A chunk of a chunked body; nothing for no data, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def header_lines(headers: dict[str, str]) -> bytes:
    """Header lines, each with its CRLF."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1", "replace")
