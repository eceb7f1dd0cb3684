"""Messages on their way to the broker, many at once: each is repeated, byte for byte, until its answer is known.

nats-py's own ``publish_async`` never gives up on a lost acknowledgement and leaks its window, hence this one: one inbox
for all answers, a table of what is outstanding, one timer for all deadlines, and a bounded window as back-pressure.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from producer_sdk.errors import Closed, Forbidden, PenstockError, QueueFull, Refused, TooLarge, Unreachable

Send = Callable[[str, bytes, str, Mapping[str, str] | None], Awaitable[bool]]
"""Hand subject, data, reply subject and headers to the connection; False if there is none right now."""

TICK = 0.1
"""Seconds between two looks at the deadlines."""
FIRST_WAIT = 2.0
"""Seconds without an answer after which a message is sent again; doubled each time up to ``LONGEST_WAIT``."""
LONGEST_WAIT = 8.0
BUSY_FIRST, BUSY_LONGEST = 0.05, 1.0
"""Seconds to the next try when the broker answered that it cannot store right now (an election, for example)."""

FIRST = {"Nats-Expected-Last-Subject-Sequence": "0"}
"""On what may be stored once: the broker then refuses a repetition only by what is stored for good.

Without it a replicated broker also counts what it has merely begun to store. A node that led and no longer does would
refuse a repetition for the sake of a message that it will never store, and the producer would take it for stored.
"""
_TAKEN, _UNDECIDED = 10071, 10164
"""Answers to ``FIRST``: there is a message; one is being stored, and may come to nothing."""
_SUBJECT_FULL = "per subject"
_STORE_FAILED = 10077
_NO_ROOM = frozenset({10047, 10023, 10122})
"""Broker codes for exhausted storage or limits of the account."""
_MESSAGE_TOO_LARGE = 10054
_NO_RESPONDERS = "503"


class _Entry:
    __slots__ = ("again_at", "data", "durable", "expires", "future", "headers", "pause", "sent", "subject")

    def __init__(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None, *, durable: bool, expires: float
    ) -> None:
        self.subject = subject
        self.data = data
        self.headers = headers
        self.durable = durable
        self.expires = expires
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.again_at = 0.0
        self.pause = FIRST_WAIT
        self.sent = 0


class Outbox:
    """What was sent and not answered. ``inbox`` is the subject prefix all answers come to."""

    def __init__(self, send: Send, inbox: str, *, window: int = 2_048) -> None:
        self._send = send
        self._inbox = f"{inbox}."
        self._window = window
        self._entries: dict[str, _Entry] = {}
        self._queue: deque[asyncio.Future[None]] = deque()
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._resending: asyncio.Task[None] | None = None
        self._refusal: PenstockError | None = None

    async def store(self, subject: str, data: bytes, headers: Mapping[str, str] | None, *, timeout: float) -> bool:
        """Send until the broker says it is stored (True) or was there already (False); see ``Transport.store``."""
        stored: bool = await self._exchange(subject, data, headers, durable=True, timeout=timeout)
        return stored

    async def ask(self, subject: str, data: bytes, *, timeout: float) -> bytes:
        """Send once, and return the answer's bytes; see ``Transport.ask``."""
        answer: bytes = await self._exchange(subject, data, None, durable=False, timeout=timeout)
        return answer

    async def _exchange(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None, *, durable: bool, timeout: float
    ) -> Any:
        if self._refusal is not None:
            raise self._refusal
        loop = asyncio.get_running_loop()
        entry = _Entry(subject, data, headers, durable=durable, expires=loop.time() + timeout)
        if len(self._entries) >= self._window:
            await self._room(timeout)
        self._count += 1
        key = str(self._count)
        self._entries[key] = entry
        if self._timer is None:
            self._timer = loop.call_later(TICK, self._tick)
        try:
            await self._post(key, entry)
            return await entry.future
        finally:
            del self._entries[key]
            self._let_one_in()

    def _let_one_in(self) -> None:
        while self._queue and len(self._entries) < self._window:
            waiter = self._queue.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break

    async def _room(self, timeout: float) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(waiter)
        try:
            async with asyncio.timeout(timeout):
                await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():
                self._let_one_in()  # the place was given to us, who do not take it any more
            if not isinstance(error, TimeoutError):
                raise
            message = f"{self._window} messages are unanswered, and none was answered in {timeout:g} s"
            raise Unreachable(message, remedy="check the connection to the broker") from error
        if self._refusal is not None:
            raise self._refusal

    async def _post(self, key: str, entry: _Entry) -> None:
        entry.again_at = asyncio.get_running_loop().time() + entry.pause * random.uniform(0.9, 1.1)
        if await self._send(entry.subject, entry.data, self._inbox + key, entry.headers):
            entry.sent += 1
        # Without a connection the entry waits; `restored` sends it.

    # -- answers

    def answered(self, subject: str, data: bytes, status: str = "") -> None:
        """A message came to the inbox; ``status`` is that of the broker's own remarks."""
        entry = self._entries.get(subject[len(self._inbox) :])
        if entry is None or entry.future.done():
            return
        if not data and status == _NO_RESPONDERS:
            if entry.durable:
                self._busy(entry)
            else:
                entry.future.set_exception(Unreachable(f"nobody answers {entry.subject}", remedy="is the service up?"))
        elif not entry.durable:
            entry.future.set_result(data)
        elif b'"error"' not in data:
            entry.future.set_result(True)
        else:
            self._judge(entry, data)

    def _judge(self, entry: _Entry, data: bytes) -> None:
        try:
            error = json.loads(data)["error"]
            code, text = int(error.get("err_code", 0)), str(error.get("description", ""))
            status = int(error.get("code", 0))
        except (ValueError, KeyError, TypeError, AttributeError):
            entry.future.set_exception(PenstockError(f"the broker's answer is unreadable: {data[:200]!r}"))
            return
        if code == _TAKEN:
            entry.future.set_result(False)
        elif code == _UNDECIDED or (code == _STORE_FAILED and _SUBJECT_FULL in text):
            self._busy(entry)
        elif code == _STORE_FAILED or code in _NO_ROOM:
            remedy = "try again later, or send fewer jobs at once"
            entry.future.set_exception(QueueFull(f"the queue is full: {text}", remedy=remedy, retry_after=1.0))
        elif code == _MESSAGE_TOO_LARGE:
            entry.future.set_exception(TooLarge(f"the broker refuses {len(entry.data)} bytes: {text}"))
        elif status in (408, 429, 500, 503):
            self._busy(entry)
        else:
            entry.future.set_exception(Refused(f"the broker refused the message: {text} ({code})"))

    def _busy(self, entry: _Entry) -> None:
        loop = asyncio.get_running_loop()
        entry.pause = BUSY_FIRST if entry.pause >= FIRST_WAIT else min(entry.pause, BUSY_LONGEST)
        entry.again_at = loop.time() + entry.pause * random.uniform(0.5, 1.0)

    def forbid(self, subject: str) -> None:
        """The broker said that we may not publish there."""
        for entry in self._entries.values():
            if entry.subject == subject and not entry.future.done():
                message = f"this key may not publish to {subject}"
                entry.future.set_exception(Forbidden(message, remedy="check that project and key belong together"))

    # -- time

    def restored(self) -> None:
        """There is a connection again: whatever is unanswered is sent once more."""
        self._refusal = None
        for entry in self._entries.values():
            entry.again_at = 0.0
        self._resend()

    def refuse(self, error: PenstockError) -> None:
        """Fail everything, now and until ``restored``."""
        self._refusal = error
        for entry in self._entries.values():
            if not entry.future.done():
                entry.future.set_exception(error)
        while self._queue:
            waiter = self._queue.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def close(self) -> None:
        """Fail everything with Closed."""
        self.refuse(Closed("the producer was closed before the answer came"))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._resending is not None:
            self._resending.cancel()

    def _tick(self) -> None:
        self._timer = None
        if not self._entries:
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(TICK, self._tick)
        now = loop.time()
        due = False
        for entry in self._entries.values():
            if entry.future.done():
                continue
            if now >= entry.expires:
                entry.future.set_exception(_gave_up(entry))
            elif entry.durable and now >= entry.again_at:
                due = True
        if due:
            self._resend()

    def _resend(self) -> None:
        if self._resending is None or self._resending.done():
            self._resending = asyncio.get_running_loop().create_task(self._send_due())

    async def _send_due(self) -> None:
        now = asyncio.get_running_loop().time()
        for key, entry in list(self._entries.items()):
            if not entry.future.done() and now >= entry.again_at and (entry.durable or not entry.sent):
                entry.pause = min(entry.pause * 2, LONGEST_WAIT)
                await self._post(key, entry)


def _gave_up(entry: _Entry) -> Unreachable:
    if not entry.durable:
        return Unreachable(f"no answer from {entry.subject} in time", remedy="is the service up?")
    if entry.sent:
        message = "the broker did not confirm in time that the message is stored; it may be, and the job may run"
        return Unreachable(message, remedy="submit again with an idempotency key to be sure", maybe_stored=True)
    return Unreachable("there was no connection to the broker; nothing was sent", remedy="check the URL and the broker")
