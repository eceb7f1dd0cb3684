"""What a list of jobs tells is what is told of each of them, and walking it page by page misses none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_contracts.finding import PHASES, AskFind
from job_contracts.jobs import JobState
from job_contracts.operating import ToldLeader
from scheduler.policy.board import Board
from scheduler.policy.listing import Listed
from scheduler.policy.overview import Told
from scheduler.policy.rules import Limit, ProjectRule
from tests.unit.scheduler_policy import made

JOBS = 40


def busy() -> Board:
    """Jobs of every kind: under way, next, held by a limit, by their time, and by a full project."""
    rules = made.rules(
        {"r": ("a/m",), "s": ("b/m", "a/m")},
        limits={"a": (Limit("requests", 60),)},
        projects={"p": ProjectRule("p"), "q": ProjectRule("q", max_in_flight=1)},
    )
    board = made.board(rules)
    for seq in range(1, JOBS + 1):
        over: dict[str, Any] = {"project": "q" if seq % 3 == 0 else "p", "route": "s" if seq % 4 == 0 else "r"}
        late = {"not_before": 500.0} if seq % 7 == 0 else {}
        made.submit(board, made.job(seq, lane="batch" if seq % 2 else "std", submitted=-float(seq), **over, **late))
    made.dispatched(board, room=6)
    return board


def walked(board: Board, size: int, **what: Any) -> list[Listed]:
    """All that match, by slices."""
    asked = AskFind(**what)
    found: list[Listed] = []
    place, more = asked.after if asked.before is None else asked.before, True
    while more:
        run = board.stretch(asked, place, 0.0, most=size, rows=3)
        found += run.jobs
        place, more = run.place, run.more
    return found


@given(st.integers(1, 50), st.sampled_from([{}, {"state": "held"}, {"lane": "batch"}, {"project": "q"}]))
def test_slices_of_any_size_find_the_same(size: int, what: dict[str, Any]) -> None:
    board = busy()
    whole = board.stretch(AskFind(**what), 0, 0.0, most=1_000, rows=1_000)
    assert tuple(walked(board, size, **what)) == whole.jobs
    assert walked(board, size, before=10_000, **what) == list(reversed(whole.jobs))
    assert board.stretch(AskFind(**what), 0, 0.0, most=1_000, rows=0).matching == whole.matching == len(whole.jobs)


def test_each_is_as_its_status_says() -> None:
    board = busy()
    all_ = walked(board, 7)
    assert [one.place for one in all_] == list(range(1, JOBS + 1))
    for one in all_:
        told = board.status(one.project, one.job, 0.0)
        assert told is not None
        assert (one.state, one.route, one.lane, one.attempts, one.waiting_for) == (
            *(told.state, told.route, told.lane, told.attempts),
            told.waiting_for,
        )
        assert told.deployment is None or one.deployment == told.deployment
    assert {one.state for one in all_} == {JobState.QUEUED, JobState.HELD, JobState.DISPATCHED}


def test_every_job_is_in_one_state_and_the_filters_part_them() -> None:
    board = busy()
    parts = {phase: {one.place for one in walked(board, 9, state=phase)} for phase in PHASES}
    assert parts["queued"] | parts["held"] | parts["dispatched"] == set(range(1, JOBS + 1))
    assert not parts["held"] & parts["dispatched"]
    assert len(parts["dispatched"]) == sum(1 for _ in board.in_flight())
    assert parts["in_line"] < parts["held"] | parts["queued"]


@pytest.mark.parametrize(
    ("what", "fits"),
    [
        ({"project": "q"}, lambda one: one.project == "q"),
        ({"route": "s"}, lambda one: one.route == "s"),
        ({"lane": "std"}, lambda one: one.lane == "std"),
        ({"pool": "b"}, lambda one: (one.deployment or "").startswith("b/")),
        ({"deployment": "a/m"}, lambda one: one.deployment == "a/m"),
        ({"after": 5, "until": 9}, lambda one: 5 < one.place <= 9),
        ({"submitted_before": -20.5}, lambda one: one.place > 20),
    ],
)
def test_a_filter_finds_what_fits_and_nothing_else(what: dict[str, Any], fits: Any) -> None:
    board = busy()
    expected = [one.place for one in walked(board, 1_000) if fits(one)]
    assert expected
    assert [one.place for one in walked(board, 4, **what)] == expected


def test_what_a_pool_has_in_line_is_what_the_overview_counts() -> None:
    board = busy()
    now = board.overview(Told(at=0.0, leader=ToldLeader(owner="s", term=1, since=0.0)), 0.0)
    for pool in now.pools:
        assert len(walked(board, 5, pool=pool.name, state="in_line")) == sum(pool.queued.values())
        assert len(walked(board, 5, pool=pool.name, state="dispatched")) == pool.in_flight
    for lane in now.lanes:
        assert len(walked(board, 5, lane=lane.name, state="in_line")) == lane.queued
    assert len(walked(board, 5)) == now.known == board.known


def test_a_job_that_has_its_result_is_in_no_list() -> None:
    board = made.board()
    made.submit(board, made.job(1), made.job(2))
    first, _ = made.dispatched(board)
    board.apply(made.succeeded(first), 0.0)
    assert [one.job for one in walked(board, 5)] == ["j-2"]
