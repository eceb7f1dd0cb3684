"""Which stored sums make up a period: all of it, nothing twice, each in whole, and the fewest there are."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from ledger.periods import DAILY, DAY, GRAINS, HOUR, HOURLY, MONTHLY, begun, following, segments, whole_hours
from tests.support.ledger_rows import Told

BEGIN = int(datetime(2027, 11, 20, tzinfo=UTC).timestamp())  # before a leap year
moments = st.floats(BEGIN, BEGIN + 500 * DAY) | st.integers(0, 500 * 24).map(lambda hour: float(BEGIN + hour * HOUR))
grains = st.sampled_from(GRAINS)


@given(moments, st.none() | moments, grains)
def test_a_period_is_covered_once_by_sums_that_lie_in_it_in_whole(
    since: float, until: float | None, coarsest: int
) -> None:
    until = None if until is None else max(since, until)
    start, end = whole_hours(since, until)
    found = segments(since, until, coarsest=coarsest)
    at: int | None = start
    for one in found:
        assert one.start == at
        assert one.grain <= coarsest
        assert begun(one.grain, one.start) == one.start
        assert one.end is None or (one.start < one.end and begun(one.grain, one.end) == one.end)
        at = one.end
    assert at == end if found else start == end


@given(moments, moments)
def test_what_can_be_read_as_days_or_months_is(since: float, until: float) -> None:
    found = segments(min(since, until), max(since, until))
    rows = {grain: [one for one in found if one.grain == grain] for grain in GRAINS}
    assert all(one.end is not None and one.end - one.start < 2 * DAY for one in rows[HOURLY])
    assert all(one.end is not None and one.end - one.start < 61 * DAY for one in rows[DAILY])
    assert len(rows[MONTHLY]) < 2


@given(moments)
def test_a_moment_belongs_to_the_hour_day_and_month_of_the_calendar(at: float) -> None:
    told = Told(at=at)
    assert [begun(grain, at) for grain in GRAINS] == [told.start(name) for name in ("hour", "day", "month")]
    assert begun(MONTHLY, following(MONTHLY, begun(MONTHLY, at)) - 1) == begun(MONTHLY, at)
