"""Fixtures for tests of the SDK: a gateway in memory and one over a broker, ``house`` being each of them in turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from job_contracts.stream import StreamEvent, Switched, Token
from producer_sdk import Producer
from runtime.broker import Broker
from tests.support.houses import House, NatsHouse, memory_house, nats_house
from tests.support.stand_in import broker_config

HELLO: dict[str, Any] = {"model": "fast", "messages": "Hello"}


def texts(events: list[StreamEvent]) -> str:
    """What a reader has in the end who starts over at every switch."""
    text = ""
    for event in events:
        if isinstance(event, Switched):
            text = ""
        elif isinstance(event, Token):
            text += event.text
    return text


@pytest.fixture(scope="session")
def sdk_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker with users, shared by the session; its jobs are kept apart by their producers' stems."""
    server = Broker(broker_config(), tmp_path_factory.mktemp("sdk-broker"))
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture(params=["memory", "nats"])
async def house(request: pytest.FixtureRequest, sdk_broker: Broker) -> AsyncIterator[House]:
    """A gateway; a test of it says what is true of every one."""
    if request.param == "memory":
        async with memory_house() as made:
            yield made
    else:
        async with nats_house(sdk_broker) as over_nats:
            yield over_nats


@pytest.fixture
async def producer(house: House) -> AsyncIterator[Producer]:
    """A producer of ``house``."""
    async with house.producer(timeout=20.0) as made:
        yield made


@pytest.fixture
async def over_nats(sdk_broker: Broker) -> AsyncIterator[NatsHouse]:
    """The one over NATS alone."""
    async with nats_house(sdk_broker) as made:
        yield made
