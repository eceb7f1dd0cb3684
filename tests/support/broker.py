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

from runtime.broker import Broker, BrokerConfig
from runtime.bus import BusSettings, NatsBus, connect

_names = count(1)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Shared by the whole session: name streams and subjects with ``unique()``, and never stop it."""
    server = Broker(BrokerConfig(sync="default"), tmp_path_factory.mktemp("broker"))
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture
async def own_broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """For one test alone: it may be killed, frozen and started again."""
    server = Broker(BrokerConfig(sync="default"), tmp_path / "broker")
    await server.start()
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
