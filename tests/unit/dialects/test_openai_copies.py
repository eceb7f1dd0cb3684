"""What servers answer that speak OpenAI's formats nearly: each found in traffic, each read for what it means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from catalogue.load import providers
from job_contracts.chat import Citation, Conversation, FinishReason, Usage
from job_contracts.failures import Failure, FailureKind
from tests.unit.dialects.samples import openai_chunk, sse, target
from workers.dialects import DIALECTS
from workers.dialects.port import Decoded, Target
from workers.dialects.strict_schema import Strict, strict

USED = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def outcome(body: bytes, *, dialect: str = "openai_chat", media: str = "", **quirks: Any) -> Decoded | Failure:
    reader = DIALECTS[dialect].decoder(target(dialect, **(quirks or {"stream_usage": True})), content_type=media)
    reader.feed(body)
    return reader.finish()


def document(choice: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"choices": [{"index": 0, **choice}], **more}).encode()


def read(body: bytes, **quirks: Any) -> Decoded:
    found = outcome(body, **quirks)
    assert isinstance(found, Decoded), found
    return found


def failed(body: bytes, **quirks: Any) -> Failure:
    found = outcome(body, **quirks)
    assert isinstance(found, Failure), found
    return found


def test_the_providers_own_end_with_its_account_ends_an_answer_without_a_reason() -> None:
    account = {"choices": [], "usage": USED}
    found = read(sse(openai_chunk({"content": "Hi"}), account, "[DONE]"))
    assert (found.answer.text, found.finish_reason, found.finish_raw) == ("Hi", FinishReason.STOP, None)
    whole = read(document({"message": {"content": "Hi"}, "finish_reason": None}, usage=USED))
    assert (whole.answer.text, whole.finish_reason) == ("Hi", FinishReason.STOP)
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    assert read(sse(openai_chunk({"tool_calls": [call]}), account, "[DONE]")).finish_reason is FinishReason.TOOL_CALLS


def test_neither_the_account_nor_the_end_alone_ends_an_answer_without_a_reason() -> None:
    account = {"choices": [], "usage": USED}
    assert failed(sse(openai_chunk({"content": "Hi"}), account)).kind is FailureKind.STREAM_TRUNCATED
    assert failed(sse(openai_chunk({"content": "Hi"}), "[DONE]")).kind is FailureKind.STREAM_TRUNCATED
    assert failed(sse(account, "[DONE]")).kind is FailureKind.STREAM_TRUNCATED
    assert failed(document({"message": {"content": "Hi"}})).kind is FailureKind.MALFORMED_RESPONSE


def test_an_error_inside_a_choice_is_one_whatever_reason_stands_beside_it() -> None:
    error = {"code": 502, "message": "upstream said: inappropriate content"}
    body = document({"message": {"content": "Hi"}, "finish_reason": None, "error": error}, usage=USED)
    assert failed(body).kind is FailureKind.CONTENT_POLICY
    chunk = openai_chunk({"content": "Hi"})
    chunk["choices"][0]["error"] = {"code": 429, "message": "slow down"}
    assert failed(sse(chunk, "[DONE]")).kind is FailureKind.RATE_LIMIT
    chunk["choices"][0]["error"] = None
    assert read(sse(chunk, openai_chunk(finish="stop"), "[DONE]")).answer.text == "Hi"


def test_the_reason_of_the_first_models_that_saw_is_one() -> None:
    choice = {"message": {"content": "A lake"}, "finish_details": {"type": "max_tokens"}}
    found = read(document(choice, usage=USED))
    assert (found.finish_reason, found.finish_raw) == (FinishReason.LENGTH, "max_tokens")


def test_a_token_without_its_probability_costs_the_probabilities_and_not_the_answer() -> None:
    first, last = openai_chunk({"content": "Hi"}), openai_chunk(finish="stop")
    first["choices"][0]["logprobs"] = {"content": [{"token": "Hi", "logprob": -0.5}]}
    last["choices"][0]["logprobs"] = {"content": [{"token": "", "top_logprobs": []}]}
    found = read(sse(first, last, "[DONE]"))
    assert [one.token for one in found.answer.logprobs] == ["Hi"]
    assert [loss.field for loss in found.losses] == ["answer.logprobs"]


def test_an_object_for_content_is_the_json_that_was_asked_for() -> None:
    found = read(document({"message": {"content": {"name": "Emma", "age": 3}}, "finish_reason": "stop"}))
    assert json.loads(found.answer.text) == {"name": "Emma", "age": 3}


def test_a_citation_may_be_told_without_an_envelope() -> None:
    flat = {"type": "url_citation", "url": "https://e.com/a", "title": "A", "site_name": "e.com"}
    found = read(sse(openai_chunk({"content": "so", "annotations": [flat]}, "stop"), "[DONE]"))
    assert found.answer.citations == (Citation(url="https://e.com/a", title="A"),)
    assert found.losses == ()


@pytest.mark.parametrize(
    ("told", "apart", "usage"),
    [
        # Counted by another measure than the completion: it is inside, and all of it.
        ({**USED, "completion_tokens_details": {"reasoning_tokens": 6}}, False, Usage(input=9, output=4, reasoning=4)),
        ({**USED, "reasoning_tokens": 6}, False, Usage(input=9, output=4, reasoning=4)),
        # In neither number: the row knows it.
        ({**USED, "completion_tokens_details": {"reasoning_tokens": 6}}, True, Usage(input=9, output=10, reasoning=6)),
        ({**USED, "completion_tokens_details": {"reasoning_tokens": 3}}, True, Usage(input=9, output=4, reasoning=3)),
        # In the total alone.
        ({**USED, "total_tokens": 19, "reasoning_tokens": 6}, False, Usage(input=9, output=10, reasoning=6)),
    ],
)
def test_reasoning_beside_a_smaller_completion(told: dict[str, Any], apart: bool, usage: Usage) -> None:
    body = sse(openai_chunk({"content": "x"}, "stop", usage=told), "[DONE]")
    assert read(body, reasoning_apart=apart).usage == usage


def test_a_response_may_be_complete_instead_of_completed() -> None:
    message = {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}
    body = json.dumps({"status": "complete", "output": [message]}).encode()
    found = read(body, dialect="openai_responses")
    assert (found.answer.text, found.finish_reason) == ("Hi", FinishReason.STOP)


@pytest.mark.parametrize(
    ("provider", "status", "message", "kind"),
    [
        ("llamacpp", 500, "image input is not supported - hint: provide the mmproj", FailureKind.UNSUPPORTED_PARAM),
        ("mistral", 400, "Audio input is not enabled for this model", FailureKind.UNSUPPORTED_PARAM),
        ("huggingface", 400, "model features function calling not support", FailureKind.UNSUPPORTED_PARAM),
        ("huggingface", 400, "/models/Q3 is not a multimodal model", FailureKind.UNSUPPORTED_PARAM),
        ("together", 400, "image_url is not supported", FailureKind.UNSUPPORTED_PARAM),
        (
            "deepseek",
            400,
            "The supported API model names are deepseek-v4-pro or deepseek-v4-flash, but you passed x.",
            FailureKind.MODEL_NOT_FOUND,
        ),
        (
            "mistral",
            400,
            "Prompt contains 40 tokens and 0 draft tokens, too large for model with 32 maximum context length",
            FailureKind.CONTEXT_OVERFLOW,
        ),
    ],
)
def test_what_a_model_cannot_do_is_told_in_many_words(
    provider: str, status: int, message: str, kind: FailureKind
) -> None:
    row = providers()[provider]
    body = json.dumps({"object": "error", "message": message, "type": "x", "code": "3051"}).encode()
    found = DIALECTS["openai_chat"].failure(Target(row, row.model("m")), status, {}, body)
    assert found.kind is kind


def asked(provider: str, model: str, choice: Any, **settings: Any) -> tuple[Any, list[str]]:
    row = providers()[provider]
    conversation = Conversation.model_validate(
        {
            "messages": [{"role": "user", "content": "hi"}],
            "tools": [{"name": "f"}, {"name": "g"}],
            "settings": {"tool_choice": choice, **settings},
        }
    )
    encoded = DIALECTS[row.dialect].encode(conversation, Target(row, row.model(model)))
    choice = json.loads(encoded.body).get("tool_choice")
    return choice, [loss.field for loss in encoded.losses if loss.field == "settings.tool_choice"]


def test_a_call_is_not_forced_on_a_model_that_refuses_it_while_it_reasons() -> None:
    lost = ["settings.tool_choice"]
    assert asked("deepseek", "deepseek-v4-flash", "required") == ("auto", lost)
    assert asked("deepseek", "deepseek-v4-flash", "required", reasoning_effort="none") == ("required", [])
    assert asked("deepseek", "deepseek-chat", "required") == ("required", [])
    assert asked("deepseek", "deepseek-chat", "required", reasoning_effort="high") == ("auto", lost)
    assert asked("qwen", "qwen3-vl-flash", "required") == ("required", [])
    assert asked("qwen", "qwen3-vl-flash", {"name": "f"}, reasoning_effort="high") == ("auto", lost)
    assert asked("qwen", "qwen3-vl-flash", {"name": "f"}, reasoning_budget=100) == ("auto", lost)
    assert asked("qwen", "qwen3-coder-plus", "required", reasoning_effort="high") == ("required", [])
    assert asked("llamacpp", "m", {"name": "f"}) == ("required", lost)


def test_a_strict_schema_keeps_the_dialect_it_names_and_its_defaults_where_they_are_taken() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"unit": {"type": "string", "default": "km"}},
        "required": ["unit"],
        "additionalProperties": False,
    }
    assert strict(schema, defaults=True) == Strict(schema, [])
    found = strict(schema)
    assert isinstance(found, Strict)
    assert found.schema["$schema"] == schema["$schema"]
    assert found.changes == ["unit: default is left out"]
    row = providers()["openai"]
    tool = {"name": "f", "parameters": schema, "strict": True}
    conversation = Conversation.model_validate({"messages": [{"role": "user", "content": "hi"}], "tools": [tool]})
    for dialect in ("openai_chat", "openai_responses"):
        encoded = DIALECTS[dialect].encode(conversation, Target(row, row.model("gpt-4o")))
        sent = json.loads(encoded.body)["tools"][0]
        assert sent.get("function", sent)["parameters"] == schema
        assert encoded.losses == ()
