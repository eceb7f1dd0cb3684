"""Closing while the desk is being asked: whoever asked hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from producer_sdk import Closed, Producer
from producer_sdk.testing import FakeGateway
from tests.support.eventually import eventually
from tests.support.sdk import HELLO

Asking = Callable[[Producer], Awaitable[object]]


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with FakeGateway() as fake:
        yield fake


async def streamed(producer: Producer) -> None:
    async for _ in producer.stream(**HELLO):
        pass


@pytest.mark.parametrize(
    ("operation", "ask"),
    [
        ("status", lambda producer: producer.attach("a-job").status()),
        ("status", streamed),
        ("estimate", lambda producer: producer.estimate(**HELLO)),
    ],
)
@pytest.mark.parametrize("under_way", [True, False], ids=["under way", "gathered"])
async def test_whoever_asks_the_desk_is_told_that_the_producer_was_closed(
    gateway: FakeGateway, operation: str, ask: Asking, under_way: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    producer = gateway.producer()
    desk = (await producer._ready()).desk
    gathered = desk.estimating if operation == "estimate" else desk
    answered = producer._transport.ask

    async def silent(subject: str, data: bytes, *, timeout: float) -> bytes:
        asked.append(subject.rpartition(".")[2])
        if asked[-1] == operation:
            await asyncio.Event().wait()
        return await answered(subject, data, timeout=timeout)

    monkeypatch.setattr(producer._transport, "ask", silent)
    if not under_way:
        for room in ("desk", "estimating"):
            monkeypatch.setattr(f"producer_sdk.{room}.GATHER", 3_600.0)
    gateway.hold()
    asking = asyncio.ensure_future(ask(producer))
    await eventually(lambda: operation in asked if under_way else gathered._gathered)
    await producer.close()
    with pytest.raises(Closed):
        await asyncio.wait_for(asking, 60)
