"""What is refused at once, before anything is spent: with the field and the remedy."""

from __future__ import annotations

from typing import Any

import pytest

from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from scheduler.policy.board import Board
from scheduler.policy.decisions import Finish
from scheduler.policy.rules import ProjectRule
from tests.unit.scheduler_policy import made


def limited() -> Board:
    projects = {
        "p": ProjectRule("p", routes=frozenset({"r"}), lanes=("std", "batch"), max_queued=3),
        "q": ProjectRule("q"),
    }
    return made.board(made.rules({"r": ("a/m",), "secret": ("b/m",)}, projects=projects))


def refused(board: Board, **over: Any) -> Finish:
    made.submit(board, made.job(9, **over))
    (finish,) = board.decide(0.0, 10)
    assert isinstance(finish, Finish)
    assert (finish.state, finish.attempt, finish.token, finish.body_hash) == (JobState.FAILED, 0, "t9", "h9")
    return finish


@pytest.mark.parametrize(
    ("over", "kind", "field", "remedy"),
    [
        ({"project": "x"}, FailureKind.FORBIDDEN, "project", "add the project"),
        ({"route": "nope"}, FailureKind.UNKNOWN_ROUTE, "route", "use one of: r"),
        ({"route": "secret"}, FailureKind.FORBIDDEN, "route", "use one of: r;"),
        ({"lane": "rt"}, FailureKind.FORBIDDEN, "lane", "std, batch"),
    ],
)
def test_a_job_that_may_not_run_names_the_field_and_the_remedy(
    over: dict[str, Any], kind: FailureKind, field: str, remedy: str
) -> None:
    finish = refused(limited(), **over)
    assert (finish.failure.kind, finish.failure.field) == (kind, field)
    assert remedy in (finish.failure.remedy or "")


def test_an_unknown_route_does_not_tell_the_names_of_other_projects_routes() -> None:
    finish = refused(limited(), route="guess")
    assert "secret" not in f"{finish.failure.message}{finish.failure.remedy}"


def test_a_full_queue_refuses_and_has_room_again_when_a_job_has_ended() -> None:
    board = limited()
    facts = [made.job(n) for n in range(3)]
    made.submit(board, *facts)
    dispatches = made.dispatched(board)
    finish = refused(board)
    assert finish.failure.kind is FailureKind.QUEUE_FULL
    assert "3 unfinished" in finish.failure.message
    board.apply(made.settled(finish), 0.0)
    board.apply(made.succeeded(dispatches[0]), 0.0)
    made.submit(board, made.job(10))
    assert [dispatch.job for dispatch in made.dispatched(board)] == ["j-10"]


def test_a_replay_of_what_was_accepted_is_accepted_again_although_it_is_under_way() -> None:
    board = limited()
    made.submit(board, *[made.job(n) for n in range(3)])
    running = made.dispatched(board)
    successor = limited()
    made.submit(successor, *[made.job(n) for n in range(3)])
    for dispatch in running:
        successor.apply(made.in_flight(dispatch), 0.0)
    assert successor.decide(0.0, 10) == []


@pytest.mark.parametrize("not_before", [None, 50.0])
def test_a_job_no_deployment_can_ever_serve_fails_with_every_reason(not_before: float | None) -> None:
    facts: dict[str, dict[str, Any]] = {
        "a/m": {"capabilities": frozenset({"system", "tools"})},
        "b/m": {"window": 8_000, "capabilities": frozenset({"images", "tools"})},
    }
    board = made.board(made.rules({"r": ("a/m", "b/m")}, facts=facts))
    finish = refused(board, needs=("tools", "images"), input_estimate=20_000, not_before=not_before)
    assert finish.failure.kind is FailureKind.NO_DEPLOYMENT
    assert "a/m: cannot do images" in finish.failure.message
    assert "b/m: its context window of 8000 tokens is too small for about 20000" in finish.failure.message


def test_a_job_goes_past_the_deployments_that_cannot_serve_it() -> None:
    facts: dict[str, dict[str, Any]] = {
        "a/m": {"capabilities": frozenset({"system"})},
        "b/m": {"window": 1_000},
        "c/m": {},
    }
    board = made.board(made.rules({"r": ("a/m", "b/m", "c/m")}, facts=facts))
    made.submit(board, made.job(1), made.job(2, needs=("tools",)), made.job(3, needs=("tools",), input_estimate=5_000))
    assert {d.job: d.deployment for d in made.dispatched(board)} == {"j-1": "a/m", "j-2": "b/m", "j-3": "c/m"}


def test_a_job_of_either_kind_goes_to_the_models_of_its_kind() -> None:
    facts: dict[str, dict[str, Any]] = {
        "vectors/m": {"capabilities": frozenset({"embeddings"}), "window": 500},
        "answers/m": {"capabilities": frozenset({"system", "tools"})},
        "either/m": {"capabilities": frozenset({"system", "embeddings"})},
        "unknown/m": {},
    }
    routes: dict[str, tuple[str, ...]] = {
        "r": ("vectors/m", "answers/m"),
        "both": ("either/m",),
        "perhaps": ("answers/m", "unknown/m"),
    }
    board = made.board(made.rules(routes, facts=facts))
    vectors = {"needs": ("embeddings",)}
    made.submit(
        board,
        made.job(1),
        made.job(2, needs=("tools",)),
        made.job(3, **vectors),
        made.job(4, input_estimate=90_000, **vectors),  # of many texts, each of which fits
        made.job(5, route="both"),
        made.job(6, route="both", **vectors),
        made.job(7, route="perhaps", **vectors),
    )
    assert {d.job: d.deployment for d in made.dispatched(board)} == {
        "j-1": "answers/m",
        "j-2": "answers/m",
        "j-3": "vectors/m",
        "j-4": "vectors/m",
        "j-5": "either/m",
        "j-6": "either/m",
        "j-7": "unknown/m",
    }


@pytest.mark.parametrize(
    ("can", "needs", "words"),
    [
        ({"embeddings"}, (), "a/m: makes embeddings and no answers"),
        ({"embeddings"}, ("tools",), "a/m: makes embeddings and no answers"),
        ({"embeddings", "images"}, ("images",), "a/m: makes embeddings and no answers"),
        ({"system", "tools"}, ("embeddings",), "a/m: cannot do embeddings"),
    ],
)
def test_a_job_of_the_other_kind_is_refused_with_the_reason(can: set[str], needs: tuple[str, ...], words: str) -> None:
    board = made.board(made.rules({"r": ("a/m",)}, facts={"a/m": {"capabilities": frozenset(can)}}))
    finish = refused(board, needs=needs)
    assert finish.failure.kind is FailureKind.NO_DEPLOYMENT
    assert words in finish.failure.message


def test_a_count_slightly_above_a_window_is_no_reason_because_counts_are_estimates() -> None:
    board = made.board(made.rules(facts={"a/m": {"window": 1_000}}))
    made.submit(board, made.job(1, input_estimate=1_100))
    assert len(made.dispatched(board)) == 1


def test_who_stands_by_refuses_nobody_for_the_number_of_his_jobs_because_results_may_come_after_submissions() -> None:
    board = limited()
    for n in range(5):
        made.submit(board, made.job(n, counted=False))
    assert not [decision for decision in board.decide(0.0, 10) if isinstance(decision, Finish)]
    made.submit(board, made.job(9))
    assert any(isinstance(decision, Finish) for decision in board.decide(0.0, 10)), "the leader does"
