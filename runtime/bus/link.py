"""A connection that comes back: requests multiplexed over one inbox, a fresh socket whenever the old one is of no use.

What was handed to a lost socket is lost with it: nothing is held back and sent later, when its sender was told long ago
that the outcome is unknown. The subscriptions are made again on the new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from secrets import token_hex

from runtime.bus.port import BusError, OutcomeUnknown, Outgoing, Unreachable
from runtime.bus.settings import BusSettings
from runtime.bus.wire import Arrival, Hear, Wire, dial

log = logging.getLogger(__name__)

TICK = 0.05
"""Seconds between two looks for answers that are overdue: one timer serves all requests."""
NO_RESPONDERS = "503"


class Listening:
    """A subscription that outlives the sockets it is made on; closing it twice is safe."""

    __slots__ = ("_hear", "_link", "_queue", "_sid", "_subject", "_wire")

    def __init__(self, link: Link, subject: str, hear: Hear, queue: str) -> None:
        self._link = link
        self._subject = subject
        self._hear = hear
        self._queue = queue
        self._wire: Wire | None = None
        self._sid = ""

    def attach(self, wire: Wire) -> None:
        """Subscribe on a socket."""
        self._wire = wire
        self._sid = wire.subscribe(self._subject, self._hear, self._queue)

    async def close(self) -> None:
        """End it at once."""
        self._link.forget(self)
        if self._wire is not None:
            self._wire.unsubscribe(self._sid)
            self._wire.deafen(self._sid)
            self._wire = None

    async def drain(self) -> None:
        """End it after everything was heard that the broker sent before it learned of the end."""
        self._link.forget(self)
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.unsubscribe(self._sid)
            await self._link.round_trip(self._link.settings.close_timeout)
            wire.deafen(self._sid)


class Link:
    """The connection of one bus.

    ``on_event(kind, detail)`` hears of ``connected``, ``disconnected`` and ``refused`` (a permission).
    """

    def __init__(self, settings: BusSettings, on_event: Callable[[str, str], None]) -> None:
        self.settings = settings
        self._on_event = on_event
        self._inbox = f"{settings.inbox_prefix}.{token_hex(8)}."
        self._skip = len(self._inbox)
        self._tokens = count()
        self._pending: dict[str, asyncio.Future[Arrival | None]] = {}
        self._due: dict[int, list[str]] = {}
        self._sweeping = False
        self._wire: Wire | None = None
        self._listening: list[Listening] = []
        self._on_connected: list[Callable[[], None]] = []
        self._gone = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None
        self._closed = False
        self._max_payload = 1024 * 1024
        self._known: tuple[str, ...] = ()

    # -- life

    async def open(self) -> None:
        """Connect once. Raises Unreachable if no server answers or lets us in."""
        self._loop = asyncio.get_running_loop()
        self._listening.append(Listening(self, f"{self._inbox}*", self._answer, ""))
        await self._connect()
        self._supervisor = self._loop.create_task(self._supervise(), name="bus link")

    async def close(self) -> None:
        """Send what was handed over, then disconnect; bounded, safe to call twice."""
        if self._closed:
            return
        self._closed = True
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close(self.settings.close_timeout)
        self._answer_none()

    @property
    def connected(self) -> bool:
        """Whether something may be handed over now."""
        wire = self._wire
        return wire is not None and not wire.lost

    @property
    def max_payload(self) -> int:
        """What the server said when it last told."""
        wire = self._wire
        return wire.max_payload if wire is not None else self._max_payload

    def inbox(self) -> str:
        """A subject of ours that nobody else listens to, with a dot at its end."""
        return f"{self._inbox}{next(self._tokens)}."

    def when_connected(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after each reconnect; returns the function that ends this."""
        self._on_connected.append(callback)
        return lambda: self._on_connected.remove(callback) if callback in self._on_connected else None

    # -- traffic

    async def send(self, subject: str, data: bytes, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
        """Hand a message to the connection. Raises Unreachable or TooLarge if it certainly was not."""
        wire = self._wire
        if wire is None or wire.lost:
            raise Unreachable(f"{subject}: not connected")
        if wire.congested:
            await self._until_room(wire, subject)
        wire.publish(subject, data, reply, headers)

    async def _until_room(self, wire: Wire, subject: str) -> None:
        try:
            async with asyncio.timeout(self.settings.flush_timeout):
                await wire.room()
        except TimeoutError as error:
            raise Unreachable(f"{subject}: the connection takes no more bytes") from error
        if wire.lost:
            raise Unreachable(f"{subject}: not connected")

    async def ask(
        self,
        subject: str,
        data: bytes,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        before: Sequence[Outgoing] = (),
    ) -> Arrival | None:
        """Send a request and wait for one answer; None when the time is up or the connection was lost meanwhile.

        Without a subject it goes to ourselves; the messages of ``before`` go ahead of it, without a reply subject.
        Raises Unreachable or TooLarge if certainly nothing of it was sent.
        """
        wire = self._wire
        if wire is None or wire.lost:
            raise Unreachable(f"{subject}: not connected")
        if wire.congested:
            await self._until_room(wire, subject)
        token = str(next(self._tokens))
        reply = self._inbox + token
        wire.publish(subject or reply, data, reply, headers, before)
        future: asyncio.Future[Arrival | None] = self._loop.create_future()
        self._pending[token] = future
        tick = int((self._loop.time() + timeout) / TICK) + 1
        due = self._due.get(tick)
        if due is None:
            self._due[tick] = [token]
            if not self._sweeping:
                self._sweeping = True
                self._loop.call_later(TICK, self._sweep)
        else:
            due.append(token)
        return await future

    async def listen(self, subject: str, hear: Hear, *, queue: str = "") -> Listening:
        """Subscribe; returns once the server knows, or at once while disconnected (it is made up for later)."""
        listening = Listening(self, subject, hear, queue)
        self._listening.append(listening)
        wire = self._wire
        if wire is not None and not wire.lost:
            listening.attach(wire)
            await self.round_trip(self.settings.api_timeout)
        return listening

    def forget(self, listening: Listening) -> None:
        """Do not make it again."""
        with contextlib.suppress(ValueError):
            self._listening.remove(listening)

    async def round_trip(self, within: float) -> bool:
        """Whether a message to ourselves came back; everything sent to us before it has been heard then."""
        try:
            return await self.ask("", b"", timeout=within) is not None
        except Unreachable:
            return False

    # -- answers

    def _answer(self, arrival: Arrival) -> None:
        future = self._pending.pop(arrival.subject[self._skip :], None)
        if future is not None and not future.done():
            future.set_result(arrival)

    def _answer_none(self) -> None:
        pending, self._pending = self._pending, {}
        for future in pending.values():
            if not future.done():
                future.set_result(None)

    def _sweep(self) -> None:
        now = int(self._loop.time() / TICK)
        for tick in [tick for tick in self._due if tick <= now]:
            for token in self._due.pop(tick):
                future = self._pending.pop(token, None)
                if future is not None and not future.done():
                    future.set_result(None)
        if self._due and not self._closed:
            self._loop.call_later(TICK, self._sweep)
        else:
            self._sweeping = False

    # -- supervision

    async def _supervise(self) -> None:
        while True:
            wire = self._wire
            if wire is None:
                await self._reconnect()
            elif not await self._well(wire):
                wire.abort("the broker does not answer")

    async def _well(self, wire: Wire) -> bool:
        """Wait one watchdog period, then see whether anything comes back."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.watchdog):
                await self._gone.wait()
        heard = wire.heard
        return wire.lost or await self.round_trip(self.settings.watchdog) or wire.heard > heard

    def _lost(self, wire: Wire, reason: str) -> None:
        if wire is self._wire:
            self._max_payload = wire.max_payload
            self._wire = None
            self._gone.set()
            self._answer_none()
            self._tell("disconnected", reason)

    async def _reconnect(self) -> None:
        pause = self.settings.backoff_first
        while self._wire is None:
            try:
                await self._connect()
            except BusError as error:
                log.debug("bus.reconnect_failed", extra={"error": str(error)})
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, self.settings.backoff_longest)

    async def _connect(self) -> None:
        """Try each server once. Raises Unreachable if none lets us in."""
        urls = [self.settings.url] if isinstance(self.settings.url, str) else list(self.settings.url)
        urls += [url for url in self._known if url not in urls]
        random.shuffle(urls)
        failures: list[str] = []
        for url in urls:
            try:
                wire = await dial(url, self.settings, self._lost, lambda words: self._tell("refused", words))
            except Unreachable as error:
                failures.append(str(error))
            else:
                self._use(wire)
                return
        raise Unreachable("; ".join(failures))

    def _use(self, wire: Wire) -> None:
        self._gone.clear()
        self._wire = wire
        self._known = wire.servers
        for listening in self._listening:
            listening.attach(wire)
        self._tell("connected", wire.peer)
        for callback in tuple(self._on_connected):
            callback()

    def _tell(self, kind: str, detail: str) -> None:
        if not self._closed:
            self._on_event(kind, detail)


def silent(subject: str, within: float) -> OutcomeUnknown:
    """The error for an answer that did not come."""
    return OutcomeUnknown(f"{subject}: no answer within {within} s, or the connection was lost meanwhile")
