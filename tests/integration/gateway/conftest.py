"""The edge's tests run on the loop that the edge runs on: its transports are part of what is tested."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Which loops a test runs on; there is one, so its name shows nowhere."""
    return {"uvloop": uvloop.new_event_loop}
