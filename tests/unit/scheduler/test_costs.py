"""What the leader says an attempt cost, where its worker no longer can."""

from __future__ import annotations

from decimal import Decimal

import pytest

from job_contracts.chat import Usage
from job_contracts.failures import Failure, FailureKind
from job_contracts.results import AttemptRecord
from scheduler.costs import estimated, fact_of, reserved
from tests.support import builders

ORDER = builders.assignment(
    key="k-1",
    grant={
        "domain": "openai",
        "input_tokens": 12,
        "output_tokens": 256,
        "valid_for": 5.0,
        "granted": builders.SUBMITTED,
        "cost": "0.04",
        "charged": 1_764_000_000.0,
    },
)
LOST = Failure(kind=FailureKind.WORKER_LOST, message="gone")


def test_an_attempt_nobody_can_tell_of_costs_what_was_reserved_for_it() -> None:
    fact = estimated(ORDER, seconds=3.0)
    assert (fact.cost, fact.reserved, fact.charged, fact.key) == (
        Decimal("0.04"),
        Decimal("0.04"),
        1_764_000_000.0,
        "k-1",
    )
    assert (fact.usage.reported, fact.stated, fact.price, fact.told_by) == (False, False, None, "leader")
    assert fact.submitted == ORDER.submitted, "the same job submitted after its result expired is another one"
    unpriced = builders.assignment()
    assert estimated(unpriced, seconds=3.0).cost is None, "no price is known"


@pytest.mark.parametrize(
    ("record", "cost"),
    [
        (builders.record(usage=Usage(input=10, output=2), cost=Decimal("0.01")), Decimal("0.01")),
        (builders.record(failure=LOST, usage=reserved(ORDER), cost=Decimal("0.04")), Decimal("0.04")),
        (builders.record(failure=LOST, usage=reserved(ORDER)), Decimal("0.04")),
        (builders.record(usage=Usage(input=10, output=2)), None),
    ],
    ids=["told", "reserved", "an older leader's, which told no costs", "an older worker's"],
)
def test_from_a_record_it_costs_what_the_record_says(record: AttemptRecord, cost: Decimal | None) -> None:
    fact = fact_of(ORDER, record)
    assert (fact.cost, fact.reserved, fact.key) == (cost, Decimal("0.04"), "k-1")
