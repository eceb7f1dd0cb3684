"""How many tokens a prompt will take, estimated from its characters: no vocabulary, no download, a few microseconds.

Producers write it into a job's ticket, the scheduler reserves by it, workers take it to see whether a conversation
comes near its model's window; what providers report corrects it. The figures are those of the vocabulary o200k, whose
counts explain what OpenAI reports almost to the token: of English prose five letters and blanks make a token, of
digits and punctuation (numbers, code, JSON) not even two; other alphabets have one token for four characters, Chinese,
Japanese and Korean about four for five, an emoji nearly two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from job_contracts.chat import FilePart, ImagePart, JsonSchemaFormat, ReasoningPart, ToolCallPart

if TYPE_CHECKING:
    from job_contracts.chat import AssistantPart, Conversation, TextPart, Tool, Turn

START = 3
"""Tokens before the first turn."""
PER_TURN = 4
"""The frame of role and separators around each turn, and around each call of a tool."""
PER_TOOL = 8
"""The frame around a tool's definition."""
IMAGE, IMAGE_LOW = 765, 85
"""A picture of 1024 x 1024 in high and in low detail at OpenAI."""
FILE = 1_500
"""A page of a document, or a file of which only the address is known."""
CHARACTERS_PER_FILE_TOKEN = 32.0
"""Base64 characters of a document: some 50 KB of it make a page."""

_LETTER, _MARK = 0.19, 0.56
"""Tokens a character of ASCII: of letters and blanks; of digits and punctuation."""
_OTHER = 0.25
"""Tokens a character of other alphabets, or of Latin with accents."""
_WIDE, _RARE = 0.8, 1.75
"""Tokens a character of East Asian scripts; of those beyond the basic plane, such as emoji."""
_MARKS = bytes(each for each in range(0x21, 0x7F) if not chr(each).isalpha())
_EAST_ASIAN = bytes(range(0xE3, 0xEE))  # first bytes of U+3000 to U+DFFF in UTF-8
_BEYOND = bytes(range(0xF0, 0xF5))


def text_tokens(text: str) -> float:
    """Estimated tokens of a text, by the scripts its characters belong to; no pass over it in Python."""
    data = text.encode("utf-8", "replace")
    marks = len(data) - len(data.translate(None, _MARKS))
    if len(data) == len(text):
        return (len(text) - marks) * _LETTER + marks * _MARK
    wide = len(data) - len(data.translate(None, _EAST_ASIAN))
    rare = len(data) - len(data.translate(None, _BEYOND))
    return (len(text) - marks - wide - rare) * _OTHER + marks * _MARK + wide * _WIDE + rare * _RARE


def conversation_tokens(conversation: Conversation) -> int:
    """Estimated tokens of a whole prompt: turns, tools, the schema of the answer, images and files."""
    total = float(START)
    for turn in conversation.messages:
        total += PER_TURN + turn_tokens(turn)
    for tool in conversation.tools:
        total += tool_tokens(tool)
    wanted = conversation.settings.response_format
    if isinstance(wanted, JsonSchemaFormat):
        total += json_tokens(wanted.json_schema)
    return round(total)


def turn_tokens(turn: Turn) -> float:
    """Estimated tokens of what one turn says, shows and calls, without its frame."""
    content = turn.content
    if isinstance(content, str):
        return text_tokens(content)
    return sum(map(_part_tokens, content))


def tool_tokens(tool: Tool) -> float:
    """Estimated tokens of a tool's definition."""
    described = text_tokens(tool.description) if tool.description else 0.0
    return PER_TOOL + text_tokens(tool.name) + described + (json_tokens(tool.parameters) if tool.parameters else 0.0)


def json_tokens(value: dict[str, Any]) -> float:
    """Estimated tokens of a JSON document as providers write it: without blanks."""
    return text_tokens(json_text(value))


def json_text(value: dict[str, Any]) -> str:
    """The document itself."""
    return to_json(value, fallback=str).decode("utf-8", "replace")


def shown_tokens(part: ImagePart | FilePart) -> float:
    """Estimated tokens of a picture or a file, which differ more between providers than between pictures."""
    if isinstance(part, ImagePart):
        return IMAGE_LOW if part.detail == "low" else IMAGE
    return max(FILE, len(part.data or "") / CHARACTERS_PER_FILE_TOKEN)


def _part_tokens(part: TextPart | ImagePart | FilePart | AssistantPart) -> float:
    if isinstance(part, ImagePart | FilePart):
        return shown_tokens(part)
    if isinstance(part, ToolCallPart):
        return PER_TURN + text_tokens(part.name) + text_tokens(part.arguments)
    if isinstance(part, ReasoningPart):
        return text_tokens(part.text) + (text_tokens(part.redacted) if part.redacted else 0.0)
    return text_tokens(part.text)
