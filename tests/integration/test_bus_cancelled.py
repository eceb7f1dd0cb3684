"""What is cancelled while it begins leaves nothing behind: no subscription, no place among the writes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from runtime.broker import Broker
from runtime.bus import NatsBus
from runtime.bus.port import Message, Unreachable
from tests.support.broker import unique
from tests.support.eventually import eventually

Open = Callable[..., Awaitable[NatsBus]]
TURNS = range(12)
"""Turns of the loop after which it is cancelled: while it is made, while the server is asked, when it is there."""


@pytest.fixture
async def bus(broker: Broker, open_bus: Open) -> NatsBus:
    return await open_bus(broker.url)


async def cancelled(work: Awaitable[Any], turns: int) -> bool:
    """Whether it was cancelled after so many turns of the loop, and had not come to its end."""
    task = asyncio.ensure_future(work)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        await task.result().close()
    return task.cancelled()


async def stored(bus: NatsBus, *data: bytes) -> str:
    """A stream of that name with these messages."""
    name = unique("CUT")
    await bus.ensure([{"kind": "stream", "config": {"name": name, "subjects": [f"{name}.>"], "allow_direct": True}}])
    for place, one in enumerate(data):
        await bus.append(f"{name}.{place}", one)
    return name


async def test_a_run_of_messages_is_told_once_also_after_the_first_question_was_cancelled(bus: NatsBus) -> None:
    stream = await stored(bus, b"1", b"2", b"3")
    for turns in TURNS:
        asking = asyncio.create_task(bus.run(stream, 1, limit=10))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
    assert [one.data for one in await bus.run(stream, 1, limit=10)] == [b"1", b"2", b"3"]
    assert await bus.count(stream, ">") == 3


async def test_who_was_cancelled_while_it_began_to_answer_does_not_answer(bus: NatsBus) -> None:
    async def answer(_: Message) -> bytes:
        return b"from nobody"

    subject = unique("desk")
    cut = [await cancelled(bus.respond(subject, answer), turns) for turns in TURNS]
    assert any(cut)

    async def nobody() -> bool:
        with pytest.raises(Unreachable, match="nobody listens"):
            await bus.request(subject, b"", timeout=10)
        return True

    await eventually(nobody)


async def test_a_tail_that_was_cancelled_while_it_began_leaves_no_subscription(bus: NatsBus) -> None:
    stream = await stored(bus, b"1")
    before = len(bus._link._listening)
    cut = [await cancelled(bus.tail(stream, lambda _: None), turns) for turns in TURNS]
    assert any(cut)
    assert len(bus._link._listening) == before


async def test_a_tail_that_is_closed_is_not_caught_up(bus: NatsBus) -> None:
    tail = await bus.tail(await stored(bus, b"1"), lambda _: None)
    waiting = asyncio.create_task(tail.caught_up(5, timeout=60))
    assert await tail.caught_up(1, timeout=20)
    await tail.close()
    assert await waiting is False


async def test_a_place_that_was_given_to_somebody_cancelled_goes_to_the_next(broker: Broker, open_bus: Open) -> None:
    bus = await open_bus(broker.url, in_flight=1)
    bus._in_flight = 1
    first, second = (asyncio.create_task(bus._place(name, 60.0)) for name in ("first", "second"))
    await eventually(lambda: len(bus._queue) == 2)
    bus._leave()
    first.cancel()
    await asyncio.wait({first})
    done, _ = await asyncio.wait({second}, timeout=20.0)
    assert done
