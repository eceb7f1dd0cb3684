"""What a prompt weighs in tokens: estimated from its characters, or counted text by text with a model's vocabulary.

``estimate`` is the contract's own figure, good to about a tenth for prose and code, at one and a half microseconds a
kilobyte. Where a conversation comes near its model's window that is not enough: then ``pieces`` hands out its texts in
small runs, so that whoever counts them can let others go on in between. Either figure is corrected by what the model
family is known to add (``catalogue.tokens``) and by what the provider reports (``calibration``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.chat import FilePart, ImagePart, JsonSchemaFormat, ReasoningPart, ToolCallPart
from job_contracts.estimates import (
    PER_TOOL,
    PER_TURN,
    START,
    conversation_tokens,
    json_text,
    shown_tokens,
    text_tokens,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from job_contracts.chat import Conversation, Turn

    Count = Callable[[str], float]
    """Tokens of a text."""

PIECE = 16 * 1024
"""Characters in one piece at most: some milliseconds of counting."""

estimate = conversation_tokens
of_text = text_tokens


def of_characters(characters: int) -> int:
    """Tokens of an answer of which only the length is known."""
    return -(-characters // 4)


def has_media(conversation: Conversation) -> bool:
    """Whether it shows pictures or files, whose tokens no text tells."""
    return any(
        isinstance(part, ImagePart | FilePart)
        for turn in conversation.messages
        if not isinstance(turn.content, str)
        for part in turn.content
    )


def pieces(conversation: Conversation) -> Iterator[tuple[int, str | float]]:
    """What the conversation weighs, in small parts: the place of the turn (-1 for tools and schema), and either text of
    at most ``PIECE`` characters that is to be counted, or tokens that need no counting.
    """
    yield -1, float(START)
    for tool in conversation.tools:
        yield -1, float(PER_TOOL)
        for text in (tool.name, tool.description, tool.parameters and json_text(tool.parameters)):
            for run in _runs(text or ""):
                yield -1, run
    wanted = conversation.settings.response_format
    if isinstance(wanted, JsonSchemaFormat):
        for run in _runs(json_text(wanted.json_schema)):
            yield -1, run
    for place, turn in enumerate(conversation.messages):
        for piece in _of_turn(turn):
            yield place, piece


def of_turn(turn: Turn, count: Count) -> float:
    """Tokens of one turn with its frame."""
    return sum(count(piece) if isinstance(piece, str) else piece for piece in _of_turn(turn))


def _of_turn(turn: Turn) -> Iterator[str | float]:
    yield float(PER_TURN)
    content = turn.content
    if isinstance(content, str):
        yield from _runs(content)
        return
    for part in content:
        if isinstance(part, ImagePart | FilePart):
            yield float(shown_tokens(part))
        elif isinstance(part, ToolCallPart):
            yield float(PER_TURN)
            yield from _runs(part.name)
            yield from _runs(part.arguments)
        elif isinstance(part, ReasoningPart):
            yield from _runs(part.text)
            yield from _runs(part.redacted or "")
        else:
            yield from _runs(part.text)


def _runs(text: str) -> Iterator[str]:
    if len(text) <= PIECE:
        if text:
            yield text
        return
    for start in range(0, len(text), PIECE):
        yield text[start : start + PIECE]
