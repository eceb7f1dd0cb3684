"""One client of the broker, from its making to its end: what may be handed to it, how it is opened, how thrown away.

The library's own reconnecting is switched off. It holds back what was handed over while the connection was down and
sends it later, long after the caller was told that the outcome is unknown; it waits without bound for a half-open
socket to close; and some answers make it close for ever. Here a client lives as long as its socket, then it is cut.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client

from runtime.bus.port import BusError, TooLarge, Unreachable
from runtime.bus.settings import BusSettings
from runtime.bus.wire import WireClient

log = logging.getLogger(__name__)

MAX_SUBJECT = 2_000
"""The broker closes a connection whose control line exceeds 4 KiB; subject and reply must fit."""
DEFAULT_PORT = 4222
NOT_ENCRYPTED = "the server offers no encryption, which tls:// asks for"
_FRAME = len(b"NATS/1.0\r\n\r\n")
_KEY = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_KNOWN_KEYS = 1_000
_known_keys: set[str] = set()


# -- what may be handed over


def check_message(subject: str, data: bytes, headers: Mapping[str, str] | None, limit: int) -> None:
    """Raises TooLarge for what would make the server close the connection (the library looks at the body alone), and
    BusError for a subject or header that could be read as something else (the library would mend it silently).
    """
    check_subject(subject)
    size = len(data)
    if headers:
        size += _FRAME
        if not _known_keys.issuperset(headers):
            _learn_keys(subject, headers)
        for key, value in headers.items():
            size += len(key) + 4 + (len(value) if value.isascii() else _encoded(subject, key, value))
            if "\n" in value or "\r" in value:
                raise _bad_header(subject, key)
    if size > limit:
        raise TooLarge(f"{subject}: {size} bytes with headers, the broker takes {limit}")


def check_subject(subject: str) -> None:
    """Raises TooLarge or BusError for what is not to be sent as a subject."""
    if not subject or " " in subject or not subject.isprintable():
        raise BusError(f"{subject[:200]!r} is not a subject")
    size = len(subject) if subject.isascii() else len(subject.encode())
    if size > MAX_SUBJECT:
        raise TooLarge(f"{subject[:200]}…: a subject of {size} bytes, {MAX_SUBJECT} fit")


def _learn_keys(subject: str, headers: Mapping[str, str]) -> None:
    for key in headers:
        if not _KEY.fullmatch(key):
            raise _bad_header(subject, key)
        if len(_known_keys) < _KNOWN_KEYS:
            _known_keys.add(key)


def _encoded(subject: str, key: str, value: str) -> int:
    try:
        return len(value.encode())
    except UnicodeEncodeError as error:
        raise _bad_header(subject, key) from error


def _bad_header(subject: str, key: str) -> BusError:
    return BusError(f"{subject}: header {key!r} has a name or value that cannot be sent")


# -- opening


class Dialler:
    """Opens clients, all with the same settings.

    ``on_lost(client)`` is called when the client knows that its connection is over, ``on_error(client, error)`` for
    everything that goes wrong without ending it.
    """

    def __init__(
        self,
        settings: BusSettings,
        on_lost: Callable[[WireClient], None],
        on_error: Callable[[WireClient, Exception], None],
    ) -> None:
        self._settings = settings
        self._on_lost = on_lost
        self._on_error = on_error
        self._context: ssl.SSLContext | None = None

    async def dial(self, url: str) -> WireClient:
        """A client connected to one server. Raises Unreachable, with the reason."""
        settings = self._settings
        url = url if "://" in url else f"nats://{url}"
        place = urlsplit(url)
        client = WireClient()
        reasons: list[str] = []
        # In a task of its own, as the library's connecting can swallow the cancellation of whoever waits for it.
        connecting = asyncio.create_task(self._connect(client, url, reasons))
        try:
            await asyncio.wait((connecting,), timeout=settings.connect_timeout)
            if not connecting.done():
                raise Unreachable(f"no answer within {settings.connect_timeout} s")
            connecting.result()
            if not client.is_connected:
                raise Unreachable("the server ended the greeting")
            if place.scheme == "tls" and not encrypted(client):
                raise Unreachable(NOT_ENCRYPTED)
        except BaseException as error:
            connecting.cancel()
            _cut(client)
            try:
                await asyncio.gather(connecting, return_exceptions=True)
            finally:
                await discard(client, settings.close_timeout)
            if not isinstance(error, nats.errors.Error | OSError | TimeoutError | ValueError | Unreachable):
                raise
            reason = reasons[-1] if isinstance(error, nats.errors.NoServersError) and reasons else str(error)
            where = f"{place.hostname}:{place.port or DEFAULT_PORT}"
            raise Unreachable(f"no broker at {where}: {reason or type(error).__name__}") from error
        return client

    async def _connect(self, client: WireClient, url: str, reasons: list[str]) -> None:
        settings = self._settings
        secure = url.startswith("tls://")

        async def wrong(error: Exception) -> None:
            reasons.append(str(error) or type(error).__name__)
            self._on_error(client, error)

        async def lost() -> None:
            self._on_lost(client)

        await client.connect(
            servers=[url],
            name=settings.name,
            **_identity(url, settings, client, secure=secure),
            tls=self._tls(secure=secure),
            inbox_prefix=settings.inbox_prefix,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=settings.connect_timeout,  # type: ignore[arg-type]  # any number of seconds will do
            # Nothing is held back for a connection that is down, and no publisher waits inside the library, which
            # swallows the cancellation of one that does: Link bounds what waits for the socket.
            pending_size=0,
            error_cb=wrong,
            disconnected_cb=lost,
            closed_cb=lost,
        )

    def _tls(self, *, secure: bool) -> ssl.SSLContext | None:
        """Whom to trust; None leaves it to the library, which trusts whom the system does if the server asks."""
        settings = self._settings
        if not secure and settings.tls_ca is None and settings.tls_cert is None:
            return None
        if self._context is None:
            self._context = ssl.create_default_context(cafile=settings.tls_ca)
            if settings.tls_cert is not None:
                self._context.load_cert_chain(settings.tls_cert, settings.tls_key)
        return self._context


def _identity(url: str, settings: BusSettings, client: Client, *, secure: bool) -> dict[str, Any]:
    """User and password, or token, as the settings or else the address have them.

    The library encrypts when the *server* says so, whatever the address asks for. Its secrets are asked for after
    that: with ``tls://`` they are not told to a connection in the clear.
    """
    place = urlsplit(url)
    user = settings.user or place.username
    password = settings.password.get_secret_value() if settings.password else place.password
    token = settings.token.get_secret_value() if settings.token else None
    if user and password is None and token is None:
        user, token = None, user

    def guarded(secret: str | None) -> str | Callable[[], str] | None:
        if secret is None or not secure:
            return secret

        def tell() -> str:
            if not encrypted(client):
                raise nats.errors.Error(NOT_ENCRYPTED)
            return secret

        return tell

    return {"user": guarded(user), "password": guarded(password), "token": guarded(token)}


# -- the end; the library has no public way to any of this. Held by tests of a half-open connection and of what is left.


async def discard(client: Client, within: float, *, flush: bool = False) -> None:
    """End a client with all it holds, or with ``flush`` after sending what it holds; bounded."""
    if not flush:
        _cut(client)
    try:
        async with asyncio.timeout(within):
            await client.close()
    except (nats.errors.Error, OSError, TimeoutError, RuntimeError, AttributeError, AssertionError) as error:
        log.debug("bus.discard", extra={"error": type(error).__name__})
    finally:
        _cut(client)
        await _end_tasks(client)


def encrypted(client: Client) -> bool:
    """Whether the client's socket is."""
    writer = _writer(client)
    return writer is not None and writer.get_extra_info("ssl_object") is not None


def _cut(client: Client) -> None:
    writer = _writer(client)
    if writer is not None:
        writer.transport.abort()


def _writer(client: Client) -> Any:
    return getattr(getattr(client, "_transport", None), "_io_writer", None)


async def _end_tasks(client: Client) -> None:
    """A broken socket ends the library's ``close`` half way: its tasks would wait for ever."""
    subscriptions = list(getattr(client, "_subs", {}).values())
    found = [getattr(client, name, None) for name in ("_reading_task", "_flusher_task", "_ping_interval_task")]
    found += [getattr(subscription, "_wait_for_msgs_task", None) for subscription in subscriptions]
    tasks: list[Awaitable[Any]] = []
    for task in found:
        if isinstance(task, asyncio.Task) and task is not asyncio.current_task():
            task.cancel()
            tasks.append(task)
    await asyncio.gather(*tasks, return_exceptions=True)
