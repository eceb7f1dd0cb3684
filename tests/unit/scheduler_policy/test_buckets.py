"""What may be taken from a bucket, however takes, commits and acknowledgements interleave.

Caught here: a refill that ignores unacknowledged grants, a rate without the burst or the skew taken off, a refund above
the size or out of a window that has spent it, a clamp that starves a large request, a rate that rises together with a
shrinking bucket, a successor that does not know how large its predecessor was or what may still be stored of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scheduler.policy.buckets import NEVER, TOLERANCE, Bucket, burst, refill
from scheduler.policy.rules import Limit

Step = tuple[float, float, float, float]
"""Seconds since the last take, amount, seconds until the acknowledgement, share of them until the commit."""

limits = st.builds(
    Limit,
    unit=st.just("tokens"),
    amount=st.floats(2.0, 5_000.0),
    window=st.sampled_from([1.0, 10.0, 60.0]),
    burst=st.sampled_from([0.001, 0.02, 0.3, 1.0]),
    skew=st.sampled_from([0.0, 1.0, 5.0]),
)
steps = st.lists(
    st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 1.0), st.floats(0.0, 2.0), st.floats(0.0, 1.0)),
    min_size=1,
    max_size=60,
)


def admitted(limit: Limit, taken: Sequence[Step], *, most: float) -> tuple[Bucket, list[tuple[float, float]]]:
    """Take greedily, waiting as long as the bucket says. ``most`` is the largest amount, as share of the limit."""
    bucket, now = Bucket(limit), 0.0
    committed: list[tuple[float, float]] = []
    open_until: list[tuple[float, float]] = []
    for pause, share, until_ack, until_commit in taken:
        now += pause
        amount = max(0.001, share * most * limit.amount)
        while not bucket.admits(amount, now):
            wait = bucket.wait(amount, now)
            due = min((at for at, _ in open_until), default=NEVER)
            assert wait < NEVER or due < NEVER, "waits for nothing"
            now = min(now + wait, max(now, due)) if due < NEVER else now + wait
            for entry in [entry for entry in open_until if entry[0] <= now]:
                open_until.remove(entry)
                bucket.confirm(entry[1], now)
        bucket.take(amount, now)
        committed.append((now + until_ack * until_commit, amount))
        open_until.append((now + until_ack, amount))
    return bucket, sorted(committed)


def most_in(window: float, committed: Sequence[tuple[float, float]]) -> float:
    """The most that was committed within any ``window`` seconds (closed at the start, open at the end)."""
    best, start, total = 0.0, 0, 0.0
    for at, amount in committed:
        total += amount
        while committed[start][0] <= at - window:
            total -= committed[start][1]
            start += 1
        best = max(best, total)
    return best


@given(limit=limits, taken=steps)
@example(limit=Limit("tokens", 100, 10, 0.3, 1), taken=[(0, 0.01, 2.0, 1.0)] * 60)
def test_no_window_sees_more_than_the_limit_however_late_commits_and_acknowledgements_come(
    limit: Limit, taken: list[Step]
) -> None:
    size = burst(limit)
    _, committed = admitted(limit, taken, most=size / limit.amount)
    for window in (0.1, 1.0, limit.window, limit.window + limit.skew):
        bound = size + refill(limit, size) * window
        assert most_in(window, committed) <= bound + len(taken) * TOLERANCE * 2
    assert most_in(limit.window + limit.skew, committed) <= limit.amount * (1 + 1e-9) + len(taken) * TOLERANCE * 2


@given(limit=limits, taken=steps)
def test_no_window_sees_more_than_the_limit_when_requests_are_larger_than_the_bucket(
    limit: Limit, taken: list[Step]
) -> None:
    _, committed = admitted(limit, taken, most=0.5)
    assert most_in(limit.window + limit.skew, committed) <= limit.amount * (1 + 1e-9) + len(taken) * TOLERANCE * 2


@given(large=st.floats(0.05, 0.5), share=st.floats(0.001, 0.02), before=st.floats(0.0, 12.0))
def test_a_bucket_that_shrinks_again_lets_no_window_overflow(large: float, share: float, before: float) -> None:
    limit = Limit("tokens", 1000.0, 10.0, 0.02, 1.0)
    bucket, committed = Bucket(limit), []

    def take(amount: float, now: float) -> float:
        while not bucket.admits(amount, now):
            now += bucket.wait(amount, now)
        bucket.take(amount, now)
        bucket.confirm(amount, now)
        committed.append((now, amount))
        return now

    grown = take(large * limit.amount, 0.0)
    # Full to the large size, then used without a pause from a little before it shrinks until long after.
    now = grown + 10 * limit.window - before
    while now < grown + 13 * limit.window:
        now = take(share * limit.amount, now)
    assert not bucket.grown
    assert most_in(11.0, committed) <= limit.amount + 0.1


def test_the_level_refills_only_up_to_what_is_not_yet_acknowledged() -> None:
    bucket = Bucket(Limit("tokens", 1000.0, 10.0, 0.1, 0.0))
    bucket.take(60.0, 0.0)
    assert bucket.level_at(100.0) == pytest.approx(40.0)
    assert bucket.wait(50.0, 100.0) == NEVER
    bucket.confirm(60.0, 100.0)
    assert bucket.wait(50.0, 100.0) == pytest.approx(10.0 / 90.0)
    assert bucket.level_at(200.0) == pytest.approx(100.0)


def test_a_request_larger_than_any_bucket_waits_for_a_full_one_and_leaves_a_debt() -> None:
    bucket = Bucket(Limit("tokens", 1000.0, 10.0, 0.1, 0.0))
    bucket.take(1.0, 0.0)
    bucket.confirm(1.0, 0.0)
    assert not bucket.admits(900.0, 0.0)
    wait = bucket.wait(900.0, 0.0)
    assert 0 < wait < 10.0
    assert bucket.admits(900.0, wait)
    bucket.take(900.0, wait)
    bucket.confirm(900.0, wait)
    assert bucket.level == pytest.approx(-400.0)
    assert bucket.wait(1.0, wait) == pytest.approx(401.0 / bucket.rate)


def test_real_usage_replaces_the_reservation_as_refund_or_as_debt() -> None:
    bucket = Bucket(Limit("tokens", 1000.0, 10.0, 0.1, 0.0))  # 100 at once, 90 a second
    bucket.take(100.0, 0.0)
    bucket.confirm(100.0, 0.0)
    bucket.take(60.0, 0.7)
    bucket.confirm(60.0, 0.7)
    assert bucket.level_at(0.8) == pytest.approx(12.0)
    bucket.settle(60.0, 30.0, 0.7, 0.8)
    assert bucket.level == pytest.approx(42.0)
    bucket.settle(60.0, 360.0, 0.7, 0.8)
    assert bucket.level == pytest.approx(-258.0)
    bucket.settle(60.0, 10.0, 0.7, 0.8)
    assert bucket.level == pytest.approx(-208.0)


def test_a_refund_above_the_size_is_lost() -> None:
    bucket = Bucket(Limit("tokens", 1000.0, 10.0, 0.1, 0.0))
    bucket.take(100.0, 0.0)
    bucket.confirm(100.0, 0.0)
    bucket.take(50.0, 0.7)
    bucket.confirm(50.0, 0.7)
    bucket.settle(50.0, 0.0, 0.7, 1.4)
    assert bucket.level_at(1.4) <= 100.0
    assert bucket.level_at(99.0) == pytest.approx(100.0)


def test_a_grant_that_was_never_stored_comes_back_whole() -> None:
    bucket = Bucket(Limit("requests", 30.0, 60.0, 0.02, 1.0))
    bucket.take(1.0, 5.0)
    assert bucket.wait(1.0, 5.0) == NEVER
    bucket.undo(1.0, 5.1)
    assert bucket.wait(1.0, 5.1) == 0.0


refunds = st.lists(
    st.tuples(st.floats(0.0, 1.0), st.floats(0.01, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 20.0)),
    min_size=5,
    max_size=80,
)


@given(plan=refunds, skew=st.sampled_from([0.0, 1.0]))
@example(plan=[(0.0, 1.0, 0.0, 30.0 - n) for n in range(25)] + [(0.0, 1.0, 1.0, 0.0)] * 40, skew=0.0)
def test_a_burst_of_refunds_is_not_a_burst_of_calls(plan: list[tuple[float, float, float, float]], skew: float) -> None:
    limit = Limit("tokens", 1000.0, 10.0, 0.1, skew)
    bucket, now, used = Bucket(limit), 0.0, []
    settles: list[tuple[float, float, float, float]] = []

    def settle(until: float) -> None:
        for at, reserved, real, since in sorted(settles):
            if at <= until:
                bucket.settle(reserved, real, since, at)
                settles.remove((at, reserved, real, since))

    for pause, size, share, after in plan:
        now += pause
        settle(now)
        reserved = size * 100.0
        while not bucket.admits(reserved, now):
            due = min((entry[0] for entry in settles), default=NEVER)
            now = min(now + bucket.wait(reserved, now), max(due, now))
            settle(now)
        bucket.take(reserved, now)
        bucket.confirm(reserved, now)
        used.append((now, reserved * share))
        settles.append((now + after, reserved, reserved * share, now))
    assert most_in(limit.window, used) <= limit.amount + 0.01
    assert most_in(1.0, used) <= 100.0 + bucket.rate + 0.01


def test_asking_changes_nothing() -> None:
    asked, left_alone = Bucket(Limit("tokens", 777.0)), Bucket(Limit("tokens", 777.0))
    for bucket in (asked, left_alone):
        bucket.take(10.0, 0.1)
    for step in range(1000):
        asked.level_at(0.1 + step / 997)
        asked.wait(300.0, 0.1 + step / 997)
    for bucket in (asked, left_alone):
        bucket.take(0.3, 1.1)
    assert asked.level == left_alone.level
    assert asked.size == left_alone.size


@pytest.mark.parametrize("amount", [0.5, 1.0, 1.5, 2.0, 3.0, 10.0])
def test_a_tiny_limit_is_slow_but_never_stuck_and_never_exceeded(amount: float) -> None:
    limit = Limit("requests", amount, 60.0, 0.02, 1.0)
    bucket, now, committed = Bucket(limit), 0.0, []
    for _ in range(50):
        wait = bucket.wait(1.0, now)
        assert wait < NEVER
        now += wait
        assert bucket.admits(1.0, now)
        bucket.take(1.0, now)
        bucket.confirm(1.0, now)
        committed.append((now, 1.0))
    assert most_in(60.0, committed) <= max(1.0, amount)
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(committed)]
    assert max(gaps) <= 61.0 / min(amount, 1.0) + 1e-3


@given(silence=st.floats(0, 30), pause=st.floats(0, 5))
def test_a_successor_and_its_predecessor_together_stay_within_the_bound(silence: float, pause: float) -> None:
    limit = Limit("tokens", 1000.0, 10.0, 0.1, 0.0)
    old, committed = Bucket(limit), []
    for step in range(20):
        now = step * pause / 20
        while old.admits(20.0, now):
            old.take(20.0, now)
            committed.append((now, 20.0))
            old.confirm(20.0, now)
    left, died = old.level_at(pause), pause
    new, now = Bucket(limit), died + silence
    new.restore(left, 0.0, silence, now)
    for _ in range(40):
        now += new.wait(30.0, now)
        assert new.admits(30.0, now)
        new.take(30.0, now)
        new.confirm(30.0, now)
        committed.append((now, 30.0))
    for window in (0.5, 2.0, 10.0):
        assert most_in(window, committed) <= 100.0 + 90.0 * window + 1e-3


def drained(bucket: Bucket, amount: float, now: float, until: float) -> list[tuple[float, float]]:
    """What is committed when ``amount`` is taken as soon as there is room, again and again until ``until``."""
    committed: list[tuple[float, float]] = []
    while True:
        while not bucket.admits(amount, now):
            now += bucket.wait(amount, now)
            if now > until:
                return committed
        bucket.take(amount, now)
        bucket.confirm(amount, now)
        committed.append((now, amount))


def successor(of: Bucket, now: float, silence: float) -> Bucket:
    """As one starts that has read the record of ``now``, so many seconds later."""
    fresh = Bucket(of.limit)
    fresh.restore(of.level_at(now), of.spanned, silence, now + silence, pending=of.pending)
    return fresh


terms = st.lists(
    st.tuples(st.floats(0.0, 12.0), st.floats(0.005, 0.5), st.floats(0.0, 9.0), st.floats(0.0, 1.0)),
    min_size=2,
    max_size=5,
)


@given(terms=terms)
@example(terms=[(0.0, 0.011, 8.0, 1.0), (12.0, 0.005, 0.0, 0.0)])  # what the first took is stored as the second begins
@example(terms=[(0.0, 0.4, 2.0, 0.0), (0.0, 0.005, 2.0, 0.0), (12.0, 0.005, 0.0, 0.0)])
def test_no_window_overflows_across_leaders_whose_last_grants_are_stored_late(
    terms: list[tuple[float, float, float, float]],
) -> None:
    limit = Limit("tokens", 1000.0, 10.0, 0.02, 1.0)
    bucket, now, committed = Bucket(limit), 0.0, []
    for seconds, share, silence, late in terms:
        amount, end = share * limit.amount, now + seconds
        committed += drained(bucket, amount, now, end)
        last = min(amount, max(0.0, bucket.level_at(end)))
        bucket.take(last, end)
        committed.append((end + late * silence, last))
        bucket, now = successor(bucket, end, silence), end + silence
    assert most_in(11.0, sorted(committed)) <= limit.amount + 0.1


def test_a_successor_of_a_bucket_that_has_just_shrunk_keeps_the_slow_rate_that_the_window_before_needs() -> None:
    limit = Limit("tokens", 1000.0, 10.0, 0.02, 1.0)
    bucket = Bucket(limit)
    committed = drained(bucket, 400.0, 0.0, 0.0)
    committed += drained(bucket, 5.0, 99.0, 101.0)  # it shrinks at 100
    assert not bucket.grown
    assert bucket.spanned == pytest.approx(500.0)
    committed += drained(successor(bucket, 101.0, 1.0), 5.0, 102.0, 130.0)
    assert most_in(11.0, committed) <= limit.amount + 0.1


def test_successors_are_as_large_as_their_predecessor_and_not_larger_each_time() -> None:
    bucket = Bucket(Limit("tokens", 1000.0, 10.0, 0.02, 1.0))
    assert not bucket.admits(100.0, 0.0)
    size, rate = bucket.size, bucket.rate
    for term in range(1, 6):
        bucket = successor(bucket, term * 10.0, 2.0)
    assert bucket.size == size == 125.0
    assert bucket.rate == rate
