"""What is told of an attempt's end: the numbers of metrics, each only where it is known."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from job_contracts.chat import Usage
from job_contracts.failures import Failure, FailureKind
from tests.support import builders
from workers.records import Charge, Ending, fact_of
from workers.reporting import Stored
from workers.telling import told_of

GRANT = {"domain": "alpha", "input_tokens": 50, "output_tokens": 99, "valid_for": 5.0, "granted": 101.0}


def told(*, won: bool = True, over: dict[str, Any] | None = None, **ending: Any) -> dict[str, object]:
    assignment = builders.assignment(builders.job("a-1"), **{"grant": GRANT, "submitted": 100.0, **(over or {})})
    fields = {"started": 101.25, "seconds": 2.0, "first_token": 0.5, "usage": Usage(input=40, output=4), **ending}
    charge = Charge(cost=Decimal("0.02"), stated=False, price=None)
    end = Ending(charge=charge, **fields)
    fact = fact_of(assignment, end, won=won, tags={}) if end.called else None
    return told_of(assignment, end, Stored.OURS, lane="rt", fact=fact, ended=103.5)


def test_waiting_handing_over_calling_and_reporting_add_up_to_the_whole() -> None:
    one: dict[str, Any] = told()
    assert (one["waited"], one["handover"], one["seconds"], one["reporting"]) == (1.0, 0.25, 2.0, 0.25)
    assert one["whole"] == one["waited"] + one["handover"] + one["seconds"] + one["reporting"]
    assert (one["per_token"], one["estimated"], one["cost"], one["reason"]) == (0.5, 0.8, 0.02, "user")


def test_what_is_not_known_is_not_told() -> None:
    failed = told(won=False, failure=Failure(kind=FailureKind.RESET, message="gone"), first_token=None)
    assert (failed["per_token"], failed["whole"], failed["reason"]) == (None, None, "failed")
    assert told(usage=Usage(input=40, output=1, reported=False))["estimated"] is None
    assert told(usage=Usage(input=40, output=1))["per_token"] is None
    assert told(over={"attempt": 2})["waited"] is None


def test_an_attempt_that_never_called_has_no_times_and_no_cost() -> None:
    one = told(called=False, failure=Failure(kind=FailureKind.HANDED_BACK, message="back"))
    assert [one[name] for name in ("seconds", "handover", "reporting", "cost", "whole")] == [None] * 5


def test_clocks_that_differ_never_tell_less_than_nothing() -> None:
    one = told(over={"submitted": 200.0}, started=90.0)
    assert (one["waited"], one["handover"], one["whole"]) == (0.0, 0.0, 0.0)
