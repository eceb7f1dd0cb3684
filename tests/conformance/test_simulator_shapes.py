"""The simulator's answers against recorded ones: no field that no real provider sends, none missing that all send.

Runs where the recordings are present, beside the repository.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from simulator import Simulator
from tests.integration.simulator.raw import PROVIDERS, Received, ask

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings" / "open"

pytestmark = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings are not beside the repository")

ENDPOINTS = {"openai": "chat.completions", "anthropic": "messages", "gemini": "enerateContent"}
OPEN = (".arguments", ".input.", ".args.", ".logprobs.", ".logprobsResult.")
"""Places whose content is the caller's, or in no recording."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded response, in pieces of JSON: one for a body, one for each event of a stream."""

    status: int
    streamed: bool
    pieces: tuple[Any, ...]


def recorded(provider: str) -> list[Recorded]:
    """What was recorded of a provider's endpoint for completions."""
    found = []
    for path in sorted((RECORDINGS / "cassettes" / provider).glob("*.json")):
        if ENDPOINTS[provider] not in path.name.split(".err")[0].split(".plain")[0].split(".stream")[0]:
            continue
        response = json.loads(path.read_text())["response"]
        pieces = tuple(_pieces(response["body"] or ""))
        if pieces:
            found.append(Recorded(response["status"], len(pieces) > 1, pieces))
    return found


def _pieces(body: str) -> Iterator[Any]:
    """The JSON in a body: of each event, of each element of an array, or of the whole."""
    lines = [line.removeprefix("data: ").strip() for line in body.splitlines() if line.startswith("data: ")]
    for text in lines or [body]:
        if text == "[DONE]":
            continue
        try:
            value = json.loads(text)
        except ValueError:
            return
        yield from value if isinstance(value, list) else (value,)


def paths(value: Any, at: str = "") -> Iterator[str]:
    """Every place of a value: names joined by dots, ``[]`` for any element. A block's type is part of its name."""
    if isinstance(value, dict):
        kind = f"<{value['type']}>" if isinstance(value.get("type"), str) else ""
        for name, one in value.items():
            yield f"{at}{kind}.{name}"
            yield from paths(one, f"{at}{kind}.{name}")
    elif isinstance(value, list):
        for one in value:
            yield from paths(one, f"{at}[]")


def known(provider: str, *, streamed: bool) -> set[str]:
    """The places of every successful recorded response."""
    return {
        path
        for one in recorded(provider)
        if one.status == 200 and one.streamed == streamed
        for piece in one.pieces
        for path in paths(piece)
    }


def ours(received: Received) -> set[str]:
    """The places of an answer of the simulator."""
    return {
        path
        for piece in _pieces(received.body.decode())
        for path in paths(piece)
        if not any(part in f"{path}." for part in OPEN)
    }


MODELS = {"openai": "gpt-4o", "anthropic": "claude-haiku-4-5", "gemini": "gemini-2.5-flash"}
FUNCTION = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ASKED: dict[str, list[dict[str, Any]]] = {
    "openai": [
        {},
        {"reasoning_effort": "low", "stream_options": {"include_usage": True}},
        {
            "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": FUNCTION}}],
            "tool_choice": "required",
        },
    ],
    "anthropic": [
        {},
        {"thinking": {"type": "enabled", "budget_tokens": 1_024}, "max_tokens": 2_000},
        {"tools": [{"name": "get_weather", "input_schema": FUNCTION}], "tool_choice": {"type": "any"}},
    ],
    "gemini": [
        {},
        {"generationConfig": {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": 16}}},
        {
            "tools": [{"functionDeclarations": [{"name": "get_weather", "parameters": FUNCTION}]}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        },
    ],
}


async def answers(simulator: Simulator, provider: str, *, streamed: bool) -> list[set[str]]:
    """The places of what the simulator answers to a plain request, to one with reasoning and to one with tools."""
    found = []
    for fields in ASKED[provider]:
        wanted = {name: one for name, one in fields.items() if streamed or name != "stream_options"}
        received = await ask(simulator, provider, MODELS[provider], stream=streamed, **wanted)
        assert received.status == 200, received.body
        found.append(ours(received))
    return found


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_no_field_is_sent_that_no_real_provider_sends(provider: str, streamed: bool) -> None:
    real = known(provider, streamed=streamed)
    assert len(real) > 10
    async with Simulator() as simulator:
        for sent in await answers(simulator, provider, streamed=streamed):
            assert sent - real == set()


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_no_field_is_missing_that_every_real_answer_has(provider: str) -> None:
    bodies = [one for one in recorded(provider) if one.status == 200 and not one.streamed]
    everywhere = set.intersection(*(set(paths(one.pieces[0])) for one in bodies))
    async with Simulator() as simulator:
        plain = (await answers(simulator, provider, streamed=False))[0]
    assert everywhere - plain == set()


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_an_error_has_the_fields_of_a_recorded_one(provider: str) -> None:
    errors = {one.status: one for one in recorded(provider) if one.status >= 400}
    assert len(errors) >= 2
    async with Simulator() as simulator:
        for status, one in errors.items():
            received = await ask(simulator, provider, f"m+fault={status}")
            sent = set(paths(json.loads(received.body)))
            assert received.status == status
            assert {path for path in paths(one.pieces[0]) if ".details" not in path} - sent <= {".request_id"}
