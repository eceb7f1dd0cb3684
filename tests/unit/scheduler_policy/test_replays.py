"""A log of what a board was told, told again: the same decisions for the same reasons, whoever has asked meanwhile.

Caught here: an order that depends on when or how often somebody asked, on a set's order or on an object's place in
memory; a record that tells something else than what decided; a question about a job that leaves a trace of it.
"""

from __future__ import annotations

import pickle
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogue.prices import Price
from job_contracts.constraints import Constraints
from job_contracts.desk import Planned
from job_contracts.failures import FailureKind
from job_contracts.jobs import LANES
from job_contracts.money import Budget
from scheduler.policy.decisions import Dispatch
from scheduler.policy.facts import Submitted
from scheduler.policy.routes import STRATEGIES
from scheduler.policy.rules import Limit, ProjectRule, RouteRule, Rules
from tests.unit.scheduler_policy import made
from tests.unit.scheduler_policy.test_trials import unreliable
from tests.unit.scheduler_policy.trial import Trial, planned, replay

PLACES = ("a/m", "b/m", "c/m", "d/m")
EU = Constraints(residency=("eu-*",))
SELF = Constraints(hosting="self")


def everything() -> Rules:
    """A route for each strategy, over places of all kinds; one project with constraints, one with a budget."""
    facts: dict[str, dict[str, Any]] = {
        "a/m": {"region": "us-east-1", "prices": (Price(input=Decimal(1), output=Decimal(2), cache_read=Decimal(0)),)},
        "b/m": {"region": "eu-west-1", "prices": (Price(input=Decimal(2), output=Decimal(4)),), "max_output": 500},
        "c/m": {"region": "eu-west-1", "hosting": "self", "window": 4_000},
        "d/m": {"region": "eu-north-1", "prices": (Price(input=Decimal(3), output=Decimal(1)),)},
    }
    base = made.rules(
        dict.fromkeys(STRATEGIES, PLACES),
        limits={"a": (Limit("requests", 600),), "b": (Limit("tokens", 200_000),)},
        concurrency={"c": 5},
        facts=facts,
        projects={
            "p": ProjectRule("p", constraints=EU),
            "q": ProjectRule("q", budget=Budget(day=Decimal(5)), limits=(Limit("requests", 900),)),
        },
    )
    routes = {name: RouteRule(name, PLACES, strategy=name, weights={"a/m": 3.0}) for name in base.routes}
    return Rules(base.domains, base.deployments, routes, base.projects)


def mixed(random: Random, count: int) -> list[Submitted]:
    """Jobs of sessions, with constraints of their own, on all routes."""
    return [
        made.job(
            seq,
            submitted=random.uniform(0.0, 20.0),
            project=random.choice("pq"),
            route=random.choice(sorted(STRATEGIES)),
            lane=random.choice(LANES),
            input_estimate=random.choice([10, 1_000, 5_000]),
            max_output=random.choice([None, 20, 400]),
            size=random.choice([0, 4_000]),
            session=random.choice([None, "s1", "s2", "s3"]),
            constraints=random.choice([None, None, EU, SELF]),
            max_cost=random.choice([None, None, Decimal(1)]),
        )
        for seq in range(1, count + 1)
    ]


def trial_of(seed: int, count: int = 120) -> Trial:
    """One run of it, with failures and refused batches."""
    board = made.board(everything())
    board.trust_spending(True)
    trial = Trial(board, unreliable(0.3), seed=seed, refuse=0.1)
    trial.submit(*mixed(Random(seed), count))
    trial.run(until=600.0)
    return trial


@settings(max_examples=8)
@given(seed=st.integers(0, 10**9))
def test_a_log_replayed_gives_the_same_decisions_for_the_same_reasons(seed: int) -> None:
    trial = trial_of(seed)
    fresh = made.board(everything())
    fresh.trust_spending(True)
    again = list(replay(pickle.loads(pickle.dumps(trial.log)), fresh))
    assert again == trial.decisions
    dispatched = [each for _, each in again if isinstance(each, Dispatch)]
    for each in dispatched:
        assert (each.decision is None) == (each.route == "ordered")
        assert each.decision is None or each.decision.deployment == each.deployment


@settings(max_examples=5)
@given(seed=st.integers(0, 10**9))
def test_asking_why_and_what_if_changes_no_decision(seed: int) -> None:
    trial = trial_of(seed)
    fresh = made.board(everything())
    fresh.trust_spending(True)
    assert list(replay(trial.log, fresh, ask=True)) == trial.decisions


@settings(max_examples=8)
@given(seed=st.integers(0, 10**9))
def test_no_decision_names_a_place_that_the_constraints_forbid(seed: int) -> None:
    trial = trial_of(seed)
    jobs = {(fact.project, fact.job): fact for fact in trial.submissions.values()}
    rules = everything()
    for _, each in trial.decisions:
        if isinstance(each, Dispatch):
            fact, rule = jobs[(each.project, each.job)], rules.deployments[each.deployment]
            if each.project == "p" or fact.constraints is EU:
                assert (rule.region or "").startswith("eu-")
            if fact.constraints is SELF:
                assert rule.hosting == "self"


def test_a_job_under_way_tells_why_it_went_where_it_is() -> None:
    board = made.board(everything())
    made.submit(
        board, made.job(1, route="cheapest", project="q", size=400, max_output=20), made.job(2, route="ordered")
    )
    board.trust_spending(True)
    sent = {each.job: each for each in made.dispatched(board)}
    assert board.choice("q", "j-1", 1.0) == sent["j-1"].decision
    assert sent["j-1"].decision is not None
    assert board.choice("p", "j-2", 1.0) is None
    board.apply(made.ended(sent["j-1"], FailureKind.SERVER_ERROR), 1.0)
    waiting = board.choice("q", "j-1", 1.0)
    assert waiting is not None
    assert waiting.deployment != sent["j-1"].deployment


@pytest.mark.parametrize("route", sorted(STRATEGIES))
def test_a_job_goes_where_the_simulation_of_it_said(route: str) -> None:
    board = made.board(everything())
    board.trust_spending(True)
    fact = made.job(1, route=route, project="q", size=400, max_output=20)
    told = board.estimate("q", planned(fact), 0.0)
    assert told.decision is not None
    assert {each.deployment for each in told.decision.weighed} == set(PLACES)
    made.submit(board, fact)
    assert [each.deployment for each in made.dispatched(board)] == [told.decision.deployment]


def test_a_simulation_says_why_not_elsewhere_and_no_more_than_asked() -> None:
    board = made.board(everything())
    asked = Planned(route="cheapest", input_estimate=10, constraints=SELF, explain=True)
    told = board.estimate("p", asked, 0.0).decision
    assert told is not None
    assert told.deployment == "c/m"
    against = {each.deployment: each.against for each in told.weighed}
    assert against["c/m"] == ""
    assert "us-east-1" in against["a/m"]
    assert "self" in against["b/m"]
    assert board.estimate("p", asked.model_copy(update={"explain": False}), 0.0).decision is None
    nowhere = board.estimate("p", asked.model_copy(update={"constraints": Constraints(residency=("mars-*",))}), 0.0)
    assert nowhere.refused is not None
    assert nowhere.decision is not None
    assert nowhere.decision.deployment is None
