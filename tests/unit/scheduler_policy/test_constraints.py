"""No assignment outside its constraints: on the first try, on failover, after a take-over; and why there is none."""

from __future__ import annotations

from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogue.load import providers
from catalogue.prices import Price
from job_contracts.constraints import Constraints, joined, unmet
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from job_contracts.subjects import FOLLOW_UP_STEMS
from runtime.config import load
from scheduler.policy.board import Board
from scheduler.policy.decisions import Dispatch
from scheduler.policy.facts import PoolSeen
from scheduler.policy.resolving import rules_from
from scheduler.policy.rules import DeploymentRule, ProjectRule, RouteRule, Rules
from tests.support.examples import examples
from tests.support.strategies_constraints import (
    MODELS,
    PRECISIONS,
    PRICES,
    PROVIDERS,
    REGIONS,
    constraints,
    light_constraints,
)
from tests.unit.scheduler_policy import made
from tests.unit.scheduler_policy.trial import Ends, Trial, replay

ROOT = Path(__file__).parents[3]
FAILING = (
    *(FailureKind.SERVER_ERROR, FailureKind.RATE_LIMIT, FailureKind.CONNECT, FailureKind.CONSTRAINT),
    *(FailureKind.MODEL_NOT_FOUND, FailureKind.HANDED_BACK, FailureKind.UNSUPPORTED_PARAM, FailureKind.WORKER_LOST),
)
KINDS = ("j", *FOLLOW_UP_STEMS)
"""Jobs, and what follows jobs."""
DAY = 86_400.0
EU = {"region": "eu", "hosting": "self"}
US = {"region": "us"}


@st.composite
def deployments(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    """A random catalogue: some deployments, and as much as is known of each."""
    names = draw(
        st.lists(
            st.tuples(st.sampled_from(PROVIDERS), st.sampled_from(MODELS)).map("/".join),
            min_size=1,
            max_size=5,
            unique=True,
        )
    )
    prices = st.sampled_from([(), *((Price(input=low, output=high),) for low in PRICES for high in PRICES)])
    facts = st.fixed_dictionaries(
        {
            "region": st.none() | st.sampled_from(REGIONS),
            "hosting": st.sampled_from(["self", "managed"]),
            "zero_retention": st.booleans(),
            "quantisation": st.none() | st.sampled_from(PRECISIONS),
            "prices": prices,
            "vendor": st.none() | st.sampled_from(["vendor-a", "vendor-b"]),
            "also": st.sampled_from([(), ("alias-x",)]),
            "retires": st.sampled_from([None, None, date(1970, 1, 1), date(2999, 1, 1)]),
        }
    )
    return {name: draw(facts) for name in names}


def hold(rules: Rules, dispatch: Dispatch, asked: Constraints | None) -> None:
    """Fails if this attempt may not be made."""
    rule = rules.deployments[dispatch.deployment]
    every = joined(rules.projects[dispatch.project].constraints, asked)
    assert unmet(every, rule.at(0.0)) is None, f"{dispatch.deployment} got {dispatch.job}: {every}"
    assert rule.retires is None or rule.retires > date(1970, 1, 1), "retired"
    assert dispatch.constraints == every, "the worker is not told all of it"


@examples(60)
@given(
    deployments(),
    st.tuples(st.none() | light_constraints, st.none() | constraints),
    st.lists(st.none() | light_constraints | constraints, min_size=1, max_size=6),
    st.integers(0, 2**16),
)
def test_over_any_catalogue_not_one_attempt_is_made_outside_the_constraints(
    facts: dict[str, dict[str, Any]],
    of_projects: tuple[Constraints | None, Constraints | None],
    asked: list[Constraints | None],
    seed: int,
) -> None:
    names = ("p", "q")
    projects = {name: ProjectRule(name, constraints=own) for name, own in zip(names, of_projects, strict=True)}
    rules = made.rules({"r": tuple(facts)}, facts=facts, projects=projects)

    def behave(_: Dispatch, random: Random, __: float) -> Ends:
        return Ends(random.uniform(0.05, 1.0), random.choice(FAILING) if random.random() < 0.6 else None)

    trial = Trial(made.board(rules), behave, seed=seed, refuse=0.1)
    # The board that will be asked again hears of the pools as this one did.
    jobs = {
        (name, f"{KINDS[seq % 3]}-{seq}"): made.job(
            seq, project=name, job=f"{KINDS[seq % 3]}-{seq}", constraints=own, submitted=seq * 0.1
        )
        for name in names
        for seq, own in enumerate(asked)
    }
    trial.submit(*jobs.values())
    trial.run(until=20.0)
    trial.run_workers(20.0)
    successor = made.board(rules, now=trial.now)
    trial.take_over(successor, 2.0)
    trial.run()
    assert set(trial.results) == set(jobs), "a job has no end"
    for commit in trial.commits:
        hold(rules, commit.dispatch, jobs[(commit.dispatch.project, commit.dispatch.job)].constraints)
    sent = Counter((commit.dispatch.project, commit.dispatch.job) for commit in trial.commits)
    for key, fact in jobs.items():
        every = joined(projects[key[0]].constraints, fact.constraints)
        open_to = [
            rule
            for rule in rules.deployments.values()
            if unmet(every, rule.at(0.0)) is None and rule.retires != date(1970, 1, 1)
        ]
        assert bool(open_to) == bool(sent[key]), "refused although somebody may, or the other way round"


def test_what_was_decided_is_decided_again_when_it_is_replayed() -> None:
    rules = made.rules(
        {"r": ("a/m", "b/m", "c/m")},
        facts={"a/m": US, "b/m": EU, "c/m": EU},
        projects={"p": ProjectRule("p", constraints=Constraints(residency=("eu",)))},
    )
    trial = Trial(made.board(rules), lambda _, random, __: Ends(0.3, random.choice(FAILING)), seed=7)
    trial.submit(*(made.job(n, submitted=n * 0.05, constraints=Constraints(hosting="self")) for n in range(30)))
    trial.run()
    assert {commit.dispatch.deployment for commit in trial.commits} == {"b/m", "c/m"}
    again = list(replay(trial.log, made.board(rules), ask=True))
    assert again == trial.decisions


def refusing(asked: Constraints, **facts: Any) -> Board:
    """A board that has been asked for that of ``a/m`` and ``b/m``."""
    board = made.board(made.rules({"r": ("a/m", "b/m")}, facts=facts or {"a/m": US, "b/m": {}}))
    made.submit(board, made.job(constraints=asked))
    return board


def test_without_a_candidate_the_job_is_refused_with_the_reason_of_each_deployment() -> None:
    (end,) = made.finishes(refusing(Constraints(residency=("eu",))).decide(0.0, 10))
    assert (end.state, end.failure.kind, end.failure.field) == (JobState.FAILED, FailureKind.CONSTRAINT, "constraints")
    assert "a/m: its region is 'us', and only eu is allowed" in end.failure.message
    assert "b/m: its region is not known, and only eu is allowed" in end.failure.message
    assert "region, hosting" in (end.failure.remedy or "")


def test_where_only_a_pool_is_missing_the_job_waits_and_says_so_of_each() -> None:
    board = Board(made.rules({"r": ("a/m", "b/m")}, facts={"a/m": US, "b/m": EU}))
    board.apply(PoolSeen("a", 10), 0.0)
    made.submit(board, made.job(constraints=Constraints(residency=("eu",))))
    assert board.decide(0.0, 10) == []
    told, choice = board.status("p", "j-1", 0.0), board.choice("p", "j-1", 0.0)
    assert told is not None
    assert choice is not None
    assert {each.deployment: each.against for each in choice.weighed} == {
        "a/m": "its region is 'us', and only eu is allowed",
        "b/m": "pool b has no live workers",
    }
    assert told.waiting_for == "b/m: pool b has no live workers"
    board.apply(PoolSeen("b", 10), 1.0)
    assert [dispatch.deployment for dispatch in made.dispatched(board, 1.0)] == ["b/m"]


def test_where_only_a_breaker_is_open_the_job_waits_for_it_and_goes_nowhere_else() -> None:
    board = made.board(made.rules({"r": ("a/m", "b/m")}, facts={"a/m": US, "b/m": EU}))
    asked = Constraints(hosting="self")
    made.submit(board, made.job(constraints=asked))
    (first,) = made.dispatched(board)
    board.apply(made.ended(first, FailureKind.AUTH), 0.0)  # quarantined
    assert made.dispatched(board, 1.0) == []
    wake = board.next_wake(1.0)
    assert wake is not None
    later = [dispatch for now in (31.0, 62.0) for dispatch in made.dispatched(board, now)]
    assert [dispatch.deployment for dispatch in later][:1] == ["b/m"]


def test_a_worker_that_turns_a_job_away_has_it_sent_elsewhere_or_refused_and_never_back() -> None:
    board = made.board(made.rules({"r": ("a/m", "b/m")}, facts={"a/m": EU, "b/m": EU}))
    made.submit(board, made.job(constraints=Constraints(hosting="self")))
    seen = []
    for _ in range(2):
        (sent,) = made.dispatched(board)
        seen.append(sent.deployment)
        board.apply(made.ended(sent, FailureKind.CONSTRAINT, called=False), 0.0)
    (end,) = made.finishes(board.decide(0.0, 10))
    assert seen == ["a/m", "b/m"]
    assert end.failure.kind is FailureKind.CONSTRAINT


def test_a_price_cap_is_held_to_the_price_of_the_moment() -> None:
    cheap = Price(input=Decimal(1), output=Decimal(2))
    dearer = Price(input=Decimal(1), output=Decimal(9), since=date(1970, 1, 3))
    board = made.board(made.rules({"r": ("a/m", "b/m")}, facts={"a/m": {"prices": (cheap, dearer)}, "b/m": {}}))
    asked = Constraints(max_output_price=Decimal(5))
    made.submit(board, made.job(1, constraints=asked), made.job(2, constraints=asked, deadline=9 * DAY))
    assert [dispatch.deployment for dispatch in made.dispatched(board, room=1)] == ["a/m"]
    (end,) = [end for _ in range(2) for end in made.finishes(board.decide(2 * DAY, 10))]
    assert end.job == "j-2"
    assert "its output price is 9" in end.failure.message


def retiring(**route: Any) -> Rules:
    """A model that retires on the second day, and what comes after it."""
    facts = {"a/old": {"retires": date(1970, 1, 2), "successor": "new"}}
    rules = made.rules({"r": ("a/old", "a/new") if route else ("a/old",)}, facts=facts)
    names = rules.routes["r"].deployments
    return Rules(rules.domains, rules.deployments, {"r": RouteRule("r", names, **route)}, rules.projects)


def test_a_retired_model_is_no_candidate_and_its_successor_takes_its_place_that_day() -> None:
    board = made.board(retiring(stand_ins={"a/new": date(1970, 1, 2)}))
    made.submit(board, made.job(1))
    assert [dispatch.deployment for dispatch in made.dispatched(board)] == ["a/old"]
    made.submit(board, made.job(2, submitted=DAY), now=DAY)
    assert [dispatch.deployment for dispatch in made.dispatched(board, DAY)] == ["a/new"]


def test_a_job_that_waited_over_midnight_does_not_go_to_the_model_that_retired_meanwhile() -> None:
    board = Board(retiring(stand_ins={"a/new": date(1970, 1, 2)}))
    made.submit(board, made.job(1, deadline=9 * DAY))
    board.decide(0.0, 10)
    board.apply(PoolSeen("a", 5), DAY)
    assert [dispatch.deployment for dispatch in made.dispatched(board, DAY)] == ["a/new"]


def test_without_a_successor_a_retired_model_is_refused_by_its_day() -> None:
    board = made.board(retiring())
    made.submit(board, made.job(1, submitted=DAY), now=DAY)
    (end,) = made.finishes(board.decide(DAY, 10))
    assert end.failure.kind is FailureKind.NO_DEPLOYMENT
    assert "a/old: its provider has retired the model on 1970-01-02, its successor is 'new'" in end.failure.message


@pytest.mark.parametrize(
    ("project", "allowed"),
    [
        ("patients", {"vllm/qwen3-32b"}),
        ("lawyers", {"vllm/qwen3-32b", "mistral/mistral-small-latest"}),
        ("support", {"vllm/qwen3-32b", "anthropic/claude-haiku-4-5"}),
        ("nightly", {"vllm/qwen3-32b", "anthropic/claude-haiku-4-5", "mistral/mistral-small-latest"}),
    ],
)
def test_the_hybrid_example_keeps_what_is_sensitive_at_home(project: str, allowed: set[str]) -> None:
    rules = rules_from(load(ROOT / "examples/hybrid.yaml"), providers())
    asked = joined(rules.projects[project].constraints)
    listed = [rule for rule in rules.deployments.values() if rule.name not in rules.routes["chat"].stand_ins]
    assert {rule.name for rule in listed if unmet(asked, rule.at(0.0)) is None} == allowed


def test_the_hybrid_example_falls_back_on_the_own_machines_when_the_managed_ones_are_away() -> None:
    rules = rules_from(load(ROOT / "examples/hybrid.yaml"), providers())
    board = Board(rules)
    board.apply(PoolSeen("vllm", 8), 0.0)
    board.apply(PoolSeen("anthropic", 8), 0.0)
    made.submit(board, made.job(1, project="patients", route="chat"), made.job(2, project="support", route="chat"))
    went = {dispatch.job: dispatch.deployment for dispatch in made.dispatched(board)}
    assert went == {"j-1": "vllm/qwen3-32b", "j-2": "anthropic/claude-haiku-4-5"}
    board.apply(PoolSeen("anthropic", 0), 1.0)
    made.submit(board, made.job(3, project="support", route="chat"), now=1.0)
    assert [dispatch.deployment for dispatch in made.dispatched(board, 1.0)] == ["vllm/qwen3-32b"]


def test_a_rule_of_which_nothing_is_said_is_managed_and_of_unknown_region() -> None:
    traits = DeploymentRule("a/m", "a", "a").at(0.0)
    assert (traits.hosting, traits.region, traits.zero_retention, traits.input_price) == ("managed", None, False, None)
