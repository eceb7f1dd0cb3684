"""Who may go where answers take long: patient lanes with time enough, asked again when their turn comes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogue.load import providers
from catalogue.tiers import NoSuchTier
from job_contracts.failures import FailureKind
from runtime.settings import Config
from scheduler.policy.board import Board
from scheduler.policy.resolving import rules_from
from scheduler.policy.rules import Wait
from tests.unit.scheduler_policy import made

HOUR = 3_600.0
WAIT = Wait("batch", 24 * HOUR, HOUR / 4)
PLACES = {"r": ("cheap/m", "usual/m")}
ENOUGH = WAIT.turnaround + WAIT.spare


def board(routes: dict[str, tuple[str, ...]] | None = None) -> Board:
    return made.board(made.rules(routes or PLACES, facts={"cheap/m": {"wait": WAIT}}))


@given(lane=st.sampled_from(["rt", "std", "batch", "bg"]), left=st.floats(1.0, 3 * ENOUGH))
def test_only_patient_jobs_whose_deadlines_leave_time_enough_go_there(lane: str, left: float) -> None:
    of = board()
    made.submit(of, made.job(lane=lane, deadline=left))
    [sent] = made.dispatched(of)
    patient = lane in {"batch", "bg"} and left >= ENOUGH
    assert sent.deployment == ("cheap/m" if patient else "usual/m")


def test_a_job_that_waited_too_long_for_its_turn_goes_elsewhere() -> None:
    rules = made.rules(PLACES, facts={"cheap/m": {"wait": WAIT}}, concurrency={"cheap": 1, "usual": 1})
    of = made.board(rules)
    made.submit(of, *(made.job(seq, lane="batch", deadline=ENOUGH + HOUR) for seq in (1, 2, 3)))
    first, second = made.dispatched(of)
    assert {first.deployment, second.deployment} == {"cheap/m", "usual/m"}
    for sent in (first, second):
        of.apply(made.ended(sent, FailureKind.BAD_REQUEST), 2 * HOUR)
    [late] = made.dispatched(of, now=2 * HOUR)
    assert late.deployment == "usual/m"


def test_a_job_that_is_taken_back_goes_to_the_next_place_and_not_back() -> None:
    of = board()
    made.submit(of, made.job(lane="bg", deadline=ENOUGH + 1))
    [slow] = made.dispatched(of)
    assert slow.deployment == "cheap/m"
    of.apply(made.ended(slow, FailureKind.TOTAL_TIMEOUT), ENOUGH)
    [again] = made.dispatched(of, now=ENOUGH)
    assert again.deployment == "usual/m"
    of.apply(made.ended(again), ENOUGH + 0.1)
    [once_more] = made.dispatched(of, now=ENOUGH + 0.9)
    assert once_more.deployment == "usual/m"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"lane": "batch", "deadline": 2 * HOUR}, "its deadline leaves 2 h, and the batch tier takes up to 24 h"),
        ({"lane": "rt"}, "it is of lane rt, and the batch tier is for batch and bg"),
    ],
)
def test_a_job_that_can_go_nowhere_else_is_refused_with_the_reason(asked: dict[str, Any], words: str) -> None:
    of = board({"r": ("cheap/m",)})
    made.submit(of, made.job(**asked))
    [end] = made.finishes(of.decide(0.0, 10))
    assert end.failure is not None
    assert end.failure.kind is FailureKind.NO_DEPLOYMENT
    assert words in end.failure.message


def test_the_rules_of_a_tier_have_its_prices_and_its_time() -> None:
    config = Config.model_validate(
        {
            "providers": {
                "openai": {},
                "late": {"catalogue": "openai", "tier": "batch"},
                "flex": {"catalogue": "openai", "tier": "flex", "turnaround": 60.0},
            },
            "routes": {"r": {"deployments": [f"{name}/gpt-5.4-mini" for name in ("late", "flex", "openai")]}},
        }
    )
    rules = rules_from(config, providers()).deployments
    usual, late, flex = (rules[f"{name}/gpt-5.4-mini"] for name in ("openai", "late", "flex"))
    assert usual.wait is None
    assert late.wait == Wait("batch", 86_400.0, 900.0)
    assert flex.wait == Wait("flex", 60.0, 900.0)
    [full], [half] = usual.prices, late.prices
    assert full.input is not None
    assert half.input == full.input / 2
    assert half.output is not None


def test_a_tier_that_the_provider_has_not_is_an_error_that_says_which_there_are() -> None:
    config = Config.model_validate(
        {"providers": {"anthropic": {"tier": "flex"}}, "routes": {"r": {"deployments": ["anthropic/m"]}}}
    )
    with pytest.raises(NoSuchTier, match=r"providers\.anthropic\.tier: .* 'flex' of it \(there are: batch\)"):
        rules_from(config, providers())
