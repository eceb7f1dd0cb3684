"""The model finds every one of a list of deliberate mistakes, and finds nothing where there is none."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.e2e.faults.model.mutations import MUTATIONS, Mutation, mutated
from tests.e2e.faults.model.run import run, shape_of
from tests.e2e.faults.model.walk import failure_of, steps_of

WALKS = 1_500
RUNS = 10


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Handlers of connections that were cut are not news."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def wrong(mutation: Mutation, seed: int) -> str:
    """What is wrong with the walk or the run of a seed; empty if nothing."""
    if mutation.look == "policy":
        failure = failure_of(steps_of(seed, 60))
        return "" if failure is None else repr(failure)
    found = run(shape_of(seed, kinds=mutation.kinds, **mutation.shape), mutation.weather).problems
    return "; ".join(found[:3])


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_model_finds_it(mutation: Mutation) -> None:
    seeds = range(mutation.first, mutation.first + (WALKS if mutation.look == "policy" else RUNS))
    caught, what = -1, ""
    with mutated(mutation):
        for seed in seeds:
            what = wrong(mutation, seed)
            if what:
                caught = seed
                break
    print(f"{mutation.name}: seed {caught}: {what[:200]}")
    assert what, "it went unnoticed"
    if mutation.sound is not None:
        found = run(shape_of(caught, kinds=mutation.kinds, **mutation.shape), mutation.sound).problems
        assert not found, f"the code as it is fails as well: {found}"
    else:
        assert not wrong(mutation, caught), "the code as it is fails as well"


def test_there_are_enough_of_them_and_each_is_another() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 25
