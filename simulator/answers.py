"""What a simulated model answers: a function of the request alone, so that a test can say it in advance (pure).

The answer depends on the model's base name, the texts of the prompt and the seed, and on nothing else: streamed or not,
at this provider or another of the same dialect, now or later, it is the same.

- Tools are called when ``choice`` forces them, or when the last user turn names one, says a word of its name ("What is
  the weather?" calls ``get_weather``), says "all tools" or just "tool". Forced after a tool's result, the last one that
  is offered is called: agents put the tool that takes the final answer there.
- A schema is answered with an instance of it, as JSON text; JSON mode with an instance of the schema that the prompt
  shows, or else with one object.
- ``[[say WORDS]]`` in the last user turn is answered with exactly those words.
- Anything else is answered with running text of the set length.

A token of the answer is one piece: a word of text, four characters of JSON. Input is counted as one token for every
four characters, and four for every message (`estimate`, `MESSAGE_TOKENS`).
"""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic_core import to_json

from simulator.conversation import Answer, Ask, Finish, ToolCall
from simulator.instances import instance
from simulator.settings import AnswerLength
from simulator.vectors import vector_of
from simulator.words import Chooser, digest, running_text

JSON_PIECE = 4
"""Characters of JSON in one token."""

MESSAGE_TOKENS = 4
"""What a message costs beyond its text."""

TELLING = 4
"""Characters of a word that tells one tool from another; shorter ones ("get", "add") are in too many sentences."""

MOST_OBJECTS = 32
"""Places of a text that are tried for the start of a schema."""

_SAY = re.compile(r"\[\[say (.*?)\]\]", re.DOTALL)
_WORD = re.compile(rf"[^\W_]{{{TELLING},}}")
_WORDS = re.compile(r"\s*\S+\s*?(?=\s|$)|\s+")


def estimate(characters: int) -> int:
    """Tokens of a text of so many characters."""
    return (characters + 3) // 4


def input_tokens(ask: Ask) -> int:
    """Tokens of the whole prompt."""
    return estimate(sum(map(len, ask.prompt))) + ask.extra_tokens


def longest(ask: Ask) -> int:
    """Tokens that must fit into the window: of the whole prompt, or of the longest text that is a vector's alone."""
    return input_tokens(ask) if ask.texts is None else estimate(max(map(len, ask.texts.inputs)))


def fingerprint(ask: Ask) -> bytes:
    """The hash that an answer is made of."""
    return digest(ask.model.base, str(ask.seed), *ask.prompt)


def compose(ask: Ask, seed: bytes, length: AnswerLength) -> Answer:
    """The answer to a request, already cut to its stop sequences and its ``max_tokens``."""
    answer = Answer(pieces=[])
    if ask.texts is not None:
        wanted = ask.texts
        answer.vectors = [vector_of(ask.model.base, text, wanted.length) for text in wanted.inputs]
        return answer
    if ask.reasoning:
        answer.thoughts = running_text(digest(seed.hex(), "thoughts"), ask.reasoning)
    called = _called_tools(ask)
    if called:
        chooser = Chooser(seed)
        answer.calls = [_call(name, schema, seed, index, chooser) for index, (name, schema) in enumerate(called)]
        answer.finish = "tool_calls"
    else:
        answer.pieces = _pieces(ask, seed, length)
        if ask.stops:
            _stop(answer, ask.stops)
    if ask.max_tokens is not None and len(answer.thoughts) + answer.output_tokens > ask.max_tokens:
        shorten(answer, ask.max_tokens, "length")
    return answer


def shorten(answer: Answer, tokens: int, finish: Finish) -> None:
    """Cut an answer to so many tokens, reasoning first, and say why."""
    answer.thoughts = answer.thoughts[:tokens]
    tokens -= len(answer.thoughts)
    answer.pieces = answer.pieces[:tokens]
    tokens -= len(answer.pieces)
    kept: list[ToolCall] = []
    for call in answer.calls:
        if tokens <= 0:
            break
        kept.append(call if call.tokens <= tokens else _cut_call(call, tokens))
        tokens -= call.tokens
    answer.calls = kept
    answer.finish, answer.stopped_by = finish, None


def pieces_of(text: str) -> list[str]:
    """A text in tokens, one a word; joined again they are the text."""
    return _WORDS.findall(text)


def _pieces(ask: Ask, seed: bytes, length: AnswerLength) -> list[str]:
    if ask.schema is not None:
        return _json_pieces(instance(ask.schema, Chooser(seed)))
    wanted = ask.model.tokens
    if wanted is None:
        wanted = length.shortest + seed[0] % (length.longest - length.shortest + 1)
    said = _SAY.search(ask.turn) if "[[say" in ask.turn else None
    if ask.json_object and said is None and (shown := _shown_schema(ask.prompt)) is not None:
        return _json_pieces(instance(shown, Chooser(seed)))
    if ask.json_object:
        text = said.group(1) if said else "".join(running_text(seed, max(1, wanted // 4)))
        return _json_pieces({"answer": text})
    return pieces_of(said.group(1)) if said else running_text(seed, wanted)


def _shown_schema(prompt: list[str]) -> dict[str, Any] | None:
    """The schema of an object that a text of the prompt shows, as programs do that ask for JSON in words."""
    decoder = json.JSONDecoder()
    for text in prompt:
        if '"properties"' not in text:
            continue
        for start in list(re.finditer(r"\{", text))[:MOST_OBJECTS]:
            try:
                found, _ = decoder.raw_decode(text, start.start())
            except (ValueError, RecursionError):
                continue
            if isinstance(found.get("properties"), dict):
                return {"type": "object", **found}
    return None


def _json_pieces(value: Any) -> list[str]:
    text = to_json(value).decode()
    return [text[at : at + JSON_PIECE] for at in range(0, len(text), JSON_PIECE)]


def _stop(answer: Answer, stops: tuple[str, ...]) -> None:
    """End the text before the first stop sequence that occurs in it."""
    text = answer.text
    found = [(at, stop) for stop in stops if stop and (at := text.find(stop)) >= 0]
    if not found:
        return
    at, answer.stopped_by = min(found)
    answer.finish = "stop_sequence"
    kept: list[str] = []
    for piece in answer.pieces:
        if at <= 0:
            break
        kept.append(piece[:at])
        at -= len(piece)
    answer.pieces = kept


def _called_tools(ask: Ask) -> list[tuple[str, dict[str, Any]]]:
    """The tools this request is answered with, none for a text answer."""
    if not ask.tools or ask.choice == "none":
        return []
    offered = {tool.name: tool.schema for tool in ask.tools}
    if ask.choice in offered:
        return [(ask.choice, offered[ask.choice])]
    turn = ask.turn.lower()
    wanted = [name for name in offered if name.lower() in turn or name.lower().replace("_", " ") in turn]
    if "all tools" in turn:
        wanted = list(offered)
    if not wanted:
        said = set(_WORD.findall(turn))
        wanted = [name for name in offered if said.intersection(_WORD.findall(name.lower()))]
    if not wanted and (ask.choice == "required" or "tool" in turn):
        wanted = list(offered)[:1] if turn else list(offered)[-1:]
    return [(name, offered[name]) for name in (wanted if ask.parallel else wanted[:1])]


def _call(name: str, schema: dict[str, Any], seed: bytes, index: int, chooser: Chooser) -> ToolCall:
    arguments = instance({"type": "object", **schema}, chooser)
    text = to_json(arguments).decode()
    return ToolCall(
        id=digest(seed.hex(), name, str(index))[:12].hex(),
        name=name,
        arguments=text,
        tokens=1 + -(-len(text) // JSON_PIECE),
    )


def _cut_call(call: ToolCall, tokens: int) -> ToolCall:
    return ToolCall(call.id, call.name, call.arguments[: (tokens - 1) * JSON_PIECE], tokens, complete=False)
