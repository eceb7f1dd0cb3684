"""The simulator's Responses API against recorded answers: no field that no real one sends, none missing that all send.

Runs where the recordings are present, beside the repository.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

from simulator import Simulator
from tests.conformance.recordings import Exchange, exchanges, needs_recordings
from tests.conformance.test_simulator_shapes import paths
from tests.integration.simulator.raw import HEADERS, Received, exchange, http

pytestmark = needs_recordings

CALLERS = ("<response>.tools", "<response>.text", ".logprobs", ".metadata")
"""Places whose content is the caller's."""
FUNCTION = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}, "strict": False}
ASKED: tuple[Mapping[str, Any], ...] = (
    {},
    {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]},
    {"tools": [FUNCTION], "tool_choice": "required"},
)


def recorded(*, streamed: bool) -> list[Exchange]:
    """Successful recorded exchanges; OpenAI's own and Azure's, who runs the same."""
    return [
        one
        for one in exchanges()
        if one.endpoint == "responses"
        and one.provider in {"openai", "azure"}
        and one.status == 200
        and (one.format == "sse") is streamed
    ]


def pieces(body: bytes) -> list[Any]:
    """The JSON of a body: of the whole, or of each event."""
    lines = [line[6:] for line in body.replace(b"\r\n", b"\n").split(b"\n") if line.startswith(b"data: {")]
    return [json.loads(line) for line in lines or [body]]


def places(body: bytes) -> set[str]:
    """The places of a body, but for the caller's; a response goes by one name wherever it stands."""
    found = set()
    for piece in pieces(body):
        whole = piece.get("object") == "response"
        for path in paths(piece):
            name = f"<response>{path}" if whole else path.replace(".response.", ".<response>.", 1)
            found.add(name)
    return {path for path in found if not any(place in f"{path}." for place in CALLERS)}


async def asked(simulator: Simulator, fields: Mapping[str, Any], *, streamed: bool) -> Received:
    body = {"model": "gpt-5", "input": "hello", "stream": streamed, **fields}
    request = http("POST", "/v1/responses", HEADERS["openai"], json.dumps(body).encode())
    received = await exchange(simulator.base_url("openai"), request)
    assert received.status == 200, received.body
    return received


@pytest.mark.parametrize("streamed", [False, True])
async def test_no_field_is_sent_that_no_real_one_sends(streamed: bool) -> None:
    real = {place for one in recorded(streamed=streamed) for place in places(one.body)}
    assert len(real) > 30
    async with Simulator() as simulator:
        for fields in ASKED:
            received = await asked(simulator, fields, streamed=streamed)
            assert places(received.body) - real == set()


async def test_no_field_is_missing_that_every_real_answer_has() -> None:
    everywhere = set.intersection(*(places(one.body) for one in recorded(streamed=False)))
    assert len(everywhere) > 10
    async with Simulator() as simulator:
        received = await asked(simulator, {}, streamed=False)
    assert everywhere - places(received.body) == set()


async def test_events_come_in_the_order_of_recorded_ones() -> None:
    """Whatever follows directly in the simulator's streams follows somewhere in a recorded one."""
    followed = {
        pair
        for one in recorded(streamed=True)
        for kinds in [[piece["type"] for piece in pieces(one.body)]]
        for pair in pairwise(kinds)
    }
    async with Simulator() as simulator:
        for fields in ASKED:
            kinds = [piece["type"] for piece in pieces((await asked(simulator, fields, streamed=True)).body)]
            assert set(pairwise(kinds)) - followed == set()
