"""Where two parts of the policy meet: experiments, hedges, drafts, follow-ups and successors in one job.

Caught here: an answer that its arm is not told of, a copy that is counted, a budget that pays for another route, a
draft that nobody verifies, a verdict taken for an answer, an attempt that gives way to one that is over.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from catalogue.prices import Price
from job_contracts.attempts import Draft
from job_contracts.chat import Usage
from job_contracts.desk import Planned
from job_contracts.experiments import Challenger, Experiment, Ramp
from job_contracts.failures import FailureKind
from job_contracts.followups import OF_ROUTE
from job_contracts.jobs import BlobRef, JobState
from job_contracts.money import PICO, Budget
from job_contracts.results import AttemptRecord
from job_contracts.trials import Trial
from job_contracts.verification import LONGEST
from scheduler.policy.board import Board
from scheduler.policy.decisions import Dispatch
from scheduler.policy.experiments.ramp import begun
from scheduler.policy.facts import AttemptEnded, InFlight
from scheduler.policy.rules import HedgeRule, OnceMore, Rules
from scheduler.policy.seats import Running
from scheduler.policy.stages import Stages
from tests.unit.scheduler_policy import made

WHOLE = Experiment(route="r", challengers={"b": Challenger(route="s")}, ramp=Ramp(steps=(1.0,)))
ADOPTED = WHOLE.model_copy(update={"adopted": "b"})
BLOB = BlobRef(chunks=1, size=5_000, sha256="0" * 64)
BEFORE = Stages(0b01, 0b10)


def routes(of: Rules, **changed: dict[str, Any]) -> Rules:
    """The same rules, with these changes of single routes."""
    return replace(of, routes={**of.routes, **{name: replace(of.routes[name], **how) for name, how in changed.items()}})


def staged(**facts: dict[str, Any]) -> Rules:
    return made.rules({"r": ("a/m", "b/m")}, route={"stages": BEFORE}, facts=facts)


def drafted(of: Dispatch, usage: Usage | None = None) -> AttemptEnded:
    told = made.ended(of, FailureKind.HANDED_BACK, usage=usage or Usage(input=100, output=300))
    assert isinstance(told.record, AttemptRecord)
    record = told.record.model_copy(update={"failure": None})
    return replace(told, record=record, draft=Draft(deployment=of.deployment, blob=BLOB))


def dispatched(board: Board, now: float = 0.0) -> Dispatch:
    (one,) = made.dispatched(board, now)
    return one


def under_experiment(board: Board, route: str, count: int = 30) -> Dispatch:
    """A job that the arm with that route serves."""
    made.submit(board, *(made.job(n, session=f"s{n}") for n in range(1, count)))
    return next(each for each in made.dispatched(board, 0.5) if each.route == route)


# ------------------------------------------------------------------------------------------- experiments and the others


def test_a_hedge_tells_the_arm_of_its_job() -> None:
    of = made.rules({"r": ("a/m", "b/m"), "s": ("a/n", "b/n")}, route={"hedge": HedgeRule(0.9, 1.0)})
    board = made.board(replace(of, experiments={"exp": WHOLE}))
    first = under_experiment(board, "s")
    board.apply(made.late(first), 1.0)
    second = dispatched(board, 1.0)
    assert second.hedge
    assert second.trial is not None
    assert second.trial == first.trial


@pytest.mark.parametrize("stem", ["shadow", "verify"])
def test_what_follows_a_job_takes_no_part_in_an_experiment(stem: str) -> None:
    board = made.board(replace(made.rules({"r": ("a/m",), "s": ("b/m",)}), experiments={"exp": ADOPTED}))
    made.submit(board, made.job(1, job=f"{stem}-1", lane="bg", session="s1", tags={OF_ROUTE: "r"}))
    one = dispatched(board)
    assert (one.route, one.trial) == ("r", None)


def test_an_arms_route_pays_for_what_an_earlier_leader_granted_it() -> None:
    price = {"prices": (Price(input=Decimal(1), output=Decimal(1)),), "max_output": 10, "window": 100}
    of = made.rules({"r": ("a/m",), "s": ("b/m",)}, facts={"a/m": price, "b/m": price})
    budget = {"budget": Budget(day=Decimal(1))}
    of = replace(routes(of, r=budget, s=budget), experiments={"exp": WHOLE})
    board = made.board(of)
    board.trust_spending(True)
    made.submit(board, made.job(1), made.job(2, route="s"), made.job(3, route="r"))
    trial = Trial(experiment="exp", arm="b", bucket=3, began=1.0)
    told = InFlight("p", "j-1", 1, "b/m", 10, 10, route="s", trial=trial, cost=PICO)
    board.apply(told, 0.0)
    assert [each.job for each in made.dispatched(board)] == ["j-3"], "the budget of s is reserved, that of r is not"


def test_a_draft_of_a_stopped_arm_is_no_draft_where_nobody_verifies() -> None:
    of = made.rules({"r": ("c/m",), "s": ("a/m", "b/m")})
    board = made.board(replace(routes(of, s={"stages": BEFORE}), experiments={"exp": WHOLE}))
    first = under_experiment(board, "s")
    board.place_trials({"exp": Running(WHOLE, replace(begun(0.0), halted={"b": "harm"}))}, 1.0)
    board.apply(drafted(first), 1.0)
    again = dispatched(board, 1.0)
    assert (again.route, again.deployment, again.draft, again.trial) == ("r", "c/m", None, None)


def test_a_draft_that_nobody_could_verify_counts_for_its_arm_as_an_answer() -> None:
    of = made.rules({"r": ("c/m",), "s": ("a/m", "b/m")}, max_attempts=1)
    board = made.board(replace(routes(of, s={"stages": BEFORE}), experiments={"exp": WHOLE}))
    first = under_experiment(board, "s")
    board.apply(drafted(first), 1.0)
    verifying = dispatched(board, 1.0)
    board.apply(made.ended(verifying, FailureKind.INVALID_JOB), 2.0)
    (end,) = made.finishes(board.decide(2.0, 10))
    assert (end.state, end.trial) == (JobState.SUCCEEDED, first.trial)
    assert end.draft is not None


def test_an_estimate_tells_of_the_route_that_would_serve_the_job() -> None:
    of = replace(made.rules({"r": ("a/m",), "s": ("b/m",)}), experiments={"exp": ADOPTED})
    told = made.board(of).estimate("p", Planned(route="r", input_estimate=10, explain=True), 0.0)
    assert told.deployment == "b/m"
    assert told.decision is not None
    assert told.decision.deployment == "b/m"


# ------------------------------------------------------------------------------------------------------- hedges


def test_where_a_hedge_finds_its_model_gone_those_that_wait_go_to_its_successor() -> None:
    after: dict[str, Any] = {"before": {"b/n": "b/m"}, "stand_ins": {"b/n": date.max}}
    of = made.rules({"r": ("a/m", "b/m", "b/n"), "o": ("b/m", "b/n")}, route=after, concurrency={"b": 1})
    board = made.board(routes(of, r={"hedge": HedgeRule(0.9, 1.0)}))
    made.submit(board, *(made.job(n) for n in range(1, 9)))
    first = made.dispatched(board)[0]
    board.apply(made.late(first), 1.0)
    hedge = dispatched(board, 1.0)
    assert (hedge.hedge, hedge.deployment) == (True, "b/m")
    made.submit(board, made.job(20, route="o"), now=1.0)
    assert made.dispatched(board, 1.0) == []
    board.apply(made.ended(hedge, FailureKind.MODEL_NOT_FOUND), 2.0)
    assert [(each.job, each.deployment) for each in made.dispatched(board, 2.0)] == [("j-20", "b/n")]


@pytest.mark.parametrize(
    ("kind", "produced", "late"),
    [
        (FailureKind.STALLED, True, None),
        (FailureKind.WORKER_LOST, False, None),
        (FailureKind.SERVER_ERROR, False, (1.0, 1.0)),
    ],
)
def test_an_attempt_after_one_whose_tokens_may_be_shown_is_not_watched(
    kind: FailureKind, produced: bool, late: object
) -> None:
    board = made.board(made.rules({"r": ("a/m", "b/m", "c/m")}, route={"hedge": HedgeRule(0.9, 1.0)}))
    made.submit(board, made.job())
    board.apply(made.ended(dispatched(board), kind, produced=produced), 0.5)
    again = dispatched(board, 0.5)
    assert again.late == late
    made.submit(board, *(made.job(10 + n) for n in range(4)), now=0.5)
    made.dispatched(board, 0.5)
    board.apply(made.late(again), 2.0)
    assert len(made.dispatched(board, 2.0)) == (late is not None)


# ------------------------------------------------------------------------------------------------------- drafts


def test_lengths_are_learnt_from_drafts_and_not_from_verdicts() -> None:
    board = made.board(staged())
    for n in range(1, 40):
        made.submit(board, made.job(n))
        board.apply(drafted(dispatched(board), Usage(input=200, output=300)), 0.0)
        verifying = dispatched(board)
        assert verifying.deployment == "b/m"
        board.apply(made.succeeded(verifying, Usage(input=5_000, output=20)), 0.0)
    made.submit(board, made.job(50))
    first = dispatched(board)
    assert (first.input_tokens, first.output_tokens) == (200, 300)


def test_a_session_stays_where_its_drafts_are_made_and_not_where_they_are_verified() -> None:
    cached = Price(input=Decimal(10), output=Decimal(1), cache_read=Decimal(1))
    fact = {"prices": (cached,), "window": 100_000, "max_output": 1_000}
    of = made.rules({"r": ("a/m", "c/m", "b/m")}, facts=dict.fromkeys(("a/m", "c/m", "b/m"), fact))
    stages = Stages(0b011, 0b100)
    board = made.board(routes(of, r={"stages": stages, "strategy": "weighted"}))
    places = []
    for n in range(1, 7):
        made.submit(board, made.job(n, session="one", input_estimate=5_000))
        draft = dispatched(board)
        places.append(draft.deployment)
        board.apply(drafted(draft, Usage(input=5_000, cache_read=4_000, output=10)), 0.0)
        board.apply(made.succeeded(dispatched(board), Usage(input=6_000, output=10)), 0.0)
    assert len(set(places[1:])) == 1


def test_what_a_verification_may_cost_and_reserve_includes_the_draft() -> None:
    price = {"prices": (Price(input=Decimal(1), output=Decimal(0)),), "window": 1_000_000, "max_output": 10}
    board = made.board(staged(**{"a/m": price, "b/m": price}))
    made.submit(board, made.job(1, size=1_000, max_cost=Decimal(1)))
    first = dispatched(board)
    board.apply(drafted(first, Usage(input=100, output=300)), 0.0)
    verifying = dispatched(board)
    assert first.cost is not None
    assert verifying.cost is not None
    assert verifying.cost - first.cost == (BLOB.size + LONGEST) * PICO // 1_000_000
    assert verifying.input_tokens >= first.input_tokens + 300


def test_a_verifier_is_tried_again_and_then_the_draft_is_the_answer() -> None:
    of = made.rules(
        {"r": ("a/m", "b/m", "c/m")}, route={"stages": Stages(0b001, 0b110), "once_more": OnceMore("never")}
    )
    board = made.board(replace(of, routes={"r": replace(of.routes["r"], max_attempts=2)}))
    made.submit(board, made.job())
    board.apply(drafted(dispatched(board)), 0.0)
    second = dispatched(board)
    board.apply(made.ended(second), 0.0)
    third = dispatched(board)
    assert {second.deployment, third.deployment} == {"b/m", "c/m"}
    board.apply(made.ended(third), 0.0)
    (end,) = made.finishes(board.decide(0.0, 10))
    assert (end.state, end.draft) == (JobState.SUCCEEDED, Draft(deployment="a/m", blob=BLOB))
