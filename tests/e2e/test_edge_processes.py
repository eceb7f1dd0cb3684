"""Edges as processes of their own: one is killed or told to end in the middle of a stream, and another goes on."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from catalogue.load import providers
from gateway.keys import hashed
from job_contracts.jobs import JobState
from tests.support.eventually import eventually
from tests.support.gateway import Gateway, gateway
from tests.support.reading_streams import Heard, hear
from tests.support.stand_in import PROJECT, SECRET, SERVICE, key
from tests.support.upstream import Do, Upstream, chunk, event, head, upstream
from tests.support.worker_process import Process, edge_process

PEPPER = "pepper"
WORDS = ["Once ", "upon ", "a ", "time ", "there ", "was ", "a ", "pipe", "."]
ASKED: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "Tell me"}]}


@dataclass
class Running:
    """One edge's process, and a client of it."""

    process: Process
    client: httpx.AsyncClient


def _values(url: str) -> dict[str, Any]:
    return {
        "providers": {"openai": {"key": "sk-one", "base_url": f"{url}/v1"}},
        "routes": {"chat": {"deployments": ["openai/gpt-4o-mini"]}},
        "projects": {PROJECT: {"retry_share": 1.0}},
    }


@asynccontextmanager
async def running(whole: Gateway, values: dict[str, Any], path: Path, **settings: Any) -> AsyncIterator[Running]:
    """Start an edge beside ``whole``."""
    known = {"test": {"project": PROJECT, "hash": hashed(key(), PEPPER)}}
    own = {"pepper": PEPPER, "keys": known, "linger": 60, **settings}
    nats = {"url": whole.url, "user": SERVICE, "password": SECRET}
    path.write_text(yaml.safe_dump({**values, "nats": nats, "gateway": own}), encoding="utf-8")
    async with edge_process(path) as process:
        await process.ready()
        port = process.said("edge.listening")[0]["port"]
        headers = {"authorization": f"Bearer {key()}"}
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
            yield Running(process, client)


@dataclass
class Place:
    provider: Upstream
    whole: Gateway
    one: Running
    two: Running

    async def tell(self, words: int, heard: Heard) -> None:
        """Let the provider say some words, each once the one before has been heard."""
        for _ in range(words):
            before = len(heard.events)
            self.provider.step()
            await eventually(lambda before=before: len(heard.events) > before)  # type: ignore[misc]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    script = [head(), *(step for word in WORDS for step in (Do.STEP, chunk(event(word))))]
    end = [chunk(event(finish="stop")), chunk(event(usage=True)), chunk("data: [DONE]\n\n"), chunk("")]
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(upstream([*script, *end]))
        values = _values(provider.url)
        quick = {"workers": {"beat_every": 1.0, "drain": 1.0, "coalesce": 0.001, "coalesce_bytes": 1}}
        whole = await stack.enter_async_context(gateway(tmp_path, {**values, **quick}, providers()))
        edges = [
            await stack.enter_async_context(running(whole, values, tmp_path / f"{name}.yaml", drain=0.5))
            for name in ("one", "two")
        ]
        yield Place(provider, whole, edges[0], edges[1])


async def _begun(place: Place, heard: Heard) -> asyncio.Task[Heard]:
    reading = asyncio.ensure_future(hear(place.one, ASKED, key="k", into=heard))
    await eventually(lambda: place.provider.asked)
    await place.tell(4, heard)
    return reading


async def _goes_on_at_the_other(place: Place, before: Heard) -> None:
    assert not before.whole
    after = Heard()
    going_on = asyncio.ensure_future(hear(place.two, ASKED, key="k", seen=before.last, into=after))
    await place.tell(len(WORDS) - 4, after)
    await going_on
    assert after.whole
    assert before.events + after.events == (await hear(place.two, ASKED, key="k")).events
    assert len(place.provider.asked) == 1
    assert [result.state for result in (await place.whole.results()).values()] == [JobState.SUCCEEDED]


async def test_an_edge_that_is_killed_in_the_middle_of_a_stream_costs_its_client_nothing(place: Place) -> None:
    before = Heard()
    reading = await _begun(place, before)
    place.one.process.child.kill()
    await reading
    await _goes_on_at_the_other(place, before)


async def test_an_edge_that_is_told_to_end_says_so_cuts_what_is_left_and_ends_well(place: Place) -> None:
    before = Heard()
    reading = await _begun(place, before)
    place.one.process.child.send_signal(signal.SIGTERM)
    await eventually(lambda: _not_ready(place.one))
    await reading
    assert await place.one.process.ended() == 0, place.one.process.other
    assert [told["why"] for told in place.one.process.said("edge.cut")] == ["draining"]
    await _goes_on_at_the_other(place, before)


async def _not_ready(edge: Running) -> bool:
    try:
        answer = await edge.client.get("/readyz")
    except httpx.TransportError:
        return True
    return answer.status_code == 503 and "draining" in json.dumps(answer.json())


async def test_the_metrics_of_an_edge_count_what_it_did(place: Place) -> None:
    heard = Heard()
    reading = await _begun(place, heard)
    text = (await place.one.client.get("/metrics")).text
    assert "penstock_edge_streams_open 1.0" in text
    await place.tell(len(WORDS) - 4, heard)
    await reading
    refused = await place.one.client.post("/v1/chat/completions", json={})
    assert refused.status_code == 400
    counted = 'penstock_edge_requests_total{api="/v1/chat/completions",status='

    async def told() -> bool:
        """An answer is counted a moment after it has been read."""
        lines = (await place.one.client.get("/metrics")).text.splitlines()
        return {f'{counted}"2xx"}} 1.0', f'{counted}"4xx"}} 1.0', "penstock_edge_streams_open 0.0"} <= set(lines)

    await eventually(told)
