"""Sending an answer: at its pace, whole or streamed, and broken where a fault breaks it.

What has been produced is known at every moment, because a call that ends early is billed for exactly that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from simulator.connection import Exchange
from simulator.conversation import Frame, Script
from simulator.wire import LAST_CHUNK, chunk

Ending = Literal["whole", "cut", "reset", "stalled", "unfinished"]


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: until the head, until the first token (at least as long), and for each token after that."""

    latency: float = 0.0
    ttft: float = 0.0
    per_token: float = 0.0

    @property
    def immediate(self) -> bool:
        return not (self.latency or self.ttft or self.per_token)

    def produced(self, elapsed: float, tokens: int) -> int:
        """Of ``tokens``, how many have been produced after so many seconds; all at once if there is no pace."""
        after_first = elapsed - max(self.latency, self.ttft)
        if after_first < 0:
            return 0
        return min(tokens, int(after_first / self.per_token)) if self.per_token else tokens


@dataclass(frozen=True, slots=True)
class Break:
    """Where a response ends early, and how.

    ``at``: the fraction of the tokens (of the body, if it is not streamed) that is sent before. ``insert``: bytes sent
    there. ``ending``: what happens then: ``whole`` goes on as if nothing were.
    """

    at: float
    ending: Ending
    insert: bytes = b""


UNBROKEN = Break(1.0, "whole")


class Playback:
    """Sends one response. ``produced``: output tokens produced so far; ``broken``: a fault has struck.

    ``over`` is called before the last bytes leave: to the provider a call is over before its client knows.
    """

    def __init__(self, exchange: Exchange, timing: Timing, now: Callable[[], float], longest_hold: float) -> None:
        self._exchange = exchange
        self._timing = timing
        self._now = now
        self._start = now()
        self._hold = longest_hold
        self.produced = 0
        self.broken = False
        self.over: Callable[[], None] = _nothing

    async def whole(self, head: bytes, body: bytes, tokens: int, end: Break) -> None:
        """Send a response that is not streamed, once all of its tokens have been produced."""
        timing = self._timing
        try:
            await self._until(max(timing.latency, timing.ttft) + tokens * timing.per_token)
        except asyncio.CancelledError:
            self.produced = timing.produced(self._now() - self._start, tokens)
            raise
        self.produced = tokens
        await self._send_whole(head, body, end)

    async def stream(self, head: bytes, script: Script, end: Break) -> None:
        """Send a streamed response, each token when it is due."""
        timing = self._timing
        await self._until(timing.latency)
        self._exchange.send(head + chunk(script.opening))
        first = max(timing.latency, timing.ttft)
        stop = round(len(script.content) * end.at) if end is not UNBROKEN else len(script.content)
        await self._frames(script.content[:stop], first, 0)
        if end is not UNBROKEN:
            self.broken = True
            self._exchange.send(end.insert)
        if end.ending == "whole":
            await self._frames(script.content[stop:], first, self.produced)
            self.over()
            self._exchange.send(chunk(script.closing) + chunk(script.terminator) + LAST_CHUNK)
            self._exchange.finish()
        else:
            await self._break_off(end.ending)

    def stream_at_once(self, head: bytes, script: Script) -> None:
        """Send a streamed response without any pace or fault: all of it in one write, each event in its own chunk."""
        parts = [head, chunk(script.opening)]
        parts.extend(chunk(frame.data) for frame in script.content)
        parts.extend((chunk(script.closing), chunk(script.terminator), LAST_CHUNK))
        self.produced = sum(frame.tokens for frame in script.content)
        self._exchange.reply(b"".join(parts))

    async def _frames(self, frames: list[Frame], first: float, sent: int) -> None:
        """Send frames when they are due; those that are due together go out together."""
        per_token, now = self._timing.per_token, self._now
        pending: list[bytes] = []
        for frame in frames:
            due = self._start + first + sent * per_token
            if due > now():
                await self._flush(pending)
                await self._until(due - self._start)
            pending.append(chunk(frame.data))
            sent += frame.tokens
            self.produced = sent
        await self._flush(pending)

    async def _flush(self, pending: list[bytes]) -> None:
        if pending:
            self._exchange.send(b"".join(pending))
            pending.clear()
            await self._exchange.drain()

    async def _send_whole(self, head: bytes, body: bytes, end: Break) -> None:
        if end.ending == "whole":
            self.over()
            self._exchange.reply(head + body)
            return
        self.broken = True
        self._exchange.send(head + body[: round(len(body) * end.at)] + end.insert)
        await self._break_off(end.ending)

    async def _break_off(self, ending: Ending) -> None:
        match ending:
            case "unfinished":
                self._exchange.send(LAST_CHUNK)
                self._exchange.finish()
            case "reset":
                await asyncio.sleep(0)  # what was written leaves first
                self._exchange.reset()
            case "stalled":
                await asyncio.sleep(self._hold)
                self._exchange.hang_up()
            case _:
                self._exchange.hang_up()

    async def _until(self, elapsed: float) -> None:
        left = self._start + elapsed - self._now()
        if left > 0:
            await asyncio.sleep(left)


def _nothing() -> None:
    """Nobody waits for the end."""
