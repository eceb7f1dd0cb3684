"""A full collection must stay short however much waits, and must still find what is garbage."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from runtime.collecting import set_aside, spare_survivors


class Knot:
    """In a cycle with itself."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_survived_a_full_collection_is_not_visited_again() -> None:
    stop = spare_survivors(small=0)
    try:
        kept = [[] for _ in range(5_000)]  # type: list[list[object]]
        gc.collect()
        assert gc.get_freeze_count() > len(kept)
        assert not any(each is kept[0] for each in gc.get_objects())
    finally:
        stop()


def test_cycles_that_die_young_are_found() -> None:
    stop = spare_survivors(small=0)
    try:
        gc.collect()
        knot = weakref.ref(Knot())
        gc.collect()
        assert knot() is None
    finally:
        stop()


def test_in_a_small_process_a_cycle_that_dies_late_is_found_as_well() -> None:
    stop = spare_survivors(small=10_000_000)
    try:
        held = Knot()
        knot = weakref.ref(held)
        gc.collect()
        del held
        gc.collect()
        assert knot() is None
    finally:
        stop()


def test_afterwards_everything_is_as_it_was() -> None:
    before = list(gc.callbacks)
    stop = spare_survivors()
    gc.collect()
    stop()
    stop()
    assert gc.callbacks == before
    assert gc.get_freeze_count() == 0


def test_what_was_there_when_a_process_had_started_is_not_visited_and_garbage_is_found_as_before() -> None:
    kept = [[] for _ in range(5_000)]  # type: list[list[object]]
    before = weakref.ref(Knot())
    set_aside()
    assert before() is None, "what is garbage already is not kept"
    assert not any(each is kept[0] for each in gc.get_objects())
    later = weakref.ref(Knot())
    gc.collect()
    assert later() is None
