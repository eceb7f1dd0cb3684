"""From the operator's configuration to the broker: how to connect, and which streams and consumers must be there."""

from __future__ import annotations

import asyncio
import ssl

from runtime.bus.manifest import Asset, StreamLimits, manifest
from runtime.bus.port import Bus, OutcomeUnknown, Unreachable
from runtime.bus.settings import BusSettings
from runtime.settings import Config
from runtime.settings.services import Nats

PATIENCE, AGAIN = 30.0, 0.5
"""Seconds for which a broker that does not answer is asked again, and between two questions: an election takes some."""


def bus_settings(nats: Nats, *, name: str) -> BusSettings:
    """The connection of one process; ``name`` is what the broker's monitoring shows."""
    return BusSettings(
        url=nats.url,
        user=nats.user,
        password=nats.password,
        tls_ca=nats.tls_ca,
        tls_cert=nats.tls_cert,
        tls_key=nats.tls_key,
        name=name,
    )


def tls_of(nats: Nats) -> ssl.SSLContext | None:
    """How the connection is encrypted, where the configuration says so. Raises OSError for a file that is not there."""
    if nats.tls_ca is None and nats.tls_cert is None:
        return None
    context = ssl.create_default_context(cafile=nats.tls_ca)
    if nats.tls_cert is not None:
        context.load_cert_chain(nats.tls_cert, nats.tls_key)
    return context


def declared(config: Config) -> list[Asset]:
    """All streams, and one consumer a provider."""
    limits = StreamLimits(
        replicas=config.nats.replicas,
        submit_bytes=config.nats.max_queue_bytes,
        work_messages=2 * config.nats.max_work_messages,  # a full stream would refuse the leader's lease
        file_bytes=config.gateway.files.store,
        batch_bytes=config.gateway.batches.store,
        file_days=config.gateway.files.keep_days + 1,  # chunks outlive the head that speaks of them
    )
    return manifest(limits, tuple(config.providers))


async def prepare(bus: Bus, config: Config) -> None:
    """See that the streams and consumers are there, as ``nats.manage`` says; again while the broker does not answer.

    Raises Refused if a change could destroy messages or the broker does not allow it; OutcomeUnknown or Unreachable
    after ``PATIENCE`` seconds.
    """
    until = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            await bus.ensure(declared(config), create=config.nats.manage == "create")
        except (OutcomeUnknown, Unreachable):
            if asyncio.get_running_loop().time() >= until:
                raise
            await asyncio.sleep(AGAIN)
        else:
            return
