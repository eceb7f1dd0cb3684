"""Gateways for the SDK's conformance suite: one in memory, one over a real broker, alike from the outside."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from producer_sdk import Producer
from producer_sdk.nats_transport import NatsTransport
from producer_sdk.testing import FakeGateway
from producer_sdk.testing.stage import Stage
from producer_sdk.transport import Transport
from runtime.broker import Broker
from tests.support.stand_in import PROJECT, StandIn, key, service_bus
from tests.support.tcp import Wire

ROUTES = ("fast", "smart")


class House(Protocol):
    """A gateway and the way to it."""

    stage: Stage

    def producer(self, **arguments: Any) -> Producer: ...
    def transport(self) -> Transport: ...
    def disconnect(self) -> None: ...
    def reconnect(self) -> None: ...


@dataclass
class MemoryHouse:
    gateway: FakeGateway
    stage: Stage

    def producer(self, **arguments: Any) -> Producer:
        return self.gateway.producer(**arguments)

    def transport(self) -> Transport:
        return self.gateway.transport()

    def disconnect(self) -> None:
        self.gateway.disconnect()

    def reconnect(self) -> None:
        self.gateway.reconnect()


@dataclass
class NatsHouse:
    url: str
    wire: Wire
    stage: Stage
    stand_in: StandIn
    made: list[Producer] = field(default_factory=list)

    def producer(self, **arguments: Any) -> Producer:
        producer = Producer(self.url, key(), **arguments)
        self.made.append(producer)
        return producer

    def transport(self) -> Transport:
        return NatsTransport(self.url, PROJECT, key())

    def disconnect(self) -> None:
        self.wire.cut()

    def reconnect(self) -> None:
        self.wire.restore()


@contextlib.asynccontextmanager
async def memory_house(**limits: Any) -> AsyncIterator[MemoryHouse]:
    async with FakeGateway(project=PROJECT, **{"routes": ROUTES, **limits}) as gateway:
        yield MemoryHouse(gateway, gateway.stage())


@contextlib.asynccontextmanager
async def nats_house(broker: Broker, **limits: Any) -> AsyncIterator[NatsHouse]:
    async with (
        service_bus(broker) as bus,
        StandIn(bus, **{"routes": ROUTES, **limits}) as stand_in,
        Wire.to(broker.url) as wire,
    ):
        house = NatsHouse(f"nats://127.0.0.1:{wire.port}", wire, stand_in.stage, stand_in)
        try:
            yield house
        finally:
            for producer in house.made:
                await producer.close()
