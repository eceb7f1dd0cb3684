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

ANY = "<*>"
"""Stands for whatever differs between two tellings of one cause."""
_VARIABLE = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"[a-z][a-z0-9+.-]*://\S+",  # addresses of pages
        r"[^\s@]+@[^\s@]+\.[^\s@]+",  # and of people
        r"\b\d{4}-\d\d-\d\d(?:[t ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:z|[+-]\d\d:?\d\d)?)?",  # moments
        r"(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[a-z])[\w-]{8,}(?![\w-])",  # long words with a digit in them: ids
        r"\b[0-9a-f]{12,}\b",
        r"\d+",
    )
)
_RUN = re.compile(r"<\*>(?:[.,:_-]?<\*>)+")
_SPACE = re.compile(r"\s+")


def plain(message: str) -> str:
    """A failure's message without what names one request: ids, addresses, times, numbers."""
    text = message[:MOST]
    for pattern in _VARIABLE:
        text = pattern.sub(ANY, text)
    return _SPACE.sub(" ", _RUN.sub(ANY, text)).strip().lower()


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
