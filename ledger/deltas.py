"""What an attempt adds to the sums of its hour, day and month, and what another fact of it takes from them (pure)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from ledger.periods import GRAINS, begun

if TYPE_CHECKING:
    from ledger.bookings import Booking, Source

K = TypeVar("K")
L = TypeVar("L")

HOUR = 3600
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
    """The changes that these make to the sums. An hour's are summed first, a day's are sums of its hours."""
    by_source: defaultdict[tuple[int, Source, str], list[tuple[int, ...]]] = defaultdict(list)
    by_tag: defaultdict[tuple[int, tuple[str, str, str], Source], list[tuple[int, ...]]] = defaultdict(list)
    for sign, all_told in ((1, added), (-1, removed)):
        for told in all_told:
            measures = measured(told) if sign > 0 else tuple(-amount for amount in measured(told))
            hour, source = int(told.at // HOUR) * HOUR, told.source
            by_source[hour, source, told.reason].append(measures)
            for name, value in told.tags:
                by_tag[hour, (source.project, name, value), source].append(measures)
    return _sums(by_source), _sums(by_tag)


def _sums(hours: Mapping[tuple[int, K, L], Sequence[Sequence[int]]]) -> dict[tuple[int, int, K, L], list[int]]:
    """Each grain's sums, from what each hour is made of."""
    summed = {key: _summed(rows) for key, rows in hours.items()}
    found: dict[tuple[int, int, K, L], list[int]] = {}
    for grain in GRAINS:
        wide: defaultdict[tuple[int, K, L], list[list[int]]] = defaultdict(list)
        for (start, one, other), sums in summed.items():
            wide[begun(grain, start), one, other].append(sums)
        found.update({(grain, *key): _summed(rows) for key, rows in wide.items()})
    return found


def _summed(rows: Sequence[Sequence[int]]) -> list[int]:
    return list(rows[0]) if len(rows) == 1 else list(map(sum, zip(*rows, strict=True)))
