"""Requests that wait for their one answer, by token: one timer looks for all that are overdue."""

from __future__ import annotations

import asyncio
from itertools import count

from runtime.bus.port import OutcomeUnknown
from runtime.bus.wire import Arrival

TICK = 0.05
"""Seconds between two looks for answers that are overdue."""


class Answers:
    """What is waited for on the subjects below one inbox (which ends with a dot)."""

    def __init__(self, inbox: str) -> None:
        self.inbox = inbox
        self._skip = len(inbox)
        self._tokens = count()
        self._pending: dict[str, asyncio.Future[Arrival | None]] = {}
        self._due: dict[int, list[str]] = {}
        self._sweeping = False
        self._postponed = False

    def token(self) -> str:
        """A token that was never given out before."""
        return str(next(self._tokens))

    def expect(self, token: str, timeout: float) -> asyncio.Future[Arrival | None]:
        """What will hold the answer on ``token``, or None after ``timeout`` seconds; ``forget`` it in the end."""
        loop = asyncio.get_running_loop()
        self._pending[token] = future = loop.create_future()
        self._due.setdefault(int((loop.time() + timeout) / TICK) + 1, []).append(token)
        if not self._sweeping:
            self._sweeping = True
            self._sweep_later(loop)
        return future

    def forget(self, token: str) -> None:
        """Nobody waits any more."""
        self._pending.pop(token, None)

    def hear(self, arrival: Arrival) -> None:
        """An answer; one that came too late is dropped."""
        future = self._pending.pop(arrival.subject[self._skip :], None)
        if future is not None and not future.done():
            future.set_result(arrival)

    def give_up(self) -> None:
        """Whatever was asked, no answer will come."""
        pending, self._pending = self._pending, {}
        for future in pending.values():
            if not future.done():
                future.set_result(None)

    def _sweep_later(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(TICK, self._sweep, loop, loop.time() + TICK)

    def _sweep(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        # Who stood still finds answers in the socket that came in time: they are read before one of them is missed.
        # Not twice in a row: a loop that is always late must not wait for ever.
        self._postponed = not self._postponed and loop.time() - due > TICK
        if self._postponed:
            self._sweep_later(loop)
            return
        now = int(loop.time() / TICK)
        for tick in [tick for tick in self._due if tick <= now]:
            for token in self._due.pop(tick):
                future = self._pending.pop(token, None)
                if future is not None and not future.done():
                    future.set_result(None)
        self._sweeping = bool(self._pending)
        if self._sweeping:
            self._sweep_later(loop)
        else:
            self._due.clear()


def silent(subject: str, within: float) -> OutcomeUnknown:
    """The error for an answer that did not come."""
    return OutcomeUnknown(f"{subject}: no answer within {within} s, or the connection was lost meanwhile")
