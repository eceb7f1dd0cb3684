"""The audit of a limit, against the definition it stands for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulator.audit import Watch

LIMIT, PERIOD = 12, 6.0

uses = st.lists(st.tuples(st.floats(0, 10), st.integers(1, 9)), min_size=1, max_size=40)


def timeline(gaps: list[tuple[float, int]]) -> list[tuple[float, int]]:
    now, made = 50.0, []
    for gap, amount in gaps:
        now += gap
        made.append((now, amount))
    return made


@given(uses)
def test_most_is_the_largest_sum_of_any_window(gaps: list[tuple[float, int]]) -> None:
    watch, line = Watch(limit=LIMIT, period=PERIOD), timeline(gaps)
    for at, amount in line:
        watch.note(amount, at)
    assert watch.most == max(sum(amount for at, amount in line if at <= end < at + PERIOD) for end, _ in line)
    assert watch.total == sum(amount for _, amount in line)


@given(uses)
def test_burst_is_the_smallest_bucket_that_would_have_let_everything_through(gaps: list[tuple[float, int]]) -> None:
    watch, line = Watch(limit=LIMIT, period=PERIOD), timeline(gaps)
    for at, amount in line:
        watch.note(amount, at)
    rate = LIMIT / PERIOD
    smallest = max(
        sum(amount for _, amount in line[first : last + 1]) - rate * (line[last][0] - line[first][0])
        for first in range(len(line))
        for last in range(first, len(line))
    )
    assert abs(watch.burst - smallest) < 1e-6


def test_a_forgotten_audit_starts_anew_with_what_still_counts() -> None:
    watch = Watch(limit=LIMIT, period=PERIOD)
    watch.note(9, 0.0)
    watch.refused += 1
    watch.forget()
    assert (watch.most, watch.burst, watch.total, watch.refused) == (0, 0.0, 0, 0)
    watch.note(2, 1.0)
    assert (watch.most, watch.total) == (11, 2)
    watch.note(1, 100.0)
    assert watch.most == 11
