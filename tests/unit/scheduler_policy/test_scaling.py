"""Fleets that follow what is told grow with backlog and headroom, not against a limit, and do not flap."""

from __future__ import annotations

from itertools import pairwise

import pytest

from scheduler.policy.rules import Limit
from scheduler.policy.scaling import DOWN, UP, Scaler
from tests.unit.scheduler_policy import made
from tests.unit.scheduler_policy.fleets import Fleet, at_once, steadily

MINUTE = 60.0


def limited(rpm: float) -> dict[str, tuple[Limit, ...]]:
    return {"a": (Limit("requests", rpm),)}


# -- fleets


def test_a_backlog_starts_workers_they_serve_it_and_are_stopped_again() -> None:
    fleet = Fleet(made.rules(), *at_once(600), until=10 * MINUTE)
    assert len(fleet.trial.results) == 600
    assert max(fleet.told["a"]) >= 20
    assert fleet.last("a") == 0
    assert fleet.turns("a") == 1


def test_twice_the_backlog_asks_for_twice_the_workers() -> None:
    once, twice = (Fleet(made.rules(), *at_once(count), until=20.0, startup=60.0) for count in (600, 1200))
    assert once.last("a") > 10
    assert twice.last("a") == pytest.approx(2 * once.last("a"), abs=1)


def test_a_steady_load_gets_the_workers_it_fills_and_keeps_them() -> None:
    fleet = Fleet(made.rules(), *steadily(1.0, 20 * MINUTE), until=20 * MINUTE, seconds=16.0, slots=16)
    # One a second for 16 s each are 16 calls at once, with chance now and then twice as many.
    assert 2 <= fleet.last("a") <= 3
    assert fleet.turns("a", skip=6 * MINUTE) == 0


def test_no_worker_is_added_where_the_providers_limit_binds() -> None:
    # 60 a minute, 2 s each: two calls at once are all that the limit sustains, and a worker makes four.
    fleet = Fleet(made.rules(limits=limited(60)), *at_once(2_000), until=15 * MINUTE)
    late = [demands["a"] for at, demands in fleet.seen if at > 2 * MINUTE]
    assert all(demand.waiting > 1_000 for demand in late)
    assert all(demand.held_back > 0.9 * demand.waiting for demand in late)
    assert fleet.last("a") == 1
    assert max(fleet.told["a"]) <= 2


def test_a_higher_limit_lets_the_same_backlog_start_more_workers() -> None:
    low, high = (
        Fleet(made.rules(limits=limited(rpm)), *at_once(1_500), until=8 * MINUTE, seconds=20.0) for rpm in (60, 120)
    )
    assert low.last("a") == pytest.approx(6, abs=1)
    assert high.last("a") == pytest.approx(2 * low.last("a"), abs=2)


def test_what_one_provider_does_not_take_asks_for_workers_of_the_next() -> None:
    rules = made.rules({"r": ("a/m", "b/m")}, limits=limited(20))
    fleet = Fleet(rules, *steadily(1.0, 12 * MINUTE), until=12 * MINUTE, seconds=12.0)
    assert fleet.last("a") <= 2
    assert fleet.last("b") >= 3
    assert len(fleet.trial.results) > 0.9 * 12 * MINUTE


def test_a_provider_that_fails_gets_no_more_workers_and_the_next_one_does() -> None:
    rules = made.rules({"r": ("a/m", "b/m")})
    fleet = Fleet(rules, *steadily(1.0, 12 * MINUTE), until=12 * MINUTE, seconds=12.0, broken=("a",), workers=1)
    assert fleet.last("a") <= 1
    assert fleet.last("b") >= 3


def test_bursts_do_not_start_and_stop_workers_all_the_time() -> None:
    bursts = [job for number in range(14) for job in at_once(40, since=10 + MINUTE * number, first=100 * number + 1)]
    fleet = Fleet(made.rules(), *bursts, until=15 * MINUTE)
    assert len(fleet.trial.results) == len(bursts)
    assert fleet.turns("a") == 0


def test_noise_around_a_whole_number_of_workers_does_not_flap() -> None:
    # 3.2 calls at once fill a worker of four to the brim: at every other moment a second one would be needed.
    fleet = Fleet(made.rules(), *steadily(0.4, 20 * MINUTE), until=20 * MINUTE, seconds=8.0, workers=1)
    needs = [demands["a"].wanted for _, demands in fleet.seen]
    assert sum(1 for before, after in pairwise(needs) if (before > 4) != (after > 4)) > 40
    assert fleet.turns("a") <= 2


# -- one pool's number


def test_more_is_followed_only_when_it_has_lasted() -> None:
    scaler = Scaler(2, 0.0)
    assert [scaler.decide(9, UP * part) for part in (0.1, 0.5, 0.9)] == [2, 2, 2]
    assert scaler.decide(7, UP) == 2
    assert scaler.decide(8, 1.2 * UP) == 7


def test_a_single_peak_is_not_followed_however_rarely_it_is_asked() -> None:
    scaler = Scaler(2, 0.0)
    assert scaler.decide(2, 100.0) == 2
    assert scaler.decide(9, 200.0) == 2
    assert scaler.decide(2, 300.0) == 2


def test_the_first_worker_is_asked_for_at_once() -> None:
    assert Scaler(0, 0.0).decide(5, 0.5) == 1


def every_other_second(scaler: Scaler, needs: int, since: float, until: float, down: float = DOWN) -> int:
    for part in range(int(since), int(until), 2):
        scaler.decide(needs, float(part), down=down)
    return scaler.desired


def test_less_is_followed_when_nobody_has_asked_for_more_for_long() -> None:
    scaler = Scaler(4, 0.0)
    assert every_other_second(scaler, 1, 0, DOWN / 2) == 4
    assert every_other_second(scaler, 3, DOWN / 2, DOWN / 2 + 4) == 4
    assert every_other_second(scaler, 1, DOWN / 2 + 4, DOWN) == 4
    assert every_other_second(scaler, 1, DOWN, DOWN + 10) == 3
    assert every_other_second(scaler, 1, DOWN + 10, 2 * DOWN) == 1


def test_less_waits_longer_where_calls_are_long() -> None:
    scaler = Scaler(4, 0.0)
    assert every_other_second(scaler, 0, 0, 2 * DOWN - 10, down=2 * DOWN) == 4
    assert every_other_second(scaler, 0, 2 * DOWN - 10, 2 * DOWN + 10, down=2 * DOWN) == 0


def test_a_successor_goes_on_from_what_stood() -> None:
    scaler = Scaler(7, 1_000.0)
    assert scaler.decide(0, 1_002.0) == 7
    assert scaler.decide(9, 1_004.0) == 7
