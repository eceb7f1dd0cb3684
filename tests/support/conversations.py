"""Conversations with everything the contracts know, in any order: for the tests of what reads and writes them today.

``strategies`` holds those that version 1.0 of the contracts knows too, for the tests against its schema.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from job_contracts import chat
from tests.support import strategies_chat
from tests.support.strategies_plain import json_objects, maybe, names, some, tokens, words

odd_texts = st.sampled_from(
    [
        "",
        " ",
        "\n\n",
        "\x00\x01\x1f\x7f",
        "👩‍👩‍👧‍👦🏳️‍🌈",
        "שלום \u202eעולם\u202c",
        "مرحبا",
        "e\u0301\u0327",
        "\ufeff\u2028\u2029\u200b",
        "𝒳\U0010ffff",
        '{"output": "text"}',
        "data: [DONE]",
        "<|im_end|>",
        "x" * 3_000,
    ]
)
"""Texts that were trouble to somebody: nothing, blanks, control characters, joined emoji, right to left, JSON."""
texts = words | odd_texts
marks = st.sampled_from([None, "5m", "1h"])
text_parts = st.builds(chat.TextPart, text=texts, cache=marks)
addresses = st.sampled_from(
    [
        "https://pictures.invalid/a.png",
        "https://pictures.invalid/b.jpeg?size=2",
        "gs://bucket/c.webp",
        "data:image/gif;base64,R0lGODlhAQABAAAAACw=",
        "not an address",
        "",
    ]
)
image_parts = st.builds(
    chat.ImagePart, url=addresses, detail=st.sampled_from([None, "auto", "low", "high"]), cache=marks
) | st.builds(
    chat.ImagePart,
    data=st.sampled_from(["aGk=", "iVBORw0KGgo="]),
    media_type=st.sampled_from(["image/png", "image/jpeg", "image/webp"]),
    detail=st.sampled_from([None, "auto", "low", "high"]),
    cache=marks,
)
media_types = st.sampled_from(["application/pdf", "text/plain", "text/csv", "audio/wav", "audio/mpeg", "video/mp4"])
file_parts = st.builds(
    chat.FilePart,
    url=st.sampled_from(["https://files.invalid/a.pdf", "data:application/pdf;base64,JVBERi0="]),
    media_type=media_types,
    name=maybe(texts),
    cache=marks,
) | st.builds(
    chat.FilePart,
    data=st.sampled_from(["JVBERi0=", "SGVsbG8=", "!not base64!"]),
    media_type=media_types,
    name=maybe(texts),
    cache=marks,
)
call_ids = st.sampled_from(["call_1", "call_2", "call_3", "toolu.a/b", "é" * 40, "i" * 300, "", " "])
"""Few, so that results answer calls, or answer them twice, or answer none."""
arguments = st.one_of(
    json_objects.map(json.dumps),
    texts,
    st.sampled_from(["{}", "", "null", "[1]", '{"a": 1e400}', '{"a": NaN}', '{"a":', "123456789012345678901234567890"]),
)


def _reasoning(families: tuple[str, ...]) -> st.SearchStrategy[chat.ReasoningPart]:
    origins = st.sampled_from([None, *families]) | tokens
    return st.builds(chat.ReasoningPart, text=texts, signature=maybe(words), redacted=maybe(words), origin=origins)


def _calls(families: tuple[str, ...]) -> st.SearchStrategy[chat.ToolCallPart]:
    origins = st.sampled_from([None, *families])
    return st.builds(
        chat.ToolCallPart, id=call_ids, name=names, arguments=arguments, signature=maybe(words), origin=origins
    )


user_content = texts | some(text_parts | image_parts | file_parts, most=4)
system_turns = st.builds(
    chat.SystemTurn, role=st.sampled_from(["system", "developer"]), content=texts | some(text_parts)
)
user_turns = st.builds(chat.UserTurn, role=st.just("user"), content=user_content, name=maybe(words))
tool_turns = st.builds(
    chat.ToolTurn,
    role=st.just("tool"),
    tool_call_id=call_ids,
    content=user_content | json_objects.map(json.dumps),
    name=maybe(names),
    is_error=st.booleans(),
)


def turns(families: tuple[str, ...] = ()) -> st.SearchStrategy[Any]:
    """One turn of any role. ``families`` are those whose signatures may turn up."""
    parts = text_parts | _reasoning(families) | _calls(families) | st.builds(chat.RefusalPart, text=texts)
    assistant = st.builds(chat.AssistantTurn, role=st.just("assistant"), content=texts | some(parts, most=5))
    return system_turns | user_turns | assistant | tool_turns


schemas = json_objects | st.sampled_from(
    [
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": ["integer", "null"]}}},
        {"type": "object", "properties": {}, "additionalProperties": False},
        {"anyOf": [{"type": "object"}, {"type": "null"}]},
    ]
)
tools = st.builds(
    chat.Tool,
    name=names,
    description=maybe(texts),
    parameters=maybe(schemas),
    strict=maybe(st.booleans()),
    cache=marks,
)


@st.composite
def settings(draw: st.DrawFn) -> chat.Settings:
    """Any settings, those of 1.2 too."""
    return draw(strategies_chat.settings).model_copy(
        update={"top_k": draw(maybe(st.integers(1, 2_000))), "reasoning_budget": draw(maybe(st.integers(1, 200_000)))}
    )


@st.composite
def conversations(draw: st.DrawFn, families: tuple[str, ...] = ()) -> chat.Conversation:
    """Any turns in any order, any tools, any settings, and sometimes a tool that must be called."""
    offered = draw(st.lists(tools, max_size=3, unique_by=lambda tool: tool.name))
    chosen = draw(settings())
    forcing: bool = draw(st.booleans())
    if offered and forcing:
        forced = st.just("required") | st.builds(chat.NamedTool, name=st.sampled_from([t.name for t in offered]))
        chosen = chosen.model_copy(update={"tool_choice": draw(forced)})
    said = draw(some(turns(families), least=1, most=6))
    return chat.Conversation(messages=said, tools=tuple(offered), settings=chosen)
