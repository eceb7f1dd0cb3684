"""What becomes of a job whose client goes: cancelled, kept for it to come back to any edge, or left to go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from catalogue.load import providers
from job_contracts.jobs import JobState
from runtime.clock import SystemClock
from tests.support.edge import RunningEdge, edge
from tests.support.eventually import eventually
from tests.support.gateway import Gateway, gateway
from tests.support.reading_streams import Heard, hear
from tests.support.upstream import Do, Upstream, chunk, event, head, upstream

ASKED: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}
LINGER = 0.3
"""Seconds for which an edge keeps a job whose client may come back."""
END = [chunk(event(finish="stop")), chunk(event(usage=True)), chunk("data: [DONE]\n\n"), chunk("")]


@pytest.fixture
async def provider() -> AsyncIterator[Upstream]:
    async with upstream([head(), chunk(event("Hel")), Do.STEP, chunk(event("lo")), *END]) as made:
        yield made


@pytest.fixture
async def whole(tmp_path: Path, provider: Upstream) -> AsyncIterator[Gateway]:
    values: dict[str, Any] = {
        "providers": {"openai": {"key": "sk-one", "base_url": f"{provider.url}/v1"}},
        "routes": {"chat": {"deployments": ["openai/gpt-4o-mini"]}},
    }
    async with gateway(tmp_path, values, providers()) as made:
        yield made


@pytest.fixture
async def edges(whole: Gateway) -> AsyncIterator[tuple[RunningEdge, RunningEdge]]:
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(edge(whole, name=name, linger=LINGER)) for name in ("one", "two")]
        yield one, two


async def _began(where: RunningEdge, provider: Upstream, *, key: str | None = None) -> asyncio.Task[Heard]:
    """A client that reads a stream of which the first half has come."""
    heard = Heard()
    reading = asyncio.ensure_future(hear(where, ASKED, key=key, into=heard))
    await eventually(lambda: len(heard.events) == 2 and provider.asked)
    return reading


async def _gone(reading: asyncio.Task[Heard], where: RunningEdge) -> None:
    open_before = where.edge.streams
    reading.cancel()
    await eventually(lambda: where.edge.streams == open_before - 1)


async def _states(whole: Gateway) -> list[JobState]:
    return [result.state for result in (await whole.results()).values()]


async def _ended_as(whole: Gateway, *states: JobState) -> None:
    await eventually(lambda: _is(whole, list(states)), within=10)


async def _is(whole: Gateway, states: list[JobState]) -> bool:
    return await _states(whole) == states


async def test_a_job_without_a_key_is_cancelled_when_its_client_goes(
    whole: Gateway, edges: tuple[RunningEdge, RunningEdge], provider: Upstream
) -> None:
    provider.play([head(), chunk(event("Hel")), Do.HANG])
    await _gone(await _began(edges[0], provider), edges[0])
    await _ended_as(whole, JobState.CANCELLED)
    await eventually(lambda: provider.gone == 1)


async def test_a_job_with_a_key_is_cancelled_when_its_client_does_not_come_back(
    whole: Gateway, edges: tuple[RunningEdge, RunningEdge], provider: Upstream
) -> None:
    reading = await _began(edges[0], provider, key="k")
    left = SystemClock().wall()
    await _gone(reading, edges[0])
    await _ended_as(whole, JobState.CANCELLED)
    (result,) = (await whole.results()).values()
    assert result.times.finished is not None
    assert result.times.finished >= left + LINGER, "it might have come back"


async def test_a_job_whose_client_came_back_to_another_edge_is_not_cancelled_by_the_first(
    whole: Gateway, edges: tuple[RunningEdge, RunningEdge], provider: Upstream
) -> None:
    one, two = edges
    reading = await _began(one, provider, key="k")
    again = asyncio.ensure_future(hear(two, ASKED, key="k"))
    await eventually(lambda: two.edge.streams == 1)
    await _gone(reading, one)  # it notices only now, when the client is long elsewhere
    await eventually(lambda: not one.edge.lingering.busy, within=10)
    provider.step()
    assert (await again).whole
    assert await _states(whole) == [JobState.SUCCEEDED]


async def test_the_last_edge_to_lose_its_client_cancels(
    whole: Gateway, edges: tuple[RunningEdge, RunningEdge], provider: Upstream
) -> None:
    one, two = edges
    first = await _began(one, provider, key="k")
    second = asyncio.ensure_future(hear(two, ASKED, key="k"))
    await eventually(lambda: two.edge.streams == 1)
    await _gone(first, one)
    await eventually(lambda: not one.edge.lingering.busy, within=10)
    assert await _states(whole) == []
    await _gone(second, two)
    await _ended_as(whole, JobState.CANCELLED)


async def test_a_second_client_of_the_same_edge_keeps_the_job(
    whole: Gateway, edges: tuple[RunningEdge, RunningEdge], provider: Upstream
) -> None:
    one, _ = edges
    first = await _began(one, provider, key="k")
    second = asyncio.ensure_future(hear(one, ASKED, key="k"))
    await eventually(lambda: one.edge.streams == 2)
    await _gone(first, one)
    await eventually(lambda: not one.edge.lingering.busy)
    provider.step()
    assert (await second).whole


async def test_a_job_may_go_on_without_its_client(
    whole: Gateway, edges: tuple[RunningEdge, RunningEdge], provider: Upstream
) -> None:
    one, _ = edges
    wish = {"x-penstock-on-disconnect": "continue"}
    async with one.client.stream(
        "POST", "/v1/chat/completions", json={**ASKED, "stream": True}, headers=wish
    ) as answer:
        await anext(answer.aiter_text())
    await eventually(lambda: one.edge.streams == 0)
    provider.step()
    await _ended_as(whole, JobState.SUCCEEDED)


async def test_a_request_that_waits_for_a_whole_answer_is_left_as_well(
    whole: Gateway, edges: tuple[RunningEdge, RunningEdge], provider: Upstream
) -> None:
    provider.play([Do.HANG])
    asking = asyncio.ensure_future(edges[0].client.post("/v1/chat/completions", json=ASKED))
    await eventually(lambda: provider.asked)
    asking.cancel()
    await _ended_as(whole, JobState.CANCELLED)
    await eventually(lambda: provider.gone == 1)


async def test_a_client_that_goes_while_its_job_is_submitted_leaves_none_behind(
    whole: Gateway, edges: tuple[RunningEdge, RunningEdge], provider: Upstream
) -> None:
    one, _ = edges
    for stream in (False, True):
        for count in range(5):
            asking = asyncio.ensure_future(one.client.post("/v1/chat/completions", json={**ASKED, "stream": stream}))
            await eventually(lambda: one.made.server.requests == 1, every=0.0001)
            for _ in range(count):
                await asyncio.sleep(0)  # a turn of the loop: another place to be cut in
            asking.cancel()
            await eventually(lambda: one.made.server.requests == 0)
    await eventually(lambda: not one.edge.lingering.busy, within=10)
    await whole.settled()
    assert set(await _states(whole)) <= {JobState.CANCELLED}


async def test_an_edge_that_ends_cancels_nothing_that_lingers(
    whole: Gateway, edges: tuple[RunningEdge, RunningEdge], provider: Upstream
) -> None:
    _, two = edges
    async with edge(whole, name="three", linger=60.0) as three:
        await _gone(await _began(three, provider, key="k"), three)
    provider.step()
    heard = await hear(two, ASKED, key="k")
    assert heard.whole
    assert await _states(whole) == [JobState.SUCCEEDED]
