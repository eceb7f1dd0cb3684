"""What an attempt adds to the sums of its hour, day and month, and what another fact of it takes from them (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from ledger.periods import GRAINS, begun

if TYPE_CHECKING:
    from ledger.bookings import Booking, Source

MEASURES = (
    *("attempts", "won", "unpriced", "estimated"),
    *("input", "cache_read", "cache_write", "output", "reasoning"),
    *("cost", "waste"),
)

BySource: TypeAlias = "dict[tuple[int, int, Source, str], list[int]]"
"""By grain, start, source and reason: an amount for each of ``MEASURES``."""
ByTag: TypeAlias = "dict[tuple[int, int, tuple[str, str, str], Source], list[int]]"
"""By grain, start, tag (project, name, value) and source."""


def measured(told: Booking) -> tuple[int, ...]:
    """What it adds to each of ``MEASURES``."""
    cost = told.cost or 0
    return (
        *(1, int(told.won), int(told.cost is None), int(not told.reported)),
        *(told.input, told.cache_read, told.cache_write, told.output, told.reasoning),
        *(cost, 0 if told.won else cost),
    )


def deltas(added: Iterable[Booking], removed: Iterable[Booking] = ()) -> tuple[BySource, ByTag]:
    """The changes that these make to the sums."""
    by_source: BySource = {}
    by_tag: ByTag = {}
    for sign, all_told in ((1, added), (-1, removed)):
        for told in all_told:
            measures = measured(told)
            for grain in GRAINS:
                start = begun(grain, told.at)
                _add(
                    by_source.setdefault((grain, start, told.source, told.reason), [0] * len(MEASURES)), measures, sign
                )
                for name, value in told.tags:
                    key = (grain, start, (told.source.project, name, value), told.source)
                    _add(by_tag.setdefault(key, [0] * len(MEASURES)), measures, sign)
    return by_source, by_tag


def _add(sums: list[int], measures: tuple[int, ...], sign: int) -> None:
    for at, amount in enumerate(measures):
        sums[at] += sign * amount
