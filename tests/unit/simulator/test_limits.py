"""The windows and domains that the simulated providers enforce."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.limits import Demand, Domain, Exceeded, Lease, window
from simulator.settings import Limits, WindowKind

KINDS: tuple[WindowKind, ...] = ("fixed", "sliding", "bucket")
ROUNDING = 1e-4

arrivals = st.lists(st.tuples(st.floats(0, 20), st.integers(1, 10)), min_size=1, max_size=60)


def ask(input: int = 0, output: int = 0, reserved: int | None = None) -> Demand:
    return Demand(input, output, output if reserved is None else reserved)


def admitted(lease: Lease | Exceeded) -> Lease:
    assert isinstance(lease, Lease)
    return lease


def refused(exceeded: Lease | Exceeded) -> Exceeded:
    assert isinstance(exceeded, Exceeded)
    return exceeded


@pytest.mark.parametrize("kind", KINDS)
@given(arrivals)
def test_what_a_window_says_to_wait_is_enough_and_not_too_much(kind: WindowKind, gaps: list[tuple[float, int]]) -> None:
    one, now = window(kind, 10, 10.0), 100.0
    for gap, amount in gaps:
        now += gap
        wait = one.wait(amount, now)
        assert 0 <= wait <= 10.0 + ROUNDING
        if wait > ROUNDING:
            assert one.wait(amount, now + wait / 2) > 0
            now += wait + ROUNDING
            assert one.wait(amount, now) == 0
        one.take(amount, now)
        assert one.used(now) <= 10 + ROUNDING


@given(arrivals)
def test_a_sliding_window_never_admits_more_than_its_limit_in_any_period(gaps: list[tuple[float, int]]) -> None:
    one, now, taken = window("sliding", 10, 10.0), 0.0, []
    for gap, amount in gaps:
        now += gap
        if one.wait(amount, now) == 0:
            one.take(amount, now)
            taken.append((now, amount))
    for end, _ in taken:
        assert sum(amount for at, amount in taken if end - 10.0 < at <= end) <= 10


@given(arrivals)
def test_a_bucket_never_admits_more_than_its_size_and_what_flows_in(gaps: list[tuple[float, int]]) -> None:
    one, now, taken = window("bucket", 10, 10.0), 0.0, []
    for gap, amount in gaps:
        now += gap
        if one.wait(amount, now) == 0:
            one.take(amount, now)
            taken.append((now, amount))
    for index, (start, _) in enumerate(taken):
        total = 0
        for at, amount in taken[index:]:
            total += amount
            assert total <= 10 + (at - start) * 1.0 + ROUNDING


def test_a_fixed_window_gives_everything_back_at_its_end() -> None:
    one = window("fixed", 3, 60.0)
    one.take(3, 10.0)
    assert one.wait(1, 69.0) == pytest.approx(1.0)
    assert one.full_in(69.0) == pytest.approx(1.0)
    assert one.wait(3, 70.0) == 0
    assert one.full_in(70.0) == 0


def test_a_fixed_window_lets_twice_its_limit_through_around_its_end_which_a_sliding_one_does_not() -> None:
    fixed, sliding = window("fixed", 3, 60.0), window("sliding", 3, 60.0)
    for one in (fixed, sliding):
        one.take(1, 0.0)
        one.take(2, 59.0)
    assert fixed.wait(3, 61.0) == 0
    assert sliding.wait(3, 61.0) == pytest.approx(58.0)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_given_back_can_be_taken_again(kind: WindowKind) -> None:
    one = window(kind, 10, 60.0)
    one.take(10, 5.0)
    assert one.wait(4, 5.0) > 0
    one.give_back(4, 5.0, 5.0)
    assert one.wait(4, 5.0) == 0
    assert one.wait(5, 5.0) > 0


@pytest.mark.parametrize("kind", ["fixed", "sliding"])
def test_what_is_given_back_after_its_window_changes_nothing(kind: WindowKind) -> None:
    one = window(kind, 10, 60.0)
    one.take(8, 5.0)
    one.take(6, 100.0)
    one.give_back(8, 5.0, 100.0)
    assert one.used(100.0) == 6


def test_a_refusal_takes_from_no_window() -> None:
    domain = Domain(Limits(requests=10, input_tokens=100))
    admitted(domain.admit(ask(input=60), 0.0))
    exceeded = refused(domain.admit(ask(input=60), 1.0))
    assert (exceeded.dimension, exceeded.used, exceeded.asked, exceeded.limit) == ("input_tokens", 60, 60, 100)
    assert exceeded.retry_after == pytest.approx(59.0)
    assert [gauge.remaining for gauge in domain.gauges(1.0)] == [9, 40]


def test_the_longest_wait_of_several_spent_limits_is_the_one_announced() -> None:
    domain = Domain(Limits(requests=1, tokens=10, window="bucket"))
    admitted(domain.admit(ask(input=10), 0.0))
    exceeded = refused(domain.admit(ask(input=1), 0.0))
    assert exceeded.dimension == "requests"
    assert exceeded.retry_after == pytest.approx(60.0)


def test_a_request_larger_than_a_limit_is_refused_as_too_large_even_when_nothing_is_used() -> None:
    exceeded = refused(Domain(Limits(input_tokens=100)).admit(ask(input=101), 0.0))
    assert exceeded.too_large


def test_concurrency_counts_requests_until_they_are_settled() -> None:
    domain = Domain(Limits(concurrency=2))
    first = admitted(domain.admit(ask(), 0.0))
    admitted(domain.admit(ask(), 0.0))
    assert refused(domain.admit(ask(), 0.0)).dimension == "concurrency"
    domain.settle(first, 0, 1.0)
    admitted(domain.admit(ask(), 1.0))
    assert (domain.in_progress, domain.concurrency.most) == (2, 2)


def test_an_output_reservation_is_returned_when_the_answer_turns_out_shorter() -> None:
    domain = Domain(Limits(output_tokens=100))
    lease = admitted(domain.admit(ask(output=20, reserved=90), 0.0))
    assert refused(domain.admit(ask(output=20, reserved=90), 0.0)).dimension == "output_tokens"
    domain.settle(lease, 5, 1.0)
    domain.settle(lease, 0, 1.0)  # a second settlement changes nothing
    assert domain.gauges(1.0)[0].remaining == 95


def test_a_retry_before_the_announced_wait_is_over_is_counted_as_early() -> None:
    domain = Domain(Limits(requests=1))
    admitted(domain.admit(ask(), 0.0))
    refused(domain.admit(ask(), 10.0))
    refused(domain.admit(ask(), 20.0))
    assert (domain.refused, domain.early_retries) == (2, 1)
    admitted(domain.admit(ask(), 60.0))
    assert domain.early_retries == 1


@given(
    st.lists(st.tuples(st.floats(0, 30), st.integers(0, 40), st.integers(0, 40), st.booleans()), max_size=50),
    st.sampled_from(KINDS),
)
def test_a_domain_never_loses_count_of_what_is_in_progress(
    steps: list[tuple[float, int, int, bool]], kind: WindowKind
) -> None:
    domain, now = Domain(Limits(requests=5, tokens=60, concurrency=3, window=kind)), 0.0
    leases: deque[Lease] = deque()
    for gap, taken, made, settles in steps:
        now += gap
        lease = domain.admit(ask(taken, made), now)
        if isinstance(lease, Lease):
            leases.append(lease)
        if settles and leases:
            domain.settle(leases.popleft(), 0, now)
        assert domain.in_progress == len(leases) <= 3
        assert all(0 <= gauge.remaining <= gauge.limit for gauge in domain.gauges(now))
    assert domain.admitted + domain.refused == len(steps)
