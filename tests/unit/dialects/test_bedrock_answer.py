from __future__ import annotations

import json
from typing import Any

import pytest

from job_contracts.chat import (
    Citation,
    FinishReason,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    Usage,
)
from job_contracts.failures import Failure, FailureKind
from job_contracts.stream import ReasoningDelta, TextDelta
from tests.unit.dialects.samples import decoder, frame, target
from tests.unit.dialects.test_bedrock import PLAIN, body
from workers.dialects import DIALECTS
from workers.dialects.port import Decoded

K = FailureKind
DIALECT = DIALECTS["bedrock"]

# -- answers

META = frame("metadata", {"usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}})


def delta(index: int, **piece: Any) -> bytes:
    return frame("contentBlockDelta", {"contentBlockIndex": index, "delta": piece})


def test_reasoning_text_and_parallel_calls_come_in_pieces() -> None:
    stream = b"".join(
        [
            frame("messageStart", {"role": "assistant"}),
            delta(0, reasoningContent={"text": "Let me "}),
            delta(0, reasoningContent={"text": "see."}),
            delta(0, reasoningContent={"signature": "sig"}),
            frame("contentBlockStop", {"contentBlockIndex": 0}),
            delta(1, reasoningContent={"redactedContent": "RW13"}),
            delta(1, reasoningContent={"redactedContent": "S0FoPT0="}),
            frame("contentBlockStop", {"contentBlockIndex": 1}),
            delta(2, text="I look"),
            delta(2, text=" it up."),
            frame("contentBlockStop", {"contentBlockIndex": 2}),
            frame("contentBlockStart", {"contentBlockIndex": 3, "start": {"toolUse": {"toolUseId": "a", "name": "f"}}}),
            frame("contentBlockStart", {"contentBlockIndex": 4, "start": {"toolUse": {"toolUseId": "b", "name": "g"}}}),
            delta(3, toolUse={"input": '{"x":'}),
            delta(4, toolUse={"input": "{}"}),
            delta(3, toolUse={"input": " 1}"}),
            frame("messageStop", {"stopReason": "tool_use"}),
            META,
        ]
    )
    reader = decoder("bedrock", content_type="application/vnd.amazon.eventstream")
    deltas = list(reader.feed(stream))
    assert reader.complete
    found = reader.finish()
    assert isinstance(found, Decoded)
    assert found.answer.parts == (
        ReasoningPart(text="Let me see.", signature="sig", origin="claude"),
        ReasoningPart(redacted="EmwKAh==", origin="claude"),
        TextPart(text="I look it up."),
        ToolCallPart(id="a", name="f", arguments='{"x": 1}'),
        ToolCallPart(id="b", name="g", arguments="{}"),
    )
    assert found.finish_reason is FinishReason.TOOL_CALLS
    assert deltas[:3] == [
        ReasoningDelta(text="Let me see.", signature="sig", origin="claude"),
        ReasoningDelta(text="", redacted="EmwKAh==", origin="claude"),
        TextDelta(text="I look it up."),
    ]


def test_opaque_reasoning_that_is_no_text_comes_back_as_it_was() -> None:
    document = {"output": {"message": {"content": [{"reasoningContent": {"redactedContent": "/wD+"}}]}}}
    reader = decoder("bedrock")
    reader.feed(json.dumps({**document, "stopReason": "end_turn"}).encode())
    found = reader.finish()
    assert isinstance(found, Decoded)
    turn = found.answer.as_turn().model_dump()
    assert body([*PLAIN, turn, *PLAIN])["messages"][1]["content"] == document["output"]["message"]["content"]


def test_what_came_from_the_cache_and_went_there_is_part_of_the_input() -> None:
    told = {
        "inputTokens": 3,
        "outputTokens": 61,
        "cacheReadInputTokens": 2074,
        "cacheWriteInputTokens": 297,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 200}, {"ttl": "5m", "inputTokens": 97}],
    }
    document = {"output": {"message": {"content": [{"text": "x"}]}}, "stopReason": "end_turn", "usage": told}
    reader = decoder("bedrock")
    reader.feed(json.dumps(document).encode())
    found = reader.finish()
    assert isinstance(found, Decoded)
    assert found.usage == Usage(input=2374, output=61, cache_read=2074, cache_write=297, cache_write_1h=200)


def test_an_answer_whose_account_never_came_is_whole_with_an_estimate() -> None:
    reader = decoder("bedrock", content_type="application/vnd.amazon.eventstream")
    reader.feed(delta(0, text="Hello there") + frame("messageStop", {"stopReason": "end_turn"}))
    assert not reader.complete
    found = reader.finish()
    assert isinstance(found, Decoded)
    assert not found.usage.reported
    assert found.usage.output > 0


def test_text_under_citations_is_text_and_sources_with_an_address_are_told() -> None:
    web = {"title": "A page", "location": {"web": {"url": "https://example.com/a", "domain": "example.com"}}}
    own = {"title": "policy", "location": {"documentChunk": {"documentIndex": 0, "start": 0, "end": 1}}}
    content = [{"text": "It is "}, {"citationsContent": {"content": [{"text": "20 days."}], "citations": [web, own]}}]
    reader = decoder("bedrock")
    reader.feed(json.dumps({"output": {"message": {"content": content}}, "stopReason": "end_turn"}).encode())
    found = reader.finish()
    assert isinstance(found, Decoded)
    assert found.answer.text == "It is 20 days."
    assert found.answer.citations == (Citation(url="https://example.com/a", title="A page"),)
    assert [(loss.kind, loss.field) for loss in found.losses] == [("dropped", "answer.citations")]


def test_a_router_says_which_model_answered() -> None:
    arn = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0"
    trace = {"trace": {"promptRouter": {"invokedModelId": arn}}}
    reader = decoder("bedrock", content_type="application/vnd.amazon.eventstream")
    reader.feed(delta(0, text="x") + frame("messageStop", {"stopReason": "end_turn"}) + frame("metadata", trace))
    found = reader.finish()
    assert isinstance(found, Decoded)
    assert found.model == arn


# -- failures


def failed(status: int, kind: str, message: str, **headers: str) -> Failure:
    told = {"x-amzn-errortype": f"{kind}:http://internal.amazon.com/coral/"} if kind else {}
    return DIALECT.failure(target("bedrock"), status, {**told, **headers}, json.dumps({"message": message}).encode())


@pytest.mark.parametrize(
    ("status", "kind", "message", "expected"),
    [
        (429, "ThrottlingException", "Too many requests, please wait before trying again.", K.RATE_LIMIT),
        (429, "ThrottlingException", "Too many tokens per day, please wait before trying again.", K.QUOTA_EXHAUSTED),
        (429, "ModelNotReadyException", "Model is not ready for inference.", K.OVERLOADED),
        (400, "ServiceQuotaExceededException", "Your request exceeds the service quota.", K.RATE_LIMIT),
        (424, "ModelErrorException", "The request failed while processing the model.", K.SERVER_ERROR),
        (408, "ModelTimeoutException", "The request took too long to process.", K.SERVER_ERROR),
        (503, "ServiceUnavailableException", "The service isn't currently available.", K.OVERLOADED),
        (500, "InternalServerException", "The system encountered an unexpected error.", K.SERVER_ERROR),
        (403, "AccessDeniedException", "You don't have access to the model.", K.PERMISSION),
        (403, "AccessDeniedException", "Authentication failed: Please make sure your API Key is valid.", K.AUTH),
        (403, "UnrecognizedClientException", "The security token included in the request is invalid.", K.AUTH),
        (403, "InvalidSignatureException", "The request signature we calculated does not match.", K.AUTH),
        (403, "InvalidSignatureException", "Signature expired: 2026 is now earlier than 2027.", K.AUTH),
        (403, "ExpiredTokenException", "The token has expired.", K.AUTH),
        (404, "ResourceNotFoundException", "Could not resolve the foundation model.", K.MODEL_NOT_FOUND),
        (400, "ValidationException", "The provided model identifier is invalid.", K.MODEL_NOT_FOUND),
        (400, "ValidationException", "Input is too long for requested model.", K.CONTEXT_OVERFLOW),
        (
            400,
            "ValidationException",
            "Invocation of model ID x with on-demand throughput isn’t supported.",
            K.MODEL_NOT_FOUND,
        ),
        (400, "ValidationException", "1 validation error detected: Value at 'messages' is wrong.", K.BAD_REQUEST),
    ],
)
def test_errors_are_told_apart_by_their_type_and_words(
    status: int, kind: str, message: str, expected: FailureKind
) -> None:
    found = failed(status, kind, message)
    assert (found.kind, found.code, found.status) == (expected, kind, status)


def test_the_type_of_an_error_may_stand_in_its_body() -> None:
    told = {"__type": "com.amazon.coral.service#UnrecognizedClientException", "Message": "No."}
    found = DIALECT.failure(target("bedrock"), 403, {}, json.dumps(told).encode())
    assert (found.kind, found.code) == (K.AUTH, "UnrecognizedClientException")
    assert "No." in found.message


def test_a_refused_signature_is_told_without_the_request_that_was_to_be_signed() -> None:
    words = (
        "The request signature we calculated does not match the signature you provided. The Canonical String for this "
        "request should have been\n'POST\n/model/x/converse\n\nx-amz-security-token:IQoJb3JpZ2luX2VjEJr//SECRET'"
    )
    found = failed(403, "InvalidSignatureException", words)
    assert found.kind is K.AUTH
    assert "IQoJ" not in found.message
    assert found.message.endswith("you provided.")


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b"<html>", b'{"message": 5}', b'"text"'])
def test_an_error_that_is_no_object_is_still_one(body: bytes) -> None:
    found = DIALECT.failure(target("bedrock"), 403, {"x-amzn-errortype": "AccessDeniedException"}, body)
    assert found.kind is K.PERMISSION


def test_what_the_providers_own_tools_did_is_a_loss_of_the_answer_and_no_call() -> None:
    ran = {"toolUseId": "s", "name": "nova_grounding", "type": "server_tool_use"}
    result = {"toolUseId": "s", "type": "nova_grounding_result"}
    stream = b"".join(
        [
            frame("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": ran}}),
            delta(0, toolUse={"input": '{"query": "x"}'}),
            frame("contentBlockStop", {"contentBlockIndex": 0}),
            frame("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolResult": result}}),
            frame("contentBlockStop", {"contentBlockIndex": 1}),
            delta(2, text="Found."),
            frame("messageStop", {"stopReason": "end_turn"}),
            META,
        ]
    )
    document = {
        "output": {
            "message": {"content": [{"toolUse": {**ran, "input": {}}}, {"toolResult": result}, {"text": "Found."}]}
        },
        "stopReason": "end_turn",
    }
    for data in (stream, json.dumps(document).encode()):
        reader = decoder("bedrock")
        reader.feed(data)
        found = reader.finish()
        assert isinstance(found, Decoded), found
        assert (found.answer.text, found.answer.tool_calls) == ("Found.", ())
        assert [loss.field for loss in found.losses] == ["answer.content"] * 2
        assert "nova_grounding" in found.losses[0].detail
        assert "toolResult" in found.losses[1].detail
