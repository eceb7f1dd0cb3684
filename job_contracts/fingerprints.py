"""What failures have in common: the same cause has the same fingerprint, whatever ids and numbers it names. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

from job_contracts.failures import Failure, FailureKind

if TYPE_CHECKING:
    from job_contracts.results import AttemptRecord

LENGTH = 16
"""Characters of a fingerprint, hexadecimal."""
MOST = 400
"""Characters of a message that are looked at: what comes later is a page that somebody answered with."""

_VARIABLE: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE), "<url>"),
    (re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+"), "<address>"),
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (
        re.compile(r"\b\d{4}-\d\d-\d\d(?:[t ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:z|[+-]\d\d:?\d\d)?)?", re.IGNORECASE),
        "<time>",
    ),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"), "<host>"),
    (re.compile(r"(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{8,}(?![\w-])"), "<id>"),
    (re.compile(r"\b0x[0-9a-f]+\b|\b[0-9a-f]{12,}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "<n>"),
)
"""What differs between two tellings of one cause, and what stands for it; the order matters."""
_SPACE = re.compile(r"\s+")


def plain(message: str) -> str:
    """A failure's message without what names one request: ids, addresses, times, numbers."""
    text = message[:MOST]
    for pattern, stands_for in _VARIABLE:
        text = pattern.sub(stands_for, text)
    return _SPACE.sub(" ", text).strip().lower()


def fingerprint(kind: str, *parts: str) -> str:
    """Of a cause: its kind and whatever else tells it from others."""
    return sha256("\0".join((kind, *parts)).encode("utf-8", "replace")).hexdigest()[:LENGTH]


def of_failure(failure: Failure, history: Sequence[AttemptRecord], route: str) -> str:
    """Of a job's end.

    A job that was given up is told by its last failure, which is the cause; the words about giving up are not. Where it
    happened belongs to a cause: the same complaint about another credential needs another repair. The route does so
    only where no deployment is to blame.
    """
    cause = failure
    if failure.kind is FailureKind.RETRIES_EXHAUSTED and history:
        cause = history[-1].failure or failure
    place = cause.deployment or (history[-1].deployment if history else f"route {route}")
    if failure.kind is FailureKind.POISON:
        return fingerprint(failure.kind.value, place)
    told = (cause.kind.value, cause.code or "", str(cause.status or ""), place, plain(cause.message))
    return fingerprint(failure.kind.value, *told)
