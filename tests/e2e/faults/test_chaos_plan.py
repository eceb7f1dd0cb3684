"""A plan of faults: the same from the same seed, and never without a kind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.e2e.faults import chaos_plan as plan

SEEDS = st.integers(0, 10**6)


@given(SEEDS)
def test_the_same_seed_plans_the_same_run(seed: int) -> None:
    assert plan.blows(seed, 300.0, plan.Pace()) == plan.blows(seed, 300.0, plan.Pace())
    assert plan.disturbances(seed, 300.0) == plan.disturbances(seed, 300.0)
    assert plan.wishes(seed, 50, 60.0) == plan.wishes(seed, 50, 60.0)


@given(SEEDS)
def test_even_a_short_run_has_every_kind_of_fault_once(seed: int) -> None:
    struck = [blow.what for blow in plan.blows(seed, 40.0, plan.QUICK)]
    assert sorted(set(struck)) == sorted(plan.KINDS)


@given(SEEDS)
def test_faults_follow_one_another_in_time_and_a_long_run_pauses_leaders_for_longer_than_a_lease(seed: int) -> None:
    blows = plan.blows(seed, 3_000.0, plan.Pace())
    assert [blow.at for blow in blows] == sorted(blow.at for blow in blows)
    assert max(blow.seconds for blow in blows if blow.what == "leader stop") == plan.Pace().long_stop


def test_two_seeds_plan_two_runs() -> None:
    assert plan.blows(1, 300.0, plan.Pace()) != plan.blows(2, 300.0, plan.Pace())


def test_jobs_come_in_every_shape_from_every_project() -> None:
    wishes = plan.wishes(3, 2_000, 60.0)
    assert {wish.shape for wish in wishes} == set(plan.SHAPES)
    assert {wish.project for wish in wishes} == set(plan.PROJECTS)
    assert any(wish.raw for wish in wishes)
