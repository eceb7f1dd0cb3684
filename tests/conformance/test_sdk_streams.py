"""Streams and lost connections as a program sees them, the same over NATS and with the gateway in memory."""

# ruff: noqa: F811 - fixtures are imported by name and asked for by the same

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

import pytest

from producer_sdk import (
    Finished,
    JobFailed,
    JobStream,
    Producer,
    Queued,
    Started,
    StreamEvent,
    Switched,
    Timeout,
    Token,
    ToolCall,
    UsageReported,
)
from producer_sdk.testing import calls, fails, says, silence
from tests.support.eventually import eventually
from tests.support.houses import House
from tests.support.sdk import HELLO, house, producer, sdk_broker, texts  # noqa: F401  # fixtures

# -- streams


async def test_a_stream_tells_everything_in_order_and_ends_with_the_result(house: House, producer: Producer) -> None:
    house.stage.script.append(says(["One", " two", " three"], pace=0.01))
    stream = producer.stream(**HELLO)
    events = [event async for event in stream]
    assert [type(event) for event in events] == [Queued, Started, Token, Token, Token, UsageReported, Finished]
    assert [event.sequence for event in events[1:]] == [1, 2, 3, 4, 5, 5]
    assert texts(events) == stream.result.text == "One two three"
    assert house.stage.received[0].ticket.stream


async def test_a_stream_of_a_tool_call_tells_it_in_pieces(house: House, producer: Producer) -> None:
    house.stage.script.append(calls("weather", {"city": "Oslo"}, pace=0.02))
    events = [event async for event in producer.stream(**HELLO)]
    pieces = [event for event in events if isinstance(event, ToolCall)]
    assert [piece.name for piece in pieces] == ["weather", None]
    assert json.loads("".join(piece.arguments for piece in pieces)) == {"city": "Oslo"}


async def test_a_switch_starts_the_answer_over(house: House, producer: Producer) -> None:
    first = fails("stalled", said="Half an ans", provider="slow")
    house.stage.script.append(says("A whole answer", after=(first,), pace=0.02))
    stream = producer.stream(**HELLO)
    events = [event async for event in stream]
    (switched,) = [event for event in events if isinstance(event, Switched)]
    assert (switched.switched_from, switched.reason, switched.generation) == ("slow/fake-1", "stalled", 2)
    assert texts(events) == stream.result.text == "A whole answer"
    assert [attempt.failure is None for attempt in stream.result.attempts] == [False, True]


async def test_a_failed_stream_raises_after_its_last_event(house: House, producer: Producer) -> None:
    house.stage.script.append(fails("stream_truncated", said="Half an ans"))
    events: list[StreamEvent] = []
    stream = producer.stream(**HELLO)
    with pytest.raises(JobFailed):
        async for event in stream:
            events.append(event)  # noqa: PERF401  # what came before the error is the claim
    assert isinstance(events[-1], Finished)
    with pytest.raises(JobFailed):
        _ = stream.result


async def test_leaving_a_stream_early_cancels_its_job(house: House, producer: Producer) -> None:
    house.stage.script.append(says("word " * 50, pace=0.05))
    async with producer.stream(**HELLO) as stream:
        async for event in stream:
            if isinstance(event, Token):
                break
    await eventually(lambda: house.stage.received[0].cancelled is not None)


async def test_a_late_listener_hears_it_all_from_the_start(house: House, producer: Producer) -> None:
    house.stage.script.append(says("one two three four five six", pace=0.03))
    job = await producer.submit(**HELLO, stream=True)
    await eventually(lambda: len(house.stage.received and house.stage.received[0].chunks) >= 3)
    async with house.producer() as other:
        both = await asyncio.gather(*[_all_of(handle.stream()) for handle in (job, other.attach(job.id))])
    for events in both:
        assert texts(events) == "one two three four five six"
        assert [event.sequence for event in events if isinstance(event, Token)] == [2, 3, 4, 5, 6, 7]


async def test_who_comes_after_the_end_hears_at_once_what_the_others_have_heard(
    house: House, producer: Producer
) -> None:
    house.stage.script.append(says("one two three"))
    job = await producer.submit(**HELLO, stream=True)
    await job.result()
    async with house.producer() as other:
        events = await _all_of(other.attach(job.id).stream())
    told = [Queued, Started, Token, Token, Token, UsageReported, Finished]
    assert [type(event) for event in events] == told
    assert [event.sequence for event in events[1:]] == [1, 2, 3, 4, 5, 5]
    assert texts(events) == "one two three"


async def _all_of(stream: JobStream) -> list[StreamEvent]:
    return [event async for event in stream]


async def test_several_may_follow_one_job(house: House, producer: Producer) -> None:
    house.stage.script.append(says("one two three", pace=0.02))
    job = await producer.submit(**HELLO, stream=True)
    assert await asyncio.gather(*[job.stream().text() for _ in range(3)]) == ["one two three"] * 3


async def test_a_job_that_was_not_streamed_is_told_at_its_end(producer: Producer) -> None:
    job = await producer.submit(**HELLO)
    events = [event async for event in job.stream()]
    assert [type(event) for event in events] == [Queued, Started, Token, UsageReported, Finished]


async def test_a_waiting_stream_tells_its_place_in_the_queue(house: House, producer: Producer) -> None:
    house.stage.held = True
    _ = await producer.submit(**HELLO)
    stream = producer.stream(**HELLO)
    first, second = await anext(stream), await anext(stream)
    assert isinstance(first, Queued)
    assert first.submitted is not None
    assert first == Queued(job=stream.job, submitted=first.submitted)
    told = {"position": 1, "estimated_cost": Decimal(0), "worst_cost": Decimal(0)}  # nothing costs anything here
    assert second == first.model_copy(update=told)
    house.stage.release()
    assert await stream.text() == "Hello"


async def test_a_reader_that_begins_while_the_only_other_one_leaves_is_still_waiting(
    house: House, producer: Producer
) -> None:
    house.stage.held = True
    job = await producer.submit(**HELLO)
    for steps in range(40):
        leaving, staying = job.stream(), job.stream()
        await anext(leaving)
        begun = asyncio.ensure_future(anext(staying))
        for _ in range(steps):
            await asyncio.sleep(0)
        await leaving.aclose()
        await begun
        assert producer.awaits(job.id), steps
        await staying.aclose()
        assert not producer.awaits(job.id)


async def test_a_stream_out_of_time_leaves_its_job_alone(house: House, producer: Producer) -> None:
    house.stage.script.append(silence())
    with pytest.raises(Timeout) as caught:
        async for _ in producer.stream(**HELLO, timeout=0.3):
            pass
    await eventually(lambda: house.stage.received)
    assert caught.value.job == house.stage.received[0].job.id
    assert house.stage.received[0].cancelled is None


# -- without a connection for a while


async def test_a_result_that_came_while_disconnected_is_found(house: House, producer: Producer) -> None:
    house.stage.held = True
    waiting = [asyncio.create_task(producer.complete(**HELLO)) for _ in range(20)]
    await eventually(lambda: len(house.stage.received) == 20)
    house.disconnect()
    house.stage.release()
    await eventually(lambda: len(house.stage.finished) >= 20)
    house.reconnect()
    assert [(await task).text for task in waiting] == ["Hello"] * 20
    assert len(house.stage.received) == 20


async def test_a_stream_goes_on_after_a_cut_without_gap_or_repetition(house: House, producer: Producer) -> None:
    words = [f"w{index} " for index in range(40)]
    house.stage.script.append(says(words, pace=0.02))
    stream = producer.stream(**HELLO)
    events: list[StreamEvent] = []
    async for event in stream:
        events.append(event)
        if isinstance(event, Token) and event.sequence == 8:
            house.disconnect()
            await eventually(lambda: len(house.stage.received[0].chunks) >= 20)
            house.reconnect()
    assert texts(events) == "".join(words)
    assert [event.sequence for event in events if isinstance(event, Token)] == list(range(2, 42))


async def test_a_stream_whose_tokens_are_lost_for_good_is_completed_by_the_result(
    house: House,
    producer: Producer,
) -> None:
    words = [f"w{index} " for index in range(20)]
    house.stage.script.append(says(words, pace=0.02))
    stream = producer.stream(**HELLO)
    events: list[StreamEvent] = []
    async for event in stream:
        events.append(event)
        if isinstance(event, Token) and event.sequence == 4:
            house.disconnect()
            await eventually(lambda: len(house.stage.received[0].chunks) >= 10)
            house.stage.store.lose_tokens()
            house.reconnect()
    assert texts(events) == "".join(words)
    assert not any(isinstance(event, Switched) for event in events)


async def test_a_handle_that_was_idle_during_a_cut_finds_its_result(house: House, producer: Producer) -> None:
    house.stage.held = True
    job = await producer.submit(**HELLO)
    house.disconnect()
    house.stage.release()
    await eventually(lambda: len(house.stage.finished) >= 1)
    house.reconnect()
    await eventually(lambda: _restored(producer), within=10)
    assert (await job.result(5)).text == "Hello"


def _restored(producer: Producer) -> bool:
    return producer._exchange is not None and producer._exchange.replies.interruptions > 0


# -- large things


async def test_a_large_request_and_a_large_answer_go_through(house: House, producer: Producer) -> None:
    text = "".join(f"{index:07d}" for index in range(200_000))
    answer = await producer.complete(model="fast", messages=text)
    assert answer.text == text
    ticket = house.stage.received[0].ticket
    assert ticket.blob is not None
    assert ticket.blob.chunks == 6


async def test_a_large_keyed_request_may_be_repeated(house: House, producer: Producer) -> None:
    text, key = "y" * 1_000_000, f"large-{producer._stem}"
    answers = [await producer.complete(model="fast", messages=text, idempotency_key=key) for _ in range(2)]
    assert [len(answer.text) for answer in answers] == [len(text)] * 2
    assert len(house.stage.received) == 1
