"""A real nats-server for tests: one a session where names keep streams apart, one of its own where it must die.

``tests/conftest.py`` makes the fixtures known to every test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from appliance.ports import free_port
from runtime.broker import Broker, BrokerConfig, BrokerError
from runtime.bus import BusSettings, NatsBus, connect

_names = count(1)
START = 30.0
"""Seconds that a server may take to greet on a machine that has much to do."""
_FIRST_TRIES = 3


async def lasting(config: BrokerConfig, directory: Path) -> Broker:
    """A started server whose port is its own also while it is down.

    A port that the system hands out is anybody's meanwhile: whoever begins to listen anywhere may be given it.
    """
    for left in reversed(range(_FIRST_TRIES)):
        made = Broker(config.model_copy(update={"port": free_port()}), directory)
        try:
            return await made.start(within=START)
        except BrokerError as error:
            if not left or "address already in use" not in str(error):
                raise
    raise AssertionError("unreachable")


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Shared by the whole session: name streams and subjects with ``unique()``, and never stop it."""
    server = Broker(BrokerConfig(sync="default"), tmp_path_factory.mktemp("broker"))
    asyncio.run(server.start(within=START))
    yield server
    asyncio.run(server.stop())


@pytest.fixture
async def own_broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """For one test alone: it may be killed, frozen and started again."""
    server = await lasting(BrokerConfig(sync="default"), tmp_path / "broker")
    yield server
    if server.running:
        server.thaw()
    await server.stop()


def unique(prefix: str = "t") -> str:
    """A token that nobody else in this session uses: for stream names and the first token of subjects."""
    return f"{prefix}{next(_names)}"


def settings(url: str | tuple[str, ...], **over: Any) -> BusSettings:
    """Bus settings with short times, for tests."""
    quick = {"backoff_longest": 0.2, "publish_timeout": 2.0, "api_timeout": 2.0, "close_timeout": 1.0}
    return BusSettings(url=url, **{**quick, **over})


@pytest.fixture
async def open_bus() -> AsyncIterator[Callable[..., Any]]:
    """Opens connections (``await open_bus(url, **settings)``) and closes them at the end of the test."""
    opened: list[NatsBus] = []

    async def opener(url: str | tuple[str, ...], **over: Any) -> NatsBus:
        bus = await connect(settings(url, **over))
        opened.append(bus)
        return bus

    yield opener
    for bus in opened:
        await bus.close()
