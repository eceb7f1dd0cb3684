"""The policy replayed from traces of real runs: the same calls give the same decisions, and the books balance.

``traces/nats.jsonl`` was recorded from two schedulers on a real nats-server (``tests/e2e/faults/model/record.py``); a
change of the policy that changes decisions on purpose records it anew, and says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import FunctionType

import pytest

from job_contracts.desk import Planned
from job_contracts.finding import AskFind
from job_contracts.operating import AskOrder, ToldLeader
from scheduler.policy.accounts import Accounts
from scheduler.policy.board import Board
from scheduler.policy.buckets import Bucket
from scheduler.policy.overview import Told
from scheduler.policy.payers import Payers
from scheduler.policy.payments import Payments
from tests.e2e.faults.model.record import BILLED
from tests.e2e.faults.model.run import config_of, run, shape_of
from tests.e2e.faults.model.traces import Recorder, recording, replay, save

TRACES = Path(__file__).parent / "traces"


@pytest.mark.parametrize("path", sorted(TRACES.glob("*.jsonl")), ids=lambda path: path.stem)
def test_a_recorded_run_is_decided_again_as_it_was(path: Path) -> None:
    told = replay(path, BILLED)
    print(f"{path.name}: {told.terms} terms, {told.calls} calls, {told.dispatches} dispatches")
    assert told.problems == []
    assert told.terms >= 2
    assert told.dispatches >= 40


def test_the_trace_of_a_real_broker_has_every_kind_of_decision_in_it() -> None:
    told = (TRACES / "nats.jsonl").read_text()
    for what in ('{"Late":', '"hedge":true', '"strategy":"blend"', '["place_trials",', '"trial":{', '{"Finish":'):
        assert what in told, what


def asks(board: Board, now: float) -> None:
    """Everything that can be asked."""
    for project, tenant in board._world.tenants.items():
        for job in tuple(tenant.jobs):
            board.status(project, job, now)
            board.choice(project, job, now)
            board.history(project, job)
            board.draft(project, job)
            board.cancelling(project, job)
        for route in ("fast", "blend"):
            board.estimate(project, Planned(route=route, input_estimate=300, session="s-1", explain=True), now)
        board.unfinished(project)
        board.following(project)
    for question in (AskFind(), AskFind(state="held", pool="alpha", before=2**40)):
        board.stretch(question, 0 if question.before is None else question.before, now, most=10_000, rows=9_999)
    board.counts(now)
    board.levels(now)
    board.demands(now)
    board.room(now)
    board.felt()
    board.overview(Told(at=now, leader=ToldLeader(owner="s", term=1, since=0.0)), now)
    board.problem(AskOrder(do="pause", aim="pool", name="alpha", by="ann"))
    board.spending()
    board.next_wake(now)
    board.judge("probe")


def test_whatever_is_asked_meanwhile_makes_no_difference_to_what_is_decided() -> None:
    assert replay(TRACES / "nats.jsonl", BILLED, between=asks).problems == []


def test_everything_that_changes_a_board_is_recorded() -> None:
    """A call that is not among them is one that only asks (and the test above asks it), or that changes nothing."""
    calls = {name for name, found in vars(Board).items() if isinstance(found, FunctionType) and name[0] != "_"}
    recorded = {name for name in vars(Recorder) if name[0] != "_"}
    asked = {name for name in asks.__code__.co_names if name in calls}
    assert calls - recorded - asked <= {"known", "in_flight", "sent"}


@pytest.mark.parametrize(
    ("owner", "name", "mistake"),
    [
        pytest.param(Bucket, "admits", lambda *_: True, id="limits are not kept"),
        pytest.param(Payments, "lets", lambda *_: True, id="budgets are not asked"),
        pytest.param(Accounts, "release", lambda *_: None, id="what was reserved stays so"),
        pytest.param(Payers, "restore_spending", lambda *_: None, id="what was spent before is forgotten"),
    ],
)
def test_a_policy_that_decides_otherwise_is_told_by_the_trace(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, mistake: Callable[..., object]
) -> None:
    monkeypatch.setattr(owner, name, mistake)
    assert replay(TRACES / "nats.jsonl", BILLED).problems


def test_a_run_of_the_model_can_be_recorded_and_replayed(tmp_path: Path) -> None:
    logging.disable(logging.CRITICAL)
    shape = shape_of(5, faults=6, jobs=60)
    try:
        with recording() as boards:
            assert run(shape).problems == []
        save(tmp_path / "model.jsonl", config_of(shape), boards)
    finally:
        logging.disable(logging.NOTSET)
    told = replay(tmp_path / "model.jsonl")
    assert told.problems == []
    assert told.dispatches >= 40
