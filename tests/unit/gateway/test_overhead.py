"""What a request's answer says of what was added to its call, stage by stage."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.instruments import INSTRUMENTS
from gateway.overhead import tell_overhead
from job_contracts.results import AttemptRecord, Result, Times
from runtime.telemetry import Metrics, Telemetry
from tests.support.builders import result
from tests.support.clock import ManualClock


def told(record: Result, begun: float) -> dict[str, float]:
    """Seconds by stage, as a process's metrics have them; the answer is here at 108."""
    telemetry, metrics = Telemetry(), Metrics("gateway")
    metrics.listen(telemetry, INSTRUMENTS)
    clock = ManualClock(wall=108.0)
    call = SimpleNamespace(begun=begun, edge=SimpleNamespace(telemetry=telemetry, clock=clock))
    tell_overhead(cast("Any", call), record)
    found = {}
    for stage in ("ingress", "schedule", "dispatch", "result"):
        value = metrics.registry.get_sample_value("penstock_gateway_overhead_seconds_sum", {"stage": stage})
        if value is not None:
            found[stage] = round(value, 6)
    return found


def record(*, attempts: int = 1, **times: float | None) -> Result:
    made = AttemptRecord(number=1, deployment="a/m", provider="a", model="m", started=103.5, seconds=4.0)
    spent = Times.model_validate({"submitted": 101.0, "dispatched": 103.0, "finished": 107.6, **times})
    return result(attempts=(made,) * attempts, times=spent)


def test_each_stage_is_told_of_an_answer_with_one_attempt() -> None:
    assert told(record(), 100.0) == {"ingress": 1.0, "schedule": 2.0, "dispatch": 0.5, "result": 0.5}


def test_clocks_that_differ_tell_nothing_below_zero() -> None:
    assert told(record(submitted=103.4, dispatched=103.2), 100.0)["schedule"] == 0.0


@pytest.mark.parametrize(
    ("of", "begun"),
    [
        (record(attempts=2), 100.0),
        (record(attempts=0), 100.0),
        (record(dispatched=None), 100.0),
        (record(), 102.0),  # submitted by an earlier request under the same key
    ],
)
def test_what_says_nothing_of_what_this_request_added_is_passed_over(of: Result, begun: float) -> None:
    assert told(of, begun) == {}
