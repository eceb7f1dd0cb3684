"""A limit domain as a whole: all or nothing over its buckets, what providers say, what has to be learnt.

Caught here: a bucket charged although another was short, a header that raises a limit, a 429 that is forgotten or
counted a hundred times, cached reads held against a provider that does not count them, slots that leak.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_contracts.attempts import LimitReading
from job_contracts.chat import Usage
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from scheduler.policy.board import Board
from scheduler.policy.decisions import Dispatch
from scheduler.policy.domains import Domain
from scheduler.policy.facts import PoolSeen, Settled
from scheduler.policy.pools import Pool
from scheduler.policy.rules import DomainRule, Limit, Pace, Unit
from tests.unit.scheduler_policy import made
from tests.unit.scheduler_policy.trial import Ends, Trial

EVERYTHING = (
    Limit("requests", 600),
    Limit("input_tokens", 60_000),
    Limit("output_tokens", 30_000),
    Limit("tokens", 70_000),
)


def domain(*limits: Limit, concurrency: int | None = None) -> Domain:
    pool = Pool("a", None)
    pool.hear(10_000)
    return Domain(DomainRule("a", "a", limits, concurrency), pool, Pace())


@given(tokens=st.lists(st.tuples(st.integers(1, 40_000), st.integers(1, 20_000)), max_size=40), pause=st.floats(0, 2))
def test_a_grant_takes_from_every_bucket_or_from_none(tokens: list[tuple[int, int]], pause: float) -> None:
    one, now = domain(*EVERYTHING), 0.0
    for wanted in tokens:
        now += pause
        before = {unit: bucket.level_at(now) for unit, bucket in one.buckets.items()}
        admitted = one.admits(wanted, now)
        assert admitted == (one.wait(wanted, now) == 0.0)
        after = {unit: bucket.level for unit, bucket in one.buckets.items()}
        assert after == pytest.approx(before)
        if admitted:
            one.take(wanted, now)
            taken = {unit: after[unit] - bucket.level for unit, bucket in one.buckets.items()}
            expected: dict[Unit, float] = {
                "requests": 1,
                "input_tokens": wanted[0],
                "output_tokens": wanted[1],
                "tokens": sum(wanted),
            }
            assert taken == pytest.approx(expected)


def test_a_decided_job_is_charged_everywhere_and_a_short_one_nowhere() -> None:
    board = made.board(made.rules(limits={"a": EVERYTHING}, expected_output=10))
    made.submit(board, made.job(1, input_estimate=1200), made.job(2, input_estimate=1200))
    before = dict(board.levels(0.0)["a"])
    (first,) = made.dispatched(board)
    after = board.levels(0.0)["a"]
    assert first.job == "j-1"
    # Once: the second job was short of input tokens, so not even its request was taken.
    assert before["requests"] - after["requests"] == pytest.approx(1)
    assert before["output_tokens"] - after["output_tokens"] == pytest.approx(first.output_tokens)


def test_calls_under_way_never_exceed_the_concurrency_limit_nor_the_workers() -> None:
    rules = made.rules({"r": ("a/m", "b/m")}, concurrency={"a": 3}, pools={"b": 4})
    board = made.board(rules, slots=5)
    made.submit(board, *[made.job(n) for n in range(40)])
    seen: dict[str, int] = {}
    for _ in range(30):
        for dispatch in made.dispatched(board):
            seen[dispatch.domain] = seen.get(dispatch.domain, 0) + 1
        used = board.counts().reserved
        assert used["a"][0] <= 3
        assert used["b"][0] <= 4
        for project, job, attempt, deployment in list(board.in_flight())[:2]:
            board.apply(Settled(project, job, JobState.SUCCEEDED, attempt, deployment, Usage()), 0.0)
    assert sum(seen.values()) == 40
    board.apply(PoolSeen("a", 1), 0.0)
    made.submit(board, *[made.job(100 + n) for n in range(20)])
    made.dispatched(board)
    assert board.counts().reserved["a"][0] == 1


def test_a_pool_nobody_has_heard_of_gets_nothing_until_it_is_seen() -> None:
    board = Board(made.rules())
    made.submit(board, made.job(1))
    assert board.decide(0.0, 10) == []
    told = board.status("p", "j-1", 0.0)
    assert told is not None
    assert "no live workers" in (told.waiting_for or "")
    board.apply(PoolSeen("a", 1), 1.0)
    assert len(made.dispatched(board, 1.0)) == 1


@pytest.mark.parametrize(
    ("limit", "remaining", "expected"), [(600, 3, 3.0), (600, 9999, 12.0), (100, 9999, 2.0), (9999, 5, 5.0)]
)
def test_headers_may_lower_a_level_or_a_limit_but_never_raise_them(
    limit: float, remaining: float, expected: float
) -> None:
    one = domain(Limit("requests", 600))
    one.read(LimitReading(unit="requests", limit=limit, remaining=remaining), 0.0)
    assert one.buckets["requests"].level_at(0.0) == pytest.approx(expected)
    assert one.buckets["requests"].limit.amount == min(limit, 600)


def test_a_limit_only_the_provider_knows_is_learnt_from_its_headers() -> None:
    one = domain()
    assert one.wait((10**6, 10**6), 0.0) == 0.0
    one.read(LimitReading(unit="input_tokens", limit=60_000, remaining=100), 0.0)
    assert one.wait((1000, 1), 0.0) > 0
    one.read(LimitReading(unit="input_tokens", limit=120_000, remaining=120_000), 0.0)
    assert one.buckets["input_tokens"].limit.amount == 120_000


def test_a_limit_a_day_does_not_spread_the_day_but_closes_when_it_is_used_up() -> None:
    one = domain(Limit("requests", 600))
    one.read(LimitReading(unit="requests", limit=14_400, remaining=14_000, reset=80_000, window=86_400), 0.0)
    assert one.buckets["requests"].limit.amount == 600
    assert one.open(0.0)
    one.read(LimitReading(unit="requests", limit=14_400, remaining=0, reset=1200, window=86_400), 0.0)
    assert not one.open(1199.0)
    assert one.open(1200.0)


def test_a_provider_that_says_it_has_so_many_places_is_believed() -> None:
    one = domain(concurrency=8)
    one.read(LimitReading(unit="concurrency", limit=5), 0.0)
    assert one.slots.limit == 5
    one.read(LimitReading(unit="concurrency", limit=50), 0.0)
    assert one.slots.limit == 8


def test_a_refusal_closes_the_domain_until_the_reset_its_headers_announce() -> None:
    one = domain(Limit("requests", 600))
    one.read(LimitReading(unit="requests", limit=600, remaining=0, reset=7.0), 0.0)
    one.refused(-1.0, None, 0.0)
    assert not one.open(6.9)
    assert one.open(7.0)


def test_refusals_of_one_burst_are_one_event_and_refusals_after_it_wait_longer() -> None:
    one, now = domain(Limit("requests", 6000)), 100.0
    for _ in range(50):
        one.refused(99.0, None, now)
    assert one.closed_until == pytest.approx(now + 0.25)
    pace = one.buckets["requests"].pace
    assert pace == pytest.approx(0.75)
    pauses: list[float] = []
    for _ in range(10):
        now = one.closed_until + 1.0
        one.refused(now - 0.5, None, now)
        pauses.append(one.closed_until - now)
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60])
    one.served()
    now = one.closed_until + 1.0
    one.refused(now - 0.5, None, now)
    assert one.closed_until - now == pytest.approx(0.25)


def test_the_pace_comes_back_when_no_refusal_follows() -> None:
    one = domain(Limit("requests", 6000))
    one.refused(-1.0, 1.0, 0.0)
    bucket = one.buckets["requests"]
    assert bucket.pace == pytest.approx(0.75)
    assert one.admits((1, 1), 60.0)
    assert bucket.pace == pytest.approx(1.0)


class Strict:
    """A provider with a limit nobody has told us: so many requests in any ten seconds."""

    def __init__(self, limit: int) -> None:
        self.limit, self.accepted, self.refused = limit, list[float](), list[float]()

    def __call__(self, _: Dispatch, __: Random, now: float) -> Ends:
        while self.accepted and self.accepted[0] <= now - 10.0:
            self.accepted.pop(0)
        if len(self.accepted) >= self.limit:
            self.refused.append(now)
            return Ends(0.05, FailureKind.RATE_LIMIT)
        self.accepted.append(now)
        return Ends(0.2)


def test_an_unknown_limit_is_approached_from_below_after_the_first_refusals() -> None:
    provider = Strict(100)
    trial = Trial(made.board(made.rules(), slots=50), provider)
    trial.submit(*[made.job(n, deadline=1e5) for n in range(6000)])
    trial.run(until=500.0)
    served = len(trial.results)
    late = [at for at in provider.refused if at > 100.0]
    assert served > 0.6 * 100 * 500 / 10
    assert len(late) < 0.05 * served


@pytest.mark.parametrize(("counts", "expected"), [(True, 1000), (False, 200)])
def test_cached_reads_count_only_where_the_provider_counts_them(counts: bool, expected: int) -> None:
    rules = made.rules(limits={"a": (Limit("input_tokens", 600_000),)}, facts={"a/m": {"cached_input_counts": counts}})
    board = made.board(rules)
    made.submit(board, made.job(1, input_estimate=1000))
    (dispatch,) = made.dispatched(board)
    reserved = board.levels(0.0)["a"]["input_tokens"]
    board.apply(made.succeeded(dispatch, Usage(input=1000, cache_read=800, output=5)), 0.0)
    made.submit(board, made.job(2, input_estimate=1000))
    (second,) = made.dispatched(board)
    assert second.input_tokens == expected
    assert reserved == pytest.approx(12_000 - 1000)


def test_tokens_of_a_call_that_was_turned_away_come_back_and_its_request_does_not() -> None:
    board = made.board(made.rules(limits={"a": EVERYTHING}, expected_output=10))
    made.submit(board, made.job(1, input_estimate=1000))
    made.dispatched(board, 0.0)
    before = board.levels(9.0)["a"]
    made.submit(board, made.job(2, input_estimate=1000), now=9.0)
    (dispatch,) = made.dispatched(board, 9.0)
    board.apply(made.ended(dispatch, FailureKind.BAD_REQUEST), 9.0)
    after = board.levels(9.0)["a"]
    assert after["requests"] == pytest.approx(before["requests"] - 1)
    assert after["input_tokens"] <= before["input_tokens"]
    assert board.counts().reserved["a"] == (1, 1000, 10)


def test_a_successor_starts_with_what_was_left_and_what_the_silence_brought() -> None:
    rules = made.rules({"r": ("a/m", "b/m")}, limits={"a": (Limit("requests", 600),), "b": (Limit("requests", 600),)})
    old = made.board(rules)
    made.submit(old, *[made.job(n) for n in range(40)])
    (*_, last) = made.dispatched(old)
    old.apply(made.ended(last, FailureKind.RATE_LIMIT, retry_after=30.0), 0.0)
    levels = old.levels(0.0)
    new = made.board(rules, now=100.0)
    new.restore(levels, 0.5, 100.0)
    rate = (600 - 12) / 61
    assert new.levels(100.0)["a"]["requests"] == pytest.approx(0.5 * rate)
    assert new.levels(100.0)["b"]["closed"] == pytest.approx(29.5)
    empty = made.board(rules, now=100.0)
    empty.restore({}, 0.0, 100.0)
    made.submit(empty, made.job(1), now=100.0)
    assert empty.decide(100.0, 10) == []


def test_a_successor_that_comes_while_a_batch_is_under_way_leaves_room_for_it_whatever_the_silence_brought() -> None:
    rules = made.rules(limits={"a": (Limit("requests", 600),)})  # 12 at once
    old, new = made.board(rules), made.board(rules, now=100.0)
    made.submit(old, *[made.job(n) for n in range(5)])
    assert len(old.decide(0.0, 100)) == 5
    new.restore(old.levels(0.0), 30.0, 100.0)
    assert new.levels(100.0)["a"]["requests"] == pytest.approx(7.0)
    assert new.levels(101.0)["a"]["requests"] == pytest.approx(12.0)


def test_what_was_left_of_a_large_bucket_is_told_to_every_further_successor() -> None:
    rules = made.rules(limits={"a": (Limit("input_tokens", 200_000),)})
    board = made.board(rules)
    made.submit(board, made.job(1, input_estimate=20_000))
    assert board.decide(0.0, 1) == []  # the bucket grows for it
    levels = board.levels(0.0)
    for now in (2.0, 4.0, 6.0):
        board = made.board(rules, now=now)
        board.restore(levels, 1.0, now)
        levels = board.levels(now)
        assert levels["a"]["input_tokens.size"] == 25_000.0
