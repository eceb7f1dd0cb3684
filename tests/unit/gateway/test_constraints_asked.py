"""Constraints of a job as they come over HTTP: a member of a job's body, or a header of any request."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.bodies import extras, native
from gateway.bodies.failures import Failed
from job_contracts.codec import check
from job_contracts.constraints import Constraints
from producer_sdk.errors import InvalidRequest
from producer_sdk.request import Request, prepare

HEADER = "x-penstock-constraints"


def made(constraints: Any) -> Request:
    return prepare("fast", "Hi", (), {"constraints": constraints}, stream=False, new_id="a-b", token="t", now=1.0)


def test_a_header_says_the_same_as_the_sdk() -> None:
    text = "residency=eu, eu-*; hosting=self;zero_retention=true; deny_models=gpt-*; max_output_price=1.50"
    found = check(Constraints, extras.read({HEADER: text}).others["constraints"], strict_names=True)
    told = made(
        {
            "residency": ["eu", "eu-*"],
            "hosting": "self",
            "zero_retention": True,
            "deny_models": ["gpt-*"],
            "max_output_price": 1.5,
        }
    )
    assert told.ticket.constraints == told.planned.constraints == found
    assert b'"residency":["eu","eu-*"]' in told.body


@pytest.mark.parametrize("text", ["eu", "residency", "residency=", "=eu", "a=b;;", "residency=eu=us", "Residency=eu"])
def test_a_header_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(Failed, match=HEADER):
        extras.read({HEADER: text})


@pytest.mark.parametrize(
    "asked",
    [{"carbon": "low"}, {"residency": []}, {"hosting": "cloud"}, {"max_input_price": -1}, {"zero_retention": 1}],
)
def test_what_no_constraint_is_is_refused_by_its_name(asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        made(asked)
    assert (refused.value.field or "").startswith(f"constraints.{next(iter(asked))}")


def test_equal_constraints_are_equal_bytes_and_others_are_another_request() -> None:
    one, same, other = ({"max_input_price": price} for price in ("2.0", 2, 3))
    assert made(one).body == made(same).body
    assert made(one).ticket.body_hash != made(other).ticket.body_hash


def test_a_jobs_body_may_hold_them() -> None:
    body = {"model": "chat", "messages": "x", "constraints": {"hosting": "self", "models": None}}
    assert native.submission(body).options == {"constraints": {"hosting": "self"}}
    for wrong in ("eu", {"max_input_price": "nan"}, {"max_output_price": True}):
        with pytest.raises(Failed, match="constraints"):
            native.submission({"model": "chat", "messages": "x", "constraints": wrong})
