"""How the memory bus is listened to: who hears a core message, and one of each queue group."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from itertools import count
from typing import TYPE_CHECKING

from runtime.bus.memory_reading import guarded
from runtime.bus.memory_store import matches

if TYPE_CHECKING:
    from runtime.bus.memory import MemoryBus
    from runtime.bus.port import Handler, Message


class MemorySubscription:
    """Core interest of one connection; see ``port.Subscription``."""

    def __init__(self, bus: MemoryBus, subject: str, handler: Handler, queue: str) -> None:
        self.bus = bus
        self.subject = subject
        self.queue = queue
        self._handler = handler
        self._context = copy_context()

    def hear(self, message: Message) -> None:
        """Call the handler soon, if the connection is up."""
        if self.bus.connected:
            asyncio.get_running_loop().call_soon(guarded, self._handler, message, context=self._context)

    async def close(self) -> None:
        self.bus.broker.interest.drop(self)


class MemoryInterest:
    """All subscriptions of a broker, in the order they were made."""

    def __init__(self) -> None:
        self._subscriptions: list[MemorySubscription] = []
        self._turn = count()

    def add(self, subscription: MemorySubscription) -> None:
        """It hears from now on."""
        self._subscriptions.append(subscription)

    def drop(self, subscription: MemorySubscription) -> None:
        """It hears no more; safe to call twice."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def leave(self, bus: MemoryBus) -> None:
        """No subscription of this connection hears any more."""
        self._subscriptions = [one for one in self._subscriptions if one.bus is not bus]

    def route(self, message: Message) -> int:
        """Hand a core message to whoever listens, one of each queue group; returns how many that were."""
        groups: dict[str, list[MemorySubscription]] = {}
        heard = 0
        for subscription in tuple(self._subscriptions):
            if matches(subscription.subject, message.subject):
                if subscription.queue:
                    groups.setdefault(subscription.queue, []).append(subscription)
                else:
                    subscription.hear(message)
                    heard += 1
        for members in groups.values():
            members[next(self._turn) % len(members)].hear(message)
        return heard + len(groups)
