"""NATS messages as bytes: a publish encoded and bounded, a header block read."""

from __future__ import annotations

import re
from collections.abc import Mapping

from runtime.bus.port import BusError, TooLarge

MAX_SUBJECT = 2_000
"""The broker closes a connection whose control line exceeds 4 KiB; subject and reply must fit."""
_KEY = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_known_keys: set[str] = set()


def encode_message(subject: str, reply: str, data: bytes, headers: Mapping[str, str] | None, max_payload: int) -> bytes:
    """The bytes of one publish.

    Raises TooLarge for what would make the server close the connection, BusError for a subject or header that could be
    read as something else.
    """
    if " " in subject or not subject.isprintable() or not subject or len(subject) > MAX_SUBJECT:
        raise _bad_subject(subject)
    size = len(data)
    if not headers:
        if size > max_payload:
            raise _too_large(subject, size, max_payload)
        return b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), size, data)
    text = "".join([f"{key}: {value}\r\n" for key, value in headers.items()])
    if text.count("\n") != len(headers) or text.count("\r") != len(headers) or not _known_keys.issuperset(headers):
        text = _checked_headers(subject, headers)
    raw = text.encode()
    head = len(raw) + 12
    if head + size > max_payload:
        raise _too_large(subject, head + size, max_payload)
    return b"HPUB %b %b %d %d\r\nNATS/1.0\r\n%b\r\n%b\r\n" % (
        subject.encode(),
        reply.encode(),
        head,
        head + size,
        raw,
        data,
    )


def _checked_headers(subject: str, headers: Mapping[str, str]) -> str:
    for key, value in headers.items():
        if not _KEY.fullmatch(key) or "\r" in value or "\n" in value:
            raise BusError(f"{subject}: header {key!r} has a name or value that cannot be sent")
        if len(_known_keys) < 1_000:
            _known_keys.add(key)
    return "".join([f"{key}: {value}\r\n" for key, value in headers.items()])


def _bad_subject(subject: str) -> BusError:
    if len(subject) > MAX_SUBJECT:
        return TooLarge(f"{subject[:200]}…: a subject of {len(subject)} characters, {MAX_SUBJECT} fit")
    return BusError(f"{subject!r} is not a subject")


def _too_large(subject: str, size: int, limit: int) -> TooLarge:
    return TooLarge(f"{subject}: {size} bytes with headers, the broker takes {limit}")


def parse_headers(raw: bytes) -> tuple[dict[str, str] | None, str]:
    """Headers and status of a header block (``NATS/1.0[ status[ words]]`` and lines of ``name: value``)."""
    first, _, rest = raw.decode("utf-8", "replace").partition("\r\n")
    headers: dict[str, str] = {}
    for line in rest.split("\r\n"):
        if line:
            name, _, value = line.partition(":")
            headers[name] = value.strip()
    status = first[9:12] if len(first) > 9 else ""
    if status:
        headers["Description"] = first[13:]
    return headers or None, status
