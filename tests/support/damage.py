"""Damage done to one connection: tails that pass messages over, deletions that do nothing, steps that never return."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from runtime.bus.port import Ack, Bus, Handler, Message, Tail


class Damage:
    """What goes wrong on a bus, from when it is told to on."""

    def __init__(self, bus: Bus, patch: pytest.MonkeyPatch) -> None:
        self._loses: list[str] = []
        self._stops: list[tuple[str, str]] = []
        self._idle: list[tuple[str, str]] = []
        self.lost: list[Message] = []
        """What tails have passed over."""
        self.stopped: list[str] = []
        """Steps that were reached and never return."""
        self._tail, self._append, self._delete, self._purge = bus.tail, bus.append, bus.delete, bus.purge
        for name in ("tail", "append", "delete", "purge"):
            patch.setattr(bus, name, getattr(self, f"_to_{name}"))

    def pass_over(self, subject: str) -> None:
        """The next message whose subject begins so is not handed over, by no tail that is open then."""
        self._loses.append(subject)

    def stop_at(self, step: str, what: str) -> None:
        """The next ``append`` (after it is stored) or ``delete`` (before it is done) there never comes back."""
        self._stops.append((step, what))

    def pretend(self, step: str, stream: str) -> None:
        """The next ``delete`` or ``purge`` of that stream removes nothing and says it has."""
        self._idle.append((step, stream))

    async def _to_tail(self, stream: str, handler: Handler, **how: Any) -> Tail:
        def hear(message: Message) -> None:
            found = next((one for one in self._loses if message.subject.startswith(one)), None)
            if found is None:
                handler(message)
            else:
                self._loses.remove(found)
                self.lost.append(message)

        return await self._tail(stream, hear, **how)

    async def _to_append(self, subject: str, data: bytes, **how: Any) -> Ack:
        ack = await self._append(subject, data, **how)
        await self._maybe_stop("append", subject)
        return ack

    async def _to_delete(self, stream: str, seq: int) -> bool:
        await self._maybe_stop("delete", stream)
        return True if self._does_nothing("delete", stream) else await self._delete(stream, seq)

    async def _to_purge(self, stream: str, **how: Any) -> int:
        return 0 if self._does_nothing("purge", stream) else await self._purge(stream, **how)

    async def _maybe_stop(self, step: str, what: str) -> None:
        for stop in self._stops:
            if stop[0] == step and what.startswith(stop[1]):
                self._stops.remove(stop)
                self.stopped.append(what)
                await asyncio.Event().wait()

    def _does_nothing(self, step: str, stream: str) -> bool:
        if (step, stream) not in self._idle:
            return False
        self._idle.remove((step, stream))
        return True


def raising(call: Callable[..., Any], when: Callable[..., bool], times: int = 1) -> Callable[..., Any]:
    """``call``, but it raises a bug instead, the first ``times`` that ``when`` says so of its arguments."""
    left = [times]

    def instead(*arguments: Any, **named: Any) -> Any:
        if left[0] and when(*arguments, **named):
            left[0] -= 1
            raise ZeroDivisionError("a bug")
        return call(*arguments, **named)

    return instead


def kinds(events: Sequence[Any]) -> list[str]:
    """Of which kind each repair was."""
    return [event.fields["kind"] for event in events]
