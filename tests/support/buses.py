"""Every bus, for the suite that they all pass: a scene has two connections to one broker and names of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from runtime.broker import Broker
from runtime.bus import connect
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Bus, Message
from tests.support.broker import settings, unique


@dataclass
class Scene:
    """A bus, a second connection to the same broker, and names that nobody else uses."""

    bus: Bus
    other: Bus
    name: str

    async def stream(self, **config: Any) -> str:
        """Declare a stream for ``<name>.>``; returns its name."""
        full = {"name": self.name, "subjects": [f"{self.name}.>"], "storage": "memory", "allow_direct": True, **config}
        await self.bus.ensure([{"kind": "stream", "config": full}])
        return self.name

    async def consumer(self, durable: str = "pool", **config: Any) -> str:
        full = {"name": durable, "durable_name": durable, "ack_policy": "explicit", "max_deliver": 1, **config}
        await self.bus.ensure([{"kind": "consumer", "stream": self.name, "config": full}])
        return durable

    def on(self, rest: str) -> str:
        return f"{self.name}.{rest}"


@pytest.fixture(params=["memory", "nats"])
async def scene(request: pytest.FixtureRequest, broker: Broker) -> AsyncIterator[Scene]:
    if request.param == "memory":
        shared = MemoryBroker()
        pair: tuple[Bus, Bus] = (shared.bus(), shared.bus())
    else:
        pair = (await connect(settings(broker.url)), await connect(settings(broker.url)))
    yield Scene(*pair, name=unique("c"))
    for bus in pair:
        await bus.close()


def headers_of(message: Message) -> Mapping[str, str]:
    return message.headers or {}


async def stored(bus: Bus, stream: str, count: int) -> bool:
    """Whether a stream holds so many messages."""
    return (await bus.stream_state(stream)).messages == count
