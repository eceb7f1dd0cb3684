"""Requests: the same bytes for the same request, times and tokens in the ticket alone, everything checked first."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_contracts.codec import decode
from job_contracts.jobs import BlobRef, Bounds, Job, Ticket, body_hash
from job_contracts.money import Budget
from job_contracts.subjects import keyed_job_id
from producer_sdk.errors import InvalidRequest
from producer_sdk.estimates import input_tokens, text_tokens
from producer_sdk.options import Behalf
from producer_sdk.request import Request, prepare

NOW = 1_750_000_000.0


def request(
    messages: Any = "Hi", *, model: Any = "fast", tools: Any = (), stream: bool = False, **more: Any
) -> Request:
    now, token = more.pop("now", NOW), more.pop("token", "token")
    return prepare(model, messages, tools, more, stream=stream, new_id="stem-leaf", token=token, now=now)


def refused(**arguments: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        request(**arguments)
    return caught.value


def test_body_and_ticket_are_what_the_contracts_read() -> None:
    made = request(lane="rt", priority=1, deadline=60, max_tokens=50, tags={"b": "2", "a": "1"}, max_cost=0.1)
    job, ticket = decode(Job, made.body), decode(Ticket, made.header)
    assert (job.id, job.route, job.lane, job.priority, job.max_cost) == ("stem-leaf", "fast", "rt", 1, Decimal("0.1"))
    assert (ticket.route, ticket.lane, ticket.priority, ticket.max_output) == ("fast", "rt", 1, 50)
    assert (ticket.deadline, ticket.submitted, ticket.token) == (NOW + 60, NOW, "token")
    assert ticket.body_hash == body_hash(made.body)
    assert (ticket.tags, ticket.key, ticket.bounds) == ({"a": "1", "b": "2"}, None, None)
    assert not made.keyed


def test_for_whom_a_service_submits_is_in_the_ticket_alone() -> None:
    bounds = Bounds(tpm=100.0, budget=Budget(day=Decimal(5)))
    made, plain = request(behalf=Behalf("0123456789ab", bounds)), request()
    ticket = decode(Ticket, made.header)
    assert (ticket.key, ticket.bounds) == ("0123456789ab", bounds)
    assert made.body == plain.body, "the same request by another key is the same job"


def test_top_k_and_a_budget_for_reasoning_are_settings_and_a_budget_is_a_need() -> None:
    made = request(top_k=40, reasoning_budget=2_000)
    chosen = decode(Job, made.body).chat.settings
    assert (chosen.top_k, chosen.reasoning_budget) == (40, 2_000)
    assert made.ticket.needs == ("reasoning",)
    assert refused(top_k=0).field == "top_k"
    assert refused(reasoning_budget=0).field == "reasoning_budget"


def test_a_file_is_a_need() -> None:
    file = {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk="}}
    assert request([{"role": "user", "content": [file]}]).ticket.needs == ("files",)


def test_a_header_holds_no_line_break_whatever_is_in_it() -> None:
    made = request(model="línea\r\nNats-Rollup: all", session="a\nb")
    assert "\n" not in made.header
    assert "\r" not in made.header
    assert decode(Ticket, made.header).session == "a\nb"


def test_what_differs_from_one_submission_to_the_next_leaves_the_body_alone() -> None:
    first = request(idempotency_key="k", deadline=10, stream=True, token="one")
    again = request(idempotency_key="k", deadline=99, not_before=5, now=NOW + 50, token="two")
    assert first.body == again.body
    assert first.ticket.body_hash == again.ticket.body_hash
    assert first.job == again.job == keyed_job_id("k")
    assert first.keyed


@pytest.mark.parametrize(
    "other",
    [
        {"messages": "Hello"},
        {"model": "smart"},
        {"lane": "bg"},
        {"priority": 1},
        {"session": "s"},
        {"max_cost": 2},
        {"tags": {"a": "b"}},
        {"temperature": 1},
        {"tools": [{"name": "f"}]},
    ],
)
def test_what_is_to_be_done_is_all_in_the_hash(other: dict[str, Any]) -> None:
    assert request().ticket.body_hash != request(**other).ticket.body_hash


def test_equal_requests_have_equal_bodies_however_they_are_written() -> None:
    one = request([{"role": "user", "content": "Hi"}], tags={"a": "1", "b": "2"}, max_cost="20", temperature=1)
    other = request("Hi", tags={"b": "2", "a": "1"}, max_cost=Decimal("20.00"), temperature=1.0)
    assert one.body == other.body


@pytest.mark.parametrize(
    ("when", "at"),
    [
        (30, NOW + 30),
        (0.5, NOW + 0.5),
        (timedelta(minutes=2), NOW + 120),
        (datetime.fromtimestamp(NOW + 7, UTC), NOW + 7),
        (datetime.fromtimestamp(NOW + 7, UTC).astimezone(tz=None), NOW + 7),
    ],
)
def test_a_moment_may_be_written_in_several_ways(when: Any, at: float) -> None:
    assert request(deadline=when).ticket.deadline == at
    assert request(not_before=when).ticket.not_before == at


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"deadline": 0}, "deadline"),
        ({"deadline": -5}, "deadline"),
        ({"deadline": NOW + 60}, "deadline"),
        ({"deadline": float("nan")}, "deadline"),
        ({"deadline": True}, "deadline"),
        ({"deadline": "tomorrow"}, "deadline"),
        ({"deadline": datetime(2030, 1, 1)}, "deadline"),  # noqa: DTZ001  # naive is the point
        ({"deadline": 5, "not_before": 5}, "deadline"),
        ({"not_before": "x"}, "not_before"),
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"lane": "express"}, "lane"),
        ({"priority": 10}, "priority"),
        ({"max_cost": -1}, "max_cost"),
        ({"max_cost": "a lot"}, "max_cost"),
        ({"tags": {"a": 1}}, "tags.a"),
        ({"tags": ["a"]}, "tags"),
        ({"tags": {str(n): "x" for n in range(17)}}, "tags"),
        ({"tags": {"n" * 65: "x"}}, "tags"),
        ({"tags": {"n": "x" * 513}}, "tags"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": 5}, "idempotency_key"),
        ({"idempotency_key": "x" * 257}, "idempotency_key"),
        ({"idempotency_key": "\ud800"}, "idempotency_key"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"n": 2}, "n"),
        ({"reasoning_effort": "enormous"}, "reasoning_effort"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"name": "f"}}, "tool_choice"),
        ({"tools": [{"name": "a b"}]}, "tools[0].name"),
        ({"tools": [{"name": "f"}, {"name": "f"}]}, "tools"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "url": 5}]}]}, "messages[0].content[0].url"),
        ({"maxtokens": 5}, "maxtokens"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_its_author_knows(arguments: dict[str, Any], field: str) -> None:
    error = refused(**arguments)
    assert error.field == field
    assert error.remedy
    assert field in str(error).replace("the idempotency key", "idempotency_key")


def test_a_misspelt_option_is_told_the_right_one() -> None:
    assert "did you mean 'temperature'" in str(refused(temprature=1))


def test_what_json_cannot_hold_is_refused() -> None:
    assert refused(tools=[{"name": "f", "parameters": {"default": object()}}]).remedy
    assert refused(messages="lone \ud800 surrogate").remedy


def test_a_deadline_in_the_past_says_by_how_much() -> None:
    assert "12 s ago" in str(refused(deadline=-12))


def test_needs_are_what_the_deployment_must_be_able_to_do() -> None:
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": "https://example.org/a.png"}]}]
    schema = {"type": "json_schema", "json_schema": {"type": "object"}}
    made = request(image, tools=[{"name": "f"}], response_format=schema, reasoning_effort="low", logprobs=True)
    assert made.ticket.needs == ("tools", "images", "json_schema", "reasoning", "logprobs")
    assert request(reasoning_effort="none").ticket.needs == ()


# -- estimates


def test_english_is_about_four_characters_a_token_and_chinese_about_one() -> None:
    assert text_tokens("word " * 100) == pytest.approx(95)
    assert text_tokens("漢" * 100) == pytest.approx(80)
    assert 20 <= text_tokens("ж" * 100) <= 60


def test_pictures_tools_and_schemas_count() -> None:
    def estimate(*parts: Any, **more: Any) -> int:
        return request([{"role": "user", "content": list(parts)}], **more).ticket.input_estimate

    text = {"type": "text", "text": "x"}
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    small = {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}}
    assert 500 <= estimate(text, image) - estimate(text) <= 1_500
    assert 50 <= estimate(text, small) - estimate(text) <= 150
    schema = {"type": "object", "properties": {"name": {"type": "string", "description": "x" * 400}}}
    assert estimate(text, tools=[{"name": "f", "parameters": schema}]) > estimate(text) + 100
    assert estimate(text, response_format={"type": "json_schema", "json_schema": schema}) > estimate(text) + 100


@given(st.text(max_size=300), st.text(max_size=50))
def test_more_text_is_never_fewer_tokens(text: str, more: str) -> None:
    assert 0 <= text_tokens(text) <= text_tokens(text + more)


def test_an_estimate_is_an_integer_of_at_least_one() -> None:
    job = json.loads(request("").body)
    assert input_tokens(decode(Job, json.dumps(job)).chat) >= 1


# -- the trace


GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_trace_is_no_part_of_what_is_asked() -> None:
    made, plain = request(trace=GIVEN), request()
    assert (made.trace, plain.trace) == (GIVEN, None)
    assert (made.body, made.ticket) == (plain.body, plain.ticket)
    assert made.as_blob(BlobRef(size=3, chunks=1, sha256="d" * 64)).trace == GIVEN


@pytest.mark.parametrize("trace", ["", "rubbish", 7, GIVEN.upper()])
def test_a_trace_that_names_no_span_is_refused(trace: Any) -> None:
    error = refused(trace=trace)
    assert error.field == "trace"
    assert error.remedy


@pytest.mark.parametrize("state", [7, "vendor=\n1", "vendor=\N{SNOWMAN}"])
def test_a_tracestate_that_no_header_can_hold_is_refused(state: Any) -> None:
    assert refused(trace=GIVEN, tracestate=state).field == "tracestate"


@pytest.mark.parametrize(("state", "kept"), [("vendor=1", "vendor=1"), ("", None), ("v=" + "1" * 9_000, None)])
def test_a_tracestate_goes_on_as_far_as_it_goes_anywhere(state: str, kept: str | None) -> None:
    assert request(trace=GIVEN, tracestate=state).tracestate == kept
    assert request(trace=f"{GIVEN[:-1]}0", tracestate=state).tracestate is None
