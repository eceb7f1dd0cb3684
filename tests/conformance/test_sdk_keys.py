"""What it takes to hear of jobs that are named by a key, the same over NATS and with the gateway in memory."""

# ruff: noqa: F811 - fixtures are imported by name and asked for by the same

from __future__ import annotations

import asyncio
from typing import Any

from producer_sdk import Answered, JobStream, Producer, StreamEvent, Token
from producer_sdk.ears import MANY_KEYED, STRANGERS, Ears
from producer_sdk.testing import says
from tests.support.eventually import eventually
from tests.support.houses import House
from tests.support.sdk import HELLO, house, producer, sdk_broker  # noqa: F401  # fixtures


async def test_many_keyed_jobs_are_heard_by_one_subscription_as_long_as_it_is_worth_it(
    house: House, producer: Producer
) -> None:
    house.stage.held = True

    def asked(number: int, times: int) -> list[asyncio.Task[Answered]]:
        keys = [f"many-{number}-{index}-{producer._stem}" for index in range(times)]
        return [asyncio.create_task(producer.complete(**HELLO, idempotency_key=key)) for key in keys]

    exchange = await producer._ready()
    ears = exchange._ears
    waiting = asked(1, 40)
    await eventually(lambda: len(house.stage.received) == 40)
    assert _wide(ears)
    assert len(ears._alone) < MANY_KEYED
    exchange.replies.strange = STRANGERS
    await eventually(lambda: not _wide(ears))
    waiting += asked(2, 40)
    await eventually(lambda: len(house.stage.received) == 80)
    assert len(ears._alone) == 80
    ears._narrow_until = 0.0
    waiting += asked(3, 1)
    await eventually(lambda: _wide(ears) and len(house.stage.received) == 81)
    exchange.desk.results = None  # type: ignore[assignment, method-assign]  # nobody needs to be asked
    house.stage.release()
    assert [answer.text for answer in await asyncio.gather(*waiting)] == ["Hello"] * 81
    ears._wide_used = -1e9
    await eventually(lambda: not (_wide(ears) or ears._alone or ears._listening))
    assert (await producer.complete(**HELLO, idempotency_key=f"last-{producer._stem}")).text == "Hello"


async def test_a_key_that_was_used_long_ago_is_asked_for_soon(house: House, producer: Producer) -> None:
    key = f"soon-{producer._stem}"
    first = await producer.complete(**HELLO, idempotency_key=key)
    async with house.producer() as later:
        exchange = await later._ready()
        exchange.replies.heard = lambda *_: None  # type: ignore[method-assign]  # its result is not shown again
        assert (await later.complete(**HELLO, idempotency_key=key, timeout=4)).result == first.result
        assert [event async for event in later.stream(**HELLO, idempotency_key=key, timeout=4)][-1].type == "finished"


async def test_a_stream_under_a_key_has_every_token_whoever_was_first(house: House, producer: Producer) -> None:
    house.stage.held = True
    house.stage.script.append(says(["one ", "two ", "three"]))
    asked: dict[str, Any] = {**HELLO, "idempotency_key": f"streamed-{producer._stem}"}
    streams = [producer.stream(**asked) for _ in range(2)]
    reading = [asyncio.create_task(_all_of(stream)) for stream in streams]
    exchange = await producer._ready()
    await eventually(lambda: house.stage.received and sum(len(w.readers) for w in exchange.replies.attended) == 2)
    house.stage.release()
    for events in await asyncio.gather(*reading):
        assert "".join(event.text for event in events if isinstance(event, Token)) == "one two three"


def _wide(ears: Ears) -> bool:
    return ears._wide


async def _all_of(stream: JobStream) -> list[StreamEvent]:
    return [event async for event in stream]
