"""One supervised connection: requests multiplexed over one inbox, and a fresh client whenever the old one is of no use.

The client library's own reconnecting is switched off. It holds back what was handed over while the connection was down
and sends it later, long after the caller was told that the outcome is unknown; it waits without bound for a half-open
socket to close; and some answers make it close for ever. Here a lost client is thrown away with all it held, and a new
one takes over the same subscriptions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Mapping
from itertools import count
from secrets import token_hex
from typing import Any, TypeAlias

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as ClientSubscription

from runtime.bus.port import BusError, OutcomeUnknown, TooLarge, Unreachable
from runtime.bus.settings import BusSettings

log = logging.getLogger(__name__)

Hear: TypeAlias = Callable[[Msg], None]

TICK = 0.05
"""Seconds between two looks for answers that are overdue: one timer serves all requests."""
LOOK = 0.2
"""Seconds between two looks whether the client gave up without telling."""
MAX_SUBJECT = 2_000
"""The broker closes a connection whose control line exceeds 4 KiB; subject and reply must fit."""
STATUS = "Status"
NO_RESPONDERS = "503"
_HEADER_FRAME = len(b"NATS/1.0\r\n\r\n")
_NOT_SENT = (
    nats.errors.ConnectionClosedError,
    nats.errors.ConnectionDrainingError,
    nats.errors.OutboundBufferLimitError,
)


class Listening:
    """A subscription that outlives the clients it is made on; closing it twice is safe."""

    __slots__ = ("_link", "_on_client", "hear", "queue", "subject")

    def __init__(self, link: Link, subject: str, hear: Hear, queue: str) -> None:
        self._link = link
        self.subject = subject
        self.hear = hear
        self.queue = queue
        self._on_client: ClientSubscription | None = None

    async def attach(self, client: Client) -> None:
        """Subscribe on a client."""
        hear = self.hear

        async def callback(message: Msg) -> None:
            hear(message)

        self._on_client = await client.subscribe(self.subject, queue=self.queue, cb=callback)

    async def close(self) -> None:
        """End it; what was already received may still be heard."""
        self._link.forget(self)
        if self._on_client is not None:
            with contextlib.suppress(nats.errors.Error, OSError):
                await self._on_client.unsubscribe()

    async def drain(self) -> None:
        """End it after everything that the broker sent before it learned of the end was heard."""
        self._link.forget(self)
        if self._on_client is not None:
            with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                drained = self._on_client.drain()  # type: ignore[no-untyped-call]
                await asyncio.wait_for(drained, self._link.settings.close_timeout)


class Link:
    """A connection to the broker that comes back. ``on_event(kind, detail)`` hears of ``connected``, ``disconnected``,
    ``refused`` (a permission), ``dropped`` (a subscription too slow) and ``error``.
    """

    def __init__(self, settings: BusSettings, on_event: Callable[[str, str], None]) -> None:
        self.settings = settings
        self._on_event = on_event
        self._inbox = f"{settings.inbox_prefix}.{token_hex(8)}."
        self._tokens = count()
        self._pending: dict[str, asyncio.Future[Msg | None]] = {}
        self._due: dict[int, list[str]] = {}
        self._sweeping = False
        self._client: Client | None = None
        self._listening: list[Listening] = []
        self._on_connected: list[Callable[[], None]] = []
        self._gone = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None
        self._discarding: set[asyncio.Task[None]] = set()
        self._closed = False
        self._max_payload = 1024 * 1024
        self._known: tuple[str, ...] = ()

    # -- life

    async def open(self) -> None:
        """Connect once. Raises Unreachable if no server answers, BusError if it refuses us."""
        self._loop = asyncio.get_running_loop()
        self._listening.append(Listening(self, f"{self._inbox}*", self._answer, ""))
        try:
            await self._connect()
        except BusError:
            self._closed = True
            raise
        self._supervisor = self._loop.create_task(self._supervise(), name="bus link")

    async def close(self) -> None:
        """Send what was handed over, then disconnect; bounded."""
        if self._closed:
            return
        self._closed = True
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        client, self._client = self._client, None
        if client is not None:
            await self._discard(client)
        self._answer_none()
        await asyncio.gather(*self._discarding, return_exceptions=True)

    @property
    def connected(self) -> bool:
        """Whether something may be handed over now."""
        client = self._client
        return client is not None and client.is_connected

    @property
    def max_payload(self) -> int:
        """What the server said at the last greeting."""
        return self._max_payload

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    def inbox(self) -> str:
        """A subject of ours that nobody else listens to, with a dot at its end."""
        return f"{self._inbox}{next(self._tokens)}."

    def when_connected(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after each reconnect; returns the function that ends this."""
        self._on_connected.append(callback)
        return lambda: self._on_connected.remove(callback) if callback in self._on_connected else None

    # -- traffic

    def check(self, subject: str, data: bytes, headers: Mapping[str, str] | None) -> None:
        """Raises TooLarge for what would make the server close the connection."""
        size = len(data)
        if headers:
            size += _HEADER_FRAME
            for key, value in headers.items():
                size += len(key) + (len(value) if value.isascii() else len(value.encode())) + 4
        if size > self._max_payload:
            raise TooLarge(f"{subject[:200]}: {size} bytes with headers, the broker takes {self._max_payload}")
        if len(subject) > MAX_SUBJECT:
            raise TooLarge(f"{subject[:200]}…: a subject of {len(subject)} characters, {MAX_SUBJECT} fit")

    async def send(self, subject: str, data: bytes, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
        """Hand a message to the connection. Raises Unreachable or TooLarge if it certainly was not."""
        self.check(subject, data, headers)
        client = self._client
        if client is None or not client.is_connected:
            self._gone.set()
            raise Unreachable(f"{subject}: not connected")
        try:
            await client.publish(subject, data, reply, headers)  # type: ignore[arg-type]  # it only reads them
        except _NOT_SENT as error:
            raise Unreachable(f"{subject}: {error}") from error
        except nats.errors.MaxPayloadError as error:
            raise TooLarge(f"{subject}: {error}") from error
        except nats.errors.Error as error:
            raise BusError(f"{subject}: {error}") from error

    async def ask(
        self, subject: str, data: bytes, *, timeout: float, headers: Mapping[str, str] | None = None
    ) -> Msg | None:
        """Send a request and wait for one answer; None when the time is up or the connection was lost meanwhile.

        Without a subject it goes to ourselves. Raises Unreachable or TooLarge if it certainly was not sent.
        """
        token = str(next(self._tokens))
        future: asyncio.Future[Msg | None] = self._loop.create_future()
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
        try:
            reply = self._inbox + token
            await self.send(subject or reply, data, reply, headers)
            return await future
        finally:
            self._pending.pop(token, None)

    async def listen(self, subject: str, hear: Hear, *, queue: str = "") -> Listening:
        """Subscribe; returns once the server knows, or at once while disconnected (it is made up for later)."""
        listening = Listening(self, subject, hear, queue)
        self._listening.append(listening)
        client = self._client
        if client is not None and client.is_connected:
            try:
                await listening.attach(client)
                await self._round_trip(self.settings.api_timeout)
            except (*_NOT_SENT, Unreachable):
                log.debug("bus.subscribe_later", extra={"subject": subject})
        return listening

    def forget(self, listening: Listening) -> None:
        """Do not renew it on further clients."""
        with contextlib.suppress(ValueError):
            self._listening.remove(listening)

    # -- answers

    def _answer(self, message: Msg) -> None:
        future = self._pending.pop(message.subject[len(self._inbox) :], None)
        if future is not None and not future.done():
            future.set_result(message)

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
            if not await self._well():
                await self._replace()

    async def _well(self) -> bool:
        """Wait one watchdog period; False as soon as the client is known to be of no use."""
        until = self._loop.time() + self.settings.watchdog
        while (left := until - self._loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK)):
                    await self._gone.wait()
            if not self.connected:
                return False
            self._gone.clear()
        return await self._round_trip(self.settings.watchdog)

    async def _round_trip(self, within: float) -> bool:
        """Whether a message to ourselves came back, or at least something was heard meanwhile."""
        client = self._client
        heard = client.stats["in_msgs"] if client else 0
        try:
            answer = await self.ask("", b"", timeout=within)
        except Unreachable:
            return False
        if answer is not None:
            return True
        return client is self._client and client is not None and client.stats["in_msgs"] > heard

    async def _replace(self) -> None:
        old, self._client = self._client, None
        self._answer_none()
        self._tell("disconnected", "")
        if old is not None:
            task = self._loop.create_task(self._discard(old), name="bus discard")
            self._discarding.add(task)
            task.add_done_callback(self._discarding.discard)
        pause = self.settings.backoff_first
        while True:
            try:
                await self._connect()
            except BusError as error:
                log.debug("bus.reconnect_failed", extra={"error": str(error)})
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, self.settings.backoff_longest)
            else:
                return

    async def _connect(self) -> None:
        client = await self._dial()
        try:
            for listening in self._listening:
                await listening.attach(client)
        except (nats.errors.Error, OSError) as error:
            await self._discard(client)
            raise Unreachable(f"the connection was lost at once: {error}") from error
        self._client = client
        self._max_payload = client.max_payload
        self._known = tuple(server.geturl() for server in client.discovered_servers)
        self._gone.clear()
        self._tell("connected", client.connected_url.netloc if client.connected_url else "")
        for callback in tuple(self._on_connected):
            callback()

    async def _dial(self) -> Client:
        settings = self.settings
        client = Client()
        urls = [settings.url] if isinstance(settings.url, str) else list(settings.url)
        urls += [url for url in self._known if url not in urls]

        async def lost() -> None:
            if client is self._client:
                self._gone.set()

        try:
            async with asyncio.timeout(settings.connect_timeout * len(urls) + 1.0):
                await client.connect(
                    servers=urls,
                    name=settings.name,
                    user=settings.user,
                    password=settings.password.get_secret_value() if settings.password else None,
                    token=settings.token.get_secret_value() if settings.token else None,
                    inbox_prefix=settings.inbox_prefix,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=settings.connect_timeout,  # type: ignore[arg-type]  # any number of seconds will do
                    ping_interval=10,
                    max_outstanding_pings=2,
                    pending_size=settings.pending_bytes,
                    flush_timeout=settings.flush_timeout,
                    error_cb=self._error,
                    disconnected_cb=lost,
                    closed_cb=lost,
                )
        except asyncio.CancelledError:
            await self._discard(client)
            raise
        except (nats.errors.Error, OSError, TimeoutError) as error:
            await self._discard(client)
            raise Unreachable(
                f"no broker at {', '.join(_bare(url) for url in urls)}: {str(error) or type(error).__name__}"
            ) from error
        return client

    async def _discard(self, client: Client) -> None:
        """Close a client; when its socket takes no more bytes, cut it."""
        try:
            async with asyncio.timeout(self.settings.close_timeout):
                await client.close()
        except TimeoutError:
            _cut(client)
        except (nats.errors.Error, OSError, RuntimeError, AttributeError) as error:
            log.debug("bus.discard", extra={"error": type(error).__name__})
            _cut(client)

    async def _error(self, error: Exception) -> None:
        match error:
            case nats.errors.SlowConsumerError():
                self._tell("dropped", error.subject)
            case _ if "permissions violation" in str(error):
                self._tell("refused", str(error))
            case _:
                self._tell("error", str(error) or type(error).__name__)

    def _tell(self, kind: str, detail: str) -> None:
        if not self._closed:
            self._on_event(kind, detail)


def silent(subject: str, within: float) -> OutcomeUnknown:
    """The error for an answer that did not come."""
    return OutcomeUnknown(f"{subject}: no answer within {within} s, or the connection was lost meanwhile")


def status(message: Msg) -> str:
    """The status a message carries instead of a payload (``404``, ``503``), or an empty string."""
    headers = message.headers
    return headers.get(STATUS, "") if headers and not message.data else ""


def _bare(url: str) -> str:
    return url.rpartition("@")[2]


def _cut(client: Client) -> None:
    """Abort the socket of a client that cannot close it; a look inside, held by a test of a half-open connection."""
    transport: Any = getattr(client, "_transport", None)
    writer = getattr(transport, "_io_writer", None)
    if writer is not None:
        writer.transport.abort()
