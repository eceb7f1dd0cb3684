"""What is certain of the difference of two clocks, and nothing more, is corrected."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.leaders_clock import SAMPLES, LeadersClock


def test_before_the_first_answer_both_clocks_are_taken_for_one() -> None:
    assert LeadersClock().ahead == 0.0


@given(apart=st.floats(-500, 500), way=st.lists(st.tuples(st.floats(0, 2), st.floats(0, 2)), min_size=1, max_size=20))
def test_the_correction_is_at_most_the_difference_and_misses_it_by_no_more_than_the_quickest_answer_took(
    apart: float, way: list[tuple[float, float]]
) -> None:
    clock, now = LeadersClock(), 1_000_000.0
    for out, back in way:
        now += 2.0 + out + back
        clock.see(now - back + apart, now=now, took=out + back)
    quickest = min(out + back for out, back in way[-SAMPLES:])
    assert abs(clock.ahead) <= abs(apart) + 1e-6
    assert clock.ahead * apart >= -1e-6
    assert abs(clock.ahead - apart) <= quickest + 1e-6


def test_clocks_that_agree_are_left_alone_however_slow_the_answers() -> None:
    clock = LeadersClock()
    for took in (0.5, 2.0, 0.01):
        clock.see(100.0 - took / 3, now=100.0, took=took)
        assert clock.ahead == 0.0


def test_a_new_leaders_clock_is_believed_after_so_many_beats() -> None:
    clock = LeadersClock()
    clock.see(150.0, now=100.0, took=0.001)
    assert clock.ahead == pytest.approx(50.0, abs=0.01)
    for _ in range(SAMPLES):
        clock.see(100.0, now=100.0, took=0.1)
    assert clock.ahead == 0.0
