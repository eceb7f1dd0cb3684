"""Which stored sums make up a period, and where a page ends. Only computes.

Whole months (UTC) are read as months, what sticks out on either side as days, and of those what sticks out as hours: a
year is some 70 rows of each source, not 8,760.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from job_contracts.codec import ContractError

HOUR, DAY = 3_600, 86_400
HOURLY, DAILY, MONTHLY = 1, 24, 720
"""Grains, as ``ledger.tables.spend`` has them: hours, but a month is that of the calendar, however long it is."""
GRAINS = (HOURLY, DAILY, MONTHLY)
_BIGGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Segment:
    """Sums of one grain from ``start`` on and before ``end`` (``None``: all there are)."""

    grain: int
    start: int
    end: int | None


NOTHING = Segment(HOURLY, 0, 0)
"""A period without an hour in it."""


def begun(grain: int, at: float) -> int:
    """When the hour, day or month (UTC) began that ``at`` belongs to."""
    size = HOUR if grain == HOURLY else DAY
    start = int(at // size) * size
    return _month_of(start) if grain == MONTHLY else start


def month_starts(first: int, last: int) -> list[int]:
    """When each month (UTC) began that has a part from ``first`` to ``last``."""
    start = datetime.fromtimestamp(first, UTC).replace(day=1, hour=0, minute=0, second=0)
    found = [int(start.timestamp())]
    while found[-1] < last:
        start = (start + timedelta(days=32)).replace(day=1)
        found.append(int(start.timestamp()))
    return found


def whole_hours(since: float, until: float | None) -> tuple[int, int | None]:
    """The full hours that a period touches: its first moment taken down, its end up."""
    start = int(since // HOUR) * HOUR
    return start, None if until is None else -int(-until // HOUR) * HOUR


def segments(since: float, until: float | None, *, coarsest: int = MONTHLY) -> tuple[Segment, ...]:
    """What to read for a period, in order and without overlap, in sums no coarser than ``coarsest``."""
    return tuple(_split(*whole_hours(since, until), coarsest))


def _split(start: int, end: int | None, grain: int) -> Iterator[Segment]:
    """What ``grain`` can say in whole, and on either side of it what a finer one has to."""
    if end is not None and start >= end:
        return
    first = begun(grain, start)
    if first < start:
        first = following(grain, first)
    last = None if end is None else begun(grain, end)
    if last is not None and last <= first and grain != HOURLY:
        yield from _split(start, end, _FINER[grain])
        return
    if start < first:
        yield from _split(start, first, _FINER[grain])
    yield Segment(grain, first, last)
    if last is not None and end is not None and last < end:
        yield from _split(last, end, _FINER[grain])


_FINER = {MONTHLY: DAILY, DAILY: HOURLY}


def following(grain: int, start: int) -> int:
    """When the day or month begins that follows one that begins at ``start``."""
    return start + DAY if grain == DAILY else begun(MONTHLY, start + 31 * DAY)


@lru_cache(maxsize=4_096)
def _month_of(day: int) -> int:
    return int(datetime.fromtimestamp(day, UTC).replace(day=1).timestamp())


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
