"""A client that hangs up, or is refused, while the jobs of its request are being submitted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from catalogue.load import providers
from gateway.bodies.failures import ApiError, Failed
from gateway.conversations import Conversations
from job_contracts import subjects
from job_contracts.jobs import JobState
from producer_sdk.exchange import Patience
from runtime.broker import Broker
from tests.support.edge import RunningEdge, edge
from tests.support.eventually import eventually
from tests.support.gateway import Gateway, gateway
from tests.support.proxy import FaultProxy, lose_nothing, publish_acks
from tests.support.stand_in import PROJECT
from tests.support.upstream import Do, Upstream, completion, error, response, stream, upstream

TURN = {"role": "user", "content": "Hi"}
BODIES: Mapping[str, Mapping[str, Any]] = {
    "/v1/chat/completions": {"model": "chat", "messages": [TURN], "n": 2},
    "/v1/messages": {"model": "chat", "messages": [TURN], "max_tokens": 10, "stream": True},
    "/v1/responses": {"model": "chat", "input": "Hi"},
    "/v1/embeddings": {"model": "vectors", "input": ["one", "two", "three", "four"]},
}
STREAMS: Mapping[str, Mapping[str, Any]] = {
    "/v1/chat/completions": {"model": "chat", "messages": [TURN], "stream": True},
    "/v1/responses": {"model": "chat", "input": "Hi", "stream": True},
}
VECTORS: Mapping[str, Any] = {
    "object": "list",
    "model": "m-1",
    "data": [{"object": "embedding", "index": index, "embedding": [0.5, 0.5]} for index in range(2)],
    "usage": {"prompt_tokens": 2, "total_tokens": 2},
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


async def test_answers_beside_one_that_is_refused_are_cancelled_and_nobody_elses_job_is(
    whole: Gateway, one: RunningEdge, provider: Upstream
) -> None:
    asked = {**BODIES["/v1/chat/completions"], "stream": True}
    other = {"model": "chat", "messages": [TURN], "max_tokens": 7, "idempotency_key": "k#1"}
    theirs = (await one.client.post("/v1/jobs", json=other)).json()["id"]
    await eventually(lambda: len(provider.asked) == 1)
    refused = await one.client.post("/v1/chat/completions", json=asked, headers={"idempotency-key": "k"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_conflict")
    await eventually(lambda: _ended(whole, 1), within=10)
    await eventually(lambda: not one.edge.lingering.busy, within=10)
    results = await whole.results()
    assert [result.state for result in results.values()] == [JobState.CANCELLED]
    assert theirs not in results


async def _ended(whole: Gateway, count: int) -> bool:
    return len(await whole.results()) == count


async def test_jobs_with_a_key_wait_for_their_client_to_ask_again_after_one_of_them_failed(
    whole: Gateway, provider: Upstream
) -> None:
    provider.play([error(400, message="no")], [Do.WAIT, response(dict(VECTORS))])
    asked, key = BODIES["/v1/embeddings"], {"idempotency-key": "e"}
    async with edge(whole, embedding_batch=2, linger=60.0) as one:
        assert (await one.client.post("/v1/embeddings", json=asked, headers=key)).status_code == 400
        await eventually(lambda: one.edge.lingering.busy)
        provider.proceed()
        await whole.settled()
    states = sorted(result.state for result in (await whole.results()).values())
    assert states == [JobState.FAILED, JobState.SUCCEEDED]


@pytest.mark.parametrize("path", STREAMS)
async def test_the_job_of_a_stream_that_was_never_confirmed_is_cancelled(
    whole: Gateway, one: RunningEdge, provider: Upstream, proxy: FaultProxy, path: str
) -> None:
    one.edge.producers.of(PROJECT)._patience = Patience(submit=1.0)  # else half a minute
    proxy.lose_down = publish_acks
    refused = await one.client.post(path, json=STREAMS[path])
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "queue_unreachable")
    proxy.lose_down = lose_nothing
    await whole.settled(within=20)
    assert [result.state for result in (await whole.results()).values()] == [JobState.CANCELLED]
    assert len(provider.asked) <= 1


async def test_a_stream_that_is_refused_leaves_the_job_that_has_its_key(
    whole: Gateway, one: RunningEdge, provider: Upstream
) -> None:
    other = {"model": "chat", "messages": [TURN], "max_tokens": 7, "idempotency_key": "k"}
    await one.client.post("/v1/jobs", json=other)
    await eventually(lambda: provider.asked)
    refused = await one.client.post("/v1/responses", json=STREAMS["/v1/responses"], headers={"idempotency-key": "k"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_conflict")
    assert not one.edge.lingering.busy


async def test_a_response_in_the_background_goes_on_when_it_is_asked_for_again_and_cannot_be_kept(
    one: RunningEdge, provider: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.play([Do.WAIT, response(completion())])
    asked, key = {**BODIES["/v1/responses"], "background": True}, {"idempotency-key": "k"}
    first = await one.client.post("/v1/responses", json=asked, headers=key)
    assert first.status_code == 200

    async def away(*_: object, **__: object) -> None:
        raise Failed(ApiError(503, "queue_unreachable", "what was said cannot be reached now"))

    with monkeypatch.context() as patched:
        patched.setattr(Conversations, "keep", away)
        again = await one.client.post("/v1/responses", json=asked, headers=key)
    assert again.status_code == 503
    assert not one.edge.lingering.busy
    provider.proceed()
    where = f"/v1/responses/{first.json()['id']}"

    async def ended() -> bool:
        return bool((await one.client.get(where)).json()["status"] == "completed")

    await eventually(ended, within=10)


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_job_is_kept_while_its_client_is_still_coming_back_to_another_edge(
    whole: Gateway, one: RunningEdge, provider: Upstream, proxy: FaultProxy, *, streamed: bool
) -> None:
    provider.play([Do.WAIT, *(stream("Hello") if streamed else [response(completion())])])
    asked, key = {"model": "chat", "messages": [TURN], "stream": streamed}, {"idempotency-key": "k"}
    async with edge(whole, name="two", linger=0.2) as two:
        first = asyncio.ensure_future(two.client.post("/v1/chat/completions", json=asked, headers=key))
        await eventually(lambda: provider.asked)
        proxy.lose_down = lambda frame: b"wrong last sequence" in frame  # what says that the job is there
        again = asyncio.ensure_future(one.client.post("/v1/chat/completions", json=asked, headers=key))
        await eventually(lambda: proxy.lost)
        first.cancel()
        await eventually(lambda: two.edge.lingering.busy)
        await eventually(lambda: not two.edge.lingering.busy, within=10)
    proxy.lose_down = lose_nothing
    provider.proceed()
    assert (await again).status_code == 200
    assert [result.state for result in (await whole.results()).values()] == [JobState.SUCCEEDED]


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_client_that_goes_while_no_scheduler_leads_is_told_to_the_next_one(
    whole: Gateway, one: RunningEdge, provider: Upstream, *, streamed: bool
) -> None:
    asked = {"model": "chat", "messages": [TURN], "stream": streamed}
    asking = asyncio.ensure_future(one.client.post("/v1/chat/completions", json=asked))
    await eventually(lambda: provider.asked)
    await whole.scheduler.stop()
    asking.cancel()
    await eventually(lambda: one.made.server.requests == 0, within=10)
    await eventually(lambda: not one.edge.lingering.busy, within=20)
    assert (await whole.bus.stream_state(subjects.CTL)).messages == 1
