"""From the operator's configuration and the catalogue's rows to the policy's tables."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from catalogue.rows import ModelRow, ProviderRow
from runtime.settings import Config
from scheduler.policy.board import Board
from scheduler.policy.estimates import Estimates
from scheduler.policy.resolving import rules_from
from scheduler.policy.retry_budget import FLOOR, RetryBudget
from scheduler.policy.rules import Blend, HedgeRule, Limit, RouteRule

ROW = ProviderRow(
    name="alpha",
    dialect="openai_chat",
    base_url="http://127.0.0.1",
    cached_input_counts=False,
    models=(
        ModelRow(name="big*", context_window=100_000, capabilities=frozenset({"tools", "images"})),
        ModelRow(name="plain", context_window=4_000),
    ),
)


def config(**over: Any) -> Config:
    values: dict[str, Any] = {
        "providers": {
            "alpha": {
                "limits": {"rpm": 600, "input_tpm": 60_000, "window": 10, "burst": 0.1, "skew": 2, "concurrency": 7},
                "domains": {"mini": {"models": ["small*"], "limits": {"rpm": 60}}},
                "concurrency": 9,
            },
            "mine": {"catalogue": "alpha"},
            "unknown": {},
        },
        "routes": {
            "r": {
                "deployments": ["alpha/big-2", "alpha/small-1", "mine/plain", "unknown/x"],
                "max_attempts": 3,
                "fit": "trim",
            }
        },
        "projects": {"p": {"routes": ["r"], "weight": 2.0, "lanes": ["rt"]}, "q": {}},
        "scheduler": {"lanes": {"rt": {"share": 0.9}}, "max_worker_deaths": 4},
    }
    return Config.model_validate(values | over)


def test_limits_become_amounts_a_window_and_models_find_their_domain() -> None:
    rules = rules_from(config(), {"alpha": ROW})
    assert rules.domains["alpha"].limits == (
        Limit("requests", 100.0, 10.0, 0.1, 2.0),
        Limit("input_tokens", 10_000.0, 10.0, 0.1, 2.0),
    )
    assert rules.domains["alpha"].concurrency == 7
    assert rules.domains["alpha:mini"].limits == (Limit("requests", 60.0, burst=0.01, skew=0.6),)
    assert {name: rule.domain for name, rule in rules.deployments.items()} == {
        "alpha/big-2": "alpha",
        "alpha/small-1": "alpha:mini",
        "mine/plain": "mine",
        "unknown/x": "unknown",
    }
    assert rules.pools == {"alpha": 9, "mine": None, "unknown": None}


def test_only_what_the_catalogue_knows_becomes_a_constraint() -> None:
    deployments = rules_from(config(), {"alpha": ROW}).deployments
    assert deployments["alpha/big-2"].capabilities == frozenset({"tools", "images"})
    assert deployments["alpha/big-2"].window == 100_000
    assert deployments["alpha/small-1"].capabilities is None
    assert deployments["mine/plain"].capabilities is None
    assert deployments["mine/plain"].window == 4_000
    assert deployments["unknown/x"].window is None
    assert [deployments[name].cached_input_counts for name in ("alpha/big-2", "mine/plain", "unknown/x")] == [
        False,
        False,
        True,
    ]


def test_routes_projects_and_lanes_are_taken_over() -> None:
    rules = rules_from(config(), {"alpha": ROW})
    assert rules.routes["r"].max_attempts == 3
    assert rules.routes["r"].fit == "trim"
    assert rules.projects["p"].routes == frozenset({"r"})
    assert (rules.projects["p"].weight, rules.projects["p"].lanes) == (2.0, ("rt",))
    assert rules.projects["q"].routes is None
    assert rules.shares["rt"] == 0.9
    assert 0 < rules.shares["bg"] < rules.shares["rt"]
    assert rules.max_worker_deaths == 4
    assert Board(rules).decide(0.0, 1) == []


def test_estimates_are_learnt_by_project_first_and_bounded_by_what_the_job_permits() -> None:
    estimates = Estimates({"r": RouteRule("r", ("a/m",), expected_output=256)})
    assert estimates.output("p", "r", None) == 256
    assert estimates.output("p", "r", 50) == 50
    assert estimates.input("p", "a/m", 100) == 100
    for _ in range(200):
        estimates.learn("p", "r", "a/m", 100, (150, 39))
    assert estimates.output("p", "r", None) == 39
    assert estimates.output("stranger", "r", 100_000) == 39
    assert estimates.input("p", "a/m", 1000) == 1500
    for _ in range(200):
        estimates.learn("q", "r", "a/m", 100, (100, 999))
    assert estimates.output("p", "r", None) == 39
    assert 994 <= estimates.output("q", "r", None) <= 1001
    assert estimates.input("q", "a/m", 1000) == 1000


def test_retries_are_a_share_of_dispatches_above_a_floor_and_are_forgotten() -> None:
    budget = RetryBudget(0.2)
    assert [budget.spend(0.0) for _ in range(11)] == [True] * int(FLOOR) + [False]
    for _ in range(100):
        budget.dispatched(0.0)
    assert [budget.spend(0.0) for _ in range(11)] == [True] * 10 + [False]
    assert budget.spend(600.0)
    assert sum(budget.spend(600.0) for _ in range(50)) == FLOOR - 1


def test_a_routes_strategy_and_its_weights_are_the_operators() -> None:
    """And a weight of a deployment that the route does not have is a mistake."""
    route = {"deployments": ["alpha/big-2", "mine/plain"], "strategy": "blend", "blend": {"cost": 2}, "affinity": False}
    found = rules_from(config(routes={"r": {**route, "weights": {"mine/plain": 3}}}), {"alpha": ROW}).routes["r"]
    assert (found.strategy, found.weights, found.affinity) == ("blend", {"mine/plain": 3.0}, False)
    assert found.blend == Blend(cost=2.0)
    with pytest.raises(ValidationError, match="not among the route's deployments"):
        config(routes={"r": {**route, "weights": {"mine/other": 3}}})


def test_a_route_makes_second_attempts_only_if_it_says_so_and_for_at_most_half_of_its_spend() -> None:
    def made(**told: Any) -> HedgeRule | None:
        routes = {"r": {"deployments": ["alpha/big-1", "mine/big-1"], **told}}
        return rules_from(config(routes=routes), {"alpha": ROW}).routes["r"].hedge

    assert made() is None
    assert made(hedge={"share": 0.05}) == HedgeRule(0.05, None)
    assert made(hedge={"share": 0.05, "after": "p95"}) == HedgeRule(0.05, None)
    assert made(hedge={"share": 0.05, "after": 2}) == HedgeRule(0.05, 2.0)
    for wrong in ({"share": 0.6}, {"share": 0}, {"share": 0.1, "after": 0}, {"share": 0.1, "after": "p99"}, {}):
        with pytest.raises(ValidationError):
            made(hedge=wrong)
