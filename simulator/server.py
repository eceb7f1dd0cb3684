"""The simulator as one thing that starts and stops: a main port, and a port for each provider."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from simulator.clock import Clock, SystemClock
from simulator.control import Control, UnknownProvider
from simulator.front import Front
from simulator.journal import Journal
from simulator.listener import Listener
from simulator.meter import Meter
from simulator.provider import Provider
from simulator.settings import Settings


class Simulator:
    """Simulated providers in this process, on this loop.

        async with Simulator(Settings()) as simulator:
            client = AsyncOpenAI(base_url=simulator.base_url("openai") + "/v1", api_key="any")
            await simulator.control.add_fault(FaultOrder(fault="503", provider="openai", times=1))

    ``start`` and ``stop`` may be called again; ``stop`` before ``start`` does nothing.
    """

    def __init__(self, settings: Settings | None = None, *, clock: Clock | None = None) -> None:
        self.settings = settings or Settings()
        clock = clock or SystemClock()
        meter, journal = Meter(self.settings.bills), Journal(self.settings.log_size)
        host, max_body = self.settings.host, self.settings.max_body
        self._providers = {
            one.name: Provider(one, clock=clock, meter=meter, journal=journal, longest_hold=self.settings.longest_hold)
            for one in self.settings.providers
        }
        self._listeners = {
            name: Listener(one.handle, host, one.settings.port, max_body) for name, one in self._providers.items()
        }
        self.control = Control(self._providers, self._listeners, meter=meter, journal=journal, clock=clock)
        self._front = Front(self._providers, self.control, lambda: self.url)
        self._main = Listener(self._front.handle, host, self.settings.port, max_body)

    @property
    def url(self) -> str:
        """The main port: control, health, metrics, and every provider by path."""
        return self._main.url

    def base_url(self, provider: str) -> str:
        """A provider's own port, without a path: an OpenAI client needs ``/v1`` behind it, the others nothing.

        Raises:
            UnknownProvider: no such provider.
        """
        listener = self._listeners.get(provider)
        if listener is None:
            raise UnknownProvider(f"no provider is called `{provider}`; there are {', '.join(self._listeners)}")
        return listener.url

    @property
    def base_urls(self) -> dict[str, str]:
        """Each provider's own port."""
        return {name: listener.url for name, listener in self._listeners.items()}

    async def start(self) -> None:
        """Listen on every port.

        Raises:
            OSError: a port is taken; nothing is left listening.
        """
        try:
            for listener in (*self._listeners.values(), self._main):
                await listener.open()
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close every port and connection; answers in progress end as if their clients had left."""
        await self.control.stop()
        for one in self._providers.values():
            await one.stop()
        await self._front.stop()
        await asyncio.gather(*(listener.close() for listener in (self._main, *self._listeners.values())))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
