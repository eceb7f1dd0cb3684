"""Turns and settings as programs write them, and the exact place of what is wrong with them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessage
from pydantic import BaseModel

from job_contracts.chat import AssistantTurn, Conversation, FilePart, JsonSchemaFormat, NamedTool, Tool, UserTurn
from job_contracts.codec import check
from producer_sdk.errors import InvalidRequest
from producer_sdk.generation import settings, tool_list
from producer_sdk.messages import turns


def conversation(messages: Any, tools: Any = (), **chosen: Any) -> Conversation:
    values = {"messages": turns(messages), "tools": tool_list(tools), "settings": settings(chosen)}
    return check(Conversation, values, strict_names=True)


def refused(messages: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        turns(messages)
    assert caught.value.remedy
    return caught.value


# -- what is accepted


def test_a_string_is_one_user_turn() -> None:
    assert conversation("Hi").messages == (UserTurn(role="user", content="Hi"),)


def test_a_whole_openai_conversation_is_carried() -> None:
    found = conversation(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "No lists."}]},
            {
                "role": "user",
                "name": "ada",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
                    {"type": "image_url", "image_url": "data:image/png;base64,aGk="},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
            {"role": "assistant", "content": "A cat.", "refusal": None, "tool_calls": []},
        ]
    )
    assert [turn.role for turn in found.messages] == ["system", "developer", "user", "assistant", "tool", "assistant"]
    user = found.messages[2].content
    assert not isinstance(user, str)
    assert [part.model_dump(exclude_none=True) for part in user[1:]] == [
        {"type": "image", "url": "https://example.org/a.png", "detail": "low"},
        {"type": "image", "data": "aGk=", "media_type": "image/png"},
    ]
    call = found.messages[3].content
    assert not isinstance(call, str)
    assert call[0].model_dump(exclude_none=True) == {
        "type": "tool_call",
        "id": "c1",
        "name": "look",
        "arguments": '{"a":1}',
    }
    assert found.messages[5].content == "A cat."


def test_text_comes_before_the_calls_of_the_same_turn_and_reasoning_before_both() -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": {"x": "é"}}}
    (turn,) = turns([{"role": "assistant", "content": "Wait.", "tool_calls": [call], "reasoning_content": "Hm."}])
    assert [part["type"] for part in turn["content"]] == ["reasoning", "text", "tool_call"]
    assert turn["content"][2]["arguments"] == '{"x": "é"}'


def test_our_own_turns_and_the_messages_of_other_sdks_are_taken_as_they_are() -> None:
    ours = AssistantTurn(role="assistant", content="Hello.")
    theirs = ChatCompletionMessage(role="assistant", content="Hello.")
    assert conversation([{"role": "user", "content": "Hi"}, ours, theirs]).messages[1:] == (ours, ours)


PDF = "data:application/pdf;base64,aGk="


def parts_of(messages: Any) -> list[dict[str, Any]]:
    """The parts of the first turn, without what is empty."""
    content = conversation(messages).messages[0].content
    assert not isinstance(content, str)
    return [part.model_dump(exclude_none=True) for part in content]


def test_files_and_recordings_are_carried_in_openais_form_and_in_ours() -> None:
    ours = FilePart(url="https://example.org/a.pdf", media_type="application/pdf")
    content = [
        {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": "data:text/plain;charset=utf-8;base64,aGk="}},
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
        {"type": "file", "data": "aGk=", "media_type": "audio/mp3", "name": "said"},
        ours,
    ]
    expected = [
        {"type": "file", "data": "aGk=", "media_type": "application/pdf", "name": "a.pdf"},
        {"type": "file", "data": "aGk=", "media_type": "text/plain"},
        {"type": "file", "data": "aGk=", "media_type": "audio/wav"},
        {"type": "file", "data": "aGk=", "media_type": "audio/mp3", "name": "said"},
        {"type": "file", "url": "https://example.org/a.pdf", "media_type": "application/pdf"},
    ]
    assert parts_of([{"role": "user", "content": content}]) == expected
    assert parts_of([{"role": "tool", "tool_call_id": "c", "content": content}]) == expected


@pytest.mark.parametrize(
    ("mark", "kept"),
    [
        ({"cache_control": {"type": "ephemeral"}}, "5m"),
        ({"cache_control": {"type": "ephemeral", "ttl": "5m"}}, "5m"),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, "1h"),
        ({"cache": "1h"}, "1h"),
        ({"cache": "5m", "cache_control": {"type": "ephemeral"}}, "5m"),
    ],
    ids=str,
)
def test_a_mark_for_the_prompt_cache_may_stand_on_every_part_and_tool(mark: dict[str, Any], kept: str) -> None:
    content = [
        {"type": "text", "text": "a", **mark},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}, **mark},
        {"type": "image", "url": "https://example.org/a.png", **mark},
        {"type": "file", "file": {"file_data": PDF}, **mark},
        {"type": "file", "url": "https://example.org/a.pdf", "media_type": "application/pdf", **mark},
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}, **mark},
    ]
    assert [part["cache"] for part in parts_of([{"role": "user", "content": content}])] == [kept] * 6
    for role in ("system", "assistant"):
        assert parts_of([{"role": role, "content": content[:1]}])[0]["cache"] == kept
    tools = [
        {"name": "flat", **mark},
        {"type": "function", "function": {"name": "beside"}, **mark},
        {"type": "function", "function": {"name": "inside", **mark}},
    ]
    assert [tool.cache for tool in conversation("x", tools).tools] == [kept] * 3


def test_a_generator_of_turns_is_a_conversation() -> None:
    assert len(conversation({"role": "user", "content": str(n)} for n in range(3)).messages) == 3


def test_tools_may_be_ours_or_openais() -> None:
    mine = Tool(name="a", parameters={"type": "object"})
    nested = {"type": "function", "function": {"name": "b", "description": "B", "strict": True}}
    flat = {"type": "function", "name": "c", "parameters": {"type": "object"}}
    assert [tool.name for tool in conversation("x", [mine, nested, flat]).tools] == ["a", "b", "c"]


class City(BaseModel):
    """A city."""

    name: str


@pytest.mark.parametrize(
    "wanted",
    [
        City,
        {"type": "json_schema", "json_schema": {"name": "City", "schema": City.model_json_schema()}},
        {"type": "json_schema", "name": "City", "json_schema": City.model_json_schema()},
        JsonSchemaFormat(name="City", json_schema=City.model_json_schema()),
    ],
)
def test_a_schema_may_be_written_in_four_ways(wanted: Any) -> None:
    found = conversation("x", response_format=wanted).settings.response_format
    assert isinstance(found, JsonSchemaFormat)
    assert (found.name, found.json_schema["required"]) == ("City", ["name"])


def test_settings_are_taken_under_openais_names() -> None:
    tool = {"name": "f"}
    choice = {"type": "function", "function": {"name": "f"}}
    found = conversation("x", [tool], max_completion_tokens=5, stop="END", tool_choice=choice, seed=None).settings
    assert (found.max_tokens, found.stop, found.tool_choice) == (5, ("END",), NamedTool(name="f"))


# -- what is refused, and where


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([], "messages"),
        (None, "messages"),
        ({"role": "user", "content": "x"}, "messages"),
        (["x"], "messages[0]"),
        ([{"content": "x"}], "messages[0].role"),
        ([{"role": "user", "content": "x"}, {"role": "human", "content": "x"}], "messages[1].role"),
        ([{"role": "function", "content": "x"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([{"role": "user", "content": "x", "colour": "red"}], "messages[0].colour"),
        ([{"role": "user", "content": [{"type": "video", "url": "x"}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": ["fine", {"text": "x"}]}], "messages[0].content[1].type"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
        ([{"role": "user", "content": [{"type": "text", "text": 1}]}], "messages[0].content[0].text"),
        ([{"role": "user", "content": [{"type": "text", "text": "x", "b": 1}]}], "messages[0].content[0].b"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "messages[0].content[0].image_url"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png,x"}}]}],
            "messages[0].content[0].image_url.url",
        ),
        ([{"role": "system", "content": [{"type": "image_url", "image_url": "x"}]}], "messages[0].content[0].type"),
        ([{"role": "tool", "content": "x"}], "messages[0].tool_call_id"),
        ([{"role": "assistant", "tool_calls": "x"}], "messages[0].tool_calls"),
        ([{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}], "messages[0].tool_calls[0].id"),
        ([{"role": "assistant", "tool_calls": [{"id": "c"}]}], "messages[0].tool_calls[0].function"),
        (
            [{"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "function": {"name": "f"}}]}],
            "messages[0].tool_calls[0].type",
        ),
        (
            [{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": 1}}]}],
            "messages[0].tool_calls[0].function.arguments",
        ),
        ([{"role": "assistant", "function_call": {"name": "f"}}], "messages[0].function_call"),
        ([{"role": "assistant", "content": "x", "audio": {"id": "a"}}], "messages[0].audio"),
        ([{"role": "user", "content": "x", "cache_control": {"type": "ephemeral"}}], "messages[0].cache_control"),
        *(
            ([{"role": role, "content": [{"type": "file", "file": {"file_data": PDF}}]}], "messages[0].content[0].type")
            for role in ("system", "assistant")
        ),
        *(
            ([{"role": "user", "content": [part]}], f"messages[0].content[0].{field}")
            for part, field in (
                ({"type": "file", "file": {"file_id": "file-1"}}, "file.file_id"),
                ({"type": "file", "file": {"filename": "a.pdf"}}, "file.file_data"),
                ({"type": "file", "file": {"file_data": "aGk="}}, "file.file_data"),
                ({"type": "file", "file": {"file_data": PDF, "size": 2}}, "file.size"),
                ({"type": "input_audio", "input_audio": {"data": "aGk="}}, "input_audio.format"),
                ({"type": "input_audio"}, "input_audio"),
                ({"type": "text", "text": "x", "cache_control": {"type": "for ever"}}, "cache_control"),
                ({"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "2h"}}, "cache_control"),
                ({"type": "text", "text": "x", "cache": "1h", "cache_control": {"type": "ephemeral"}}, "cache_control"),
                ({"type": "image_url", "image_url": "x", "cache_control": 5}, "cache_control"),
            )
        ),
    ],
)
def test_what_cannot_be_carried_is_refused_by_its_path(messages: Any, field: str) -> None:
    error = refused(messages)
    assert error.field == field
    assert field in str(error)


@pytest.mark.parametrize(
    ("tools", "field"),
    [
        ("x", "tools"),
        ([{"type": "web_search"}], "tools[0].type"),
        ([{"name": "f"}, {"type": "function", "function": {"name": "g", "returns": {}}}], "tools[1].function.returns"),
        ([{"name": "f", "cache_control": {"type": "for ever"}}], "tools[0].cache_control"),
        ([3], "tools[0]"),
    ],
)
def test_a_tool_that_cannot_be_carried_is_refused_by_its_path(tools: Any, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        tool_list(tools)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("chosen", "field"),
    [
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_completion_tokens"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"response_format": SimpleNamespace}, "response_format"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}, "x": 1}}},
            "response_format.json_schema.x",
        ),
        ({"tool_choice": {"mode": "auto"}}, "tool_choice.mode"),
    ],
)
def test_a_setting_that_cannot_be_carried_is_refused_by_its_path(chosen: Any, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        settings(chosen)
    assert caught.value.field == field


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
words = st.sampled_from(
    [
        "role",
        "content",
        "type",
        "text",
        "user",
        "assistant",
        "tool",
        "tool_calls",
        "function",
        "id",
        "name",
        "image_url",
        "file",
        "file_data",
        "input_audio",
        "cache_control",
        "ephemeral",
    ]
)
near_turns = st.lists(st.dictionaries(words, json_values | words | st.lists(st.dictionaries(words, words)), max_size=4))


@given(json_values | near_turns)
def test_whatever_is_passed_is_a_conversation_or_an_error_with_a_remedy(anything: Any) -> None:
    try:
        found: object = turns(anything)
    except InvalidRequest as error:
        found = error.field and error.remedy
    assert found
