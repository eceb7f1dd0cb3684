"""A connection's beginning and end: whom it trusts, what is left of it, and that both are bounded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runtime.broker import Broker, BrokerConfig
from runtime.broker_accounts import BrokerUser
from runtime.bus import NatsBus, connect
from runtime.bus.port import BusError, Unreachable
from tests.support.broker import settings
from tests.support.eventually import eventually
from tests.support.proxy import FaultProxy, lose_nothing

Open = Callable[..., Awaitable[NatsBus]]

QUICK = {"watchdog": 0.3, "heartbeat": 0.2, "publish_timeout": 0.6, "api_timeout": 0.6, "flush_timeout": 0.5}
STEADY = {"watchdog": 30.0, "heartbeat": 0.2, "publish_timeout": 5.0, "api_timeout": 5.0, "flush_timeout": 0.5}
"""Where the watchdog is not to find out: a broker that stands still for a second has not lost a connection."""
STREAM = {"kind": "stream", "config": {"name": "WORK", "subjects": ["work.>"]}}
CONSUMER = {
    "kind": "consumer",
    "stream": "WORK",
    "config": {"name": "pool", "durable_name": "pool", "ack_policy": "explicit"},
}


@asynccontextmanager
async def plain_server(greeting: dict[str, object]) -> AsyncIterator[tuple[str, bytearray]]:
    """Greets as a server that offers no encryption, and notes what it is told: place and bytes."""
    told = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"INFO " + json.dumps({"max_payload": 1_000_000, "headers": True, **greeting}).encode() + b"\r\n")
        while data := await reader.read(65_536):
            told.extend(data)
            if b"PING\r\n" in data:
                writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", told


@pytest.mark.parametrize(
    ("userinfo", "over"),
    [
        ("", {"user": "us", "password": "secret"}),
        ("", {"token": "secret"}),
        ("us:secret@", {}),
        ("secret@", {}),
        ("", {}),
    ],
)
async def test_a_server_without_the_encryption_that_was_asked_for_learns_no_secret(
    userinfo: str, over: dict[str, Any]
) -> None:
    async with plain_server({"auth_required": True}) as (place, told):
        with pytest.raises(Unreachable, match="offers no encryption") as refused:
            await connect(settings(f"tls://{userinfo}{place}", **over))
        assert b"secret" not in told
        assert "secret" not in str(refused.value)
        await (await connect(settings(f"nats://{userinfo}{place}", **over))).close()
        assert (b"secret" in told) == bool(userinfo or over)


async def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(3):
            with pytest.raises(Unreachable, match=rf"no broker at 127.0.0.1:{port}: no answer within 0.2 s"):
                await connect(settings(f"nats://127.0.0.1:{port}", connect_timeout=0.2))


async def test_a_wrong_password_is_named_and_the_next_server_is_tried(tmp_path: Path, own_broker: Broker) -> None:
    user = BrokerUser.model_validate({"name": "us", "password": "right"})
    guarded = Broker(BrokerConfig(sync="default", users=(user,)), tmp_path / "guarded")
    await guarded.start()
    try:
        with pytest.raises(Unreachable, match=r"(?i)authorization violation") as refused:
            await connect(settings(guarded.url, user="us", password="wrong"))
        assert "wrong" not in str(refused.value)
        bus = await connect(settings((guarded.url, own_broker.url), user="us", password="wrong"))
        await bus.publish("a", b"")
        await bus.close()
    finally:
        await guarded.stop()


async def listening(bus: NatsBus) -> None:
    await bus.ensure([STREAM, CONSUMER])
    await bus.subscribe("news", lambda _: None)
    await bus.tail("WORK", lambda _: None)
    await bus.pull("WORK", "pool")


async def test_nothing_is_left_of_a_lost_client_whatever_it_held(own_broker: Broker, open_bus: Open) -> None:
    async with FaultProxy(own_broker) as proxy:
        bus = await open_bus(proxy.url, **QUICK, pending_bytes=65_536)
        await listening(bus)
        own = {"bus link", "bus tail WORK"}

        def running() -> list[str]:
            names = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]  # type: ignore[union-attr]
            return sorted(name for name in names if name.startswith(("Client.", "Subscription.")))

        def reconnected(accepted: int) -> bool:
            return bus.connected and proxy.accepted >= accepted

        before = running()
        assert len(before) >= 3 + 4, "its three tasks and one for each subscription"
        for accepted, lose in enumerate((proxy.cut, proxy.freeze, proxy.cut), 2):
            lose()
            with pytest.raises(BusError):
                for _ in range(400):
                    await bus.publish("big", b"x" * 100_000)
                    await asyncio.sleep(0)
            await eventually(partial(reconnected, accepted))
            await eventually(lambda: running() == before)
        assert own <= {task.get_name() for task in asyncio.all_tasks()}
        await bus.close()
        assert running() == []


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 21, 34])
async def test_closing_while_it_reconnects_is_bounded(own_broker: Broker, turns: int) -> None:
    """The library can swallow the cancellation of one who waits for it to connect, depending on the instant."""
    async with FaultProxy(own_broker) as proxy:
        bus = await connect(settings(proxy.url, backoff_first=0.001, backoff_longest=0.001))
    await eventually(lambda: not bus.connected)
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(3):
        await bus.close()


async def test_a_puller_closed_without_the_brokers_answer_costs_the_connection_not_the_bus(
    own_broker: Broker, open_bus: Open
) -> None:
    async with FaultProxy(own_broker) as proxy:
        bus = await open_bus(proxy.url, **STEADY, close_timeout=0.3)
        await bus.ensure([STREAM, CONSUMER])
        puller = await bus.pull("WORK", "pool")
        proxy.lose_down = lambda frame: frame.startswith(b"PONG")
        async with asyncio.timeout(3):
            assert list(await puller.close()) == []
        await eventually(lambda: len(proxy.lost) == 1)
        proxy.lose_down = lose_nothing
        await eventually(lambda: proxy.accepted >= 2 and bus.connected)
        assert (await bus.append("work.a", b"")).seq == 1


async def test_a_late_pong_after_a_cancelled_close_does_not_deafen_the_connection(
    own_broker: Broker, open_bus: Open
) -> None:
    async with FaultProxy(own_broker) as proxy:
        bus = await open_bus(proxy.url, **STEADY)
        await bus.ensure([STREAM, CONSUMER])
        puller = await bus.pull("WORK", "pool")
        proxy.delay = 0.1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await puller.close()
        for number in range(3):
            assert (await bus.append(f"work.{number}", b"")).seq == number + 1
        assert proxy.accepted == 1
