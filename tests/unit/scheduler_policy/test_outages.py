"""What fails as a whole: a region with all its deployments, a model that its provider has taken away.

Caught here: a burst of probes, a job that leaves its region because that is down, a queue that waits for a model that
is gone, a successor that is called although its turn has not come.
"""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from catalogue.rows import ProviderRow
from job_contracts.constraints import Constraints
from job_contracts.failures import FailureKind
from runtime.settings import Config
from scheduler.policy.board import Board
from scheduler.policy.facts import PoolSeen
from scheduler.policy.resolving import rules_from
from scheduler.policy.rules import BreakerRule, RouteRule, Rules
from tests.unit.scheduler_policy import made
from tests.unit.scheduler_policy.trial import Ends, Trial

K = FailureKind
REGIONS = {"eu1": "eu", "eu2": "eu", "us1": "us"}
DOWN = (10.0, 130.0)
"""From when until when Europe does not answer."""


def everywhere() -> Rules:
    """Two providers in Europe with two models each, one in America."""
    places = ("eu1/m", "eu1/n", "eu2/m", "eu2/n", "us1/m")
    facts = {name: {"region": REGIONS[name.partition("/")[0]]} for name in places}
    return made.rules({"r": places}, facts=facts, breaker=BreakerRule(3, 5.0, 40.0), max_attempts=8)


def outage(kind: FailureKind, *, constraints: Constraints | None = None) -> Trial:
    """A job every half second for four minutes, while Europe is away for two of them."""

    def ends(dispatch: Any, _: object, now: float) -> Ends:
        down = REGIONS[dispatch.deployment.partition("/")[0]] == "eu" and DOWN[0] <= now < DOWN[1]
        return Ends(0.2, kind if down else None)

    trial = Trial(made.board(everywhere()), ends)
    for number in range(480):
        at = number / 2
        trial.submit(made.job(number, submitted=at, not_before=at, deadline=at + 600.0, constraints=constraints))
    trial.run()
    return trial


@pytest.mark.parametrize("kind", [K.CONNECT, K.OVERLOADED, K.FIRST_TOKEN_TIMEOUT])
def test_a_region_that_is_down_is_left_for_another_and_asked_by_single_probes_until_it_is_back(
    kind: FailureKind,
) -> None:
    trial = outage(kind)
    assert set(trial.results.values()) == {"succeeded"}
    where = [(commit.at, commit.dispatch.deployment) for commit in trial.commits]
    assert all(name == "eu1/m" for at, name in where if at < DOWN[0])
    assert {name for at, name in where if at > DOWN[1] + 45.0} == {"eu1/m"}
    for name in ("eu1/m", "eu1/n", "eu2/m", "eu2/n"):
        asked = [at for at, each in where if each == name and DOWN[0] + 5.0 <= at < DOWN[1]]
        assert len(asked) <= 8, (name, asked)
        assert all(later - earlier > 4.5 for earlier, later in pairwise(asked)), (name, asked)


def test_jobs_that_must_stay_in_a_region_wait_for_it_and_not_one_leaves() -> None:
    trial = outage(K.OVERLOADED, constraints=Constraints(residency=("eu",)))
    assert {commit.dispatch.deployment.partition("/")[0] for commit in trial.commits} <= {"eu1", "eu2"}
    assert set(trial.results.values()) <= {"succeeded", "failed"}
    late = [job for job, state in trial.results.items() if state != "succeeded"]
    assert len(late) < 20  # those that were probes too often; all others came through


def test_a_provider_that_cannot_be_reached_is_asked_by_one_probe_whatever_the_number_of_its_models() -> None:
    names = [f"a/m{number}" for number in range(6)]
    board = made.board(made.rules({f"r{number}": (name,) for number, name in enumerate(names)}))
    made.submit(board, *[made.job(number, route=f"r{number}") for number in range(6)])
    under_way = made.dispatched(board)
    assert len(under_way) == 6
    for dispatch in under_way:
        board.apply(made.ended(dispatch, K.CONNECT), 0.0)
    assert made.dispatched(board, 4.9) == []
    (probe,) = made.dispatched(board, 5.0)
    board.apply(made.ended(probe, K.CONNECT), 6.0)
    assert made.dispatched(board, 15.9) == []
    went = []
    for _ in range(6):  # it can be reached again: one after the other finds out
        (probe,) = made.dispatched(board, 30.0)
        went.append(probe.deployment)
        board.apply(made.succeeded(probe), 30.0)
    assert sorted(went) == names


def replaced(*, since: date = date.max, names: tuple[str, ...] = ("a/old", "a/new")) -> Rules:
    """A model whose successor stands in for it."""
    rules = made.rules({"r": names}, facts={"a/old": {"successor": "new"}})
    route = RouteRule("r", names, stand_ins={"a/new": since}, before={"a/new": "a/old"})
    return Rules(rules.domains, rules.deployments, {"r": route}, rules.projects)


def test_a_model_that_is_gone_is_followed_by_its_successor_at_once() -> None:
    board = made.board(replaced())
    made.submit(board, made.job(1))
    (dispatch,) = made.dispatched(board)
    assert dispatch.deployment == "a/old"
    board.apply(made.ended(dispatch, K.MODEL_NOT_FOUND), 0.0)
    made.submit(board, made.job(2))
    assert [each.deployment for each in made.dispatched(board)] == ["a/new", "a/new"]


@pytest.mark.parametrize("kind", [K.SERVER_ERROR, K.AUTH, K.CONNECT, K.OVERLOADED])
def test_what_else_befalls_a_model_does_not_call_its_successor(kind: FailureKind) -> None:
    board = made.board(replaced())
    made.submit(board, made.job(1))
    (dispatch,) = made.dispatched(board)
    board.apply(made.ended(dispatch, kind), 0.0)
    assert [each.deployment for each in made.dispatched(board, 60.0)] == ["a/old"]


def test_who_waits_behind_the_model_that_is_gone_does_not_wait_for_its_next_probe() -> None:
    board = Board(replaced())
    board.apply(PoolSeen("a", 1), 0.0)
    made.submit(board, *[made.job(n) for n in range(20)])
    (dispatch,) = made.dispatched(board)
    board.apply(made.ended(dispatch, K.MODEL_NOT_FOUND), 0.0)
    went = []
    while found := made.dispatched(board):
        went += [each.deployment for each in found]
        for each in found:
            board.apply(made.succeeded(each), 0.0)
    assert went == ["a/new"] * 20


def test_a_model_that_comes_back_takes_its_place_again_after_a_probe() -> None:
    board = made.board(replaced())
    made.submit(board, made.job(1))
    (dispatch,) = made.dispatched(board)
    board.apply(made.ended(dispatch, K.MODEL_NOT_FOUND), 0.0)
    made.dispatched(board)
    made.submit(board, made.job(2), made.job(3), now=31.0)
    assert [each.deployment for each in made.dispatched(board, 31.0)] == ["a/old", "a/new"]
    made.submit(board, made.job(4), now=32.0)
    assert [each.deployment for each in made.dispatched(board, 32.0)] == ["a/new"]  # the probe is still under way


def test_the_successor_of_a_model_that_is_gone_must_meet_the_constraints_too() -> None:
    board = made.board(replaced())
    made.submit(board, made.job(1, constraints=Constraints(deny_models=("new",))))
    (dispatch,) = made.dispatched(board)
    board.apply(made.ended(dispatch, K.MODEL_NOT_FOUND), 0.0)
    assert made.dispatched(board) == []


def test_of_a_chain_each_steps_in_when_the_one_before_it_is_gone() -> None:
    names = ("a/old", "a/mid", "a/new")
    rules = made.rules({"r": names})
    route = RouteRule(
        "r",
        names,
        stand_ins=dict.fromkeys(names[1:], date.max),
        before={"a/mid": "a/old", "a/new": "a/mid"},
    )
    board = made.board(Rules(rules.domains, rules.deployments, {"r": route}, rules.projects))
    made.submit(board, made.job(1))
    went = []
    for _ in names:
        (dispatch,) = made.dispatched(board)
        went.append(dispatch.deployment)
        board.apply(made.ended(dispatch, K.MODEL_NOT_FOUND), 0.0)
    assert went == list(names)


def test_a_successor_without_a_day_is_in_the_rules_only_of_a_route_that_wishes_for_it() -> None:
    row = ProviderRow.model_validate(
        {
            "name": "a",
            "dialect": "openai_chat",
            "base_url": "https://a.example",
            "models": [{"name": "old", "deprecated": True, "successor": "new"}, {"name": "new"}],
        }
    )
    told = {"deployments": ["a/old"]}
    routes = {"with": {**told, "successors": True}, "without": told}
    config = Config.model_validate({"providers": {"a": {"key": "k"}}, "routes": routes})
    rules = rules_from(config, {"a": row})
    found = {name: SimpleNamespace(on=rule.deployments, since=rule.stand_ins) for name, rule in rules.routes.items()}
    assert found["with"] == SimpleNamespace(on=("a/old", "a/new"), since={"a/new": date.max})
    assert found["without"] == SimpleNamespace(on=("a/old",), since={})
    assert rules.routes["with"].before == {"a/new": "a/old"}
