"""From the operator's configuration to the broker: how to connect, and which streams and consumers must be there."""

from __future__ import annotations

from runtime.bus.manifest import Asset, StreamLimits, manifest
from runtime.bus.settings import BusSettings
from runtime.settings import Config, Nats


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


def declared(config: Config) -> list[Asset]:
    """All streams, and one consumer a provider."""
    limits = StreamLimits(
        replicas=config.nats.replicas,
        submit_bytes=config.nats.max_queue_bytes,
        work_messages=2 * config.nats.max_work_messages,  # a full stream would refuse the leader's lease
    )
    return manifest(limits, tuple(config.providers))
