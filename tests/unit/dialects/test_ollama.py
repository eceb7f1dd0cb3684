from __future__ import annotations

import json
from typing import Any

import pytest

from job_contracts.chat import Conversation, FinishReason, ReasoningPart, TextPart, TokenLogprob, Usage
from job_contracts.failures import Failure, FailureKind
from tests.unit.dialects.samples import decoder, lines, ollama_piece, target
from workers.dialects import DIALECTS
from workers.dialects.ndjson import Lines
from workers.dialects.port import Decoded, Encoded, Target
from workers.dialects.sse import EventTooLarge

DIALECT = DIALECTS["ollama"]
TOOL = {"name": "look_up", "description": "Looks up.", "parameters": {"type": "object"}}
PLAIN = [{"role": "user", "content": "hi"}]
CALL = {"type": "tool_call", "id": "c1", "name": "look_up", "arguments": '{"q": 1}'}
END = {"done": True, "done_reason": "stop", "prompt_eval_count": 5, "eval_count": 2}


def encoded(messages: Any = PLAIN, tools: Any = (), of: Target | None = None, **settings: Any) -> Encoded:
    values = {"messages": messages, "tools": tools, "settings": settings}
    return DIALECT.encode(Conversation.model_validate(values), of or target("ollama"))


def body(*args: Any, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encoded(*args, **options).body)
    return found


def lost(one: Encoded) -> list[tuple[str, str]]:
    return [(loss.kind, loss.field) for loss in one.losses]


def test_a_plain_question_is_never_cut_in_silence() -> None:
    one = encoded([{"role": "developer", "content": "Be brief."}, *PLAIN], max_tokens=5, top_k=7, stop=["END"], seed=-3)
    assert one.path == "/api/chat"
    assert json.loads(one.body) == {
        "model": "qwen3",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
        "stream": False,
        "truncate": False,
        "shift": False,
        "options": {"num_ctx": 32_768, "num_predict": 5, "top_k": 7, "seed": -3, "stop": ["END"]},
    }
    assert lost(one) == [("renamed", "messages[0].role")]


def test_the_window_is_what_the_row_says_or_nothing() -> None:
    assert body(of=target("ollama", "m", num_ctx=9_000))["options"] == {"num_ctx": 9_000}
    assert "options" not in body(of=target("ollama", "m", temperature_max=1.0))


@pytest.mark.parametrize(
    ("model", "settings", "think", "losses"),
    [
        ("qwen3", {}, None, []),
        ("qwen3", {"reasoning_effort": "none"}, False, []),
        ("qwen3", {"reasoning_effort": "low"}, True, [("rewritten", "settings.reasoning_effort")]),
        ("gpt-oss", {"reasoning_effort": "low"}, "low", []),
        ("gpt-oss", {"reasoning_effort": "xhigh"}, "high", [("clamped", "settings.reasoning_effort")]),
        ("gpt-oss", {"reasoning_budget": 9_000}, "medium", [("converted", "settings.reasoning_budget")]),
        ("gemma3", {"reasoning_effort": "low"}, None, [("dropped", "settings.reasoning_effort")]),
    ],
)
def test_how_a_model_is_asked_to_think(model: str, settings: Any, think: Any, losses: Any) -> None:
    one = encoded(of=target("ollama", model), **settings)
    assert json.loads(one.body).get("think") == think
    assert lost(one) == losses


def test_calls_have_objects_and_results_name_their_tool() -> None:
    turns = [
        *PLAIN,
        {"role": "assistant", "content": [{"type": "reasoning", "text": "Hm."}, CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "found"},
    ]
    one = encoded(turns, [TOOL])
    assert json.loads(one.body)["messages"][1:] == [
        {
            "role": "assistant",
            "content": "",
            "thinking": "Hm.",
            "tool_calls": [{"id": "c1", "function": {"name": "look_up", "arguments": {"q": 1}}}],
        },
        {"role": "tool", "content": "found", "tool_call_id": "c1", "tool_name": "look_up"},
    ]
    assert one.losses == ()


@pytest.mark.parametrize(
    ("choice", "offered", "losses"),
    [
        ("auto", True, []),
        ("required", True, [("dropped", "settings.tool_choice")]),
        ({"name": "look_up"}, True, [("dropped", "settings.tool_choice")]),
        ("none", False, [("rewritten", "settings.tool_choice"), ("dropped", "tools")]),
    ],
)
def test_a_call_can_be_kept_from_the_model_but_not_required(choice: Any, offered: bool, losses: Any) -> None:
    one = encoded(tools=[TOOL], tool_choice=choice)
    assert ("tools" in json.loads(one.body)) is offered
    assert lost(one) == losses


def test_images_go_beside_the_text_and_none_by_address() -> None:
    content = [
        {"type": "image", "data": "aGk=", "media_type": "image/png"},
        {"type": "text", "text": "see"},
        {"type": "image", "url": "https://a.invalid/i.png"},
        {"type": "image", "url": "data:image/gif;base64,AAAA"},
    ]
    one = encoded([{"role": "user", "content": content}], of=target("ollama", "gemma3"))
    assert json.loads(one.body)["messages"] == [{"role": "user", "content": "see", "images": ["aGk=", "AAAA"]}]
    assert lost(one) == [("dropped", "messages[0].content"), ("rewritten", "messages[0].content")]


def test_structured_answers() -> None:
    assert body(response_format={"type": "json_object"})["format"] == "json"
    form = {"type": "json_schema", "json_schema": {"type": "object"}}
    assert body(response_format=form)["format"] == {"type": "object"}


# -- answers


def outcome(*pieces: Any, of: Target | None = None) -> Decoded | Failure:
    reader = decoder("ollama", content_type="application/x-ndjson", of=of)
    reader.feed(lines(*pieces))
    return reader.finish()


def answer(*pieces: Any, of: Target | None = None) -> Decoded:
    found = outcome(*pieces, of=of)
    assert isinstance(found, Decoded), found
    return found


def test_thoughts_text_calls_and_log_probabilities() -> None:
    call = {"function": {"index": 0, "name": "look_up", "arguments": {"q": 1}}}
    token = {"token": "Yes", "logprob": -0.5, "top_logprobs": [{"token": "No", "logprob": -1.5}]}
    found = answer(
        ollama_piece("", message={"role": "assistant", "content": "", "thinking": "Hm."}),
        ollama_piece("Yes", logprobs=[token]),
        ollama_piece("", message={"role": "assistant", "content": "", "tool_calls": [call]}),
        ollama_piece("", message={"role": "assistant", "content": "", "tool_calls": [call]}),
        ollama_piece("", **END),
    )
    assert found.answer.parts[:2] == (ReasoningPart(text="Hm."), TextPart(text="Yes"))
    assert found.answer.logprobs == (TokenLogprob(token="Yes", logprob=-0.5, top=(("No", -1.5),)),)
    first, second = found.answer.tool_calls
    assert (first.name, first.arguments) == (second.name, second.arguments) == ("look_up", '{"q":1}')
    assert first.id != second.id
    assert found.finish_reason is FinishReason.TOOL_CALLS
    assert found.usage == Usage(input=5, output=2)
    assert found.model == "qwen3"


def test_ids_that_are_made_are_the_same_for_the_same_answer_and_of_no_other() -> None:
    message = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "look_up", "arguments": {}}}]}
    first = answer(ollama_piece("", message=message, **END))
    again = answer(ollama_piece("", message=message, **END))
    later = answer(ollama_piece("", message=message, created_at="2026-01-01T00:00:01Z", **END))
    assert first.answer == again.answer
    assert first.answer.tool_calls[0].id != later.answer.tool_calls[0].id


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"prompt_eval_count": 5, "eval_count": 2}, Usage(input=5, output=2)),
        ({"eval_count": 2}, Usage(output=2, reported=False)),  # the prompt was in the server's cache
        ({}, Usage(output=1, reported=False)),
    ],
)
def test_usage_that_is_not_told_is_not_made_up(counts: Any, usage: Usage) -> None:
    assert answer(ollama_piece("Yes", done=True, done_reason="stop", **counts)).usage == usage


@pytest.mark.parametrize(
    ("prompt", "output", "cut"), [(512, 11, True), (496, 30, True), (500, 12, False), (318, 7, False)]
)
def test_a_window_that_is_full_means_a_prompt_that_was_cut(prompt: int, output: int, cut: bool) -> None:
    end = {**END, "prompt_eval_count": prompt, "eval_count": output}
    found = answer(ollama_piece("Yes", **end), of=target("ollama", "m", num_ctx=512))
    assert [(loss.kind, loss.field) for loss in found.losses] == [("dropped", "messages")] * cut


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        ("length", FinishReason.LENGTH),
        (None, FinishReason.STOP),
        ("load", FailureKind.SERVER_ERROR),
        ("unload", FailureKind.SERVER_ERROR),
    ],
)
def test_every_reason_to_stop_has_its_meaning(reason: str | None, meaning: Any) -> None:
    found = outcome(ollama_piece("Yes", done=True, done_reason=reason))
    assert (found.kind if isinstance(found, Failure) else found.finish_reason) == meaning


@pytest.mark.parametrize(
    ("pieces", "kind"),
    [
        ([ollama_piece("Yes"), {"error": "an error was encountered while running the model"}], "server_error"),
        ([{"error": "model 'x' not found"}], "model_not_found"),
        ([ollama_piece("Yes")], "stream_truncated"),
        ([{"status": "pulling"}], "malformed_response"),
    ],
)
def test_what_is_no_whole_answer_is_a_failure(pieces: Any, kind: str) -> None:
    found = outcome(*pieces)
    assert isinstance(found, Failure)
    assert found.kind == kind


@pytest.mark.parametrize(
    "error",
    [
        "the input length exceeds the context length",
        json.dumps({"error": {"message": "request (2622 tokens) exceeds the available context size", "n_ctx": 512}}),
    ],
)
def test_a_prompt_that_does_not_fit_is_refused_as_such(error: str) -> None:
    failure = DIALECT.failure(target("ollama"), 400, {}, json.dumps({"error": error}).encode())
    assert failure.kind is FailureKind.CONTEXT_OVERFLOW


def test_an_answer_that_was_printed_over_many_lines_is_one() -> None:
    reader = decoder("ollama", content_type="application/json")
    printed = b"\xef\xbb\xbf\n" + json.dumps(ollama_piece("Yes", **END), indent=2).encode()
    for at in range(0, len(printed), 5):
        assert reader.feed(printed[at : at + 5]) == ()
    found = reader.finish()
    assert isinstance(found, Decoded)
    assert found.answer.text == "Yes"


def test_lines_come_out_as_their_ends_come_and_have_a_bound() -> None:
    parser = Lines(20)
    assert parser.feed(b'\r\n{"a"') == []
    assert parser.feed(b': 1}\r\n\n{"b": 2}\n{"c"') == [("", b'{"a": 1}\r'), ("", b'{"b": 2}')]
    assert parser.flush() == [("", b'{"c"')]
    assert parser.flush() == []
    with pytest.raises(EventTooLarge):
        parser.feed(b"x" * 21)
    with pytest.raises(EventTooLarge):
        Lines(20).feed(b'{"a": "' + b"x" * 20 + b'"}\n')


@pytest.mark.parametrize(("model", "goes"), [("qwen3.5:2b", True), ("qwen3-vl:8b", True), ("qwen3:8b", False)])
def test_images_go_to_the_models_that_see(model: str, goes: bool) -> None:
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image", "url": "data:image/png;base64,AAAA"}]
    one = encoded([{"role": "user", "content": parts}], of=target("ollama", model))
    assert ("images" in json.loads(one.body)["messages"][0]) is goes
