"""A durable pull consumer read by name: asked anew whenever the broker falls silent, losing nothing it received."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count

from runtime.bus.answers import silent
from runtime.bus.link import Link, Listening
from runtime.bus.port import BusError, ConsumerState, Message, Unreachable
from runtime.bus.replies import api, consumer_state
from runtime.bus.wire import Arrival

log = logging.getLogger(__name__)

NANO = 1_000_000_000
GRACE = 0.3
"""Seconds to wait for the broker's word that a pull request ended, after it should have."""
MISSED = 2.5
"""Heartbeats that may be missed before a pull is asked anew."""
BACKOFF_FIRST, BACKOFF_LONGEST = 0.05, 1.0
ACK_PAUSE = 0.1
_HEARTBEAT, _NONE_LEFT, _TIMED_OUT = "100", "404", "408"


def stream_seq(reply: str) -> int:
    """Stream sequence from the subject on which a consumer's message is acknowledged (both of the broker's forms)."""
    tokens = reply.split(".")
    return int(tokens[5] if len(tokens) == 9 else tokens[7])


class NatsDelivery:
    """A pulled message; see ``port.Delivery``."""

    __slots__ = ("_link", "message")

    def __init__(self, link: Link, message: Message) -> None:
        self._link = link
        self.message = message

    async def ack(self) -> None:
        with contextlib.suppress(Unreachable):
            await self._link.send(self.message.reply, b"")

    async def ack_confirmed(self, *, within: float) -> bool:
        loop = asyncio.get_running_loop()
        until = loop.time() + within
        while (left := until - loop.time()) > 0:
            try:
                answer = await self._link.ask(self.message.reply, b"", timeout=min(left, 2.0))
            except Unreachable:
                answer = None
            if answer is not None and not answer.status:
                return True
            await asyncio.sleep(min(ACK_PAUSE * random.uniform(0.5, 1.0), max(left, 0.0)))
        return False

    async def in_progress(self) -> None:
        with contextlib.suppress(Unreachable):
            await self._link.send(self.message.reply, b"+WPI")


class NatsPuller:
    """See ``port.Puller``. One pull request is open at a time; it ends at the broker with the first messages it brings.

    A fetch that is cancelled leaves its request open: what that brings is kept and returned by the next fetch, or by
    ``close``.
    """

    def __init__(self, link: Link, stream: str, durable: str) -> None:
        self._link = link
        self._consumer = f"{stream}.{durable}"
        self._inbox = link.inbox()
        self._tokens = count(1)
        self._open = ""
        self._missing = 0
        self._heard = 0.0
        self._ready: deque[NatsDelivery] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._backoff = 0.0
        self._not_before = 0.0
        self._closed = False
        self._listening: Listening | None = None
        self._forget: Callable[[], None] = lambda: None

    async def start(self) -> NatsPuller:
        """Begin to listen for what will be asked for."""
        self._loop = asyncio.get_running_loop()
        self._listening = await self._link.listen(f"{self._inbox}*", self._hear)
        self._forget = self._link.when_connected(self._reconnected)
        return self

    async def fetch(self, limit: int, *, expires: float) -> Sequence[NatsDelivery]:
        until = self._loop.time() + expires
        while not self._ready and not self._closed:
            now = self._loop.time()
            if not self._open:
                if now >= until:
                    break
                if now >= self._not_before:
                    await self._ask(limit, until - now)
            elif now - self._heard > self._patience or now > until + GRACE:
                self._open = ""
                continue
            if not self._ready:
                await self._wait(until)
        ready = self._ready
        return [ready.popleft() for _ in range(min(limit, len(ready)))]

    async def state(self) -> ConsumerState:
        subject = f"$JS.API.CONSUMER.INFO.{self._consumer}"
        answer = await self._link.ask(subject, b"", timeout=self._link.settings.api_timeout)
        if answer is None or answer.status:
            raise silent(subject, self._link.settings.api_timeout)
        info = api(answer.data, subject)
        return consumer_state(info)

    async def close(self) -> Sequence[NatsDelivery]:
        if self._closed:
            return []
        self._closed = True
        self._forget()
        self._wake()
        if self._listening is not None:
            await self._listening.drain()
        left = list(self._ready)
        self._ready.clear()
        return left

    @property
    def _patience(self) -> float:
        return MISSED * self._link.settings.heartbeat

    async def _ask(self, limit: int, left: float) -> None:
        settings = self._link.settings
        expires = max(min(left, settings.pull_expires), 0.05)
        body = f'{{"batch":{limit},"no_wait":true,"expires":{int(expires * NANO)}'
        if expires > 2 * settings.heartbeat:
            body += f',"idle_heartbeat":{int(settings.heartbeat * NANO)}'
        token = str(next(self._tokens))
        self._open, self._missing, self._heard = token, limit, self._loop.time()
        try:
            await self._link.send(
                f"$JS.API.CONSUMER.MSG.NEXT.{self._consumer}", f"{body}}}".encode(), self._inbox + token
            )
        except BusError:
            self._failed()

    async def _wait(self, until: float) -> None:
        """Until something was heard, the present pause is over, the time is up or the request seems lost."""
        now = self._loop.time()
        end = min(self._heard + self._patience, until + GRACE) if self._open else min(max(self._not_before, now), until)
        self._waiter = waiter = self._loop.create_future()
        timer = self._loop.call_at(max(end, now) + 0.001, self._wake)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _hear(self, message: Arrival) -> None:
        self._heard = self._loop.time()
        reply = message.reply
        if reply:
            self._ready.append(
                NatsDelivery(
                    self._link, Message(message.subject, message.data, message.headers, stream_seq(reply), reply)
                )
            )
            self._backoff = 0.0
            self._missing -= 1
            if self._missing <= 0:
                self._open = ""
            self._wake()
            return
        word = message.status
        if word == _HEARTBEAT or message.subject[len(self._inbox) :] != self._open:
            return
        if word in (_NONE_LEFT, _TIMED_OUT):
            self._open, self._backoff = "", 0.0
        else:
            log.debug("bus.pull_refused", extra={"consumer": self._consumer, "status": dict(message.headers or {})})
            self._failed()
        self._wake()

    def _failed(self) -> None:
        """The request is over and asking again at once would not help: an election, no consumer, no connection."""
        self._open = ""
        self._backoff = min(max(self._backoff * 2, BACKOFF_FIRST), BACKOFF_LONGEST)
        self._not_before = self._loop.time() + self._backoff * random.uniform(0.5, 1.0)

    def _reconnected(self) -> None:
        self._open, self._not_before = "", 0.0
        self._wake()
