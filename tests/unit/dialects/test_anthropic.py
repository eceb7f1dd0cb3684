from __future__ import annotations

import json
from typing import Any

import pytest

from job_contracts.chat import Conversation, FinishReason, ReasoningPart, TextPart, ToolCallPart, Usage
from job_contracts.failures import Failure, FailureKind
from job_contracts.stream import ToolCallDelta
from tests.unit.dialects.samples import decoder, sse, target
from workers.dialects import DIALECTS
from workers.dialects.port import Decoded, Encoded, Target

DIALECT = DIALECTS["anthropic"]
TOOL = {"name": "look_up", "description": "Looks up.", "parameters": {"type": "object", "properties": {}}}
PLAIN = [{"role": "user", "content": "hi"}]


def encoded(messages: Any = PLAIN, tools: Any = (), of: Target | None = None, **settings: Any) -> Encoded:
    values = {"messages": messages, "tools": tools, "settings": settings}
    return DIALECT.encode(Conversation.model_validate(values), of or target("anthropic"))


def body(*args: Any, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encoded(*args, **options).body)
    return found


def lost(one: Encoded) -> list[tuple[str, str]]:
    return [(loss.kind, loss.field) for loss in one.losses]


def test_a_plain_question() -> None:
    one = encoded([{"role": "system", "content": "Be brief."}, *PLAIN], max_tokens=5, stop=["END"])
    assert one.path == "/messages"
    assert one.headers["anthropic-version"] == "2023-06-01"
    assert json.loads(one.body) == {
        "model": "claude-sonnet-4-5",
        "max_tokens": 5,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "hi"}],
        "stop_sequences": ["END"],
    }
    assert one.losses == ()


def test_max_tokens_is_always_there_and_never_more_than_the_model_has() -> None:
    assert body()["max_tokens"] == 64_000
    assert body(of=target("anthropic", "claude-of-tomorrow"))["max_tokens"] == 4096
    one = encoded(max_tokens=100_000)
    assert json.loads(one.body)["max_tokens"] == 64_000
    assert lost(one) == [("clamped", "settings.max_tokens")]


def test_system_turns_join_at_the_top_or_stay_where_the_model_takes_them() -> None:
    turns = [
        {"role": "system", "content": "one"},
        {"role": "developer", "content": "two"},
        *PLAIN,
        {"role": "system", "content": "three"},
    ]
    one = encoded(turns)
    assert [block["text"] for block in json.loads(one.body)["system"]] == ["one", "two", "three"]
    assert lost(one) == [("renamed", "messages[1].role"), ("merged", "messages[3]")]
    new = json.loads(encoded(turns, of=target("anthropic", "claude-sonnet-5")).body)
    assert [message["role"] for message in new["messages"]] == ["user", "system"]


def test_a_conversation_of_nothing_but_system_text_is_sent_as_the_users() -> None:
    one = encoded([{"role": "system", "content": "Say hello."}])
    assert json.loads(one.body)["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Say hello."}]}]
    assert "system" not in json.loads(one.body)
    assert lost(one) == [("converted", "messages")]


CALLS = [
    *PLAIN,
    {
        "role": "assistant",
        "content": [
            {"type": "reasoning", "text": "hm", "signature": "s1", "origin": "claude"},
            {"type": "reasoning", "redacted": "opaque", "origin": "claude"},
            {"type": "reasoning", "text": "foreign", "signature": "s2", "origin": "gemini-3"},
            {"type": "text", "text": "Let me see."},
            {"type": "tool_call", "id": "a.1", "name": "look_up", "arguments": '{"q": 1}'},
            {"type": "tool_call", "id": "a.2", "name": "look_up", "arguments": "not json"},
        ],
    },
    {"role": "user", "content": "and?"},
    {"role": "tool", "tool_call_id": "a.1", "content": "one", "is_error": True},
    {
        "role": "tool",
        "tool_call_id": "a.2",
        "content": [{"type": "text", "text": "two"}, {"type": "image", "data": "AAAA", "media_type": "image/png"}],
    },
]


def test_calls_results_and_signed_reasoning() -> None:
    one = encoded(CALLS, [TOOL])
    _, said, results = json.loads(one.body)["messages"]
    kinds = [block["type"] for block in said["content"]]
    assert kinds == ["thinking", "redacted_thinking", "text", "tool_use", "tool_use"]
    assert said["content"][0] == {"type": "thinking", "thinking": "hm", "signature": "s1"}
    assert said["content"][3]["input"] == {"q": 1}
    assert said["content"][4]["input"] == {"arguments": "not json"}
    assert [block["type"] for block in results["content"]] == ["tool_result", "tool_result", "text"]
    assert results["content"][0]["is_error"] is True
    assert results["content"][1]["content"][1]["source"] == {
        "type": "base64",
        "media_type": "image/png",
        "data": "AAAA",
    }
    assert [block["tool_use_id"] for block in results["content"][:2]] == [
        block["id"] for block in said["content"] if block["type"] == "tool_use"
    ]
    assert set(lost(one)) == {
        ("renamed", "tool_call_id"),
        ("dropped", "messages[1].reasoning"),
        ("rewritten", "messages[1].tool_call.arguments"),
        ("rewritten", "messages[3]"),
        ("rewritten", "messages[4]"),
    }


def test_blank_text_is_left_out_and_a_prefill_loses_its_last_blanks() -> None:
    one = encoded([*PLAIN, {"role": "user", "content": "  "}, {"role": "assistant", "content": "I think \n"}])
    assert json.loads(one.body)["messages"] == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "text", "text": "I think"}]},
    ]
    assert lost(one) == [("dropped", "messages[1].content"), ("rewritten", "messages")]


def test_settings_without_a_word_are_dropped_and_the_temperature_is_clamped() -> None:
    one = encoded(temperature=1.5, seed=1, presence_penalty=0.1, frequency_penalty=0.1, logprobs=True, top_logprobs=2)
    assert json.loads(one.body)["temperature"] == 1.0
    assert ("clamped", "settings.temperature") in lost(one)
    assert {field for kind, field in lost(one) if kind == "dropped"} == {
        f"settings.{name}" for name in ("seed", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs")
    }


def test_of_temperature_and_top_p_only_one_goes_where_the_model_takes_one() -> None:
    one = encoded(temperature=0.5, top_p=0.5)
    assert "top_p" not in json.loads(one.body)
    assert lost(one) == [("dropped", "settings.top_p")]
    old = body(of=target("anthropic", "claude-3-5-haiku-latest"), temperature=0.5, top_p=0.5)
    assert (old["temperature"], old["top_p"]) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("choice", "parallel", "sent"),
    [
        ("auto", None, {"type": "auto"}),
        ("none", None, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ({"name": "look_up"}, False, {"type": "tool", "name": "look_up", "disable_parallel_tool_use": True}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (None, True, None),
    ],
)
def test_tool_choice(choice: Any, parallel: bool | None, sent: Any) -> None:
    assert body(tools=[TOOL], tool_choice=choice, parallel_tool_calls=parallel).get("tool_choice") == sent


def test_a_tool_without_parameters_gets_the_schema_the_api_wants() -> None:
    tools = body(tools=[{"name": "now"}, {"name": "put", "parameters": {"properties": {"a": {}}}}])["tools"]
    assert tools[0]["input_schema"] == {"type": "object", "properties": {}}
    assert tools[1]["input_schema"] == {"type": "object", "properties": {"a": {}}}


def test_a_schema_is_output_config_and_json_alone_is_no_mode() -> None:
    form = {"type": "json_schema", "json_schema": {"type": "object"}}
    assert body(response_format=form)["output_config"] == {
        "format": {"type": "json_schema", "schema": {"type": "object", "additionalProperties": False}}
    }
    assert lost(encoded(response_format={"type": "json_object"})) == [("dropped", "settings.response_format")]


def test_effort_as_a_budget() -> None:
    found = body(reasoning_effort="medium", max_tokens=20_000)
    assert found["thinking"] == {"type": "enabled", "budget_tokens": 8192}
    tight = encoded(reasoning_effort="high", max_tokens=5000)
    assert json.loads(tight.body)["thinking"]["budget_tokens"] == 4999
    assert lost(tight) == [("clamped", "settings.reasoning_effort")]
    none = encoded(reasoning_effort="high", max_tokens=500)
    assert "thinking" not in json.loads(none.body)
    assert lost(none) == [("dropped", "settings.reasoning_effort")]
    assert body(reasoning_effort="none")["thinking"] == {"type": "disabled"}


def test_effort_as_a_word_and_what_thinking_forbids() -> None:
    new = target("anthropic", "claude-sonnet-5")
    one = encoded(of=new, tools=[TOOL], reasoning_effort="high", temperature=0.5, top_p=0.5, tool_choice="required")
    found = json.loads(one.body)
    assert found["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert found["output_config"] == {"effort": "high"}
    assert found["tool_choice"] == {"type": "any"}
    assert set(lost(one)) == {("dropped", "settings.temperature"), ("dropped", "settings.top_p")}
    old = encoded(of=target("anthropic", "claude-3-5-haiku-latest"), reasoning_effort="high")
    assert lost(old) == [("dropped", "settings.reasoning_effort")]


def test_a_model_between_two_ways_to_think_is_given_the_one_that_was_asked_for() -> None:
    for model in ("claude-opus-4-6", "claude-sonnet-4-6"):
        one = encoded(of=target("anthropic", model), reasoning_budget=2000)
        assert json.loads(one.body)["thinking"] == {"type": "enabled", "budget_tokens": 2000}
        assert not lost(one)
        both = encoded(of=target("anthropic", model), reasoning_budget=2000, reasoning_effort="low")
        assert json.loads(both.body)["thinking"]["type"] == "adaptive"
    new = encoded(of=target("anthropic", "claude-opus-4-8"), reasoning_budget=2000)
    assert lost(new) == [("converted", "settings.reasoning_budget")]


@pytest.mark.parametrize(
    ("model", "effort", "sent"),
    [
        ("claude-sonnet-4-5", "low", "auto"),  # thinks by a budget
        ("claude-sonnet-4-5", None, "any"),
        ("claude-opus-4-6", "low", "any"),  # thinks adaptively
        ("claude-fable-5", None, "auto"),
        ("claude-mythos-5", None, "auto"),
    ],
)
def test_a_call_is_forced_wherever_the_model_lets_itself_be_forced(model: str, effort: Any, sent: str) -> None:
    one = encoded(of=target("anthropic", model), tools=[TOOL], tool_choice="required", reasoning_effort=effort)
    assert json.loads(one.body)["tool_choice"] == {"type": sent}
    assert lost(one) == ([("rewritten", "settings.tool_choice")] if sent == "auto" else [])


# -- answers


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        event("content_block_start", index=index, content_block=start),
        *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
        event("content_block_stop", index=index),
    ]


def stream(*blocks: list[dict[str, Any]], stop: str = "end_turn", usage: Any = None) -> bytes:
    first = {
        "id": "msg_1",
        "model": "claude-sonnet-4-5",
        "content": [],
        "usage": {"input_tokens": 5, "output_tokens": 1},
    }
    return sse(
        event("message_start", message=first),
        *(one for blocks_ in blocks for one in blocks_),
        event("message_delta", delta={"stop_reason": stop}, usage=usage or {"output_tokens": 2}),
        event("message_stop"),
        names=True,
    )


def decoded(data: bytes, **options: Any) -> Decoded:
    reader = decoder("anthropic", content_type="text/event-stream", **options)
    reader.feed(data)
    assert reader.complete
    outcome = reader.finish()
    assert isinstance(outcome, Decoded), outcome
    return outcome


def test_thinking_text_and_calls_in_their_order_with_signatures() -> None:
    found = decoded(
        stream(
            block(
                0,
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": "hm"},
                {"type": "signature_delta", "signature": "sig"},
            ),
            block(1, {"type": "redacted_thinking", "data": "opaque"}),
            block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "so"}),
            block(
                3,
                {"type": "server_tool_use", "id": "s", "name": "web"},
                {"type": "input_json_delta", "partial_json": "{"},
            ),
            block(
                4,
                {"type": "tool_use", "id": "t", "name": "f", "input": {}},
                {"type": "input_json_delta", "partial_json": ""},
                {"type": "input_json_delta", "partial_json": '{"a":'},
                {"type": "input_json_delta", "partial_json": "1}"},
            ),
            block(5, {"type": "tool_use", "id": "u", "name": "g", "input": {"b": 2}}),
            block(6, {"type": "text", "text": ""}, {"type": "text_delta", "text": "."}, {"type": "citations_delta"}),
            stop="tool_use",
        )
    )
    assert found.answer.parts == (
        ReasoningPart(text="hm", signature="sig", origin="claude"),
        ReasoningPart(redacted="opaque", origin="claude"),
        TextPart(text="so"),
        ToolCallPart(id="t", name="f", arguments='{"a":1}'),
        ToolCallPart(id="u", name="g", arguments='{"b":2}'),
        TextPart(text="."),
    )
    assert found.finish_reason is FinishReason.TOOL_CALLS


def test_a_call_without_arguments_is_told_before_the_answer_ends() -> None:
    reader = decoder("anthropic", content_type="text/event-stream")
    deltas = reader.feed(stream(block(0, {"type": "tool_use", "id": "t", "name": "f", "input": {}}), stop="tool_use"))
    assert list(deltas) == [ToolCallDelta(index=0, id="t", name="f", arguments="")]


def test_usage_is_cumulative_and_includes_what_the_cache_gave_and_took() -> None:
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 20,
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 3},
    }
    found = decoded(stream(block(0, {"type": "text", "text": "x"}), usage=usage))
    assert found.usage == Usage(input=130, output=7, cache_read=100, cache_write=20, reasoning=3)
    assert decoded(stream(block(0, {"type": "text", "text": "x"}))).usage == Usage(input=5, output=2)


def test_the_answer_goes_back_as_it_came() -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "sig"}
    answer = decoded(stream(block(0, thinking), block(1, {"type": "text", "text": "so"}))).answer
    turns = [*PLAIN, answer.as_turn().model_dump(), {"role": "user", "content": "go on"}]
    assert body(turns)["messages"][1]["content"] == [thinking, {"type": "text", "text": "so"}]


def test_a_second_message_that_breaks_into_the_first_is_no_answer() -> None:
    first: dict[str, Any] = {"id": "msg_1", "content": [], "usage": {"input_tokens": 1}}
    second = {**first, "id": "msg_2"}
    begun = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Half"})
    end = [event("message_delta", delta={"stop_reason": "end_turn"}), event("message_stop")]
    reader = decoder("anthropic", content_type="text/event-stream")
    reader.feed(
        sse(event("message_start", message=first), *begun, event("message_start", message=second), *begun, *end)
    )
    outcome = reader.finish()
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.produced) == (FailureKind.MALFORMED_RESPONSE, True)
    again = decoder("anthropic", content_type="text/event-stream")
    again.feed(sse(event("message_start", message=first), event("message_start", message=first), *begun, *end))
    assert isinstance(again.finish(), Decoded)
