"""Second attempts beside late ones: when they are made, what becomes of both in every order, what they may spend.

Caught here: a job that ends because a hedge failed or was stopped, a reservation of one of the two that leaks, a third
attempt beside two, a number used twice, a cancel that stops only one of them, spend beyond the share.
"""

from __future__ import annotations

from itertools import permutations
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogue.prices import Price
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from scheduler.policy.board import Board
from scheduler.policy.decisions import Abort, Dispatch, Finish
from scheduler.policy.facts import PoolSeen, Submitted
from scheduler.policy.hedging import ENOUGH, Allowance
from scheduler.policy.rules import HedgeRule, Rules
from tests.unit.scheduler_policy import made
from tests.unit.scheduler_policy.trial import Commit, Ends, Trial, replay

PLACES = ("a/m", "b/m", "c/m")
HEDGE = HedgeRule(0.5, 1.0)


def rules(rule: HedgeRule = HEDGE, **over: Any) -> Rules:
    return made.rules({"r": PLACES}, route={"hedge": rule, **over.pop("route", {})}, **over)


def funded(of: Rules | None = None, jobs: int = 4) -> Board:
    """A board on which enough was spent for hedges, and nothing is under way."""
    board = made.board(rules() if of is None else of)
    made.submit(board, *(made.job(1000 + n) for n in range(jobs)))
    for dispatch in made.dispatched(board):
        board.apply(made.succeeded(dispatch), 0.0)
    return board


def flying(board: Board, **over: Any) -> Dispatch:
    made.submit(board, made.job(1, **over))
    (first,) = made.dispatched(board)
    return first


def hedged(board: Board, **over: Any) -> tuple[Dispatch, Dispatch]:
    """A job with two attempts under way."""
    first = flying(board, **over)
    board.apply(made.late(first), 1.0)
    (second,) = made.dispatched(board, 1.0)
    assert second.hedge
    return first, second


def held(board: Board) -> list[tuple[int, str]]:
    return [(attempt, deployment) for _, _, attempt, deployment in board.in_flight()]


def at_rest(board: Board, now: float = 2.0) -> None:
    counts = board.counts(now)
    assert set(counts.reserved.values()) == {(0, 0, 0)}
    assert set(counts.in_flight.values()) == {0}
    assert list(board.in_flight()) == []


def decided(board: Board, now: float = 2.0) -> list[Any]:
    decisions = board.decide(now, 100)
    board.stored([each for each in decisions if isinstance(each, Dispatch)], now)
    return decisions


# ------------------------------------------------------------------------------------------------------------- granting


def test_a_late_attempt_gets_a_second_one_at_another_provider_with_the_next_number() -> None:
    board = funded()
    first, second = hedged(board)
    assert (first.deployment, first.late, first.hedge) == ("a/m", (1.0, 1.0), False)
    assert (second.attempt, second.deployment, second.switched_from, second.late) == (2, "b/m", "a/m", None)
    assert held(board) == [(1, "a/m"), (2, "b/m")]
    assert board.next_wake(1.0) == pytest.approx(86_400.0)


@pytest.mark.parametrize("lane", ["batch", "bg"])
def test_a_job_nobody_waits_for_is_never_late(lane: str) -> None:
    board = funded()
    first = flying(board, lane=lane)
    assert first.late is None
    board.apply(made.late(first), 1.0)
    assert decided(board) == []


@pytest.mark.parametrize(
    "over",
    [
        {"routes": {"r": ("a/m", "a/n")}},
        {"slots": 0},
        {"rule": HedgeRule(0.01, 1.0)},
        {"job": {"max_cost": 1}},
    ],
    ids=["no other provider", "nobody works elsewhere", "beyond the share", "a bound on the job's cost"],
)
def test_a_hedge_is_granted_at_once_or_not_at_all(over: dict[str, Any]) -> None:
    made_of = made.rules(over.get("routes", {"r": PLACES}), route={"hedge": over.get("rule", HEDGE)}, facts=priced())
    board = funded(made_of)
    first = flying(board, size=10, max_output=10, **over.get("job", {}))
    if "slots" in over:
        for pool in "bc":
            board.apply(PoolSeen(pool, 0), 0.5)
    board.apply(made.late(first), 1.0)
    assert decided(board, 1.0) == []
    assert board.next_wake(1.0) == pytest.approx(86_400.0)
    assert held(board) == [(1, "a/m")]


def priced() -> dict[str, dict[str, Any]]:
    price = Price(input="1", output="2")  # type: ignore[arg-type]
    return {name: {"prices": (price,), "window": 1000} for name in (*PLACES, "a/n")}


def test_what_is_told_twice_or_too_late_makes_no_third_attempt() -> None:
    board = funded()
    first, second = hedged(board)
    for fact in (made.late(first), made.late(second)):
        board.apply(fact, 1.5)
    assert decided(board, 1.5) == []
    board.apply(made.ended(second), 2.0)
    board.apply(made.late(first), 2.0)
    assert decided(board, 2.0) == [], "one hedge an attempt"


@pytest.mark.parametrize("produced", [False, True])
def test_an_attempt_that_follows_on_shown_tokens_gets_no_second_one(produced: bool) -> None:
    board = funded()
    first = flying(board)
    board.apply(made.ended(first, FailureKind.STALLED, produced=produced), 0.5)
    (next_one,) = made.dispatched(board, 0.5)
    board.apply(made.late(next_one), 1.5)
    assert [each.hedge for each in made.dispatched(board, 1.5)] == ([] if produced else [True])


def test_an_attempt_is_late_when_it_takes_longer_than_nineteen_of_twenty_did() -> None:
    board = made.board(rules(HedgeRule(0.5)))
    for n in range(100):
        made.submit(board, made.job(10 + n))
        (dispatch,) = made.dispatched(board)
        known = n >= ENOUGH
        assert (dispatch.late == (None, None)) is not known
        board.apply(made.succeeded(dispatch, seconds=2.0, first_token=5.0 if n % 25 == 0 else 0.2), 0.0)
    first_token, total = flying(board).late or (None, None)
    assert first_token is not None and 0.2 <= first_token <= 0.2 * 1.25  # noqa: PT018
    assert total is not None and 2.0 <= total <= 2.0 * 1.25  # noqa: PT018


# --------------------------------------------------------------------------------------------------------------- ending


def test_the_hedge_wins_and_the_first_one_is_stopped() -> None:
    board = funded()
    first, second = hedged(board)
    board.apply(made.succeeded(second, first_token=0.1), 2.0)
    assert decided(board) == [Abort("p", "j-1", 1, "a/m", outrun=True)]
    at_rest(board)
    board.apply(made.ended(first, FailureKind.HANDED_BACK), 2.5)
    assert decided(board) == []


def test_the_first_one_wins_and_the_hedge_is_stopped() -> None:
    board = funded()
    first, _ = hedged(board)
    board.apply(made.succeeded(first), 2.0)
    assert decided(board) == [Abort("p", "j-1", 2, "b/m", outrun=True)]
    at_rest(board)


@pytest.mark.parametrize("kind", [FailureKind.SERVER_ERROR, FailureKind.WORKER_LOST, FailureKind.CONTENT_POLICY])
def test_a_hedge_that_fails_changes_nothing_for_the_job(kind: FailureKind) -> None:
    board = funded()
    first, second = hedged(board)
    board.apply(made.ended(second, kind), 1.5)
    board.apply(made.ended(second, kind), 1.5)
    assert decided(board, 1.5) == []
    assert held(board) == [(1, "a/m")]
    board.apply(made.succeeded(first), 2.0)
    at_rest(board)
    assert decided(board) == []


@pytest.mark.parametrize("kind", [FailureKind.SERVER_ERROR, FailureKind.WORKER_LOST, FailureKind.BAD_REQUEST])
def test_if_the_first_one_fails_the_hedge_is_the_attempt_and_no_further_one_is_made(kind: FailureKind) -> None:
    board = funded()
    first, second = hedged(board)
    board.apply(made.ended(first, kind), 1.5)
    assert decided(board, 1.5) == []
    assert held(board) == [(2, "b/m")]
    board.apply(made.succeeded(second), 2.0)
    assert decided(board) == []
    at_rest(board)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_if_both_fail_the_next_attempt_has_a_new_number_and_goes_elsewhere(order: tuple[int, int]) -> None:
    board = funded()
    pair = hedged(board)
    for place in order:
        board.apply(made.ended(pair[place]), 1.5)
    (third,) = made.dispatched(board, 1.5)
    assert (third.attempt, third.deployment, third.hedge) == (3, "c/m", False)
    assert sorted(record.number for record in third.history) == [1, 2]


def test_a_hedge_counts_against_nothing_that_bounds_retries() -> None:
    board = funded(rules(max_attempts=2))
    first, second = hedged(board)
    board.apply(made.ended(second), 1.5)
    board.apply(made.ended(first), 1.5)
    (third,) = made.dispatched(board, 1.5)
    board.apply(made.ended(third), 1.6)
    (finish,) = decided(board, 1.6)
    assert isinstance(finish, Finish)
    assert "2 attempts" in finish.failure.message


@pytest.mark.parametrize("shown", [0, 1])
def test_the_end_of_the_shown_one_is_the_jobs_whatever_the_other_one_says(shown: int) -> None:
    board = funded()
    pair = hedged(board)
    winner, loser = pair[shown], pair[1 - shown]
    board.apply(made.begun(winner), 1.2)
    board.apply(made.begun(loser), 1.2)
    assert decided(board, 1.2) == [Abort("p", "j-1", loser.attempt, loser.deployment, outrun=True)]
    board.apply(made.ended(winner, FailureKind.CONTENT_POLICY), 1.5)
    (finish,) = decided(board, 1.5)
    assert isinstance(finish, Finish)
    assert finish.failure.kind is FailureKind.CONTENT_POLICY
    board.apply(made.ended(loser, FailureKind.HANDED_BACK), 1.6)
    board.apply(made.settled(finish), 1.7)
    assert decided(board, 1.7) == []
    at_rest(board)


@pytest.mark.parametrize("shown", [0, 1])
def test_the_loser_ends_first_and_the_job_goes_on(shown: int) -> None:
    board = funded()
    pair = hedged(board)
    winner, loser = pair[shown], pair[1 - shown]
    board.apply(made.begun(winner), 1.2)
    decided(board, 1.2)
    board.apply(made.ended(loser, FailureKind.HANDED_BACK), 1.3)
    assert decided(board, 1.3) == []
    assert held(board) == [(winner.attempt, winner.deployment)]
    board.apply(made.ended(winner), 1.4)
    (third,) = made.dispatched(board, 2.0)
    assert third.attempt == 3


def test_a_cancel_and_a_deadline_stop_both() -> None:
    for how in ("cancel", "deadline"):
        board = funded()
        job = made.job(1, deadline=5.0)
        made.submit(board, job)
        (first,) = made.dispatched(board)
        board.apply(made.late(first), 1.0)
        (second,) = made.dispatched(board, 1.0)
        if how == "cancel":
            board.apply(made.cancel(job), 2.0)
        stopped = made.aborts(decided(board, 6.0))
        assert {(each.attempt, each.outrun) for each in stopped} == {(1, False), (2, False)}
        for each in (first, second):
            board.apply(made.ended(each, FailureKind.CANCELLED), 6.5)
        (finish,) = decided(board, 6.5)
        assert isinstance(finish, Finish)
        assert finish.state is (JobState.CANCELLED if how == "cancel" else JobState.EXPIRED)
        at_rest(board, 7.0)


def test_a_hedge_that_is_not_stored_is_as_if_it_had_never_been() -> None:
    board = funded()
    first = flying(board)
    board.apply(made.late(first), 1.0)
    (second,) = board.decide(1.0, 10)
    assert isinstance(second, Dispatch)
    board.refused([second], 1.1)
    assert held(board) == [(1, "a/m")]
    board.apply(made.late(first), 2.0)
    (again,) = made.dispatched(board, 2.0)
    assert (again.attempt, again.hedge) == (2, True)


def test_a_hedge_that_is_not_stored_while_the_first_one_fails_is_the_attempt_to_repeat() -> None:
    board = funded()
    first = flying(board)
    board.apply(made.late(first), 1.0)
    (second,) = board.decide(1.0, 10)
    assert isinstance(second, Dispatch)
    board.apply(made.ended(first), 1.05)
    board.refused([second], 1.1)
    (again,) = made.dispatched(board, 1.1)
    assert (again.attempt, again.hedge) == (2, False)
    board.apply(made.succeeded(again), 2.0)
    at_rest(board)


# ------------------------------------------------------------------------------------------------------------ take-over


def facts_of(first: Dispatch, second: Dispatch) -> dict[str, Any]:
    return {"first": made.ended(first), "second": made.ended(second)}


@pytest.mark.parametrize("order", list(permutations(["first", "second"])))
def test_a_successor_knows_both_and_settles_them_in_any_order(order: tuple[str, str]) -> None:
    first, second = hedged(funded())
    board = made.board(rules(), now=10.0)
    made.submit(board, made.job(1), now=10.0)
    for each in (first, second):
        board.apply(made.in_flight(each), 10.0)
    assert held(board) == [(1, "a/m"), (2, "b/m")]
    assert decided(board, 10.0) == []
    for name in order:
        board.apply(facts_of(first, second)[name], 10.5)
    (third,) = made.dispatched(board, 10.5)
    assert (third.attempt, third.hedge) == (3, False)
    board.apply(made.succeeded(third), 11.0)
    at_rest(board, 11.0)


def test_a_successor_that_finds_the_hedge_alone_takes_it_for_the_attempt() -> None:
    first, second = hedged(funded())
    board = made.board(rules(), now=10.0)
    made.submit(board, made.job(1), now=10.0)
    board.apply(made.in_flight(second), 10.0)
    board.apply(made.ended(first), 10.0)
    assert decided(board, 10.0) == []
    board.apply(made.ended(second), 10.5)
    (third,) = made.dispatched(board, 10.5)
    assert third.attempt == 3


def test_a_successor_that_finds_the_first_one_and_the_end_of_its_hedge_uses_no_number_twice() -> None:
    first, second = hedged(funded())
    board = made.board(rules(), now=10.0)
    made.submit(board, made.job(1), now=10.0)
    board.apply(made.in_flight(first), 10.0)
    board.apply(made.ended(second), 10.0)
    assert held(board) == [(1, "a/m")]
    board.apply(made.ended(first), 10.5)
    (third,) = made.dispatched(board, 10.5)
    assert third.attempt == 3


# ---------------------------------------------------------------------------------------------------------------- spend


@given(
    share=st.floats(0.01, 0.5),
    steps=st.lists(st.tuples(st.booleans(), st.floats(0.0, 1e6), st.floats(0.0, 5000.0)), max_size=60),
)
def test_hedges_never_spend_more_than_their_share_of_all_that_was_spent(
    share: float, steps: list[tuple[bool, float, float]]
) -> None:
    allowance, now, total, hedges = Allowance(), 0.0, 0.0, 0.0
    for ordinary, amount, pause in steps:
        now += pause
        if ordinary:
            allowance.note(amount, now)
            total += amount
        elif allowance.take(amount, share, now):
            total += amount
            hedges += amount
        assert hedges <= share * total + 1e-6 * (1 + total)


def test_of_two_hundred_slow_jobs_only_the_share_is_hedged() -> None:
    board = made.board(rules(HedgeRule(0.05, 1.0)))
    made.submit(board, *(made.job(n) for n in range(1, 201)))
    first = made.dispatched(board)
    for dispatch in first:
        board.apply(made.late(dispatch), 1.0)
    hedges = made.dispatched(board, 1.0)
    assert len(first) == 200
    assert len(hedges) == 10
    assert sum(d.input_tokens + d.output_tokens for d in hedges) <= 0.05 * sum(
        d.input_tokens + d.output_tokens for d in (*first, *hedges)
    )


# -------------------------------------------------------------------------------------------------------------- trials

BAD = [FailureKind.SERVER_ERROR, FailureKind.WORKER_LOST, FailureKind.STALLED, FailureKind.CONTENT_POLICY]


class Hedged(Trial):
    """Attempts are told late after a second, and of two, sometimes, one is shown."""

    def _commit(self, dispatches: list[Dispatch]) -> None:
        super()._commit(dispatches)
        for dispatch in dispatches:
            key = (dispatch.project, dispatch.job, dispatch.attempt)
            if dispatch.late is not None:
                self.at(self.now + 1.0, lambda d=dispatch, k=key: self.tell(made.late(d)) if k in self.live else None)  # type: ignore[misc]
            if dispatch.hedge and self.random.random() < 0.6:
                shown = self.live.get((*key[:2], dispatch.attempt - self.random.randint(0, 1)))
                if shown is not None:
                    self.at(self.now + 0.3, lambda d=shown: self.tell(made.begun(d)))  # type: ignore[misc]

    def _end(self, commit: Commit, ends: Ends) -> None:
        dispatch = commit.dispatch
        attempt = (dispatch.project, dispatch.job, dispatch.attempt)
        if attempt not in self.live:
            return
        stops = [d for _, d in self.decisions if isinstance(d, Abort) and d.outrun]
        if attempt in {(d.project, d.job, d.attempt) for d in stops}:
            self._stopped.discard(attempt)
            ends = Ends(0.0, FailureKind.HANDED_BACK)
        super()._end(commit, ends)


def behave(dispatch: Dispatch, random: Random, now: float) -> Ends:
    seconds = random.choice([0.2, 1.5, 3.0])
    return Ends(seconds, random.choice(BAD) if random.random() < 0.3 else None)


def at_most_two_at_once(trial: Trial) -> None:
    """A hedge has the number after the attempt beside it; nobody else has two under way."""
    seen: dict[tuple[str, str], set[int]] = {}
    for commit in trial.commits:
        numbers = seen.setdefault((commit.dispatch.project, commit.dispatch.job), set())
        assert commit.dispatch.attempt not in numbers, "a number was used twice"
        if commit.dispatch.hedge:
            assert commit.dispatch.attempt - 1 in numbers
        numbers.add(commit.dispatch.attempt)


def jobs(random: Random, count: int) -> list[Submitted]:
    return [
        made.job(
            n,
            submitted=random.uniform(0, 10),
            lane=random.choice(["rt", "std", "batch"]),
            deadline=random.choice([None, 14.0]),
        )
        for n in range(1, count)
    ]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**9), refuse=st.sampled_from([0.0, 0.3]))
def test_with_hedges_every_job_ends_once_and_every_reservation_is_given_back(seed: int, refuse: float) -> None:
    random = Random(seed)
    trial = Hedged(made.board(rules()), behave, seed=seed, refuse=refuse)
    submitted = jobs(random, 60)
    trial.submit(*submitted)
    for fact in random.sample(submitted, 8):
        asked = made.cancel(fact)
        trial.at(fact.submitted + random.uniform(0.0, 4.0), lambda asked=asked: trial.tell(asked))  # type: ignore[misc]
    trial.run()
    assert trial.results.keys() == trial.submissions.keys()
    at_rest(trial.board, trial.now)
    at_most_two_at_once(trial)
    assert list(replay(trial.log, made.board(rules()))) == trial.decisions


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**9), times=st.integers(1, 3))
def test_with_hedges_take_overs_lose_no_job(seed: int, times: int) -> None:
    random = Random(seed)
    trial = Hedged(made.board(rules()), behave, seed=seed, ack=0.2)
    trial.submit(*jobs(random, 60))
    for _ in range(times):
        trial.run(until=trial.now + random.uniform(0.0, 6.0))
        trial.take_over(made.board(rules(), now=trial.now), silence=random.uniform(0.0, 4.0))
    trial.run()
    assert trial.results.keys() == trial.submissions.keys()
    at_rest(trial.board, trial.now)


def test_the_trials_make_hedges_that_win_lose_and_fail() -> None:
    trial = Hedged(made.board(rules()), behave, seed=3)
    trial.submit(*jobs(Random(3), 200))
    trial.run()
    hedges = {(c.dispatch.job, c.dispatch.attempt) for c in trial.commits if c.dispatch.hedge}
    stopped = {(d.job, d.attempt) for _, d in trial.decisions if isinstance(d, Abort) and d.outrun}
    assert len(hedges) > 20
    assert hedges & stopped
    assert stopped - hedges
