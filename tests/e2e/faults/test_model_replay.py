"""The policy replayed from traces of real runs: the same calls give the same decisions, and the books balance.

``traces/nats.jsonl`` was recorded from two schedulers on a real nats-server (``tests/e2e/faults/model/record.py``); a
change of the policy that changes decisions on purpose records it anew, and says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from scheduler.policy.accounts import Accounts
from scheduler.policy.buckets import Bucket
from scheduler.policy.payers import Payers
from scheduler.policy.payments import Payments
from tests.e2e.faults.model.record import BILLED
from tests.e2e.faults.model.run import config_of, run, shape_of
from tests.e2e.faults.model.traces import recording, replay, save

TRACES = Path(__file__).parent / "traces"


@pytest.mark.parametrize("path", sorted(TRACES.glob("*.jsonl")), ids=lambda path: path.stem)
def test_a_recorded_run_is_decided_again_as_it_was(path: Path) -> None:
    told = replay(path, BILLED)
    print(f"{path.name}: {told.terms} terms, {told.calls} calls, {told.dispatches} dispatches")
    assert told.problems == []
    assert told.terms >= 2
    assert told.dispatches >= 40


def test_there_is_a_trace_of_a_real_broker() -> None:
    assert (TRACES / "nats.jsonl").exists()


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
