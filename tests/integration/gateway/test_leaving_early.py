"""A client that hangs up, or is refused, while the jobs of its request are being submitted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from catalogue.load import providers
from job_contracts.jobs import JobState
from runtime.broker import Broker
from tests.support.edge import RunningEdge, edge
from tests.support.eventually import eventually
from tests.support.gateway import Gateway, gateway
from tests.support.proxy import FaultProxy, lose_nothing, publish_acks
from tests.support.upstream import Do, Upstream, upstream

TURN = {"role": "user", "content": "Hi"}
BODIES: Mapping[str, Mapping[str, Any]] = {
    "/v1/chat/completions": {"model": "chat", "messages": [TURN], "n": 2},
    "/v1/messages": {"model": "chat", "messages": [TURN], "max_tokens": 10, "stream": True},
    "/v1/responses": {"model": "chat", "input": "Hi"},
    "/v1/embeddings": {"model": "vectors", "input": ["one", "two", "three"]},
}


@pytest.fixture
async def provider() -> AsyncIterator[Upstream]:
    async with upstream([Do.HANG]) as made:
        yield made


@pytest.fixture
async def whole(tmp_path: Path, provider: Upstream) -> AsyncIterator[Gateway]:
    values: dict[str, Any] = {
        "providers": {"openai": {"key": "sk-one", "base_url": f"{provider.url}/v1"}},
        "routes": {
            "chat": {"deployments": ["openai/gpt-4o-mini"]},
            "vectors": {"deployments": ["openai/text-embedding-3-small"]},
        },
    }
    async with gateway(tmp_path, values, providers()) as made:
        yield made


@pytest.fixture
async def proxy(whole: Gateway) -> AsyncIterator[FaultProxy]:
    assert isinstance(whole.broker, Broker)
    async with FaultProxy(whole.broker) as made:
        yield made


@pytest.fixture
async def one(whole: Gateway, proxy: FaultProxy) -> AsyncIterator[RunningEdge]:
    """An edge whose way to the broker can be disturbed."""
    async with edge(whole, embedding_batch=2, linger=0.2, url=proxy.url) as made:
        yield made


@pytest.mark.parametrize("path", BODIES)
async def test_a_job_whose_client_goes_before_it_is_confirmed_is_cancelled(
    whole: Gateway, one: RunningEdge, provider: Upstream, proxy: FaultProxy, path: str
) -> None:
    proxy.lose_down = publish_acks
    jobs = 1 if "stream" in BODIES[path] or path == "/v1/responses" else 2
    asking = asyncio.ensure_future(one.client.post(path, json=BODIES[path]))
    await eventually(lambda: len(provider.asked) == jobs)  # stored, and the edge does not know
    asking.cancel()
    proxy.lose_down = lose_nothing
    await eventually(lambda: one.made.server.requests == 0, within=10)
    await whole.settled(within=20)
    assert [result.state for result in (await whole.results()).values()] == [JobState.CANCELLED] * jobs
