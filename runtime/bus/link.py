"""A connection that comes back: requests multiplexed over one inbox, a fresh client whenever the old one is of no use.

What was handed to a lost client is lost with it: nothing is held back and sent later, when its sender was told long ago
that the outcome is unknown. The subscriptions are made again on the new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from secrets import token_hex

import nats.errors
from nats.aio.subscription import Subscription as ClientSubscription

from runtime.bus.answers import Answers
from runtime.bus.client import Dialler, check_message, check_subject, discard
from runtime.bus.port import BusError, Outgoing, Unreachable
from runtime.bus.settings import BusSettings
from runtime.bus.wire import Arrival, Hear, WireClient, heard_by

log = logging.getLogger(__name__)

LOOK = 0.2
"""Seconds between two looks whether the client gave up without telling."""
ROOM_FIRST, ROOM_LONGEST = 0.0005, 0.01
"""Seconds between two looks whether the socket took what waits for it."""
NO_RESPONDERS = "503"


class Listening:
    """A subscription that outlives the clients it is made on; closing it twice is safe."""

    __slots__ = ("_hear", "_link", "_queue", "_subject", "_subscription", "client")

    def __init__(self, link: Link, subject: str, hear: Hear, queue: str) -> None:
        self._link = link
        self._subject = subject
        self._hear = hear
        self._queue = queue
        self._subscription: ClientSubscription | None = None
        self.client: WireClient | None = None

    async def attach(self, client: WireClient) -> None:
        """Subscribe on a client. Raises the library's errors when it is lost meanwhile."""
        hear = self._hear

        def safely(message: Arrival) -> None:
            try:
                hear(message)
            except Exception:  # a handler's bug is reported, and must not stop what comes after it
                log.exception("bus.handler", extra={"subject": message.subject})

        self.client = client
        self._subscription = await client.subscribe(self._subject, queue=self._queue, cb=heard_by(safely))

    async def close(self) -> None:
        """End it at once."""
        self._link.forget(self)
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with contextlib.suppress(nats.errors.Error, OSError):
                await subscription.unsubscribe()

    async def drain(self) -> None:
        """End it after everything was heard that the broker sent before it learned of the end."""
        self._link.forget(self)
        subscription, self._subscription = self._subscription, None
        if subscription is not None and self.client is not None:
            await self._link.drain(self.client, subscription)


class Link:
    """The connection of one bus.

    ``on_event(kind, detail)`` hears of ``connected``, ``disconnected``, ``refused`` (a permission), ``dropped`` (a
    subscription too slow) and ``error``.
    """

    def __init__(self, settings: BusSettings, on_event: Callable[[str, str], None]) -> None:
        self.settings = settings
        self._on_event = on_event
        self._answers = Answers(f"{settings.inbox_prefix}.{token_hex(8)}.")
        self._dialler = Dialler(settings, self._lost, self._error)
        self._client: WireClient | None = None
        self._useless: WireClient | None = None
        self._listening: list[Listening] = []
        self._on_connected: list[Callable[[], None]] = []
        self._gone = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False
        self._max_payload = 1024 * 1024
        self._known: tuple[str, ...] = ()

    # -- life

    async def open(self) -> None:
        """Connect once. Raises Unreachable if no server answers or lets us in."""
        self._loop = asyncio.get_running_loop()
        self._listening.append(Listening(self, f"{self._answers.inbox}*", self._answers.hear, ""))
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
        client, self._client = self._client, None
        if client is not None:
            await discard(client, self.settings.close_timeout, flush=True)
        self._answers.give_up()
        await asyncio.gather(*self._ending, return_exceptions=True)

    @property
    def connected(self) -> bool:
        """Whether something may be handed over now."""
        client = self._client
        return client is not None and client.is_connected

    @property
    def server(self) -> str:
        """Its name and version, as it greeted us; empty while there is none."""
        client = self._client
        return client.greeted_by if client is not None and client.is_connected else ""

    @property
    def max_payload(self) -> int:
        """What the server said at the last greeting."""
        return self._max_payload

    def inbox(self) -> str:
        """A subject of ours that nobody else listens to, with a dot at its end."""
        return f"{self._answers.inbox}{self._answers.token()}."

    def when_connected(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after each reconnect; returns the function that ends this."""
        self._on_connected.append(callback)
        return lambda: self._on_connected.remove(callback) if callback in self._on_connected else None

    # -- traffic

    async def send(self, subject: str, data: bytes, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
        """Hand a message to the connection. Raises Unreachable or TooLarge if it certainly was not."""
        check_message(subject, data, headers, self._max_payload)
        client = await self._usable(subject)
        client.hand_over(subject, data, reply, headers)

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
        Raises Unreachable or TooLarge if the request was certainly not sent.
        """
        token = self._answers.token()
        reply = self._answers.inbox + token
        limit = self._max_payload
        for one in before:
            check_message(one.subject, one.data, one.headers, limit)
        check_message(subject or reply, data, headers, limit)
        client = await self._usable(subject)
        future = self._answers.expect(token, timeout)
        try:
            for one in before:
                client.hand_over(one.subject, one.data, "", one.headers)
            client.hand_over(subject or reply, data, reply, headers)
            return await future
        finally:
            self._answers.forget(token)

    async def _usable(self, subject: str) -> WireClient:
        """The client, once it has room for more. Raises Unreachable."""
        client = self._client
        if client is None or not client.is_connected:
            self._gone.set()
            raise Unreachable(f"{subject}: not connected")
        if client.pending_data_size > self.settings.pending_bytes:
            await self._until_room(client, subject)
        return client

    async def _until_room(self, client: WireClient, subject: str) -> None:
        until = self._loop.time() + self.settings.flush_timeout
        pause = ROOM_FIRST
        while client.pending_data_size > self.settings.pending_bytes:
            if self._loop.time() > until:
                raise Unreachable(f"{subject}: the connection takes no more bytes")
            await asyncio.sleep(pause)
            pause = min(pause * 2, ROOM_LONGEST)
            if client is not self._client or not client.is_connected:
                raise Unreachable(f"{subject}: not connected")

    async def listen(self, subject: str, hear: Hear, *, queue: str = "") -> Listening:
        """Subscribe; returns once the server knows, or at once while disconnected (it is made up for later)."""
        check_subject(subject)
        listening = Listening(self, subject, hear, queue)
        self._listening.append(listening)
        client = self._client
        try:
            if client is not None and client.is_connected:
                await listening.attach(client)
                await self.round_trip(self.settings.api_timeout)
        except nats.errors.BadSubjectError as error:
            self.forget(listening)
            raise BusError(f"{subject!r} is not a subject to listen to") from error
        except (nats.errors.Error, OSError):
            log.debug("bus.subscribe_later", extra={"subject": subject})
        except BaseException:  # nobody has it to end it
            self.abandon(listening)
            raise
        return listening

    def abandon(self, listening: Listening) -> None:
        """End it, without waiting for that."""
        self.forget(listening)
        self._ends(self._loop.create_task(listening.close(), name="bus abandon"))

    def forget(self, listening: Listening) -> None:
        """Do not make it again."""
        with contextlib.suppress(ValueError):
            self._listening.remove(listening)

    async def drain(self, client: WireClient, subscription: ClientSubscription) -> None:
        """End a subscription after what is on its way was heard; a client that does not manage in time is replaced."""
        # The library waits for a PONG: were it cancelled, that PONG would end its reading when it comes at last.
        draining = self._loop.create_task(self._drain(client, subscription), name="bus drain")
        self._ends(draining)
        await asyncio.shield(draining)

    def _ends(self, task: asyncio.Task[None]) -> None:
        """Is waited for when the link closes."""
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _drain(self, client: WireClient, subscription: ClientSubscription) -> None:
        try:
            async with asyncio.timeout(self.settings.close_timeout):
                await subscription.drain()  # type: ignore[no-untyped-call]
        except TimeoutError:
            if client is self._client:
                self._useless = client
                self._gone.set()
        except (nats.errors.Error, OSError):
            log.debug("bus.drain", extra={"connected": self.connected})

    async def round_trip(self, within: float) -> bool:
        """Whether a message to ourselves came back, or at least something was heard meanwhile."""
        client = self._client
        heard = client.stats["in_msgs"] if client is not None else 0
        try:
            answer = await self.ask("", b"", timeout=within)
        except Unreachable:
            return False
        return answer is not None or (client is not None and client is self._client and client.stats["in_msgs"] > heard)

    # -- supervision

    async def _supervise(self) -> None:
        while True:
            if not await self._well():
                await self._replace()

    async def _well(self) -> bool:
        """Wait one watchdog period, then see whether anything comes back; False as soon as the client is of no use."""
        until = self._loop.time() + self.settings.watchdog
        while (left := until - self._loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK)):
                    await self._gone.wait()
            if not self.connected or self._useless is self._client:
                return False
            self._gone.clear()
        return await self.round_trip(self.settings.watchdog)

    async def _replace(self) -> None:
        old, self._client, self._useless = self._client, None, None
        self._answers.give_up()
        if old is not None:
            reason = str(old.last_error or "") if not old.is_connected else "the broker does not answer"
            self._tell("disconnected", reason or "the connection was closed")
            self._ends(self._loop.create_task(discard(old, self.settings.close_timeout), name="bus discard"))
        pause = self.settings.backoff_first
        while self._client is None:
            try:
                await self._connect()
            except BusError as error:
                log.debug("bus.reconnect_failed", extra={"error": str(error)})
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, self.settings.backoff_longest)

    async def _connect(self) -> None:
        """Try each server once. Raises Unreachable if none lets us in."""
        urls = list(self.settings.urls)
        urls += [url for url in self._known if url not in urls]
        random.shuffle(urls)
        failures: list[str] = []
        for url in urls:
            try:
                client = await self._dialler.dial(url)
                await self._use(client)
            except Unreachable as error:
                failures.append(str(error))
            else:
                return
        raise Unreachable("; ".join(failures))

    async def _use(self, client: WireClient) -> None:
        try:
            while missing := [listening for listening in self._listening if listening.client is not client]:
                for listening in missing:
                    await listening.attach(client)
        except BaseException as error:
            await discard(client, self.settings.close_timeout)
            if isinstance(error, nats.errors.Error | OSError):
                raise Unreachable(f"the connection was lost at once: {error}") from error
            raise
        self._client = client
        self._max_payload = client.max_payload
        self._known = tuple(server.geturl() for server in client.discovered_servers)
        self._gone.clear()
        self._tell("connected", client.connected_url.netloc.rpartition("@")[2] if client.connected_url else "")
        for callback in tuple(self._on_connected):
            callback()

    def _lost(self, client: WireClient) -> None:
        if client is self._client:
            self._gone.set()

    def _error(self, client: WireClient, error: Exception) -> None:
        if client is not self._client:
            return
        match error:
            case nats.errors.UnexpectedEOF() | OSError():
                return  # the end of the connection, which is told as such
            case nats.errors.SlowConsumerError():
                self._tell("dropped", error.subject)
            case _ if "permissions violation" in str(error).lower():
                self._tell("refused", str(error))
            case _:
                self._tell("error", str(error) or type(error).__name__)

    def _tell(self, kind: str, detail: str) -> None:
        if not self._closed:
            self._on_event(kind, detail)
