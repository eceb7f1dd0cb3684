"""The promise under faults, on models: the policy between streams, and the whole services over the memory broker.

Caught here: a job lost or ended twice, an attempt stored twice, grants beyond B + r*t, a reservation that leaks, a
cancel that was acknowledged and is not obeyed, a time that a change of leaders forgets. What a failing test prints is
the seed, and the shortest plan that fails as well.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from scheduler.orders import Standings
from tests.e2e.faults.model.deep import problems_of_run, problems_of_walk, run_for
from tests.e2e.faults.model.machine import Machine
from tests.e2e.faults.model.mutations import by_name, mutated
from tests.e2e.faults.model.run import plan_of, run, shape_of, shrink
from tests.e2e.faults.model.walk import failure_of, shortest, steps_of

TestEveryInterleaving = Machine.TestCase
TestEveryInterleaving.settings = settings(
    max_examples=15,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Handlers of connections that were cut are not news."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("first", range(0, 1_200, 400))
def test_walks_between_the_streams_keep_every_promise(first: int) -> None:
    for seed in range(first, first + 400):
        assert problems_of_walk(seed) is None


@pytest.mark.parametrize("seed", range(12))
def test_whole_runs_of_the_services_keep_every_promise(seed: int) -> None:
    assert problems_of_run(seed) is None


@pytest.mark.parametrize("seed", range(6))
def test_orders_are_kept_whoever_leads(seed: int) -> None:
    verdict = run(shape_of(seed, orders=14, faults=8))
    assert verdict.problems == []
    assert verdict.figures["ordered"] >= 8


def test_a_leader_that_has_not_read_the_orders_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Standings, "on_message", lambda *_: None)
    assert any(run(shape_of(seed, orders=14)).problems for seed in range(3))


@pytest.mark.parametrize(
    "seed",
    [
        103,  # a barrier whose answer was lost ended the term
        170,  # the reconciler removed what a batch of unknown outcome had stored
        2_039,  # a leader that was stopped and woke removed the outcome of a job it had not heard of
        50_008,  # a renewal stalled between the look for cancels and the dispatch
    ],
)
def test_what_once_broke_a_promise_breaks_none_now(seed: int) -> None:
    assert problems_of_run(seed) is None


def test_a_run_is_replayed_by_its_seed() -> None:
    first, second = run(shape_of(3)), run(shape_of(3))
    assert [(e.at, e.kind, e.key, e.attempt) for e in first.history.events] == [
        (e.at, e.kind, e.key, e.attempt) for e in second.history.events
    ]
    assert first.figures["committed"] > 10


def test_runs_meet_the_faults_they_are_about() -> None:
    figures: dict[str, int] = {}
    for seed in range(4):
        for kind, count in run(shape_of(seed, faults=12, jobs=60)).figures.items():
            figures[kind] = figures.get(kind, 0) + count
    for kind in ("term.ended", "attempt.lost", "cancel acknowledged", "outcome", "fault"):
        assert figures.get(kind, 0) >= 2, figures
    assert figures["submitted"] > 240  # some were submitted again


def test_a_walk_that_fails_is_shrunk_to_the_steps_it_needs() -> None:
    mutation = by_name("an outcome counts whatever its attempt's number")
    with mutated(mutation):
        seed = next(seed for seed in range(mutation.first, 2_000) if failure_of(steps_of(seed, 60)) is not None)
        short = shortest(steps_of(seed, 60))
        assert failure_of(short) is not None
        assert len(short) < 12
    assert failure_of(short) is None


def test_a_run_that_fails_is_shrunk_to_few_jobs_and_faults() -> None:
    mutation = by_name("silent workers are not noticed")
    plan = plan_of(shape_of(0, kinds=mutation.kinds, **mutation.shape))
    with mutated(mutation):
        small = shrink(plan, tries=20)
        assert run(small).problems
    assert len(small) < len(plan) / 2
    assert not run(small).problems


def test_the_deep_form_says_what_it_did() -> None:
    told = run_for(minutes=0.02, seed=10_000)
    assert told.problems == []
    assert told.walks > 0
    assert told.runs > 0
