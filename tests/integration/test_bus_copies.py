"""Reading where any copy will do, while a node that has one stands still: its share of the questions is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from runtime.broker import Broker
from runtime.bus import NatsBus
from runtime.bus.port import NotFound, OutcomeUnknown
from tests.support.proxy import FaultProxy, lose_nothing

Open = Callable[..., Awaitable[NatsBus]]

PATIENT = {"api_timeout": 3.0, "watchdog": 30.0}
"""A second for the first question, so that what is lost once shows in the time."""


def to_a_copy(frame: bytes) -> bool:
    """Questions that any copy may answer."""
    return b"$JS.API.DIRECT.GET." in frame.partition(b"\r\n")[0]


async def stream(bus: NatsBus) -> None:
    await bus.ensure([{"kind": "stream", "config": {"name": "LOG", "subjects": ["log.>"], "allow_direct": True}}])
    for number in range(1, 4):
        await bus.append(f"log.{number}", bytes([number]))


async def test_the_leader_is_asked_when_no_copy_answers_and_first_for_a_while(
    own_broker: Broker, open_bus: Open
) -> None:
    async with FaultProxy(own_broker) as proxy:
        bus = await open_bus(proxy.url, **PATIENT)
        await stream(bus)
        proxy.lose_up = to_a_copy
        for _ in range(20):
            assert (await bus.get_direct("LOG", "log.2")).data == b"\x02"
            assert (await bus.get("LOG", 3)).data == b"\x03"
        with pytest.raises(NotFound):
            await bus.get_direct("LOG", "log.9")
        with pytest.raises(NotFound):
            await bus.get("LOG", 9)
        assert len(proxy.lost) == 1, "one question is lost, not one for each message"


async def test_copies_are_asked_where_the_leader_that_is_asked_first_is_silent(
    own_broker: Broker, open_bus: Open
) -> None:
    async with FaultProxy(own_broker) as proxy:
        bus = await open_bus(proxy.url, **PATIENT)
        await stream(bus)
        proxy.lose_up = to_a_copy
        await bus.get_direct("LOG", "log.1")
        proxy.lose_up = lambda frame: b"$JS.API.STREAM.MSG.GET." in frame
        assert (await bus.get_direct("LOG", "log.2")).data == b"\x02"
        proxy.lose_up = lambda frame: b"$JS.API." in frame
        with pytest.raises(OutcomeUnknown):
            await bus.get_direct("LOG", "log.2")
        proxy.lose_up = lose_nothing


async def test_a_run_of_which_nothing_is_heard_is_asked_for_again(own_broker: Broker, open_bus: Open) -> None:
    async with FaultProxy(own_broker) as proxy:
        bus = await open_bus(proxy.url, **PATIENT)
        await stream(bus)
        proxy.lose_up = lambda frame: to_a_copy(frame) and len(proxy.lost) < 2
        assert [message.seq for message in await bus.run("LOG", 1)] == [1, 2, 3]
        assert len(proxy.lost) == 2
        proxy.lose_up = to_a_copy
        with pytest.raises(OutcomeUnknown):
            await bus.run("LOG", 1)
