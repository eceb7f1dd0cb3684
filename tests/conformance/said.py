"""What a conversation says and shows, and how the receiving end understands the request it became."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

from catalogue.load import providers
from catalogue.rows import ProviderRow
from job_contracts.chat import (
    AssistantTurn,
    Conversation,
    FilePart,
    ImagePart,
    ReasoningPart,
    RefusalPart,
    SystemTurn,
    TextPart,
    ToolCallPart,
    ToolTurn,
    UserTurn,
)
from job_contracts.results import Loss
from tests.conformance.translate import TRANSLATED, translate
from workers.dialects import DIALECTS
from workers.dialects.encoding import data_url, split_data_url
from workers.dialects.port import Target

TARGETS: Mapping[str, tuple[str, str]] = {
    "openai_chat": ("openai", "gpt-4o"),
    "openai_responses": ("openai", "gpt-5.2"),
    "anthropic": ("anthropic", "claude-sonnet-5"),
    "gemini": ("gemini", "gemini-3-flash"),
    "bedrock": ("bedrock", "us.anthropic.claude-sonnet-5"),
    "cohere": ("cohere", "command-a-03-2025"),
    "ollama": ("ollama", "gemma3"),
}
"""A packaged model of the dialect; of a dialect without one, a row that has no more than it must."""
READABLE = tuple(name for name in DIALECTS if name in TRANSLATED)
"""The dialects whose requests the tests can read: a new one joins with its translator."""


@cache
def _packaged() -> Mapping[str, ProviderRow]:
    """Read once for all dialects: each reading parses every file of the catalogue."""
    return providers()


@cache
def target(dialect: str) -> Target:
    """Whom the conversations are encoded for."""
    if dialect in TARGETS:
        provider, model = TARGETS[dialect]
        row = _packaged()[provider]
        return Target(provider=row, model=row.model(model))
    model_row = {"name": "some-model", "family": f"family-{dialect}", "max_output": 32_000, "context_window": 200_000}
    row = ProviderRow.model_validate(
        {"name": "some", "dialect": dialect, "base_url": "https://some.invalid", "models": [model_row]}
    )
    return Target(provider=row, model=row.model("some-model"))


FAMILIES = tuple(family for name in READABLE if (family := target(name).model.family))
"""The families of all targets: a signature of one is foreign to the others."""
SIGNATURES: Mapping[str, str] = {target("openai_responses").model.family: '{"encrypted_content":"c2ln"}'}
"""What a family's signature looks like, where not anything will do."""


@dataclass(frozen=True)
class Understood:
    """A request as its receiver reads it, with tools under their own names."""

    conversation: Conversation
    losses: tuple[Loss, ...]
    body: dict[str, Any]


def back(dialect: str, conversation: Conversation) -> Understood:
    """The conversation as the API understands it."""
    chosen = target(dialect)
    encoded = DIALECTS[dialect].encode(conversation, chosen)
    body = json.loads(encoded.body)
    values = translate(dialect, body, family=chosen.model.family).conversation.model_dump()
    names = encoded.names
    for turn in values["messages"]:
        if turn["role"] == "assistant" and not isinstance(turn["content"], str):
            for part in turn["content"]:
                if part["type"] == "tool_call":
                    part["name"] = names.get(part["name"], part["name"])
    for tool in values["tools"]:
        tool["name"] = names.get(tool["name"], tool["name"])
    choice = values["settings"]["tool_choice"]
    if isinstance(choice, dict):
        choice["name"] = names.get(choice["name"], choice["name"])
    return Understood(Conversation.model_validate(values), encoded.losses, body)


@dataclass(frozen=True)
class Thing:
    """One thing that is said or shown: the place of its turn, what it is, and what it says in comparable form."""

    at: int
    kind: str
    what: Any


def things(conversation: Conversation, family: str = "", losses: tuple[Loss, ...] = ()) -> list[Thing]:
    """Everything in order; blank text is nothing, ids are numbers in the order they appear.

    ``family``: opaque reasoning of this family is text to the API, which knows what is in it. ``losses`` may say of a
    result that it became the user's turn.
    """
    ids: dict[str, int] = {}
    found: list[Thing] = []
    converted = {loss.field for loss in losses if loss.kind == "converted"}
    for at, turn in enumerate(conversation.messages):
        if isinstance(turn, ToolTurn) and f"messages[{at}]" in converted:
            turn = UserTurn(role="user", content=turn.content)  # noqa: PLW2901 - it is what the loss says
        role = "system" if isinstance(turn, SystemTurn) else turn.role
        if isinstance(turn, ToolTurn):
            found.append(Thing(at, "result", ids.setdefault(turn.tool_call_id, len(ids))))
        parts = (TextPart(text=turn.content),) if isinstance(turn.content, str) else turn.content
        for part in parts:
            if isinstance(part, TextPart | RefusalPart):
                text = result_text(part.text) if isinstance(turn, ToolTurn) else part.text.strip()
                found += [Thing(at, role, text)] if text else []
            elif isinstance(part, ReasoningPart):
                plan = _plan(part, parts, family)
                found += [Thing(at, role, plan)] if plan else []
            elif isinstance(part, ImagePart):
                found.append(Thing(at, "image", _picture(part)))
            elif isinstance(part, FilePart):
                given = split_data_url(part.url or "")  # a data URL is its data
                found.append(Thing(at, "file", given[1] if given else part.url or part.data))
            elif isinstance(part, ToolCallPart):
                call = (ids.setdefault(part.id, len(ids)), part.name, call_arguments(part.arguments))
                found.append(Thing(at, "call", call))
    return found


def _plan(part: ReasoningPart, beside: Sequence[Any], family: str) -> str:
    """The plan of the calls beside it that an opaque part is, where its family reads it."""
    calls = any(isinstance(other, ToolCallPart) for other in beside)
    return (part.redacted or "").strip() if calls and family and part.origin == family else ""


def _picture(part: ImagePart) -> str:
    """Data by itself: some formats do not say of what type it is."""
    url = data_url(part)
    return url.partition(";base64,")[2] if url.startswith("data:") else url


def call_arguments(text: str) -> str:
    """Arguments in comparable form, as formats that want an object send them."""
    try:
        value = json.loads(text, parse_constant=_no_number, parse_float=_finite) if text.strip() else {}
    except ValueError:
        value = text.strip()
    return json.dumps(value if isinstance(value, dict) else {"arguments": value}, sort_keys=True)


def result_text(text: str) -> str:
    """The text of a result in comparable form."""
    try:
        value = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except ValueError:
        return text.strip()
    if isinstance(value, dict) and len(value) == 1 and isinstance(value.get("output"), str):
        return str(value["output"]).strip()
    if value == {}:
        return ""  # what formats say of a result that says nothing
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else text.strip()


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _no_number(digits)


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


MOVED = {"rewritten", "merged", "converted"}
"""Losses that say that things stand elsewhere or in another form."""


def unsaid(was: list[Thing], now: list[Thing], losses: tuple[Loss, ...]) -> Iterator[str]:
    """What is missing, added or in another order without a loss that says so.

    Text is never missing, nor is a call. An image or a file may be, and a result may have become something else, where
    a loss names its turn.
    """
    before, after = _counted(was), _counted(now)
    for key in before - after:
        kind, what = key
        if kind in {"image", "file", "result"}:
            places = {thing.at for thing in was if (thing.kind, _key(thing)) == key}
            if any(loss.field.startswith(f"messages[{at}]") for loss in losses for at in places):
                continue
        yield f"missing: {kind} {what!r}"
    moved = any(loss.kind in MOVED for loss in losses)
    if not moved:
        yield from (f"added: {kind} {what!r}" for kind, what in after - before)
    in_order = [(thing.kind, thing.what) for thing in was] == [(thing.kind, thing.what) for thing in now]
    if not in_order and not moved and not any(loss.kind == "dropped" for loss in losses):
        yield "in another order or under another role"


def _counted(found: list[Thing]) -> Counter[tuple[str, Any]]:
    """What is said without its order and roles; texts that a format joins are compared character by character."""
    counts: Counter[tuple[str, Any]] = Counter()
    for thing in found:
        if thing.kind in {"image", "file", "call", "result"}:
            counts[thing.kind, _key(thing)] += 1
        else:
            counts.update(("text", character) for character in thing.what if not character.isspace())
    return counts


def _key(thing: Thing) -> Any:
    """Without the number of an id, which depends on the order."""
    return "" if thing.kind == "result" else thing.what[1:] if thing.kind == "call" else thing.what


def pairs(conversation: Conversation) -> list[tuple[str, str, str]]:
    """Name, arguments and result of each call, in the order of the calls."""
    results = {
        turn.tool_call_id: result_text(_text(turn)) for turn in conversation.messages if isinstance(turn, ToolTurn)
    }
    return [
        (part.name, call_arguments(part.arguments), results.get(part.id, ""))
        for turn in conversation.messages
        if isinstance(turn, AssistantTurn) and not isinstance(turn.content, str)
        for part in turn.content
        if isinstance(part, ToolCallPart)
    ]


def _text(turn: ToolTurn) -> str:
    if isinstance(turn.content, str):
        return turn.content
    return "".join(part.text for part in turn.content if isinstance(part, TextPart))


def marks(conversation: Conversation) -> int:
    """How many things are marked for a prompt cache."""
    parts = [part for turn in conversation.messages if not isinstance(turn.content, str) for part in turn.content]
    return sum(getattr(thing, "cache", None) is not None for thing in (*parts, *conversation.tools))


def thoughts(conversation: Conversation) -> list[ReasoningPart]:
    """The reasoning of earlier turns that holds anything."""
    return [
        part
        for turn in conversation.messages
        if isinstance(turn, AssistantTurn) and not isinstance(turn.content, str)
        for part in turn.content
        if isinstance(part, ReasoningPart) and (part.text or part.signature or part.redacted)
    ]
