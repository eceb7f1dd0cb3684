"""Streams whose first tokens are no longer kept: what is left is read once, and asked for with an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from job_contracts.desk import AskChunks, Chunks
from job_contracts.stream import Chunk, StreamEvent, TextDelta
from producer_sdk import Finished, JobCancelled, JobStream, Timeout, Token
from producer_sdk.streams import FILLS
from producer_sdk.testing import FakeGateway, Reply
from producer_sdk.testing.store import MOST_CHUNKS
from tests.support.eventually import eventually
from tests.support.sdk import HELLO, texts

LOST, LEFT = 20, 2 * MOST_CHUNKS + 100
PIECES = tuple(f"w{index} " for index in range(LOST + LEFT))
PARTS = 3
"""Answers in which what is left comes."""


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with FakeGateway() as fake:
        yield fake


def bounded(monkeypatch: pytest.MonkeyPatch, gateway: FakeGateway, most: int) -> list[AskChunks]:
    """The questions after chunks, in order; one more than ``most`` fails whoever asks."""
    store, asked = gateway.stage().store, list[AskChunks]()
    after = store.stream_after

    def stream_after(question: AskChunks) -> Chunks:
        asked.append(question)
        assert len(asked) <= most, "asked without an end"
        return after(question)

    monkeypatch.setattr(store, "stream_after", stream_after)
    return asked


async def all_of(stream: JobStream) -> list[StreamEvent]:
    return [event async for event in stream]


async def test_an_ended_job_with_more_behind_the_gap_than_one_answer_holds(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.script(Reply(pieces=PIECES, text="".join(PIECES)))
    job = await gateway.producer().submit(**HELLO, stream=True)
    await job.result()
    del gateway.jobs[0].chunks[:LOST]
    asked = bounded(monkeypatch, gateway, PARTS)
    events = await all_of(gateway.producer().attach(job.id).stream())
    assert len(asked) == PARTS
    assert len({(question.generation, question.sequence) for question in asked}) == PARTS
    assert texts(events) == "".join(PIECES)
    assert isinstance(events[-1], Finished)


async def test_a_job_that_goes_on_is_read_a_few_times_and_its_end_is_heard(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.script(Reply(pieces=PIECES, ends=False))
    job = await gateway.producer().submit(**HELLO, stream=True)
    await eventually(lambda: gateway.jobs and len(gateway.jobs[0].chunks) > len(PIECES))
    del gateway.jobs[0].chunks[:LOST]
    asked = bounded(monkeypatch, gateway, 4 * FILLS * PARTS)  # a long silence is asked after as well
    reading = asyncio.create_task(all_of(gateway.producer().attach(job.id).stream()))
    await eventually(lambda: reading.done() or len(asked) >= FILLS * PARTS)
    await job.cancel()
    with pytest.raises(JobCancelled):
        await reading


async def test_the_time_is_up_between_two_answers(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.script(Reply(pieces=PIECES, ends=False))
    job = await gateway.producer().submit(**HELLO, stream=True)
    await eventually(lambda: gateway.jobs and gateway.jobs[0].chunks)
    monkeypatch.setattr(gateway.stage().store, "stream_after", _without_an_end)
    asked = bounded(monkeypatch, gateway, 1)
    with pytest.raises(Timeout):
        await all_of(gateway.producer().attach(job.id).stream(timeout=0.0))
    assert len(asked) == 1


def _without_an_end(question: AskChunks) -> Chunks:
    """A store that is written as fast as it is read, behind a gap."""
    chunk = Chunk(generation=1, sequence=question.sequence + 2, deltas=(TextDelta(text="w"),))
    return Chunks(chunks=(chunk,), more=True)


async def test_what_is_kept_is_told_in_order_where_there_is_no_gap(gateway: FakeGateway) -> None:
    gateway.script(Reply(pieces=PIECES, text="".join(PIECES)))
    job = await gateway.producer().submit(**HELLO, stream=True)
    await job.result()
    events = await all_of(gateway.producer().attach(job.id).stream())
    assert [event.text for event in events if isinstance(event, Token)] == list(PIECES)
