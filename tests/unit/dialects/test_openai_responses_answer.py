"""Answers of the Responses API, event by event and as documents."""

from __future__ import annotations

import json
from typing import Any

import pytest

from job_contracts.chat import Citation, Conversation, FinishReason, ReasoningPart, TokenLogprob, Usage
from job_contracts.failures import Failure, FailureKind
from tests.unit.dialects.samples import RESPONSE, SAID, decoder, response_events, sse, target
from workers.dialects import DIALECTS
from workers.dialects.port import Decoded, Target

SEALED = '{"id":"rs_1","encrypted_content":"gAAA"}'


def outcome(*events: Any, of: Target | None = None) -> Decoded | Failure:
    reader = decoder("openai_responses", content_type="text/event-stream", of=of)
    reader.feed(sse(*events, names=True))
    return reader.finish()


def decoded(*events: Any, of: Target | None = None) -> Decoded:
    found = outcome(*events, of=of)
    assert isinstance(found, Decoded), found
    return found


def plain(**more: Any) -> Decoded | Failure:
    reader = decoder("openai_responses", content_type="application/json")
    reader.feed(json.dumps({**RESPONSE, **more}).encode())
    return reader.finish()


def test_parts_come_in_order_with_their_reasoning_signed() -> None:
    reasoning = {
        "id": "rs_1",
        "type": "reasoning",
        "status": None,
        "summary": [{"type": "summary_text", "text": "hm"}],
        "encrypted_content": "gAAA",
    }
    call = {"id": "fc_1", "type": "function_call", "call_id": "c1", "name": "look_up", "arguments": '{"a":1}'}
    message = {"id": "msg_1", "type": "message", "content": [SAID]}
    events = response_events(reasoning, message, call)
    for found in (decoded(*events), plain(output=[reasoning, message, call])):
        assert isinstance(found, Decoded)
        first, second, third = found.answer.parts
        assert first == ReasoningPart(text="hm", signature=SEALED, origin="gpt-5")
        assert (second.type, third.type) == ("text", "tool_call")
        assert found.answer.tool_calls[0].id == "c1"
        assert found.finish_reason is FinishReason.TOOL_CALLS
        assert found.losses == ()


def test_reasoning_of_several_pieces_goes_back_as_it_came() -> None:
    summary = [{"type": "summary_text", "text": text} for text in ("one", "two")]
    item = {"id": "rs_1", "type": "reasoning", "summary": summary, "encrypted_content": "gAAA"}
    found = decoded(*response_events(item, {"type": "message", "content": [SAID]}))
    assert found.answer.reasoning == "onetwo"
    again = Conversation.model_validate({"messages": [found.answer.as_turn()]})
    sent = DIALECTS["openai_responses"].encode(again, target("openai_responses"))
    assert json.loads(sent.body)["input"][0] == item


def test_a_stream_is_read_piece_by_piece_and_not_twice() -> None:
    place = {"output_index": 0, "item_id": "fc_1"}
    call = {"id": "fc_1", "type": "function_call", "call_id": "c1", "name": "look_up", "arguments": '{"a":1}'}
    reader = decoder("openai_responses", content_type="text/event-stream")
    events = [
        {"type": "response.output_item.added", "output_index": 0, "item": {**call, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", **place, "delta": '{"a"'},
        {"type": "keepalive", "sequence_number": 3},
        {"type": "response.function_call_arguments.delta", **place, "delta": ":1}"},
        {"type": "response.function_call_arguments.done", **place, "arguments": '{"a":1}'},
        {"type": "response.output_item.done", "output_index": 0, "item": call},
    ]
    deltas = [delta for event in events for delta in reader.feed(sse(event))]
    assert [(delta.type, delta.arguments) for delta in deltas if delta.type == "tool_call"] == [
        ("tool_call", ""),
        ("tool_call", '{"a"'),
        ("tool_call", ":1}"),
    ]
    reader.feed(sse({"type": "response.completed", "response": {**RESPONSE, "output": [call]}}))
    assert reader.complete
    found = reader.finish()
    assert isinstance(found, Decoded)
    assert [call.arguments for call in found.answer.tool_calls] == ['{"a":1}']


def test_an_answer_told_only_at_the_end_is_read_from_there() -> None:
    found = decoded({"type": "response.completed", "response": RESPONSE})
    assert found.answer.text == "Héllo 👋"


def test_without_its_last_event_a_stream_is_truncated() -> None:
    *begun, _ = response_events({"type": "message", "content": [SAID]})
    for events in (begun, [*begun, "[DONE]"]):
        reader = decoder("openai_responses", content_type="text/event-stream")
        reader.feed(sse(*events))
        found = reader.finish()
        assert isinstance(found, Failure)
        assert found.kind is FailureKind.STREAM_TRUNCATED
        assert found.produced


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"reason": "max_output_tokens"}, FinishReason.LENGTH),
        ({"reason": "content_filter"}, FinishReason.CONTENT_FILTER),
        ({"reason": "of another kind"}, FinishReason.LENGTH),
        (None, FinishReason.LENGTH),
    ],
)
def test_an_incomplete_response_says_why(details: Any, reason: FinishReason) -> None:
    message = {"type": "message", "content": [SAID]}
    found = decoded(*response_events(message, status="incomplete", incomplete_details=details))
    assert found.finish_reason is reason
    whole = plain(status="incomplete", incomplete_details=details)
    assert isinstance(whole, Decoded)
    assert whole.finish_reason is reason


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("rate_limit_exceeded", FailureKind.RATE_LIMIT),
        ("insufficient_quota", FailureKind.QUOTA_EXHAUSTED),
        ("server_error", FailureKind.SERVER_ERROR),
        ("invalid_prompt", FailureKind.CONTENT_POLICY),
        ("image_content_policy_violation", FailureKind.CONTENT_POLICY),
        ("failed_to_download_image", FailureKind.BAD_REQUEST),
    ],
)
def test_a_response_that_failed_is_the_failure_it_names(code: str, kind: FailureKind) -> None:
    error = {"code": code, "message": "It went wrong."}
    begun = {"type": "response.created", "response": {**RESPONSE, "status": "in_progress"}}
    failed = {**RESPONSE, "status": "failed", "output": [], "error": error}
    nested, flat = {"type": "error", "error": error}, {"type": "error", **error}
    for found in (
        outcome(begun, {"type": "response.failed", "response": failed}),
        outcome(begun, nested),
        outcome(begun, flat),
        plain(status="failed", output=[], error=error),
    ):
        assert isinstance(found, Failure)
        assert (found.kind, found.message) == (kind, "It went wrong.")
        assert found.provider == "openai"


@pytest.mark.parametrize("status", ["in_progress", "queued", "cancelled", "failed"])
def test_a_response_that_is_not_done_is_no_answer(status: str) -> None:
    assert isinstance(plain(status=status, output=[]), Failure)


def test_a_refusal_is_the_models_own_words() -> None:
    refused = {"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}
    for found in (
        decoded(*response_events(refused)),
        decoded(
            {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "content": []}},
            {"type": "response.refusal.delta", "output_index": 0, "delta": "No."},
            *response_events(refused)[1:],
        ),
    ):
        assert found.answer.refusal == "No."
        assert found.finish_reason is FinishReason.CONTENT_FILTER


def test_sources_are_cited_where_they_stand_in_the_whole_text() -> None:
    source = {"type": "url_citation", "url": "https://example.com", "title": "E", "start_index": 0, "end_index": 5}
    file = {"type": "file_citation", "file_id": "f", "filename": "a.txt", "index": 3}
    first = {"type": "message", "content": [{**SAID, "text": "abc"}]}
    second = {"type": "message", "content": [{**SAID, "annotations": [source, file]}]}
    found = decoded(*response_events(first, second))
    assert found.answer.citations == (Citation(url="https://example.com", title="E", start=3, end=8),)
    assert [loss.field for loss in found.losses] == ["answer.annotations"]


def test_sources_told_on_the_way_are_cited_too() -> None:
    source = {"type": "url_citation", "url": "https://example.com"}
    told = {"type": "response.output_text.annotation.added", "output_index": 0, "content_index": 0}
    found = decoded({**told, "annotation": source}, *response_events({"type": "message", "content": [SAID]}))
    assert found.answer.citations == (Citation(url="https://example.com"),)


def test_the_work_of_the_providers_own_tools_is_a_loss() -> None:
    search = {"id": "ws_1", "type": "web_search_call", "status": "completed"}
    comment = {"type": "message", "phase": "commentary", "content": [SAID]}
    found = decoded(*response_events(search, comment, {"type": "message", "phase": "final_answer", "content": [SAID]}))
    assert [loss.field for loss in found.losses] == ["answer.web_search_call", "answer.phase"]
    assert len(found.answer.parts) == 2


def test_log_probabilities_come_once() -> None:
    token = {"token": "H", "logprob": -0.5, "top_logprobs": [{"token": "H", "logprob": -0.5}], "bytes": [72]}
    part = {**SAID, "text": "H", "logprobs": [token]}
    message = {"type": "message", "content": [part]}
    expected = (TokenLogprob(token="H", logprob=-0.5, top=(("H", -0.5),)),)
    delta = {"type": "response.output_text.delta", "output_index": 0, "delta": "H"}
    assert decoded(*response_events(message)).answer.logprobs == expected
    begun, *rest = response_events(message)
    assert decoded(begun, {**delta, "logprobs": [token]}, *rest).answer.logprobs == expected
    assert decoded(begun, delta, *rest).answer.logprobs == expected


def test_usage_is_by_kind_and_a_stated_cost_is_read() -> None:
    usage = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 5},
        "cost": 0.25,
    }
    found = plain(usage=usage)
    assert isinstance(found, Decoded)
    assert found.usage == Usage(input=10, output=7, cache_read=4, cache_write=3, reasoning=5)
    assert str(found.cost) == "0.25"
    ticks = plain(usage={**usage, "cost": None, "cost_in_usd_ticks": 25_000_000})
    assert isinstance(ticks, Decoded)
    assert ticks.cost is not None
    assert float(ticks.cost) == 0.0025
