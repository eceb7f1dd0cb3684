"""The manual clock keeps what the protocol of a clock promises."""

from __future__ import annotations

import time

import pytest

from runtime.clock import Clock, SystemClock
from tests.support.clock import ManualClock


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock: Clock = ManualClock(monotonic=5.0, wall=100.0)
    assert [clock.monotonic(), clock.monotonic(), clock.wall()] == [5.0, 5.0, 100.0]


def test_advancing_moves_both_readings() -> None:
    clock = ManualClock(monotonic=5.0, wall=100.0)
    clock.advance(2.5)
    assert (clock.monotonic(), clock.wall()) == (7.5, 102.5)


def test_a_correction_of_the_wall_leaves_intervals_alone() -> None:
    clock = ManualClock(monotonic=5.0, wall=100.0)
    clock.correct(-30)
    assert (clock.monotonic(), clock.wall()) == (5.0, 70.0)


def test_a_monotonic_clock_cannot_go_back() -> None:
    with pytest.raises(ValueError, match="cannot go back by 1 s"):
        ManualClock().advance(-1)


def test_the_system_clock_reads_the_platforms_clocks() -> None:
    clock: Clock = SystemClock()
    before = time.monotonic(), time.time()
    read = clock.monotonic(), clock.wall()
    after = time.monotonic(), time.time()
    assert before[0] <= read[0] <= after[0]
    assert before[1] - 1 <= read[1] <= after[1] + 1
