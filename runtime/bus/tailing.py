"""A gap-free reading of a stream: a consumer of our own, made anew behind the last message when in doubt."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from secrets import token_hex

from runtime.bus.answers import silent
from runtime.bus.link import Link, Listening
from runtime.bus.port import BusError, Handler, Message
from runtime.bus.replies import api
from runtime.bus.wire import Arrival

log = logging.getLogger(__name__)

NANO = 1_000_000_000
EXPIRES = 30.0
"""Seconds a request for more may wait at the broker."""
INACTIVE = 60.0
"""Seconds after which the broker drops a consumer that nobody asks anything of."""
MISSED = 2.5
"""Heartbeats that may be missed before the consumer is made anew."""
BACKOFF_FIRST, BACKOFF_LONGEST = 0.05, 1.0
LOOK_FIRST, LOOK_LONGEST = 0.02, 0.25
"""Seconds between two looks whether anything is left to read up to a sequence."""

Left = Callable[[int, int], Awaitable[bool]]
"""Whether the stream holds a message to read from the first sequence on, up to and with the second."""


class NatsTail:
    """See ``port.Tail``.

    The broker hands out at most ``2 * batch`` messages beyond what was read, so it never drops us as too slow. Every
    message says its place in the consumer's own count; a hole in that count, a silence longer than the heartbeats
    allow, a reconnect or an answer that ends a request: each makes a new consumer that starts behind the last message.
    """

    def __init__(
        self,
        link: Link,
        stream: str,
        handler: Handler,
        *,
        subjects: Sequence[str],
        start: int,
        headers_only: bool,
        left: Left,
        born: Callable[[], Awaitable[str]],
    ) -> None:
        self._link = link
        self._stream = stream
        self._handler = handler
        self._subjects = tuple(subjects)
        self._headers_only = headers_only
        self._left = left
        self._born = born
        self._known_since = ""
        self._position = max(start, 1) - 1
        self._batch = link.settings.tail_batch
        self._inbox = link.inbox()
        self._tokens = count(1)
        self._consumer = ""
        self._expected = 1
        self._credit = 0
        self._heard = 0.0
        self._broken = asyncio.Event()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._listening: Listening | None = None
        self._forget: Callable[[], None] = lambda: None
        self._keeper: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> NatsTail:
        """Begin to read. Raises NotFound without that stream, else as ``Bus.append`` does."""
        self._loop = asyncio.get_running_loop()
        self._listening = await self._link.listen(f"{self._inbox}*", self._hear)
        try:
            await self._create()
        except BaseException:  # whoever is not there any more cannot close it
            self._link.abandon(self._listening)
            raise
        self._forget = self._link.when_connected(self._broken.set)
        self._keeper = self._loop.create_task(self._keep(), name=f"bus tail {self._stream}")
        return self

    @property
    def position(self) -> int:
        return self._position

    async def caught_up(self, seq: int, *, timeout: float) -> bool:
        until = self._loop.time() + timeout
        pause = LOOK_FIRST
        while self._position < seq:
            left = until - self._loop.time()
            if left <= 0 or self._closed:
                return False
            if await self._reached(seq, min(pause, left)):
                return True
            try:
                async with asyncio.timeout(max(until - self._loop.time(), 0.001)):
                    if not await self._left(self._position + 1, seq):
                        return True
            except (BusError, TimeoutError) as error:
                log.debug("bus.tail_look", extra={"stream": self._stream, "error": type(error).__name__})
            pause = min(pause * 2, LOOK_LONGEST)
        return True

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._forget()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._asking is not None:
            await asyncio.gather(self._asking, return_exceptions=True)
        if self._listening is not None:
            await self._listening.close()
        for _, future in self._waiting:
            if not future.done():
                future.set_result(None)
        await self._drop(self._consumer)

    async def _reached(self, seq: int, within: float) -> bool:
        future = self._loop.create_future()
        entry = (seq, future)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(within):
                await future
        except TimeoutError:
            return self._position >= seq
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
        return self._position >= seq

    # -- the consumer and its renewal

    async def _keep(self) -> None:
        pause = BACKOFF_FIRST
        while True:
            if not self._broken.is_set():
                await self._until_broken()
            self._broken.clear()
            old = self._consumer
            try:
                await self._drop(old)
                await self._create()
                pause = BACKOFF_FIRST
            except BusError as error:
                log.debug("bus.tail_renew", extra={"stream": self._stream, "error": str(error)})
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, BACKOFF_LONGEST)
                self._broken.set()

    async def _until_broken(self) -> None:
        """Return when something is amiss, or the broker has been silent for too long."""
        patience = MISSED * self._link.settings.heartbeat
        while True:
            left = self._heard + patience - self._loop.time()
            if left <= 0:
                return
            try:
                async with asyncio.timeout(left):
                    await self._broken.wait()
                    return
            except TimeoutError:
                continue

    async def _create(self) -> None:
        await self._same_stream()
        name = f"tail_{token_hex(8)}"
        config: dict[str, object] = {
            "name": name,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._position + 1,
            "ack_policy": "none",
            "replay_policy": "instant",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": int(INACTIVE * NANO),
            "headers_only": self._headers_only,
        }
        if len(self._subjects) == 1:
            config["filter_subject"] = self._subjects[0]
        elif self._subjects:
            config["filter_subjects"] = list(self._subjects)
        subject = f"$JS.API.CONSUMER.CREATE.{self._stream}.{name}"
        body = json.dumps({"stream_name": self._stream, "config": config, "action": "create"}).encode()
        self._consumer, self._expected, self._credit = name, 1, 0
        self._heard = self._loop.time()
        within = self._link.settings.api_timeout
        answer = await self._link.ask(subject, body, timeout=within)
        if answer is None or answer.status:
            raise silent(subject, within)
        api(answer.data, subject)
        self._heard = self._loop.time()
        await self._more()

    async def _same_stream(self) -> None:
        """When the stream was made anew, its numbers mean other messages: waiting for greater ones would be deaf."""
        born = await self._born()
        if self._known_since and born != self._known_since:
            log.error("bus.stream_replaced", extra={"stream": self._stream, "read": self._position, "made": born})
            self._position = 0
        self._known_since = born

    async def _drop(self, name: str) -> None:
        """Best effort: the broker forgets an idle consumer by itself."""
        if name and self._link.connected:
            try:
                await self._link.send(f"$JS.API.CONSUMER.DELETE.{self._stream}.{name}", b"", self._inbox + "gone")
            except BusError:
                log.debug("bus.tail_drop", extra={"stream": self._stream})

    async def _more(self) -> None:
        """Ask for another batch."""
        heartbeat = int(self._link.settings.heartbeat * NANO)
        self._credit += self._batch
        body = f'{{"batch":{self._batch},"expires":{int(EXPIRES * NANO)},"idle_heartbeat":{heartbeat}}}'
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        try:
            await self._link.send(subject, body.encode(), f"{self._inbox}{self._consumer}")
        except BusError:
            self._broken.set()

    # -- what arrives

    def _hear(self, message: Arrival) -> None:
        reply = message.reply
        if not reply:
            self._hear_status(message)
            return
        tokens = reply.split(".")
        if len(tokens) != 9:
            del tokens[2:4]
        if tokens[3] != self._consumer or self._closed:
            return
        self._heard = self._loop.time()
        if int(tokens[6]) != self._expected:
            self._broken.set()
            self._consumer = ""
            return
        self._expected += 1
        self._credit -= 1
        seq = int(tokens[5])
        if seq > self._position:
            self._hand_over(Message(message.subject, message.data, message.headers, seq))
        if self._credit <= self._batch // 2 and (self._asking is None or self._asking.done()):
            self._asking = self._loop.create_task(self._more())

    def _hand_over(self, message: Message) -> None:
        try:
            self._handler(message)
        except Exception:  # a handler's bug is reported, and must not stop what comes after it
            log.exception("bus.tail_handler", extra={"stream": self._stream, "seq": message.seq})
        self._position = message.seq
        if self._waiting:
            for seq, future in self._waiting:
                if seq <= self._position and not future.done():
                    future.set_result(None)

    def _hear_status(self, message: Arrival) -> None:
        if message.subject[len(self._inbox) :] != self._consumer:
            return
        self._heard = self._loop.time()
        word = message.status
        if word == "100":
            return
        if word == "408":
            self._credit -= int((message.headers or {}).get("Nats-Pending-Messages", self._batch))
            if self._credit <= self._batch // 2 and (self._asking is None or self._asking.done()):
                self._asking = self._loop.create_task(self._more())
            return
        self._broken.set()
