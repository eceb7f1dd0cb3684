"""Counts are corrected by what providers report, within bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogue.tokens import TokenFacts
from workers.dialects.calibration import LARGE, MOST_FIXED, NARROWEST, SURE, UNSURE, WIDEST, Calibration


def fresh(*, tools: bool = False, margin: float = 0.1, **facts: float) -> Calibration:
    return Calibration(TokenFacts.model_validate(facts), tools=tools, margin=margin)


def test_it_starts_with_what_the_family_is_known_for() -> None:
    plain, tools = (fresh(ratio=1.14, fixed=7, tools_fixed=500, tools=tools) for tools in (False, True))
    assert plain.expected(1_000) == pytest.approx(1_147)
    assert tools.expected(1_000) == pytest.approx(1_647)
    assert tools.count_for(tools.expected(1_234)) == pytest.approx(1_234)
    assert plain.margin == pytest.approx(0.1)


def test_small_prompts_teach_what_is_added_and_large_ones_the_ratio() -> None:
    learned = fresh()
    for _ in range(40):
        learned.see(50, 350)
    assert learned.fixed == pytest.approx(300, rel=0.02)
    assert learned.ratio == 1.0
    for _ in range(40):
        learned.see(10_000, 12_300)
    assert learned.ratio == pytest.approx(1.2, rel=0.02)
    assert learned.expected(100_000) == pytest.approx(120_300, rel=0.02)


def test_many_tiny_prompts_with_large_additions_do_not_make_a_long_one_look_longer_than_that() -> None:
    learned = fresh()
    for _ in range(1_000):
        learned.see(10, 1_010)
    assert learned.expected(50_000) == pytest.approx(51_000, rel=0.01)


def test_the_margin_shrinks_as_counts_prove_right_and_grows_as_they_do_not() -> None:
    right, wrong = fresh(), fresh()
    for n in range(40):
        right.see(5_000, 5_000)
        wrong.see(5_000, 4_000 if n % 2 else 6_500)
    assert right.margin == pytest.approx(SURE, abs=0.005)
    assert wrong.margin == UNSURE


def test_an_overflow_that_was_not_expected_raises_the_count_each_time_within_bounds() -> None:
    learned = fresh()
    before = learned.expected(10_000)
    learned.overflowed()
    assert learned.expected(10_000) > 1.05 * before
    for _ in range(100):
        learned.overflowed()
    assert learned.ratio == WIDEST
    assert learned.margin <= UNSURE


@given(st.lists(st.tuples(st.floats(-10, 1e7), st.integers(-10, 10**9)), max_size=60))
def test_whatever_a_provider_reports_the_correction_stays_within_bounds(reports: list[tuple[float, int]]) -> None:
    learned = fresh(tools=True, tools_fixed=400)
    for count, reported in reports:
        learned.see(count, reported)
    assert NARROWEST <= learned.ratio <= WIDEST
    assert -50 <= learned.fixed <= MOST_FIXED
    assert SURE <= learned.margin <= UNSURE
    assert learned.expected(LARGE) > 0
