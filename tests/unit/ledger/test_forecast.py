"""Where spend will be at the end of a window."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from ledger.forecast import DAYS, Pace
from ledger.periods import DAY, HOUR

NOON = int(datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp())
MIDNIGHT = NOON + 12 * HOUR


def hours(amount: int, days: int) -> dict[int, int]:
    return {NOON - back * HOUR: amount for back in range(1, days * 24 + 1)}


def test_what_is_spent_evenly_goes_on_evenly() -> None:
    found = Pace(hours(100, 14), NOON).projected(1_200, MIDNIGHT, 1_800)
    assert found.at_end == 2_400
    assert found.exhausted == NOON + 6 * HOUR


def test_nights_keep_their_shape() -> None:
    """By day 100 an hour, from midnight to noon nothing: at noon the rest of the day is dear, at midnight not."""
    day = {at: 100 for at in range(NOON - 14 * DAY, NOON, HOUR) if at % DAY >= 12 * HOUR}
    at_noon = Pace(day, NOON).projected(0, MIDNIGHT, None).at_end
    at_night = Pace(day, MIDNIGHT - DAY).projected(0, NOON, None).at_end
    assert (at_noon, at_night) == (12 * 75, 12 * 25)


def test_what_changed_lately_shows_at_once() -> None:
    quiet = dict.fromkeys(range(NOON - 14 * DAY, NOON - DAY, HOUR), 10)
    loud = dict.fromkeys(range(NOON - DAY, NOON, HOUR), 1000)
    found = Pace({**quiet, **loud}, NOON).projected(0, MIDNIGHT, None).at_end
    assert found is not None
    assert 12 * 500 < found < 12 * 1_000


def test_nothing_spent_is_nothing_expected_and_no_budget_is_used_up() -> None:
    found = Pace({}, NOON + 5.0).projected(0, MIDNIGHT, 1)
    assert (found.at_end, found.exhausted) == (0, None)
    assert Pace({}, NOON).projected(0, None, None).at_end is None


def test_a_budget_that_is_used_up_is_so_now_and_one_of_nothing_always() -> None:
    assert Pace(hours(1, 3), NOON).projected(70, MIDNIGHT, 70).exhausted == NOON
    assert Pace({}, NOON).projected(0, MIDNIGHT, 0).exhausted == NOON


def test_a_window_without_an_end_tells_when_and_not_how_much() -> None:
    found = Pace(hours(100, 14), NOON).projected(0, None, 2_400)
    assert (found.at_end, found.exhausted) == (None, NOON + DAY)
    assert Pace(hours(1, 14), NOON).projected(0, None, 10**9).exhausted is None


def test_a_first_hour_that_is_not_over_is_all_that_is_known() -> None:
    assert Pace({NOON: 60}, NOON + 1_800.0).projected(60, NOON + 2.0 * HOUR, None).at_end == 60 + 30 + 60


@given(
    st.dictionaries(st.integers(0, DAYS * 24).map(lambda back: NOON - back * HOUR), st.integers(0, 10**18)),
    st.floats(0, 3_599),
    st.integers(0, 10**18),
    st.integers(0, 10**18),
)
def test_a_forecast_is_never_below_what_is_spent_and_a_budget_that_holds_is_not_used_up(
    spent: dict[int, int], into: float, so_far: int, budget: int
) -> None:
    found = Pace(spent, NOON + into).projected(so_far, MIDNIGHT, budget)
    assert found.at_end is not None
    assert found.at_end >= so_far
    assert (found.exhausted is None) == (found.at_end < budget)
    assert found.exhausted is None or NOON + into <= found.exhausted <= MIDNIGHT
