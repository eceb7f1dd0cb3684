"""Every way an answer can be broken has a defined outcome, the same in all dialects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal

import pytest

from job_contracts.chat import FinishReason, Usage
from job_contracts.failures import Failure, FailureKind
from tests.unit.dialects.samples import DOCUMENTS, STREAMS, USAGE, WITHOUT_MODEL, decoder, openai_chunk, sse, target
from workers.dialects import DIALECTS
from workers.dialects.port import Decoded

K = FailureKind
every_dialect = pytest.mark.parametrize("dialect", DIALECTS)
every_sse = pytest.mark.parametrize(
    "dialect", [name for name in DIALECTS if STREAMS[name].startswith((b"data:", b"event:"))]
)


def finished(dialect: str, *pieces: bytes, content_type: str = "text/event-stream") -> Decoded | Failure:
    reader = decoder(dialect, content_type=content_type)
    for piece in pieces:
        reader.feed(piece)
    return reader.finish()


def kind(outcome: Decoded | Failure) -> FailureKind:
    assert isinstance(outcome, Failure), outcome
    return outcome.kind


def answer(outcome: Decoded | Failure) -> Decoded:
    assert isinstance(outcome, Decoded), outcome
    return outcome


@every_dialect
@pytest.mark.parametrize("streamed", [True, False])
def test_streamed_and_plain_answers_come_to_the_same(dialect: str, streamed: bool) -> None:
    body = STREAMS[dialect] if streamed else DOCUMENTS[dialect]
    found = answer(finished(dialect, body, content_type="text/event-stream" if streamed else "application/json"))
    assert found.answer.text == "Héllo 👋"
    assert found.finish_reason is FinishReason.STOP
    assert found.usage == Usage(input=5, output=2)
    assert found.model == (None if dialect in WITHOUT_MODEL else target(dialect).model.name)


@every_dialect
def test_a_stream_cut_at_any_byte_is_the_same(dialect: str) -> None:
    body = STREAMS[dialect]
    whole = finished(dialect, body)
    for at in range(len(body)):
        assert finished(dialect, body[:at], body[at:]) == whole


@every_dialect
def test_a_stream_that_ends_at_any_byte_is_whole_or_a_failure_and_never_half(dialect: str) -> None:
    body = STREAMS[dialect]
    kinds = set()
    for at in range(len(body)):
        outcome = finished(dialect, body[:at])
        if isinstance(outcome, Decoded):
            assert outcome.answer.text == "Héllo 👋"
        else:
            kinds.add(outcome.kind)
    assert kinds <= {K.STREAM_TRUNCATED, K.MALFORMED_RESPONSE}
    assert K.STREAM_TRUNCATED in kinds


@every_dialect
def test_a_document_that_ends_at_any_byte_is_a_failure(dialect: str) -> None:
    body = DOCUMENTS[dialect]
    for at in range(len(body)):
        assert kind(finished(dialect, body[:at], content_type="application/json")) in {
            K.STREAM_TRUNCATED,
            K.MALFORMED_RESPONSE,
        }


@every_dialect
@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json", "text/plain", "", "nonsense"])
def test_what_an_answer_is_outweighs_what_its_header_says(dialect: str, content_type: str) -> None:
    assert answer(finished(dialect, STREAMS[dialect], content_type=content_type)).answer.text == "Héllo 👋"
    assert answer(finished(dialect, DOCUMENTS[dialect], content_type=content_type)).answer.text == "Héllo 👋"


@every_dialect
@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json", "text/html"])
def test_an_empty_body_and_a_page_are_malformed(dialect: str, content_type: str) -> None:
    assert kind(finished(dialect, content_type=content_type)) is K.MALFORMED_RESPONSE
    assert kind(finished(dialect, b" \r\n\r\n ", content_type=content_type)) is K.MALFORMED_RESPONSE
    page = b"<!DOCTYPE html><html><body>Sign in to the wireless network</body></html>"
    outcome = finished(dialect, page, content_type=content_type)
    assert kind(outcome) is K.MALFORMED_RESPONSE
    assert isinstance(outcome, Failure)
    assert "wireless" in outcome.message


@every_sse
def test_a_malformed_chunk_ends_the_answer_at_once(dialect: str) -> None:
    reader = decoder(dialect, content_type="text/event-stream")
    end, event = (b"\n", b"") if dialect == "ollama" else (b"\n\n", b"data: ")
    start = STREAMS[dialect].split(end)[0]
    reader.feed(start + end + event + b'{"broken": ' + end)
    assert reader.failure is not None
    assert reader.failure.kind is K.MALFORMED_RESPONSE
    assert reader.feed(STREAMS[dialect]) == ()
    assert reader.finish() is reader.failure


@every_dialect
@pytest.mark.parametrize("event", ["[]", "null", "17", '"text"', "[[]]", '{"choices": 5}', '{"candidates": "x"}'])
def test_json_of_another_shape_never_becomes_an_answer(dialect: str, event: str) -> None:
    assert isinstance(finished(dialect, f"data: {event}\n\n".encode()), Failure)
    assert isinstance(finished(dialect, event.encode(), content_type="application/json"), Failure)


@every_dialect
def test_an_answer_larger_than_the_bound_is_refused(dialect: str) -> None:
    reader = decoder(dialect, content_type="text/event-stream", max_bytes=100)
    for at in range(0, len(STREAMS[dialect]), 10):
        reader.feed(STREAMS[dialect][at : at + 10])
    assert reader.failure is not None
    assert reader.failure.kind is K.RESPONSE_TOO_LARGE
    assert reader.finish() is reader.failure


@every_sse
def test_a_gigantic_line_is_refused_before_it_is_whole(dialect: str) -> None:
    reader = decoder(dialect, content_type="text/event-stream")
    reader.feed(b"data: ")
    fed = 0
    while reader.failure is None:
        reader.feed(b"x" * 65536)
        fed += 1
        assert fed < 1000
    assert reader.failure.kind is K.RESPONSE_TOO_LARGE


@every_dialect
def test_nothing_after_the_end_matters(dialect: str) -> None:
    reader = decoder(dialect, content_type="text/event-stream")
    reader.feed(STREAMS[dialect])
    if reader.complete:
        assert reader.feed(b"data: rubbish\n\n") == ()
    assert answer(reader.finish()).answer.text == "Héllo 👋"
    assert reader.finish() is reader.finish()


def errors_in_band() -> Iterator[tuple[str, bytes, FailureKind]]:
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    yield "anthropic", sse(overloaded, names=True), K.OVERLOADED
    yield "anthropic", json.dumps(overloaded).encode(), K.OVERLOADED
    yield "gemini", sse({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}), K.OVERLOADED
    yield "gemini", json.dumps([{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}]).encode(), K.RATE_LIMIT
    yield "openai_chat", sse({"error": {"message": "The server had an error", "type": "server_error"}}), K.SERVER_ERROR
    yield "openai_chat", json.dumps({"error": {"code": 429, "message": "Rate limit exceeded"}}).encode(), K.RATE_LIMIT
    yield "openai_chat", b'event: error\ndata: {"message": "boom"}\n\n', K.SERVER_ERROR
    yield "openai_chat", b'{"choices": null, "base_resp": {"status_code": 1, "status_msg": "no"}}', K.SERVER_ERROR
    yield "openai_chat", b'{"error": "model is overloaded"}', K.OVERLOADED


@pytest.mark.parametrize(("dialect", "body", "expected"), list(errors_in_band()))
@pytest.mark.parametrize("late", [False, True])
def test_an_error_inside_a_good_answer_is_classified_like_any_other(
    dialect: str, body: bytes, expected: FailureKind, late: bool
) -> None:
    if late and body[:1] not in b"de":
        return
    reader = decoder(dialect, content_type="text/event-stream")
    deltas = []
    if late:
        events = STREAMS[dialect].split(b"\n\n")
        deltas = list(reader.feed(b"\n\n".join(events[: 5 if dialect == "anthropic" else 2][:]) + b"\n\n"))
        if dialect == "gemini":
            reader = decoder(dialect, content_type="text/event-stream")
            deltas = list(reader.feed(events[0] + b"\n\n"))
    reader.feed(body)
    outcome = reader.finish()
    assert kind(outcome) is expected
    assert isinstance(outcome, Failure)
    assert outcome.produced is bool(deltas)
    assert outcome.provider == target(dialect).provider.name


def test_a_finish_reason_makes_a_chat_completion_whole_without_done() -> None:
    body = sse(openai_chunk({"content": "Hi"}), openai_chunk(finish="stop"))
    assert answer(finished("openai_chat", body)).answer.text == "Hi"
    assert kind(finished("openai_chat", sse(openai_chunk({"content": "Hi"}), "[DONE]"))) is K.STREAM_TRUNCATED


def test_a_message_without_message_stop_is_truncated() -> None:
    body = STREAMS["anthropic"].rpartition(b"event: message_stop")[0]
    assert kind(finished("anthropic", body)) is K.STREAM_TRUNCATED


def test_the_last_event_may_lack_its_blank_line() -> None:
    body = sse(openai_chunk({"content": "Hi"}), openai_chunk(finish="stop")).rstrip()
    assert answer(finished("openai_chat", body)).answer.text == "Hi"


def test_where_no_usage_is_told_the_output_is_estimated_and_says_so() -> None:
    reader = decoder("openai_chat", content_type="text/event-stream")
    reader.feed(sse(openai_chunk({"content": "twelve chars"})))
    assert reader.partial.usage == Usage(output=3, reported=False)
    assert reader.partial.output_characters == 12
    assert reader.partial.produced
    reader.feed(sse(openai_chunk(finish="stop")))
    assert answer(reader.finish()).usage == Usage(output=3, reported=False)


def test_a_usage_nobody_can_read_is_none() -> None:
    body = sse(openai_chunk({"content": "abcd"}, "stop", usage={"prompt_tokens_details": 7, "prompt_tokens": 1}))
    assert answer(finished("openai_chat", body)).usage == Usage(output=1, reported=False)
    body = sse(openai_chunk({"content": "abcd"}, "stop", usage={"prompt_tokens": -5, "completion_tokens": 1e300}))
    assert answer(finished("openai_chat", body)).usage == Usage()


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ({**USAGE, "cost": 0.00014}, Decimal("0.00014")),
        ({**USAGE, "cost": {"total_cost": 0.005}}, Decimal("0.005")),
        ({**USAGE, "cost_in_usd_ticks": 1_234_500}, Decimal("0.00012345")),
        ({**USAGE, "cost": "free"}, None),
        ({**USAGE, "cost": True}, None),
        ({**USAGE, "cost": -1}, None),
        (USAGE, None),
    ],
)
def test_the_cost_is_taken_from_the_provider_where_it_says_it(usage: object, cost: Decimal | None) -> None:
    assert answer(finished("openai_chat", sse(openai_chunk({"content": "x"}, "stop", usage=usage)))).cost == cost


def test_half_a_surrogate_pair_becomes_the_replacement_character() -> None:
    body = b'data: {"choices": [{"delta": {"content": "a\\ud83d"}, "finish_reason": "stop"}]}\n\n'
    assert answer(finished("openai_chat", body)).answer.text == "a\ufffd"
    body = b'data: {"choices": [{"delta": {"content": "a\\ud83d\\ude00"}, "finish_reason": "stop"}]}\n\n'
    assert answer(finished("openai_chat", body)).answer.text == "a😀"


def test_a_very_deep_document_is_malformed() -> None:
    deep = b'{"choices": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert kind(finished("openai_chat", deep, content_type="application/json")) is K.MALFORMED_RESPONSE


@pytest.mark.parametrize(
    ("dialect", "word", "reason"),
    [
        ("openai_chat", "stop", FinishReason.STOP),
        ("openai_chat", "eos", FinishReason.STOP),
        ("openai_chat", "a word of tomorrow", FinishReason.STOP),
        ("openai_chat", "length", FinishReason.LENGTH),
        ("openai_chat", "model_length", FinishReason.LENGTH),
        ("openai_chat", "content_filter", FinishReason.CONTENT_FILTER),
        ("openai_chat", "sensitive", FinishReason.CONTENT_FILTER),
        ("openai_chat", "error", K.SERVER_ERROR),
        ("openai_chat", "network_error", K.SERVER_ERROR),
        ("openai_chat", "insufficient_system_resource", K.OVERLOADED),
        ("anthropic", "end_turn", FinishReason.STOP),
        ("anthropic", "pause_turn", FinishReason.STOP),
        ("anthropic", "max_tokens", FinishReason.LENGTH),
        ("anthropic", "model_context_window_exceeded", FinishReason.LENGTH),
        ("anthropic", "refusal", FinishReason.CONTENT_FILTER),
        ("gemini", "STOP", FinishReason.STOP),
        ("gemini", "MAX_TOKENS", FinishReason.LENGTH),
        ("gemini", "SAFETY", FinishReason.CONTENT_FILTER),
        ("gemini", "RECITATION", FinishReason.CONTENT_FILTER),
        ("gemini", "MALFORMED_FUNCTION_CALL", K.MODEL_OUTPUT_INVALID),
        ("gemini", "OTHER", K.SERVER_ERROR),
        ("gemini", "A_WORD_OF_TOMORROW", FinishReason.ERROR),
        ("bedrock", "stop_sequence", FinishReason.STOP),
        ("bedrock", "max_tokens", FinishReason.LENGTH),
        ("bedrock", "model_context_window_exceeded", FinishReason.LENGTH),
        ("bedrock", "tool_use", FinishReason.TOOL_CALLS),
        ("bedrock", "guardrail_intervened", FinishReason.CONTENT_FILTER),
        ("bedrock", "content_filtered", FinishReason.CONTENT_FILTER),
        ("bedrock", "malformed_tool_use", K.MODEL_OUTPUT_INVALID),
        ("bedrock", "malformed_model_output", K.MODEL_OUTPUT_INVALID),
    ],
)
def test_reasons_to_stop_are_the_same_five_or_a_failure(
    dialect: str, word: str, reason: FinishReason | FailureKind
) -> None:
    document = json.loads(DOCUMENTS[dialect])
    if dialect == "openai_chat":
        document["choices"][0]["finish_reason"] = word
    elif dialect == "anthropic":
        document["stop_reason"] = word
    elif dialect == "bedrock":
        document["stopReason"] = word
    else:
        document["candidates"][0]["finishReason"] = word
    outcome = finished(dialect, json.dumps(document).encode(), content_type="application/json")
    if isinstance(outcome, Failure):
        assert outcome.kind is reason
        assert outcome.code == word
    else:
        assert outcome.finish_reason is reason
        assert outcome.finish_raw == word
