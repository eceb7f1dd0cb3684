"""What an Anthropic body asks for, and what is refused of it."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from gateway.bodies import anthropic
from gateway.bodies.failures import Failed
from job_contracts.chat import (
    AssistantTurn,
    FilePart,
    ImagePart,
    NamedTool,
    ReasoningPart,
    SystemTurn,
    TextPart,
    ToolCallPart,
    ToolTurn,
    UserTurn,
)
from tests.support.anthropic_api import conversation

TOOL = {"name": "weather", "description": "Of a city.", "input_schema": {"type": "object", "properties": {}}}
HI = [{"role": "user", "content": "Hi"}]


def body(**over: Any) -> dict[str, Any]:
    return {"model": "chat", "max_tokens": 100, "messages": HI, **over}


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return body(messages=[{"role": "user", "content": list(blocks)}])


def refusal(given: dict[str, Any]) -> Any:
    with pytest.raises(Failed) as failed:
        anthropic.read(given)
    assert failed.value.error.status == 400
    return failed.value.error


def test_every_setting_finds_its_place() -> None:
    request = anthropic.read(
        body(
            stream=True,
            system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
            stop_sequences=["END", "STOP"],
            temperature=0.5,
            top_p=0.9,
            top_k=5,
            metadata={"user_id": "u-1"},
            service_tier="auto",
            tools=[{**TOOL, "cache_control": {"type": "ephemeral"}, "strict": True}],
            tool_choice={"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
            thinking={"type": "enabled", "budget_tokens": 2000},
            output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}},
        )
    )
    asked, wanted = request.asked, conversation(request)
    assert (asked.model, asked.stream, asked.session, asked.unused) == ("chat", True, "u-1", ("service_tier",))
    assert (request.thinking, request.stop) == ("shown", ("END", "STOP"))
    assert wanted.messages[0] == SystemTurn(role="system", content=(TextPart(text="Be brief.", cache="1h"),))
    assert (wanted.tools[0].cache, wanted.tools[0].strict, wanted.tools[0].parameters) == (
        "5m",
        True,
        TOOL["input_schema"],
    )
    settings = wanted.settings
    assert (settings.max_tokens, settings.temperature, settings.top_p, settings.top_k) == (100, 0.5, 0.9, 5)
    assert (settings.stop, settings.tool_choice) == (("END", "STOP"), NamedTool(name="weather"))
    assert (settings.parallel_tool_calls, settings.reasoning_budget) == (False, 2000)
    assert settings.response_format is not None
    assert settings.response_format.type == "json_schema"


def test_a_users_message_with_results_becomes_turns_in_its_order() -> None:
    given = user(
        {
            "type": "tool_result",
            "tool_use_id": "c1",
            "is_error": True,
            "content": [
                {"type": "text", "text": "no such city"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
            ],
            "cache_control": {"type": "ephemeral"},
        },
        {"type": "tool_result", "tool_use_id": "c2"},
        {"type": "text", "text": "And now?"},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
    )
    image = ImagePart(data="aGk=", media_type="image/png", cache="5m")
    assert anthropic.read(given).asked.messages == [
        ToolTurn(role="tool", tool_call_id="c1", content=(TextPart(text="no such city"), image), is_error=True),
        ToolTurn(role="tool", tool_call_id="c2", content=""),
        UserTurn(role="user", content=(TextPart(text="And now?"), ImagePart(url="https://example.com/a.png"))),
    ]


def test_an_assistants_blocks_come_back_as_they_were_told() -> None:
    given = body(
        messages=[
            *HI,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Let me see.", "signature": "EqQB"},
                    {"type": "thinking", "thinking": "", "signature": "gemini-3:abc:def"},
                    {"type": "thinking", "thinking": "Unsigned.", "signature": ""},
                    {"type": "redacted_thinking", "data": "c2VhbGVk"},
                    {"type": "text", "text": "Looking.", "citations": None},
                    {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Kraków"}},
                    {"type": "tool_use", "id": "c2", "name": "weather", "input": {}},
                ],
            },
        ]
    )
    assert anthropic.read(given).asked.messages[1] == AssistantTurn(
        role="assistant",
        content=(
            ReasoningPart(text="Let me see.", signature="EqQB", origin="claude"),
            ReasoningPart(text="", signature="abc:def", origin="gemini-3"),
            ReasoningPart(text="Unsigned."),
            ReasoningPart(redacted="c2VhbGVk", origin="claude"),
            TextPart(text="Looking."),
            ToolCallPart(id="c1", name="weather", arguments='{"city":"Kraków"}'),
            ToolCallPart(id="c2", name="weather", arguments="{}"),
        ),
    )


def test_documents_are_files() -> None:
    sources: list[dict[str, Any]] = [
        {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
        {"type": "url", "url": "https://example.com/a.pdf"},
        {"type": "text", "media_type": "text/plain", "data": "Zażółć"},
        {"type": "content", "content": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]},
    ]
    turn = anthropic.read(user(*({"type": "document", "title": "T", "source": one} for one in sources))).asked.messages[
        0
    ]
    pdf, address, text, blocks = turn.content
    assert pdf == FilePart(data="JVBERi0=", media_type="application/pdf", name="T")
    assert address == FilePart(url="https://example.com/a.pdf", media_type="application/pdf", name="T")
    assert b64decode(text.data).decode() == "Zażółć"
    assert (text.media_type, b64decode(blocks.data)) == ("text/plain", b"One.\nTwo.")


@pytest.mark.parametrize(
    ("thinking", "config", "effort", "budget", "shown"),
    [
        (None, None, None, None, "hidden"),
        ({"type": "disabled"}, {"effort": "high"}, "none", None, "hidden"),
        ({"type": "enabled", "budget_tokens": 1024}, {"effort": "low"}, None, 1024, "shown"),
        ({"type": "adaptive"}, None, "high", None, "shown"),
        ({"type": "adaptive", "display": "omitted"}, {"effort": "max"}, "max", None, "omitted"),
        (None, {"effort": "low"}, "low", None, "hidden"),
    ],
)
def test_thinking_and_effort_become_one_wish(
    thinking: Any, config: Any, effort: str | None, budget: int | None, shown: str
) -> None:
    request = anthropic.read(body(thinking=thinking, output_config=config))
    settings = conversation(request).settings
    assert (settings.reasoning_effort, settings.reasoning_budget, request.thinking) == (effort, budget, shown)


@pytest.mark.parametrize(
    ("choice", "means", "parallel"),
    [
        ({"type": "auto"}, "auto", None),
        ({"type": "any", "disable_parallel_tool_use": False}, "required", True),
        ({"type": "none"}, "none", None),
    ],
)
def test_a_choice_of_tools_is_told_in_our_words(choice: Any, means: str, parallel: bool | None) -> None:
    settings = conversation(anthropic.read(body(tools=[TOOL], tool_choice=choice))).settings
    assert (settings.tool_choice, settings.parallel_tool_calls) == (means, parallel)


def test_a_mark_on_the_whole_request_stands_at_its_end() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    assert anthropic.read(body(**mark)).asked.messages[-1].content == (TextPart(text="Hi", cache="5m"),)
    results = user({"type": "tool_result", "tool_use_id": "c", "content": "42"}) | mark
    assert anthropic.read(results).asked.messages[-1].content == (TextPart(text="42", cache="5m"),)


def test_what_clients_send_by_habit_is_told_and_stops_nothing() -> None:
    keeps = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    given = body(
        context_management=keeps,
        service_tier="auto",
        speed="fast",
        tools=[{**TOOL, "type": "custom", "eager_input_streaming": True, "defer_loading": False}],
        mcp_servers=[],
        system=None,
    )
    assert anthropic.read(given).asked.unused == ("service_tier", "speed", "tools.eager_input_streaming")


def test_only_counting_needs_no_length() -> None:
    assert anthropic.read({"model": "chat", "messages": HI}, counting=True).asked.settings == {}


@pytest.mark.parametrize(
    ("given", "param", "says"),
    [
        ({"model": "chat", "messages": HI}, "max_tokens", "field required"),
        (body(max_tokens=0), "max_tokens", "above 0"),
        (body(max_tokens="9"), "max_tokens", "whole number"),
        (body(model=""), "model", "GET /v1/models"),
        (body(messages=[]), "messages", "at least one"),
        (body(messages="Hi"), "messages", "expected a list"),
        (body(messages=[{"role": "tool", "content": "Hi"}]), "messages[0].role", "user, assistant or system"),
        (body(messages=[{"role": "user", "content": []}]), "messages[0].content", "nothing in it"),
        (body(messages=[{"role": "user", "content": 3}]), "messages[0].content", "expected a list"),
        (user({"type": "text"}), "messages[0].content[0].text", "field required"),
        (user({"type": "text", "text": "a", "bold": True}), "messages[0].content[0].bold", "no such field"),
        (user({"type": "search_result"}), "messages[0].content[0].type", "search_result"),
        (
            user({"type": "image", "source": {"type": "file", "file_id": "f"}}),
            "messages[0].content[0].source.type",
            "base64",
        ),
        (user({"type": "image"}), "messages[0].content[0].source", "expected an object"),
        (
            user({"type": "document", "source": {"type": "text", "data": "a"}, "citations": {"enabled": True}}),
            "messages[0].content[0].citations",
            "not cited",
        ),
        (
            user({"type": "text", "text": "a", "cache_control": {"type": "forever"}}),
            "messages[0].content[0].cache_control",
            "ephemeral",
        ),
        (body(tools=[{"type": "web_search_20250305", "name": "web_search"}]), "tools[0].type", "input_schema"),
        (body(tools=[{"name": "a"}]), "tools[0].input_schema", "JSON Schema"),
        (body(tools=[{**TOOL, "name": "no blanks"}]), "tools[0].name", "letters"),
        (body(tool_choice={"type": "any"}), "tool_choice", "no tools"),
        (body(tools=[TOOL], tool_choice={"type": "tool", "name": "b"}), "tool_choice.name", "no tool 'b'"),
        (body(tools=[TOOL], tool_choice={"type": "some"}), "tool_choice.type", "auto, any, tool or none"),
        (body(thinking={"type": "enabled"}), "thinking.budget_tokens", "1024"),
        (body(thinking={"type": "deep"}), "thinking.type", "adaptive"),
        (body(output_config={"effort": "huge"}), "output_config.effort", "xhigh"),
        (body(output_format={"type": "json"}), "output_format.type", "json_schema"),
        (body(stop_sequences="END"), "stop_sequences", "list of strings"),
        (body(metadata={"user_id": "u" * 300}), "metadata.user_id", "256"),
        (body(mcp_servers=[{"url": "https://example.com"}]), "mcp_servers", "run at a provider"),
        (
            body(context_management={"edits": [{"type": "clear_tool_uses_20250919"}]}),
            "context_management.edits[0]",
            "shorten",
        ),
        (body(prompt="Hi"), "prompt", "no such field"),
    ],
)
def test_what_is_wrong_or_not_carried_is_refused_by_its_path(given: dict[str, Any], param: str, says: str) -> None:
    error = refusal(given)
    assert error.param == param
    assert says in str(error)
    told = error.body("anthropic", "req_1")
    assert (told["type"], told["error"]["type"], told["request_id"]) == ("error", "invalid_request_error", "req_1")
