"""A cheap count of prompt tokens, good enough to reserve with; the providers' own figures correct it later. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from job_contracts.chat import FilePart, ImagePart, JsonSchemaFormat, ReasoningPart, ToolCallPart

if TYPE_CHECKING:
    from job_contracts.chat import AssistantPart, Conversation, TextPart

CHARS_PER_TOKEN = 4.0
"""Of text in ASCII, by the rule of thumb every tokenizer vendor gives."""
EXTRA_PER_BYTE = 0.4
"""Tokens for each UTF-8 byte beyond one a character: Cyrillic and Greek come to 0.65 a character, CJK to 1.05."""
PER_TURN = 4
"""The frame of role and separators around each turn."""
IMAGE = 1_100
"""A picture of about a megapixel; a low-detail one is ``IMAGE_LOW``."""
IMAGE_LOW = 85
FILE = 1_500
"""A page of a document, or a file of which only the address is known."""
CHARS_PER_FILE_TOKEN = 32.0
"""Of a document in base64: some 50 KB of it make a page."""


def text_tokens(text: str) -> float:
    """Estimated tokens of a text, from its characters and UTF-8 bytes; no pass over it in Python."""
    tokens = len(text) / CHARS_PER_TOKEN
    if not text.isascii():
        tokens += EXTRA_PER_BYTE * (len(text.encode("utf-8", "surrogatepass")) - len(text))
    return tokens


def input_tokens(conversation: Conversation) -> int:
    """Estimated prompt tokens of a whole conversation: turns, tools and the schema of the answer."""
    total = 0.0
    for turn in conversation.messages:
        total += PER_TURN
        if isinstance(turn.content, str):
            total += text_tokens(turn.content)
        else:
            for part in turn.content:
                total += _part(part)
    for tool in conversation.tools:
        total += text_tokens(tool.name) + text_tokens(tool.description or "") + _as_json(tool.parameters)
    wanted = conversation.settings.response_format
    if isinstance(wanted, JsonSchemaFormat):
        total += _as_json(wanted.json_schema)
    return int(total) + 1


def _part(part: TextPart | ImagePart | FilePart | AssistantPart) -> float:
    if isinstance(part, ImagePart):
        return IMAGE_LOW if part.detail == "low" else IMAGE
    if isinstance(part, FilePart):
        return max(FILE, len(part.data or "") / CHARS_PER_FILE_TOKEN)
    if isinstance(part, ToolCallPart):
        return PER_TURN + text_tokens(part.name) + text_tokens(part.arguments)
    if isinstance(part, ReasoningPart):
        return text_tokens(part.text) + text_tokens(part.redacted or "")
    return text_tokens(part.text)


def _as_json(schema: dict[str, object] | None) -> float:
    return text_tokens(json.dumps(schema, separators=(",", ":"), ensure_ascii=False)) if schema else 0.0
