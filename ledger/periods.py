"""Which stored sums make up a period, and where a page ends. Only computes.

Whole days are read as days, what sticks out on either side as hours: a year is 365 rows of each source, not 8,760.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from job_contracts.codec import ContractError

HOUR, DAY = 3_600, 86_400
HOURLY, DAILY = 1, 24
"""Grains, as ``ledger.tables.spend`` has them."""
_BIGGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Segment:
    """Sums of one grain from ``start`` on and before ``end`` (``None``: all there are)."""

    grain: int
    start: int
    end: int | None


def whole_hours(since: float, until: float | None) -> tuple[int, int | None]:
    """The full hours that a period touches: its first moment taken down, its end up."""
    start = int(since // HOUR) * HOUR
    return start, None if until is None else -int(-until // HOUR) * HOUR


def segments(since: float, until: float | None, *, hourly: bool = False) -> tuple[Segment, ...]:
    """What to read for a period, without overlap; ``hourly``: hours throughout."""
    start, end = whole_hours(since, until)
    first_day = -(-start // DAY) * DAY
    last_day = None if end is None else end // DAY * DAY
    if hourly or (last_day is not None and last_day <= first_day):
        return (Segment(HOURLY, start, end),) if end is None or start < end else ()
    told = [Segment(HOURLY, start, first_day), Segment(DAILY, first_day, last_day)]
    if last_day is not None and end is not None:
        told.append(Segment(HOURLY, last_day, end))
    return tuple(one for one in told if one.end is None or one.start < one.end)


def cursor(keys: list[Any]) -> str:
    """The end of a page as opaque text."""
    text = json.dumps(keys, ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode()


def read_cursor(text: str, kinds: tuple[type, ...]) -> list[Any]:
    """What ``cursor`` was made of. Raises ContractError unless it holds values of these kinds."""
    try:
        keys = json.loads(base64.b64decode(text.encode(), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        keys = None
    if (
        not isinstance(keys, list)
        or len(keys) != len(kinds)
        or any(type(key) is not kind for key, kind in zip(keys, kinds, strict=True))
        or any(isinstance(key, int) and not 0 <= key <= _BIGGEST for key in keys)
        or any(isinstance(key, str) and "\0" in key for key in keys)
    ):
        raise ContractError("after: that is not the end of a page of this question", field="after", remedy=_REMEDY)
    return keys


_REMEDY = "use what the page before said, with everything else unchanged"
