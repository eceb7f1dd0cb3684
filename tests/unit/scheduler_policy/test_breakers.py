"""When a deployment is left alone, and how it comes back.

Caught here: a second probe beside the first, a burst at the moment of half open, an opening that is prolonged by what
was under way before it, a probe slot that is never given back, a quarantine that ends like an ordinary pause.
"""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_contracts.failures import FailureKind
from scheduler.policy.breakers import Breaker
from scheduler.policy.rules import BreakerRule
from tests.unit.scheduler_policy import made
from tests.unit.scheduler_policy.trial import Ends, Trial

RULES = BreakerRule(failures=3, open_for=5.0, max_open=30.0)
LONG = BreakerRule(failures=1, open_for=30.0, max_open=120.0)


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not() -> None:
    breaker = Breaker(RULES, LONG)
    for _ in range(10):
        breaker.failed("stalled", 0.0, probe=False)
        breaker.failed("stalled", 0.0, probe=False)
        breaker.succeeded(probe=False)
    assert breaker.allows(0.0)
    for _ in range(3):
        breaker.failed("stalled", 1.0, probe=False)
    assert not breaker.allows(5.9)
    assert breaker.allows(6.0)
    assert breaker.why == "stalled"


def test_each_failed_probe_doubles_the_pause_up_to_its_bound_and_a_good_one_starts_over() -> None:
    breaker, now, pauses = Breaker(RULES, LONG), 0.0, list[float]()
    for _ in range(3):
        breaker.failed("reset", now, probe=False)
    for _ in range(5):
        pauses.append(breaker.until - now)
        now = breaker.until
        assert breaker.enter()
        breaker.failed("reset", now, probe=True)
    assert pauses == [5.0, 10.0, 20.0, 30.0, 30.0]
    now = breaker.until
    assert breaker.enter()
    breaker.succeeded(probe=True)
    assert breaker.closed
    for _ in range(3):
        breaker.failed("reset", now, probe=False)
    assert breaker.until - now == 5.0


def test_what_was_under_way_before_neither_prolongs_nor_closes_it() -> None:
    breaker = Breaker(RULES, LONG)
    for _ in range(40):
        breaker.failed("connect", 0.0, probe=False)
    assert breaker.until == 5.0
    breaker.succeeded(probe=False)
    assert not breaker.allows(1.0)


def test_a_quarantine_is_at_once_and_longer_and_outranks_an_open_breaker() -> None:
    breaker = Breaker(RULES, LONG)
    for _ in range(3):
        breaker.failed("overloaded", 0.0, probe=False)
    breaker.quarantine("auth", 1.0, probe=False)
    assert breaker.until == 31.0
    breaker.quarantine("auth", 2.0, probe=False)
    assert breaker.until == 31.0
    assert breaker.enter()
    breaker.failed("server_error", 31.0, probe=True)
    assert breaker.until == 31.0 + 60.0


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["enter", "failed", "succeeded", "left", "quarantine"]), st.floats(0, 20))
    ),
)
def test_there_is_never_more_than_one_probe(steps: list[tuple[str, float]]) -> None:
    breaker, now = Breaker(RULES, LONG), 0.0
    under_way: list[bool] = []
    for what, pause in steps:
        now += pause
        if what == "enter":
            if breaker.allows(now):
                under_way.append(breaker.enter())
        elif under_way:
            probe = under_way.pop(0)
            match what:
                case "failed":
                    breaker.failed("x", now, probe=probe)
                case "succeeded":
                    breaker.succeeded(probe=probe)
                case "quarantine":
                    breaker.quarantine("x", now, probe=probe)
                case _:
                    breaker.left(probe=probe)
        assert sum(under_way) <= 1
        assert breaker.probing == any(under_way)


@pytest.mark.parametrize("kind", [FailureKind.SERVER_ERROR, FailureKind.CONNECT, FailureKind.AUTH])
def test_a_provider_that_is_down_sees_one_call_at_a_time_until_it_is_well_again(kind: FailureKind) -> None:
    rules = made.rules(breaker=RULES, quarantine=LONG, max_attempts=50)
    trial = Trial(made.board(rules), lambda _, __, now: Ends(0.2, kind if now < 300.0 else None))
    trial.submit(*[made.job(n, deadline=5000.0) for n in range(500)])
    trial.run(until=0.1)
    first = len(trial.commits)
    trial.run(until=299.0)
    down = [commit.at for commit in trial.commits[first:]]
    assert len(down) < 299 / 15
    assert all(later - earlier > 0.2 for earlier, later in pairwise(down))
    trial.run()
    assert set(trial.results.values()) == {"succeeded"}
    assert max(commit.at for commit in trial.commits) < 300 + 2 * 120


@given(seed=st.integers(0, 1000))
def test_a_probe_that_ends_without_a_verdict_gives_way_to_another(seed: int) -> None:
    random = Random(seed)
    board = made.board(made.rules(breaker=RULES))
    made.submit(board, *[made.job(n) for n in range(4)])
    first = made.dispatched(board)
    for dispatch in first:
        board.apply(made.ended(dispatch, FailureKind.STALLED), 0.0)
    now = 5.0
    for _ in range(10):
        (probe,) = made.dispatched(board, now)
        assert made.dispatched(board, now) == []
        what = random.randrange(4)
        if what == 0:
            board.apply(made.ended(probe, FailureKind.HANDED_BACK, called=False), now)
        elif what == 1:
            board.apply(made.ended(probe, FailureKind.GRANT_EXPIRED, called=False), now)
        elif what == 2:
            board.apply(made.ended(probe, FailureKind.WORKER_LOST), now)
        else:
            board.apply(made.ended(probe, FailureKind.RATE_LIMIT, retry_after=1.0), now)
        now += 30.0
        if len(board.counts().unfinished) == 0 or made.finishes(board.decide(now, 0)):
            return
