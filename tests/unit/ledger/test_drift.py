"""Each thing that makes a provider's account differ from ours is made on purpose, and recognised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ledger.drift import HOUR, OFFSETS, WORDS, Cause, Drift, Figures, Hour, compare
from ledger.statement_lines import Line

FIRST = date(2026, 11, 2)
START = int(datetime(2026, 11, 2, tzinfo=UTC).timestamp())
PRICE = 3_000_000
"""Picodollars a token here."""


Changes = dict[str, Callable[[Any], Any]]
"""By field of a line: what the provider says, from the day's sums."""


def hour(number: int, model: str = "m", **over: Any) -> Hour:
    """An hour's calls, ``number`` hours after the first midnight."""
    figures = Figures(requests=4, input=1_000, cache_read=200, cache_write=0, output=300, reasoning=50, cost=0)
    figures = replace(figures, **over)
    return Hour(START + number * HOUR, model, figures if "cost" in over else replace(figures, cost=_price(figures)))


def _price(figures: Figures) -> int:
    return (figures.tokens or 0) * PRICE


def billed(hours: list[Hour], offset: int = 0, over: Changes | None = None) -> list[Line]:
    """What a provider whose day begins at ``offset`` hands out for these hours, with something changed."""
    days: dict[tuple[date, str], Figures] = {}
    for one in hours:
        key = (datetime.fromtimestamp(one.start - offset * HOUR, UTC).date(), one.model)
        days[key] = days.get(key, Figures()).plus(one.figures)
    lines = []
    for (day, model), sums in days.items():
        told = {name: getattr(sums, name) for name in ("requests", "input", "cache_read", "output", "cost")}
        told |= {name: change(sums) for name, change in (over or {}).items()}
        lines.append(Line(0, day, model, **told))
    return lines


def drift(lines: list[Line], hours: list[Hour], threshold: float = 0.02, **aliases: str) -> Drift:
    return compare(lines, hours, threshold=threshold, aliases=aliases)


def causes(found: Drift) -> set[Cause]:
    return {row.cause for row in found.rows}


def _traffic(seed: int) -> list[Hour]:
    some = Random(seed)
    return [
        hour(number, input=some.randint(300, 50_000), output=some.randint(60, 50_000))
        for number in range(24 * some.randint(4, 6))
    ]


months = st.integers(0, 2**32).map(_traffic)
few = settings(max_examples=25)
day = [hour(number) for number in range(24)]


def test_every_cause_has_words() -> None:
    assert set(WORDS) == set(Cause)


@few
@given(months)
def test_a_statement_that_says_what_we_say_agrees(hours: list[Hour]) -> None:
    found = drift(billed(hours), hours)
    assert causes(found) == {Cause.NONE}
    assert (found.over, found.worst, found.ours.cost) == (False, 0.0, found.theirs.cost)


@few
@given(months, st.sampled_from(OFFSETS))
def test_a_day_that_begins_at_another_hour_is_found_and_is_no_alarm(hours: list[Hour], offset: int) -> None:
    lines = billed(hours, offset)
    inner = sorted({line.day for line in lines})[1:-1]
    found = drift([line for line in lines if line.day in inner], hours)
    assume(found.worst > 0.01)
    assert causes(found) <= {Cause.SHIFTED, Cause.NONE}
    assert {row.hours for row in found.rows if row.cause is Cause.SHIFTED} == {offset % 24}
    assert not found.over


@few
@given(months, st.sampled_from(OFFSETS), st.sampled_from([0.8, 1.3]))
def test_a_shifted_day_does_not_hide_another_price(hours: list[Hour], offset: int, factor: float) -> None:
    lines = billed(hours, offset, {"cost": lambda sums: round(sums.cost * factor)})
    inner = sorted({line.day for line in lines})[1:-1]
    found = drift([line for line in lines if line.day in inner], hours)
    assume(Cause.SHIFTED in causes(found))
    assert found.over


def test_a_call_counted_on_the_next_day_is_a_shift_between_neighbours() -> None:
    hours = [hour(number) for number in range(72)]
    late = [*hours[:20], hour(24, input=4_000, output=1_200, requests=16), *hours[24:]]
    found = drift(billed(late), hours)
    assert [row.cause for row in found.rows] == [Cause.SHIFTED, Cause.SHIFTED, Cause.NONE]
    assert not found.over


CHANGES: dict[Cause, Changes] = {
    Cause.CACHED_APART: {"input": lambda sums: sums.input - sums.cache_read},
    Cause.REASONING_APART: {"output": lambda sums: sums.output - sums.reasoning},
    Cause.MISSING: {"requests": lambda sums: sums.requests * 2, "input": lambda sums: sums.input * 2},
    Cause.SURPLUS: {"requests": lambda sums: sums.requests // 2, "input": lambda sums: sums.input // 2},
    Cause.BATCH: {"cost": lambda sums: sums.cost // 2},
    Cause.PRICE: {"cost": lambda sums: round(sums.cost * 1.2)},
    Cause.UNKNOWN: {"input": lambda sums: sums.input * 3},
}


@pytest.mark.parametrize("cause", CHANGES, ids=str)
@few
@given(size=st.integers(1, 1_000))
def test_what_makes_a_difference_is_recognised(cause: Cause, size: int) -> None:
    hours = [
        hour(number, input=1_000 * size, cache_read=200 * size, output=300 * size, reasoning=50 * size)
        for number in range(24)
    ]
    found = drift(billed(hours, over=CHANGES[cause]), hours)
    assert causes(found) == {cause}
    assert found.over


def test_what_is_ours_alone_and_theirs_alone_is_told() -> None:
    assert causes(drift(billed(day), [])) == {Cause.NOT_OURS}
    other = [hour(number, "other") for number in range(24)]
    found = drift(billed(day), [*day, *other])
    assert [(row.models, row.cause, row.over) for row in found.rows] == [
        (("m",), Cause.NONE, False),
        (("other",), Cause.NOT_THEIRS, True),
    ]


def test_estimates_and_unknown_prices_on_our_side_are_named() -> None:
    guessed = [*day[:-1], hour(23, output=4_000, estimated=1, cost=day[-1].figures.cost)]
    assert causes(drift(billed(day), guessed)) == {Cause.ESTIMATED}
    unpriced = [*day[:-1], hour(23, unpriced=4, cost=0)]
    assert causes(drift(billed(day), unpriced)) == {Cause.UNPRICED}


def test_a_discount_that_the_provider_calls_a_batch_is_one_whatever_it_is() -> None:
    lines = [replace(line, batch=True, cost=(line.cost or 0) * 3 // 4) for line in billed(day)]
    assert causes(drift(lines, day)) == {Cause.BATCH}


def test_usage_and_costs_may_come_apart() -> None:
    (usage,) = billed(day)
    (costs,) = billed(day)
    apart = [
        replace(usage, cost=None),
        Line(0, FIRST, "m", cost=100),
        Line(0, FIRST, "m", cost=(costs.cost or 0) - 100),
    ]
    assert causes(drift(apart, day)) == {Cause.NONE}


def test_an_alias_is_matched_with_its_snapshots_and_two_snapshots_are_kept_apart() -> None:
    ours = [hour(1, "gpt-4o"), hour(2, "gpt-4o-2024-08-06"), hour(3, "fast")]
    theirs = billed([hour(1, "gpt-4o-2024-08-06"), hour(2, "gpt-4o-2024-08-06"), hour(3, "quick-1")])
    found = drift(theirs, ours, fast="quick-1")
    assert [(row.models, row.cause) for row in found.rows] == [
        (("gpt-4o", "gpt-4o-2024-08-06"), Cause.NONE),
        (("fast",), Cause.NONE),
    ]
    same = [hour(1, "gpt-4o-2024-05-13", input=10), hour(1, "gpt-4o-2024-08-06", input=9_000)]
    assert len(drift(billed(same), same).rows) == 2


def test_half_a_cent_of_rounding_is_no_alarm() -> None:
    tiny = [hour(0, input=10, output=10, cost=600_000_000)]
    lines = [replace(line, cost=0) for line in billed(tiny)]
    assert not drift(lines, tiny).over
    assert drift([replace(line, cost=10**10) for line in lines], tiny).over


@few
@given(months, st.floats(0.05, 0.5))
def test_over_the_threshold_means_that_some_day_differs_by_more(hours: list[Hour], threshold: float) -> None:
    lines = billed(hours, over={"cost": lambda sums: round(sums.cost * 0.8)})
    assert drift(lines, hours, threshold).over == (threshold < 1 - 0.8 - 1e-9)


def test_days_without_a_line_between_others_are_days_without_use() -> None:
    hours = [hour(0), hour(24), hour(48)]
    lines = [line for line in billed(hours) if line.day != FIRST + timedelta(days=1)]
    assert [row.cause for row in drift(lines, hours).rows] == [Cause.NONE, Cause.NOT_THEIRS, Cause.NONE]
