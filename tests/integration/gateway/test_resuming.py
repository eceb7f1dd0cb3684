"""A stream that was cut goes on at another edge, as if nothing had been: nothing twice, nothing left out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from catalogue.load import providers
from tests.support.edge import RunningEdge, edge
from tests.support.eventually import eventually
from tests.support.gateway import Gateway, gateway
from tests.support.reading_streams import Heard, hear
from tests.support.upstream import Do, Step, Upstream, chunk, event, head, upstream

WORDS = ["Once ", "upon ", "a ", "time ", "there ", "was ", "a ", "pipe", "."]


def _script() -> list[Step]:
    """One chunk a word, and one step of the test before each."""
    steps: list[Step] = [head()]
    for word in WORDS:
        steps += [Do.STEP, chunk(event(word))]
    return [*steps, chunk(event(finish="stop")), chunk(event(usage=True)), chunk("data: [DONE]\n\n"), chunk("")]


def _have_more(heard: tuple[Heard, ...], before: list[int]) -> bool:
    return all(len(one.events) > had for one, had in zip(heard, before, strict=True))


def asked(**over: Any) -> dict[str, Any]:
    options = {"stream_options": {"include_usage": True}}
    return {"model": "chat", "messages": [{"role": "user", "content": "Tell me"}], **options, **over}


@dataclass
class Place:
    """Two edges on one broker, before one provider."""

    provider: Upstream
    whole: Gateway
    edges: tuple[RunningEdge, RunningEdge]

    async def tell(self, words: int, *heard: Heard) -> None:
        """Let the provider say some words, each once all of ``heard`` have the one before."""
        for _ in range(words):
            before = [len(one.events) for one in heard]
            self.provider.step()
            await eventually(partial(_have_more, heard, before))

    async def told(self, where: RunningEdge, body: dict[str, Any], key: str) -> Heard:
        """A whole stream, each word a chunk of its own."""
        heard = Heard()
        reading = asyncio.ensure_future(hear(where, body, key=key, into=heard))
        await eventually(lambda: self.provider.asked)
        await self.tell(len(WORDS), heard)
        return await reading


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(upstream(_script()))
        values: dict[str, Any] = {
            "providers": {"openai": {"key": "sk-one", "base_url": f"{provider.url}/v1"}},
            "routes": {"chat": {"deployments": ["openai/gpt-4o-mini"]}},
            "workers": {"beat_every": 1.0, "drain": 1.0, "coalesce": 0.001, "coalesce_bytes": 1},
        }
        whole = await stack.enter_async_context(gateway(tmp_path, values, providers()))
        pair = [await stack.enter_async_context(edge(whole, name=name, linger=60.0)) for name in ("one", "two")]
        yield Place(provider, whole, (pair[0], pair[1]))


async def test_wherever_a_stream_is_cut_the_rest_comes_from_another_edge_exactly(place: Place) -> None:
    one, two = place.edges
    uncut = await place.told(one, asked(), "k")
    assert uncut.whole
    assert len(uncut.events) > len(WORDS)
    for cut in range(1, len(uncut.events) + 1):
        before = await hear(one, asked(), key="k", most=cut)
        after = await hear(two, asked(), key="k", seen=before.last)
        assert before.events + after.events == uncut.events, cut
        assert after.whole or after.status == 204  # there is no more
    assert len(place.provider.asked) == 1


async def test_a_stream_that_is_cut_while_it_comes_goes_on_at_another_edge(place: Place) -> None:
    one, two = place.edges
    before, after = Heard(), Heard()
    reading = asyncio.ensure_future(hear(one, asked(), key="k", most=4, into=before))
    await eventually(lambda: place.provider.asked)
    await place.tell(3, before)
    await reading
    going_on = asyncio.ensure_future(hear(two, asked(), key="k", seen=before.last, into=after))
    await eventually(lambda: two.edge.streams == 1)
    await place.tell(len(WORDS) - 3, after)
    await going_on
    assert before.events + after.events == (await hear(one, asked(), key="k")).events
    assert len(after.events) > len(WORDS) - 3


async def test_several_answers_in_one_stream_go_on_at_another_edge(place: Place) -> None:
    one, two = place.edges
    for _ in range(3 * len(WORDS)):
        place.provider.step()
    uncut = await hear(one, asked(n=3), key="three")
    for cut in range(1, len(uncut.events) + 1, 3):
        before = await hear(one, asked(n=3), key="three", most=cut)
        after = await hear(two, asked(n=3), key="three", seen=before.last)
        assert _by_answer(before, after) == _by_answer(uncut), cut
    assert len(place.provider.asked) == 3


def _by_answer(*heard: Heard) -> dict[str, list[str]]:
    """The data of all events, by the answer they belong to: answers may come interleaved in many ways."""
    found: dict[str, list[str]] = {}
    for told in (told for one in heard for told in one.events):
        data = told.rpartition("data: ")[2]
        place = next((index for index in "012" if f'"choices":[{{"index":{index},' in data), "end")
        found.setdefault(place, []).append(data)
    return found


async def test_an_edge_that_ends_cuts_its_streams_cancels_nothing_and_another_edge_goes_on(place: Place) -> None:
    one, two = place.edges
    before, after = Heard(), Heard()
    reading = asyncio.ensure_future(hear(one, asked(), key="k", into=before))
    await eventually(lambda: place.provider.asked)
    await place.tell(4, before)
    ending = asyncio.ensure_future(one.stop())
    refused = await eventually(lambda: _refused(one))
    assert (refused.status_code, refused.headers["connection"]) == (503, "close")
    assert (await one.client.get("/readyz")).status_code == 503
    await asyncio.gather(reading, ending)
    assert not before.whole
    going_on = asyncio.ensure_future(hear(two, asked(), key="k", seen=before.last, into=after))
    await eventually(lambda: two.edge.streams == 1)
    await place.tell(len(WORDS) - 4, after)
    await going_on
    assert before.events + after.events == (await hear(two, asked(), key="k")).events
    assert place.provider.gone == 0


async def _refused(one: RunningEdge) -> Any:
    answer = await one.client.post("/v1/chat/completions", json=asked())
    return answer if answer.status_code == 503 else None


@pytest.mark.parametrize("seen", ["1", "1:2:3:4", "one:two", "1:1,1:1,1:1", "9" * 30])
async def test_what_is_no_id_of_a_stream_is_refused(place: Place, seen: str) -> None:
    refused = await hear(place.edges[0], asked(), key="k", seen=seen)
    assert (refused.status, "last-event-id" in refused.text) == (400, True)


async def test_a_stream_is_resumed_by_its_key_alone(place: Place) -> None:
    refused = await hear(place.edges[0], asked(), seen="1:1")
    assert (refused.status, "Idempotency-Key" in refused.text) == (400, True)
    assert not place.provider.asked


async def test_to_resume_begins_no_new_job(place: Place) -> None:
    refused = await hear(place.edges[0], asked(), key="never", seen="1:1")
    assert (refused.status, "resume_impossible" in refused.text) == (410, True)
    assert not place.provider.asked


async def test_an_event_that_never_was_cannot_be_resumed_from(place: Place) -> None:
    await place.told(place.edges[0], asked(), "k")
    refused = await hear(place.edges[1], asked(), key="k", seen="1:4711")
    assert (refused.status, "resume_impossible" in refused.text) == (410, True)


async def test_a_key_of_another_request_resumes_nothing(place: Place) -> None:
    await place.told(place.edges[0], asked(), "k")
    refused = await hear(place.edges[1], asked(temperature=0.5), key="k", seen="1:1")
    assert (refused.status, "idempotency_conflict" in refused.text) == (409, True)


async def test_several_read_one_job_and_one_that_stands_still_or_goes_hurts_no_other(place: Place) -> None:
    one, two = place.edges
    readers = [asyncio.ensure_future(hear(where, asked(), key="k")) for where in (one, two, one, two)]
    await eventually(lambda: one.edge.streams == 2 and two.edge.streams == 2 and place.provider.asked)
    await place.tell(3)
    assert (await hear(one, asked(), key="k", most=2)).events
    readers[0].cancel()
    await eventually(lambda: one.edge.streams == 1)
    await place.tell(len(WORDS) - 3)
    heard = await asyncio.gather(*readers[1:])
    assert all(each.whole and each.events == heard[0].events for each in heard)
    assert len(place.provider.asked) == 1
