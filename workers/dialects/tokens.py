"""How many tokens a prompt will take, estimated from its characters: no vocabulary, no download, a few microseconds.

The figures are those of the vocabulary o200k, whose counts explain what OpenAI reports almost to the token: English
prose takes one token for four and a half characters, other alphabets one for three to four, Chinese, Japanese and
Korean about four for five characters, an emoji nearly two. Other providers count up to two fifths more, and several add
hundreds of tokens where tools are declared: who needs the true figure corrects by the usage that is reported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from job_contracts.chat import (
    FilePart,
    ImagePart,
    JsonSchemaFormat,
    ReasoningPart,
    ToolCallPart,
)

if TYPE_CHECKING:
    from job_contracts.chat import Conversation, Tool, Turn

_PER_TURN = 4
_START = 3
_PER_TOOL = 8
_IMAGE, _SMALL_IMAGE = 765, 85  # a picture of 1024 x 1024 in high and in low detail at OpenAI
_FILE = 1500
"""A page of a document, or a file of which only the address is known."""
_PER_FILE = 32.0
"""Base64 characters of a document a token: some 50 KB of it make a page."""
_LATIN = 4.4
"""Characters a token of English text."""
_OTHER = 4.0
"""Characters a token of text in other alphabets."""
_PER_WIDE, _PER_RARE = 0.8, 1.75
"""Tokens a character of East Asian scripts; of those beyond the basic plane, such as emoji."""
_EAST_ASIAN = bytes(range(0xE3, 0xEE))  # first bytes of U+3000 to U+DFFF in UTF-8
_BEYOND = bytes(range(0xF0, 0xF5))
_JSON = 3.6
"""Characters a token of JSON: schemas, arguments."""


def estimate(conversation: Conversation) -> int:
    """Tokens of the whole prompt: turns, tools, schema, images."""
    total = float(_START)
    for turn in conversation.messages:
        total += _PER_TURN + _of_turn(turn)
    for tool in conversation.tools:
        total += _of_tool(tool)
    wanted = conversation.settings.response_format
    if isinstance(wanted, JsonSchemaFormat):
        total += _of_json(wanted.json_schema)
    return round(total)


def of_text(text: str) -> float:
    """Tokens of a text, by the scripts its characters belong to."""
    if text.isascii():
        return len(text) / _LATIN
    data = text.encode("utf-8", "replace")
    wide = len(data) - len(data.translate(None, _EAST_ASIAN))
    rare = len(data) - len(data.translate(None, _BEYOND))
    return (len(text) - wide - rare) / _OTHER + wide * _PER_WIDE + rare * _PER_RARE


def of_characters(characters: int) -> int:
    """Tokens of an answer of which only the length is known."""
    return -(-characters // 4)


def _of_turn(turn: Turn) -> float:
    content = turn.content
    if isinstance(content, str):
        return of_text(content)
    total = 0.0
    for part in content:
        if isinstance(part, ImagePart):
            total += _SMALL_IMAGE if part.detail == "low" else _IMAGE
        elif isinstance(part, FilePart):
            total += max(_FILE, len(part.data or "") / _PER_FILE)
        elif isinstance(part, ToolCallPart):
            total += _PER_TURN + len(part.name) / _JSON + len(part.arguments) / _JSON
        elif isinstance(part, ReasoningPart):
            total += of_text(part.text)
        else:
            total += of_text(part.text)
    return total


def _of_tool(tool: Tool) -> float:
    described = of_text(tool.description) if tool.description else 0.0
    return _PER_TOOL + described + len(tool.name) / _JSON + (_of_json(tool.parameters) if tool.parameters else 0.0)


def _of_json(value: dict[str, Any]) -> float:
    return len(to_json(value, fallback=str)) / _JSON
