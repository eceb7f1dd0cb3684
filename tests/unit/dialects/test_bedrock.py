from __future__ import annotations

import json
from typing import Any

import pytest

from job_contracts.chat import Conversation
from tests.unit.dialects.samples import target
from workers.dialects import DIALECTS
from workers.dialects.bedrock_messages import OPENING
from workers.dialects.port import Encoded, Target

DIALECT = DIALECTS["bedrock"]
TOOL = {"name": "look_up", "description": "Looks up.", "parameters": {"type": "object", "properties": {}}}
PLAIN = [{"role": "user", "content": "hi"}]
CALL = {"type": "tool_call", "id": "c1", "name": "look_up", "arguments": '{"a": 1}'}
CALLED = [*PLAIN, {"role": "assistant", "content": [CALL]}]
ANSWERED = [*CALLED, {"role": "tool", "tool_call_id": "c1", "content": "found"}]

CLAUDE_5 = target("bedrock", "global.anthropic.claude-sonnet-5")
NOVA_2 = target("bedrock", "us.amazon.nova-2-lite-v1:0")
GPT_OSS = target("bedrock", "openai.gpt-oss-120b-1:0")
UNKNOWN = target("bedrock", "somebody.some-model-v1:0")


def encoded(messages: Any = PLAIN, tools: Any = (), of: Target | None = None, **settings: Any) -> Encoded:
    values = {"messages": messages, "tools": tools, "settings": settings}
    return DIALECT.encode(Conversation.model_validate(values), of or target("bedrock"))


def body(*args: Any, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encoded(*args, **options).body)
    return found


def lost(one: Encoded) -> list[tuple[str, str]]:
    return [(loss.kind, loss.field) for loss in one.losses]


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


# -- requests


def test_a_plain_question() -> None:
    one = encoded([{"role": "system", "content": "Be brief."}, *PLAIN], max_tokens=5, stop=["END"], temperature=0.5)
    assert one.path == "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"
    assert json.loads(one.body) == {
        "system": [{"text": "Be brief."}],
        "messages": [user({"text": "hi"})],
        "inferenceConfig": {"maxTokens": 5, "stopSequences": ["END"], "temperature": 0.5},
    }
    assert one.losses == ()


def test_a_streamed_question_goes_elsewhere_and_asks_for_frames() -> None:
    one = encoded(of=target("bedrock", stream=True))
    assert one.path.endswith("/converse-stream")
    assert one.headers["accept"] == "application/vnd.amazon.eventstream"


def test_user_and_assistant_take_turns_and_the_user_begins() -> None:
    turns = [
        {"role": "assistant", "content": "Welcome."},
        {"role": "user", "content": "one"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": " "},
        {"role": "user", "content": "three"},
    ]
    one = encoded(turns)
    assert json.loads(one.body)["messages"] == [
        user({"text": OPENING}),
        {"role": "assistant", "content": [{"text": "Welcome."}]},
        user({"text": "one"}, {"text": "two"}, {"text": "three"}),
    ]
    assert lost(one) == [
        ("merged", "messages[2]"),
        ("dropped", "messages[3].content"),
        ("merged", "messages[4]"),
        ("rewritten", "messages"),
    ]


def test_results_and_what_the_user_says_next_are_one_message() -> None:
    one = encoded([*ANSWERED, {"role": "user", "content": "And now?"}], [TOOL])
    assert json.loads(one.body)["messages"][1:] == [
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c1", "name": "look_up", "input": {"a": 1}}}]},
        user({"toolResult": {"toolUseId": "c1", "content": [{"text": "found"}]}}, {"text": "And now?"}),
    ]
    assert one.losses == ()


def test_a_result_may_be_an_error_hold_an_image_or_nothing() -> None:
    image = {"type": "image", "data": "aGk=", "media_type": "image/jpg"}
    for content, expected in [("", []), ([image], [{"image": {"format": "jpeg", "source": {"bytes": "aGk="}}}])]:
        turns = [*CALLED, {"role": "tool", "tool_call_id": "c1", "content": content, "is_error": True}]
        result = body(turns, [TOOL])["messages"][-1]["content"][0]["toolResult"]
        assert result == {"toolUseId": "c1", "content": expected, "status": "error"}
    turns = [*CALLED, {"role": "tool", "tool_call_id": "c1", "content": [image]}]
    one = encoded(turns, [TOOL], of=target("bedrock", result_images=False))
    assert [list(block) for block in json.loads(one.body)["messages"][-1]["content"]] == [["toolResult"], ["image"]]
    assert lost(one) == [("converted", "messages[2].content")]


def test_tools_of_earlier_calls_are_declared_where_none_are_given() -> None:
    one = encoded(ANSWERED)
    spec = json.loads(one.body)["toolConfig"]["tools"][0]["toolSpec"]
    assert (spec["name"], spec["inputSchema"]) == ("look_up", {"json": {"type": "object", "properties": {}}})
    assert lost(one) == [("rewritten", "tools")]


def test_no_call_at_all_is_said_by_leaving_the_tools_out() -> None:
    one = encoded(PLAIN, [TOOL], tool_choice="none")
    assert "toolConfig" not in json.loads(one.body)
    assert lost(one) == [("rewritten", "settings.tool_choice"), ("dropped", "tools")]
    one = encoded(ANSWERED, [TOOL], tool_choice="none")
    assert "toolChoice" not in json.loads(one.body)["toolConfig"]
    assert lost(one) == [("dropped", "settings.tool_choice")]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [("auto", {"auto": {}}), ("required", {"any": {}}), ({"name": "look_up"}, {"tool": {"name": "look_up"}})],
)
def test_choices_of_a_tool(choice: Any, sent: Any) -> None:
    assert body(PLAIN, [TOOL], tool_choice=choice)["toolConfig"]["toolChoice"] == sent


def test_parallel_calls_cannot_be_forbidden() -> None:
    assert lost(encoded(PLAIN, [TOOL], parallel_tool_calls=False)) == [("dropped", "settings.parallel_tool_calls")]
    assert lost(encoded(PLAIN, [TOOL], parallel_tool_calls=True)) == []


def test_a_schema_goes_as_text_where_the_model_takes_one() -> None:
    form = {"type": "json_schema", "name": "lake", "description": "A lake.", "json_schema": {"type": "object"}}
    assert body(response_format=form)["outputConfig"] == {
        "textFormat": {
            "type": "json_schema",
            "structure": {
                "jsonSchema": {"schema": '{"type":"object"}', "name": "lake", "description": "A lake."},
            },
        }
    }
    for one in (encoded(of=NOVA_2, response_format=form), encoded(response_format={"type": "json_object"})):
        assert "outputConfig" not in json.loads(one.body)
        assert lost(one) == [("dropped", "settings.response_format")]


# -- reasoning


def test_a_budget_for_reasoning_leaves_room_for_the_answer() -> None:
    one = encoded(reasoning_effort="medium", max_tokens=20_000, temperature=0.3, top_k=5)
    found = json.loads(one.body)
    assert found["additionalModelRequestFields"] == {"thinking": {"type": "enabled", "budget_tokens": 8192}}
    assert found["inferenceConfig"] == {"maxTokens": 20_000}
    assert lost(one) == [("dropped", "settings.temperature"), ("dropped", "settings.top_k")]
    one = encoded(reasoning_budget=30_000, max_tokens=2_000)
    assert json.loads(one.body)["additionalModelRequestFields"]["thinking"]["budget_tokens"] == 1_999
    assert lost(one) == [("clamped", "settings.reasoning_budget")]
    one = encoded(reasoning_budget=30_000, max_tokens=1_000)
    assert "additionalModelRequestFields" not in json.loads(one.body)
    assert lost(one) == [("dropped", "settings.reasoning_budget")]


def test_claude_does_not_begin_to_think_after_calls_made_without_a_thought() -> None:
    one = encoded(ANSWERED, [TOOL], reasoning_effort="low")
    assert "additionalModelRequestFields" not in json.loads(one.body)
    assert lost(one) == [("dropped", "settings.reasoning_effort")]
    thought = {"type": "reasoning", "text": "hm", "signature": "sig", "origin": "claude"}
    turns = [*PLAIN, {"role": "assistant", "content": [thought, CALL]}, ANSWERED[-1]]
    assert "thinking" in body(turns, [TOOL], reasoning_effort="low")["additionalModelRequestFields"]
    later = [*ANSWERED, {"role": "assistant", "content": "Found."}, *PLAIN]
    assert "thinking" in body(later, [TOOL], reasoning_effort="low")["additionalModelRequestFields"]


def test_a_call_cannot_be_forced_while_claude_thinks() -> None:
    one = encoded(PLAIN, [TOOL], tool_choice="required", reasoning_effort="low")
    assert json.loads(one.body)["toolConfig"]["toolChoice"] == {"auto": {}}
    assert lost(one) == [("rewritten", "settings.tool_choice")]


@pytest.mark.parametrize(
    ("of", "effort", "more", "output"),
    [
        (CLAUDE_5, "high", {"thinking": {"type": "adaptive"}}, {"effort": "high"}),
        (CLAUDE_5, "none", {"thinking": {"type": "disabled"}}, None),
        (NOVA_2, "low", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}, None),
        (NOVA_2, "none", {"reasoningConfig": {"type": "disabled"}}, None),
        (GPT_OSS, "medium", {"reasoning_effort": "medium"}, None),
        (UNKNOWN, "high", None, None),
    ],
)
def test_each_family_is_asked_to_reason_in_its_own_words(of: Target, effort: str, more: Any, output: Any) -> None:
    found = body(of=of, reasoning_effort=effort)
    assert found.get("additionalModelRequestFields") == more
    assert found.get("outputConfig") == output


def test_a_budget_becomes_the_nearest_effort_where_the_model_takes_no_tokens() -> None:
    one = encoded(of=NOVA_2, reasoning_budget=9_000)
    config = json.loads(one.body)["additionalModelRequestFields"]["reasoningConfig"]
    assert config["maxReasoningEffort"] == "medium"
    assert lost(one) == [("converted", "settings.reasoning_budget")]


def test_what_cannot_be_said_is_lost_aloud() -> None:
    one = encoded(of=UNKNOWN, reasoning_effort="high", seed=1, top_k=4, logprobs=True, presence_penalty=1.0)
    assert {field for kind, field in lost(one) if kind == "dropped"} == {
        *("settings.reasoning_effort", "settings.seed", "settings.top_k", "settings.logprobs"),
        "settings.presence_penalty",
    }


def test_top_k_stands_where_the_model_has_it() -> None:
    assert body(top_k=7)["additionalModelRequestFields"] == {"top_k": 7}
    assert body(of=NOVA_2, top_k=7)["additionalModelRequestFields"] == {"inferenceConfig": {"topK": 7}}


def test_reasoning_goes_back_to_its_own_family_only() -> None:
    own = {"type": "reasoning", "text": "hm", "signature": "sig", "origin": "claude"}
    opaque = {"type": "reasoning", "redacted": "EmwKAh==", "origin": "claude"}
    foreign = {"type": "reasoning", "text": "hm", "signature": "sig", "origin": "gemini-3"}
    turns = [*PLAIN, {"role": "assistant", "content": [own, opaque, foreign, {"type": "text", "text": "Yes"}]}, *PLAIN]
    one = encoded(turns)
    assert json.loads(one.body)["messages"][1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}},
        {"reasoningContent": {"redactedContent": "RW13S0FoPT0="}},
        {"text": "Yes"},
    ]
    assert lost(one) == [("dropped", "messages[1].reasoning")]


# -- images and files


def test_images_go_by_their_data_or_from_a_bucket() -> None:
    parts = [
        {"type": "image", "url": "data:image/webp;base64,aGk="},
        {"type": "image", "url": "s3://bucket/a.jpg"},
        {"type": "image", "url": "https://example.com/a.png"},
        {"type": "image", "data": "aGk=", "media_type": "image/bmp"},
        {"type": "text", "text": "What is it?"},
    ]
    one = encoded([{"role": "user", "content": parts}])
    assert json.loads(one.body)["messages"] == [
        user(
            {"image": {"format": "webp", "source": {"bytes": "aGk="}}},
            {"image": {"format": "jpeg", "source": {"s3Location": {"uri": "s3://bucket/a.jpg"}}}},
            {"text": "What is it?"},
        )
    ]
    assert lost(one) == [("dropped", "messages[0].content.image")] * 2


def test_documents_have_restricted_names_of_their_own_and_text_beside_them() -> None:
    def file(name: str | None, media_type: str = "application/pdf") -> dict[str, Any]:
        return {"type": "file", "data": "aGk=", "media_type": media_type, "name": name}

    one = encoded([{"role": "user", "content": [file("My_report: 5%.pdf"), file("a"), file("a", "application/json")]}])
    found = json.loads(one.body)["messages"][0]["content"]
    assert [block["document"] for block in found[:3]] == [
        {"format": "pdf", "name": "My report 5", "source": {"bytes": "aGk="}},
        {"format": "pdf", "name": "a", "source": {"bytes": "aGk="}},
        {"format": "txt", "name": "a 2", "source": {"bytes": "aGk="}},
    ]
    assert found[3] == {"text": "My report 5, a, a 2"}
    assert lost(one) == [
        ("renamed", "messages[0].content.file.name"),
        ("converted", "messages[0].content.file"),
        ("renamed", "messages[0].content.file.name"),
        ("rewritten", "messages"),
    ]


def test_recordings_are_sent_as_such_and_what_has_no_form_is_left_out() -> None:
    parts = [
        {"type": "text", "text": "Listen."},
        {"type": "file", "data": "aGk=", "media_type": "audio/wav"},
        {"type": "file", "data": "aGk=", "media_type": "application/zip"},
        {"type": "file", "url": "https://example.com/a.pdf", "media_type": "application/pdf"},
    ]
    one = encoded([{"role": "user", "content": parts}])
    assert json.loads(one.body)["messages"][0]["content"][1:] == [
        {"audio": {"format": "wav", "source": {"bytes": "aGk="}}}
    ]
    assert lost(one) == [("dropped", "messages[0].content.file")] * 2


# -- the cache


def test_marks_become_points_behind_what_they_mark() -> None:
    turns = [
        {"role": "system", "content": [{"type": "text", "text": "Long.", "cache": "5m"}]},
        {"role": "user", "content": [{"type": "text", "text": "hi", "cache": "1h"}, {"type": "text", "text": "you"}]},
    ]
    one = encoded(turns, [{**TOOL, "cache": "5m"}])
    found = json.loads(one.body)
    assert found["system"] == [{"text": "Long."}, {"cachePoint": {"type": "default"}}]
    assert found["messages"][0]["content"][1] == {"cachePoint": {"type": "default", "ttl": "1h"}}
    assert found["toolConfig"]["tools"][1] == {"cachePoint": {"type": "default"}}
    assert one.losses == ()


def test_marks_a_model_does_not_take_are_left_out_aloud() -> None:
    turns = [{"role": "user", "content": [{"type": "text", "text": "hi", "cache": "1h"}]}]
    one = encoded(turns, of=UNKNOWN)
    assert "cachePoint" not in str(json.loads(one.body))
    assert lost(one) == [("dropped", "messages[0].content.cache")]
    one = encoded(turns, of=NOVA_2)
    assert json.loads(one.body)["messages"][0]["content"][1] == {"cachePoint": {"type": "default"}}
    assert lost(one) == [("clamped", "messages[0].content.cache")]


def test_of_more_marks_than_there_may_be_points_the_last_are_kept() -> None:
    parts = [{"type": "text", "text": str(number), "cache": "5m"} for number in range(6)]
    one = encoded([{"role": "user", "content": parts}])
    found = json.loads(one.body)["messages"][0]["content"]
    assert [next(iter(block)) for block in found] == ["text", "text", *["text", "cachePoint"] * 4]
    assert lost(one) == [("clamped", "messages[0].content.cache")]


def test_a_model_without_system_text_hears_it_from_the_user() -> None:
    one = encoded(
        [{"role": "system", "content": "Be brief."}, *PLAIN], of=target("bedrock", "amazon.titan-text-lite-v1")
    )
    assert json.loads(one.body) == {"messages": [user({"text": "Be brief."}, {"text": "hi"})]}
    assert lost(one) == [("converted", "messages")]


def test_qwen_is_told_how_much_to_reason_by_its_own_word() -> None:
    one = encoded(PLAIN, of=target("bedrock", "qwen.qwen3-32b-v1:0"), reasoning_effort="medium")
    assert json.loads(one.body)["additionalModelRequestFields"] == {"reasoning_config": "high"}
    assert lost(one) == [("clamped", "settings.reasoning_effort")]


@pytest.mark.parametrize(
    "model",
    [
        *("qwen.qwen3-32b-v1:0", "minimax.minimax-m2", "zai.glm-4.7-flash", "nvidia.nemotron-nano-12b-v2"),
        *("google.gemma-3-27b-it", "mistral.mistral-large-3-675b-instruct", "us.anthropic.claude-sonnet-4-6"),
    ],
)
def test_models_that_enforce_schemas_are_given_them(model: str) -> None:
    form = {"type": "json_schema", "name": "a", "json_schema": {"type": "object", "properties": {}}}
    one = encoded(PLAIN, of=target("bedrock", model), response_format=form)
    assert json.loads(one.body)["outputConfig"]["textFormat"]["type"] == "json_schema"
    assert "dropped" not in {kind for kind, _ in lost(one)}
