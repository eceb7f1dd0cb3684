"""How long to wait, in every form providers say it: words, header values, dates beside the answer's own date.

There is no clock here: a point in time means something only beside the ``date`` header of the same answer. All results
are seconds; what cannot be understood, is negative or absurdly long is ``None``.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST = 31 * 86400.0

_UNITS = {
    **dict.fromkeys(("ns", "nanosecond"), 1e-9),
    **dict.fromkeys(("us", "µs", "microsecond"), 1e-6),
    **dict.fromkeys(("ms", "msec", "millisecond"), 1e-3),
    **dict.fromkeys(("s", "sec", "second"), 1.0),
    **dict.fromkeys(("m", "min", "minute"), 60.0),
    **dict.fromkeys(("h", "hr", "hour"), 3600.0),
    **dict.fromkeys(("d", "day"), 86400.0),
}
_UNIT = "|".join(sorted((*_UNITS, *(f"{word}s" for word in _UNITS if len(word) > 1)), key=len, reverse=True))
_PIECE = re.compile(rf"(\d{{1,12}}(?:\.\d{{1,12}})?)\s?({_UNIT})(?![a-zµ])")
_PIECES = rf"(?:\d{{1,12}}(?:\.\d{{1,12}})?\s?(?:{_UNIT})(?![a-zµ])[\s,]*(?:and )?)+"
_DURATION = re.compile(_PIECES)
_SAID = re.compile(
    r"(?:try again|try it again|retry|retry your request|wait|available again|expected available|resets?)"
    rf"(?: in| after| for| at least| about| approximately| within| another| later)*:? ({_PIECES})"
)
_REGAINED = re.compile(
    r"(?:regain access|resets?|reset time(?: is)?|available again|retry|try again)(?: on| at| after|:)* "
    r"(\d{4}-\d\d-\d\d)(?:(?: at |[ t])(\d\d:\d\d(?::\d\d)?))?"
)
_MAX_TEXT = 64
_MAX_SENTENCE = 4096


def duration(text: str) -> float | None:
    """``7m12s``, ``6ms``, ``1.198s``, ``9h54m7.2s``, ``2 minutes`` or a bare number of seconds."""
    text = text.strip().lower()
    number = _number(text)
    if number is not None:
        return _sane(number)
    if len(text) > _MAX_TEXT or not _DURATION.fullmatch(text):
        return None
    return _sane(_sum(text))


def said(text: str) -> float | None:
    """The wait a sentence names: ``please try again in 7m12s``, ``retry after 37 seconds``. The longest if several."""
    waits = [_sane(_sum(found.group(1))) for found in _SAID.finditer(text[:_MAX_SENTENCE].lower())]
    return max((wait for wait in waits if wait is not None), default=None)


def regained(text: str, headers: Mapping[str, str]) -> float | None:
    """Seconds until the moment a sentence names: ``you will regain access on 2026-12-01 at 00:00 UTC``."""
    waits = (
        until(f"{day}T{time or '00:00'}", headers) for day, time in _REGAINED.findall(text[:_MAX_SENTENCE].lower())
    )
    return max((wait for wait in waits if wait), default=None)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The longer of ``retry-after-ms`` and ``retry-after`` (seconds or a date, RFC 9110 10.2.3); zero says nothing."""
    milliseconds = _number(headers.get("retry-after-ms") or headers.get("x-ms-retry-after-ms", ""))
    waits = [_sane(milliseconds / 1000) if milliseconds is not None else None]
    value = headers.get("retry-after", "")
    if value:
        waits.append(duration(value) if value[:1].isdigit() else _until_http_date(value, headers))
    return max((wait for wait in waits if wait), default=None)


def until(value: str, headers: Mapping[str, str]) -> float | None:
    """Seconds until a point in time in RFC 3339, counted from the answer's ``date`` header; ``None`` without one."""
    date = _http_date(headers.get("date", ""))
    if date is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return _sane(max(0.0, (moment - date).total_seconds()))


def after_epoch(value: str, headers: Mapping[str, str]) -> float | None:
    """Seconds until a point in time in Unix seconds or milliseconds, counted from the answer's ``date`` header."""
    date, moment = _http_date(headers.get("date", "")), _number(value)
    if date is None or moment is None:
        return None
    return _sane(max(0.0, (moment / 1000 if moment >= _MILLISECONDS else moment) - date.timestamp()))


_MILLISECONDS = 1e11
"""From here on a Unix time is in milliseconds."""


def _until_http_date(value: str, headers: Mapping[str, str]) -> float | None:
    moment, date = _http_date(value), _http_date(headers.get("date", ""))
    if moment is None or date is None:
        return None
    return _sane(max(0.0, (moment - date).total_seconds()))


def _http_date(value: str) -> datetime | None:
    if not value:
        return None
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _sum(text: str) -> float:
    total = 0.0
    for number, unit in _PIECE.findall(text):
        total += float(number) * _UNITS[unit if unit in _UNITS else unit.rstrip("s")]
    return total


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _sane(seconds: float) -> float | None:
    return seconds if 0 <= seconds <= LONGEST else None
