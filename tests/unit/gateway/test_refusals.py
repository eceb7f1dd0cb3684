"""What the SDK raises, told to clients who know neither it nor the broker."""

from __future__ import annotations

import pytest

from gateway.refusals import api_error
from producer_sdk.errors import Closed, Forbidden, PenstockError, Unreachable

SUBJECT = "penstock.v1.api.research.status"


@pytest.mark.parametrize(
    "error",
    [
        Unreachable(f"no answer from {SUBJECT} in time", remedy="is the service up?"),
        Unreachable("no connection to nats://10.0.0.7:4222", remedy="check PENSTOCK_URL or the url argument"),
        Forbidden("the broker at 10.0.0.7 does not accept us", field="key", remedy="check PENSTOCK_KEY"),
        Closed("the producer is closed", remedy="make a new one"),
    ],
)
def test_a_queue_that_is_away_is_told_without_the_insides_of_the_gateway(error: PenstockError) -> None:
    told = api_error(error)
    assert (told.status, told.code, told.retry_after) == (503, "queue_unreachable", 1.0)
    assert str(told) == "the queue cannot be reached at the moment; send the request again"


def test_a_job_that_may_be_stored_is_told_with_how_not_to_ask_twice() -> None:
    told = api_error(Unreachable("the broker did not confirm", job="j-1", maybe_stored=True))
    assert (told.status, told.job) == (503, "j-1")
    assert "may run" in told.message
    assert "Idempotency-Key" in str(told.remedy)
