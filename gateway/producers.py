"""One ``Producer`` a project, made when the project first asks."""

from __future__ import annotations

import asyncio

from producer_sdk import Producer
from producer_sdk.nats_transport import NatsTransport
from runtime.connection import tls_of
from runtime.settings.services import Nats


class Producers:
    """Speaks to the broker for every project, with the services' credential. One event loop, like ``Producer``."""

    def __init__(self, nats: Nats, *, timeout: float, name: str) -> None:
        self._nats = nats
        self._timeout = timeout
        self._name = name
        self._tls = tls_of(nats)
        self._made: dict[str, Producer] = {}

    def of(self, project: str) -> Producer:
        """The project's producer; it connects at its first use."""
        found = self._made.get(project)
        if found is None:
            found = self._made[project] = Producer(
                timeout=self._timeout, cancel_abandoned=False, transport=self._transport(project)
            )
        return found

    def awaits(self, project: str, job: str) -> bool:
        """Whether a client here waits for a job, or reads its stream."""
        found = self._made.get(project)
        return found is not None and found.awaits(job)

    def _transport(self, project: str) -> NatsTransport:
        nats = self._nats
        return NatsTransport(
            nats.url,
            project,
            nats.password.get_secret_value() if nats.password is not None else None,
            user=nats.user,
            name=f"{self._name} {project}",
            tls=self._tls,
        )

    async def close(self) -> None:
        """Disconnect all."""
        made, self._made = list(self._made.values()), {}
        await asyncio.gather(*(one.close() for one in made))
