"""HTTP edges in the test's own process, as many as wanted, on the broker of ``tests.support.gateway.gateway``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic import SecretStr

from gateway.assembly import Made, assemble
from gateway.edge import Edge
from gateway.keys import hashed
from runtime.bus import BusSettings, NatsBus, connect
from runtime.clock import SystemClock
from runtime.health import Health
from runtime.settings import Config
from runtime.telemetry import DEBUG, Event, Metrics, Telemetry
from tests.support.gateway import Gateway
from tests.support.stand_in import OTHER, PROJECT, SECRET, SERVICE, key

PEPPER = "pepper"
ADMIN = "psk_admin_" + "0123456789abcdef" * 2
"""The admin key of an edge of tests."""
PATIENCE = 30.0
"""Seconds a client of tests waits for an answer."""


@dataclass
class RunningEdge:
    """One edge that listens, and what a test needs to speak to it and to look into it."""

    made: Made
    bus: NatsBus
    config: Config
    key: str
    """The key of ``stand_in.PROJECT``, known as ``test``."""
    client: httpx.AsyncClient
    """Speaks to this edge with ``key``."""
    events: list[Event] = field(default_factory=list)
    """What the edge's telemetry told."""

    @property
    def edge(self) -> Edge:
        """Its parts."""
        return self.made.edge

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://127.0.0.1:{self.made.server.port}"

    async def stop(self) -> None:
        """End as the process would on SIGTERM: drained, then disconnected. A second stop does nothing."""
        for duty in reversed(self.made.duties):
            await asyncio.wait_for(duty.stop(), 20)


@asynccontextmanager
async def edge(
    whole: Gateway,
    *,
    name: str = "edge",
    scope: Mapping[str, Any] | None = None,
    values: Mapping[str, Any] | None = None,
    url: str | None = None,
    telemetry: Telemetry | None = None,
    **settings: Any,
) -> AsyncIterator[RunningEdge]:
    """Start an edge beside the scheduler and workers of ``whole``; stop it at the end.

    ``settings`` are those of the section ``gateway`` (``ping=0.1``), ``scope`` is that of the key ``test``; ``values``
    replaces other sections of the configuration, ``url`` is the broker's where it is not ``whole``'s. Keys: ``test`` of
    ``PROJECT``, ``other`` of ``OTHER``, and ``ADMIN``.
    """
    config = _config(whole, url or whole.url, scope or {}, values or {}, settings)
    telemetry, events = telemetry or Telemetry(), list[Event]()
    telemetry.subscribe(events.append, lowest=DEBUG)
    async with AsyncExitStack() as stack:
        password = SecretStr(SECRET)
        bus = await connect(BusSettings(url=config.nats.url, user=SERVICE, password=password, name=name))
        stack.push_async_callback(bus.close)
        made = assemble(
            config,
            bus=bus,
            clock=SystemClock(),
            telemetry=telemetry,
            health=Health(telemetry, Metrics("gateway")),
            host="127.0.0.1",
            port=0,
            name=name,
        )
        for duty in made.duties:
            stack.push_async_callback(_stopped, duty)
            await duty.start()
        client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{made.server.port}",
            headers={"authorization": f"Bearer {key()}"},
            timeout=PATIENCE,
            trust_env=False,
        )
        await stack.enter_async_context(client)
        yield RunningEdge(made, bus, config, key(), client, events)


async def _stopped(duty: Any) -> None:
    await asyncio.wait_for(duty.stop(), 20)


def _config(
    whole: Gateway, url: str, scope: Mapping[str, Any], values: Mapping[str, Any], settings: Mapping[str, Any]
) -> Config:
    """The gateway's own configuration, with its broker and the keys of tests."""
    own: dict[str, Any] = {
        "drain": 1.0,
        "pepper": PEPPER,
        "admin_hash": hashed(ADMIN, PEPPER),
        "keys": {
            "test": {"project": PROJECT, "hash": hashed(key(), PEPPER), "scope": dict(scope)},
            "other": {"project": OTHER, "hash": hashed(key(OTHER), PEPPER)},
        },
        **settings,
    }
    nats = whole.config.nats.model_copy(update={"url": url, "user": SERVICE, "password": SecretStr(SECRET)})
    told = {name: getattr(whole.config, name) for name in type(whole.config).model_fields}
    return Config.model_validate({**told, "nats": nats, "gateway": own, **values})
