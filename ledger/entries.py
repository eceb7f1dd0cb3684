"""An attempt as double entries (pure): what is debited to one account is credited to another, nothing is taken back.

``reserved:PROJECT`` holds what attempts under way may cost at most, taken from ``budget:PROJECT``; it is empty when
they have ended. ``cost:PROJECT`` holds what they cost, owed to ``provider:PROVIDER``. A heavier fact of the same
attempt adds entries that make up the difference; none is changed.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ledger.bookings import Booking

Kind = Literal["reserve", "settle", "release", "correct"]


class Entry(NamedTuple):
    """``amount`` picodollars, more than 0, from ``credit`` to ``debit``."""

    kind: Kind
    debit: str
    credit: str
    amount: int


def booked(told: Booking) -> tuple[Entry, ...]:
    """The entries of an attempt of which nothing was known."""
    project = told.source.project
    free, held = f"budget:{project}", f"reserved:{project}"
    found: list[Entry] = []
    if told.reserved:
        found.append(Entry("reserve", held, free, told.reserved))
    if told.cost:
        found.append(Entry("settle", *_owed(told), told.cost))
    if told.reserved:
        found.append(Entry("release", free, held, told.reserved))
    return tuple(found)


def corrected(before: Booking, after: Booking) -> tuple[Entry, ...]:
    """The entries to add when ``after`` counts in the place of ``before``."""
    if _owed(before) == _owed(after):
        return _moved(after, (after.cost or 0) - (before.cost or 0))
    return (*_moved(before, -(before.cost or 0)), *_moved(after, after.cost or 0))


def balances(entries: Iterable[Entry]) -> Counter[str]:
    """By account: debits less credits. The sum of all is 0."""
    found: Counter[str] = Counter()
    for one in entries:
        found[one.debit] += one.amount
        found[one.credit] -= one.amount
    return found


def _owed(told: Booking) -> tuple[str, str]:
    return f"cost:{told.source.project}", f"provider:{told.source.provider}"


def _moved(told: Booking, amount: int) -> tuple[Entry, ...]:
    debit, credit = _owed(told) if amount > 0 else reversed(_owed(told))
    return (Entry("correct", debit, credit, abs(amount)),) if amount else ()
