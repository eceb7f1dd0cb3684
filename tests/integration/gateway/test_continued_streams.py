"""A provider that dies at every point of a text, and another that goes on: clients read one answer, in both APIs."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from catalogue.load import providers
from catalogue.rows import ProviderRow
from job_contracts.failures import FailureKind
from job_contracts.results import Result
from job_contracts.stream import Finished, Started, Switched, Token
from producer_sdk import Producer
from tests.integration.gateway.test_cut_streams import Said
from tests.support.edge import RunningEdge, edge
from tests.support.gateway import QUICK, Gateway, gateway
from tests.support.upstream import Asked, Do, Step, Upstream, chunk, error, head, response

Way = Literal["reset", "close", "stall", "garbage"]
WAYS: tuple[Way, ...] = ("reset", "close", "stall", "garbage")
PIECES = ("The sea ", "is wide,", " and so", " is the sky.", "\n\n", "Nobody ", "knows", " why.")
WHOLE = "".join(PIECES)
OTHER = "Rivers are long."
TIMES = {"connect": 10.0, "ttft": 10.0, "stall": 1.5, "total": 30.0}
"""Only what stalls on purpose may be late: a busy machine is, too."""


@dataclass
class GoesOn(Upstream):
    """Goes on with what was begun for it, after saying the last words again; else it says something of its own."""

    repeated: int = 0
    """Characters of those words, or some more."""
    refuses: bool = False
    streams: bool = True
    begun: list[str] = field(default_factory=list)

    def _script(self, request: Asked) -> list[Step]:
        last = request.json["messages"][-1]
        if last["role"] != "assistant":
            return told((OTHER,)) if self.streams else [response(Said((OTHER,)).body())]
        self.begun.append(last["content"])
        if self.refuses:
            return [error(400, "invalid_request_error", "the last message must be the user's")]
        at = len(last["content"])
        rest = WHOLE[WHOLE.rfind(" ", 0, at - self.repeated) + 1 if 0 < self.repeated < at else at :]
        return told(tuple(rest[place : place + 5] for place in range(0, len(rest), 5)))


def told(pieces: tuple[str, ...]) -> list[Step]:
    return [head(), *map(chunk, Said(pieces).events()), chunk("")]


def row(name: str, **quirks: Any) -> ProviderRow:
    known = providers()["openai"].model_dump(exclude_unset=True)
    return ProviderRow.model_validate({**known, "name": name, "models": [{"name": "*", "quirks": quirks}]})


def script(way: Way, cut: int) -> list[Step]:
    """An answer of the first deployment that ends after so many pieces."""
    ends: dict[Way, list[Step]] = {"reset": [Do.RESET], "close": [Do.CLOSE], "stall": [Do.HANG]}
    end = ends.get(way, [chunk('data: {"choices": [{"ind\n\n'), Do.CLOSE])
    return [head(), *map(chunk, Said(PIECES).events()[: cut + 1]), *end]


@dataclass
class Scene:
    """Two providers, of which the first dies in a way that the model's name tells."""

    whole: Gateway
    edge: RunningEdge
    first: Upstream
    second: GoesOn

    async def results(self) -> dict[str, Result]:
        return {result.route: result for result in (await self.whole.results()).values()}


@asynccontextmanager
async def serving(made: Upstream) -> AsyncIterator[None]:
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield
    finally:
        server.close()
        made.proceed()


@asynccontextmanager
async def scene(directory: Path, second: GoesOn, policy: str = "continue", **quirks: Any) -> AsyncIterator[Scene]:
    first = Upstream()
    async with serving(first), serving(second):
        pools = dict.fromkeys(WAYS, first.url) | {"second": second.url}
        values = {
            # No deployment is left alone for how often it dies here, on purpose.
            "scheduler": {**QUICK["scheduler"], "breaker": {"failures": 1_000}},
            "providers": {name: {"key": "sk", "base_url": f"{url}/v1", "slots": 64} for name, url in pools.items()},
            "routes": {
                f"{way}-{cut}": {
                    "deployments": [f"{way}/{way}-{cut}", "second/m"],
                    "timeouts": TIMES,
                    "broken_stream": policy,
                }
                for way, cut in itertools.product(WAYS, range(len(PIECES) + 1))
            },
        }
        for way, cut in itertools.product(WAYS, range(len(PIECES) + 1)):
            first.of_model[f"{way}-{cut}"] = script(way, cut)
        rows = {name: row(name) for name in WAYS} | {"second": row("second", **quirks)}
        async with gateway(directory, values, rows) as whole, edge(whole) as one_edge:
            yield Scene(whole, one_edge, first, second)


async def read_openai(of: Scene, route: str) -> str:
    """The text that a client of the OpenAI API reads; it must come to its end."""
    text, ended = "", False
    body = {"model": route, "messages": [{"role": "user", "content": "The sea?"}], "stream": True}
    async with of.edge.client.stream("POST", "/v1/chat/completions", json=body) as answered:
        async for line in answered.aiter_lines():
            if not line.startswith("data: "):
                continue
            if line == "data: [DONE]":
                ended = True
                continue
            said = json.loads(line.removeprefix("data: "))
            assert "error" not in said, (route, text, said)
            text += "".join(choice["delta"].get("content") or "" for choice in said["choices"])
    assert ended, route
    return text


async def read_anthropic(of: Scene, route: str) -> str:
    text, ended = "", False
    body = {"model": route, "messages": [{"role": "user", "content": "The sea?"}], "stream": True, "max_tokens": 999}
    async with of.edge.client.stream("POST", "/v1/messages", json=body) as answered:
        async for line in answered.aiter_lines():
            if not line.startswith("data: "):
                continue
            said = json.loads(line.removeprefix("data: "))
            assert said["type"] != "error", (route, text, said)
            text += said.get("delta", {}).get("text", "") if said["type"] == "content_block_delta" else ""
            ended = ended or said["type"] == "message_stop"
    assert ended, route
    return text


async def read_sdk(producer: Producer, route: str) -> tuple[str, list[Started], list[Switched]]:
    """The text that a program reads which forgets what it is told to forget."""
    text, starts, switches = "", list[Started](), list[Switched]()
    async with producer.stream(model=route, messages="The sea?") as events:
        async for event in events:
            match event:
                case Token():
                    text += event.text
                case Started():
                    starts.append(event)
                case Switched():
                    switches.append(event)
                    text = ""
                case Finished():
                    assert event.result.answer is not None
                    assert event.result.answer.text == text, route
                case _:
                    pass
    return text, starts, switches


@pytest.mark.parametrize("repeated", [0, 20])
async def test_every_client_reads_one_answer_wherever_it_broke(tmp_path: Path, repeated: int) -> None:
    async with (
        scene(tmp_path, GoesOn(repeated=repeated), prefill_taken=True) as of,
        of.whole.producer() as producer,
    ):
        routes = [f"{way}-{cut}" for way, cut in itertools.product(WAYS, range(1, len(PIECES) + 1))]
        over_openai = await asyncio.gather(*(read_openai(of, route) for route in routes))
        assert dict(zip(routes, over_openai, strict=True)) == dict.fromkeys(routes, WHOLE)
        over_anthropic = await asyncio.gather(*(read_anthropic(of, route) for route in routes))
        assert dict(zip(routes, over_anthropic, strict=True)) == dict.fromkeys(routes, WHOLE)
        over_sdk = await asyncio.gather(*(read_sdk(producer, route) for route in routes))
        assert {route: found[0] for route, found in zip(routes, over_sdk, strict=True)} == dict.fromkeys(routes, WHOLE)
        assert not any(switches for _, _, switches in over_sdk), "a program was told to forget what stands"
        assert all([start.continues for start in starts] == [None, 1] for _, starts, _ in over_sdk)
        for result in (await of.results()).values():
            assert [record.continued for record in result.attempts] == [None, 1]
            assert result.attempts[0].failure is not None
            assert result.attempts[0].failure.produced
            assert all(record.usage.output for record in result.attempts)
            assert result.deployment == "second/m"


async def test_an_answer_that_had_not_begun_starts_over(tmp_path: Path) -> None:
    async with scene(tmp_path, GoesOn(), prefill_taken=True) as of:
        assert await read_openai(of, "reset-0") == OTHER
        assert of.second.begun == []


async def test_a_target_that_refuses_to_go_on_is_asked_from_the_start_and_the_job_succeeds(tmp_path: Path) -> None:
    second = GoesOn(refuses=True)
    async with scene(tmp_path, second, prefill_taken=True) as of, of.whole.producer() as producer:
        text, starts, switches = await read_sdk(producer, "close-3")
        assert (text, len(switches)) == (OTHER, 1)
        assert [start.continues for start in starts] == [None, None]
        result = (await of.results())["close-3"]
        kinds = [record.failure.kind if record.failure else None for record in result.attempts]
        assert kinds == [FailureKind.STREAM_TRUNCATED, FailureKind.PREFILL_REFUSED, None]
        assert [record.continued for record in result.attempts] == [None, 1, None]
        assert [record.deployment for record in result.attempts][1:] == ["second/m"] * 2
        assert len(second.begun) == 1, "once is enough"


@pytest.mark.parametrize("policy", ["hold", "error"])
async def test_a_route_that_joins_nothing_has_no_answer_gone_on_with(tmp_path: Path, policy: str) -> None:
    async with scene(tmp_path, GoesOn(), policy, prefill_taken=True) as of, of.whole.producer() as producer:
        text, _, switches = await read_sdk(producer, "reset-4")
        assert (text, len(switches)) == (OTHER, 1)
        assert of.second.begun == []


async def test_an_answer_that_is_not_streamed_starts_over(tmp_path: Path) -> None:
    async with scene(tmp_path, GoesOn(streams=False), prefill_taken=True) as of:
        body = {"model": "reset-4", "messages": [{"role": "user", "content": "The sea?"}]}
        answered = await of.edge.client.post("/v1/chat/completions", json=body)
        assert answered.json()["choices"][0]["message"]["content"] == OTHER
        assert of.second.begun == []
