"""Where the parts of a chart lie (pure): columns of stacked amounts.

Templates draw what is found here (``templates/charts.html``). Lengths are in the units of a frame that the page scales.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 4, 10, 22
"""What is left free around the columns, for what is written there."""
TICKS = 4
"""Lines across at most, the lowest aside."""
LABELS = 8
"""Columns that are named below at most; all are in their titles."""
GAP = 0.2
"""Share of a column's place that is left free."""


@dataclass(frozen=True, slots=True)
class Series:
    """Amounts of one name, one a column."""

    name: str
    amounts: Sequence[Decimal]

    @property
    def total(self) -> Decimal:
        """All of them together."""
        return sum(self.amounts, Decimal(0))


@dataclass(frozen=True, slots=True)
class Part:
    """A series' rectangle in one column; ``series`` counts from 0."""

    series: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    """One column, from below."""

    x: float
    width: float
    words: str
    """All that it says, in words."""
    parts: tuple[Part, ...]

    @property
    def middle(self) -> float:
        """Of its width."""
        return round(self.x + self.width / 2, 2)


@dataclass(frozen=True, slots=True)
class Columns:
    """A chart of stacked columns."""

    names: tuple[str, ...]
    """Of the series, the lowest first."""
    columns: tuple[Column, ...]
    ticks: tuple[tuple[float, str], ...]
    """Where a line goes across, and what stands beside it."""
    labels: tuple[tuple[float, str], ...]
    """Where the name of a column stands, and the name."""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    base: int = HEIGHT - BOTTOM


def steps(most: Decimal) -> list[Decimal]:
    """Round amounts from 0 up, the last of which is ``most`` or just above: 1, 2 or 5 times a power of ten apart."""
    if most <= 0:
        return [Decimal(0)]
    least = most / TICKS
    power = Decimal(1).scaleb(least.adjusted())
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= least)
    count = int(-(-most // step))
    return [step * number for number in range(count + (step * count < most) + 1)]


def columns(labels: Sequence[str], series: Sequence[Series], write: Callable[[Decimal], str]) -> Columns:
    """Stack ``series`` in a column for each of ``labels``; ``write`` says an amount. What is negative has no height."""
    sums = [sum((one.amounts[at] for one in series), Decimal(0)) for at in range(len(labels))]
    lines = steps(max(sums, default=Decimal(0)))
    scale = (HEIGHT - TOP - BOTTOM) / float(lines[-1] or 1)
    place = (WIDTH - LEFT - RIGHT) / max(1, len(labels))
    made = [_column(LEFT + at * place, place, _words(at, labels, series, write)) for at in range(len(labels))]
    filled = [
        Column(one.x, one.width, one.words, _parts([each.amounts[at] for each in series], scale))
        for at, one in enumerate(made)
    ]
    every = -(-len(labels) // LABELS)
    return Columns(
        names=tuple(one.name for one in series),
        columns=tuple(filled),
        ticks=tuple((round(HEIGHT - BOTTOM - float(line) * scale, 2), write(line)) for line in lines),
        labels=tuple((one.middle, labels[at]) for at, one in enumerate(filled) if at % every == 0),
    )


def _column(x: float, place: float, words: str) -> Column:
    return Column(round(x + place * GAP / 2, 2), round(place * (1 - GAP), 2), words, ())


def _words(at: int, labels: Sequence[str], series: Sequence[Series], write: Callable[[Decimal], str]) -> str:
    told = [f"{one.name} {write(one.amounts[at])}" for one in reversed(series) if one.amounts[at]]
    total = write(sum((one.amounts[at] for one in series), Decimal(0)))
    return f"{labels[at]}: {total}" + (f" ({', '.join(told)})" if len(told) > 1 else f" ({told[0]})" if told else "")


def _parts(amounts: Sequence[Decimal], scale: float) -> tuple[Part, ...]:
    y, found = float(HEIGHT - BOTTOM), []
    for number, amount in enumerate(amounts):
        height = max(0.0, float(amount) * scale)
        y -= height
        if height:
            found.append(Part(number, round(y, 2), round(height, 2)))
    return tuple(found)
