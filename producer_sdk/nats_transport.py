"""The seam over NATS: the only room of the SDK that knows nats-py, which is imported when a connection opens."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from job_contracts import subjects
from producer_sdk.errors import Closed, Forbidden, PenstockError, TooLarge, Unreachable
from producer_sdk.outbox import Outbox

if TYPE_CHECKING:
    import ssl

    from nats.aio.client import Client
    from nats.aio.subscription import Subscription

    from producer_sdk.transport import Listener

_log = logging.getLogger("producer_sdk")

HEADER_FRAME = 14
"""Bytes of ``NATS/1.0`` and the line ends around a header block; each header adds its own text and four bytes."""
PING_EVERY, PINGS_LOST = 4, 2
"""Seconds between pings and how many may go unanswered: a dead connection is noticed within twelve seconds."""
REBUILD_FIRST, REBUILD_LONGEST = 0.25, 5.0
"""Seconds between tries to connect anew after nats-py has closed its client for good."""

_FORBIDDEN_PUBLISH = re.compile(r"permissions violation for publish to \"([^\"]+)\"", re.IGNORECASE)
_NO_ACCESS = ("authorization violation", "authentication expired", "authentication timeout", "authentication revoked")


class NatsTransport:
    """One NATS connection as ``project`` with ``password`` (the whole key; ``None`` for a broker without accounts).

    ``user``: the name to connect by, where it is not the project's: a service that speaks for several.

    ``url`` is one URL or several of one cluster (in one text: with commas between). It reconnects for ever; after a
    reconnect every unanswered message is sent again and the listener is told. ``window`` bounds how many there may be.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        project: str,
        password: str | None = None,
        *,
        user: str | None = None,
        name: str = "penstock-producer",
        tls: ssl.SSLContext | None = None,
        window: int = 2_048,
    ) -> None:
        given = url.split(",") if isinstance(url, str) else url
        self._servers = [one.strip() for one in given if one.strip()]
        self._project = project
        self._password = password
        self._user = user or project
        self._name = name
        self._tls = tls
        self._window = window
        self._client: Client | None = None
        self._outbox: Outbox | None = None
        self._listener: Listener | None = None
        self._subjects: dict[str, Subscription | None] = {}
        self._inbox = ""
        self._closing = self._connecting = False
        self._refused: asyncio.Event | None = None
        self._last_error: BaseException | None = None
        self._rebuilding: asyncio.Task[None] | None = None

    @property
    def project(self) -> str:
        """The project, which is the broker's user name as well."""
        return self._project

    @property
    def max_payload(self) -> int:
        """What the broker said at the connect; its usual limit before that."""
        return self._client.max_payload if self._client is not None else 1024 * 1024

    # -- life

    async def open(self, stem: str, listener: Listener, *, timeout: float) -> None:
        """Connect and subscribe; see ``Transport.open``."""
        if self._closing:
            raise Closed("this transport was closed")
        self._listener = listener
        self._inbox = f"{subjects.inbox_prefix(self._project)}.{secrets.token_hex(8)}"
        self._outbox = Outbox(self._send, self._inbox, window=self._window)
        self._refused = asyncio.Event()
        self._subjects[subjects.live(self._project, stem)] = None
        await self._connect(timeout)

    async def close(self) -> None:
        """Disconnect; see ``Transport.close``."""
        self._closing = True
        if self._rebuilding is not None:
            self._rebuilding.cancel()
        if self._outbox is not None:
            self._outbox.close()
        client, self._client = self._client, None
        if client is not None:
            await _shut(client)

    async def _connect(self, timeout: float) -> None:
        from nats.errors import Error  # noqa: PLC0415 - a fifth of a second

        from producer_sdk.nats_client import DirectClient, told_to  # noqa: PLC0415 - likewise

        refused = self._refused
        if refused is None:
            raise Closed("this transport was not opened")
        refused.clear()
        client = DirectClient()
        connecting = asyncio.ensure_future(
            client.connect(
                servers=self._servers,
                user=self._user if self._password else None,
                password=self._password or None,
                name=self._name,
                inbox_prefix=subjects.inbox_prefix(self._project),
                tls=self._tls,
                connect_timeout=2,
                reconnect_time_wait=0.25,  # type: ignore[arg-type]  # seconds; the library only adds and sleeps
                max_reconnect_attempts=-1,
                ping_interval=PING_EVERY,
                max_outstanding_pings=PINGS_LOST,
                error_cb=self._on_error,
                reconnected_cb=self._on_reconnected,
                closed_cb=self._on_closed,
            )
        )
        refusing = asyncio.ensure_future(refused.wait())
        self._connecting = True
        try:
            await asyncio.wait({connecting, refusing}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                raise self._no_access() if refused.is_set() else self._no_connection(timeout)
            connecting.result()
            if self._closing:
                raise Closed("the producer was closed while it connected")
            self._client = client
            await client.subscribe(f"{self._inbox}.*", cb=told_to(self._on_answer))
            for subject in list(self._subjects):
                self._subjects[subject] = await client.subscribe(subject, cb=told_to(self._on_live))
            if self._client is not client:
                raise self._cut_short(client.last_error)
        except BaseException as error:
            self._client = None
            if not connecting.done():
                connecting.cancel()
                await asyncio.wait({connecting}, timeout=1.0)
            await _shut(client)
            if isinstance(error, (Error, OSError)):
                raise self._cut_short(client.last_error or error) from error
            raise
        finally:
            self._connecting = False
            refusing.cancel()

    def _no_access(self) -> Forbidden:
        who = f"as project {self._project!r}" if self._password else "without a key"
        remedy = "check PENSTOCK_KEY or the key argument (one with limits of its own works over HTTP alone)"
        remedy = remedy if self._password else "give a key"
        return Forbidden(f"the broker at {self._where()} does not accept us {who}", field="key", remedy=remedy)

    def _no_connection(self, timeout: float) -> Unreachable:
        why = f" ({self._last_error})" if self._last_error and str(self._last_error) else ""
        message = f"no connection to {self._where()} within {timeout:g} s{why}"
        return Unreachable(message, remedy="check PENSTOCK_URL or the url argument, and that the broker runs")

    def _cut_short(self, why: BaseException | None) -> PenstockError:
        if (self._refused is not None and self._refused.is_set()) or _refuses(why):
            return self._no_access()
        if self._closing:
            return Closed("the producer was closed while it connected")
        message = f"no connection to {self._where()}: it ended as it began ({str(why or '') or 'nobody said why'})"
        return Unreachable(message, remedy="try again, and see what the broker logs")

    def _where(self) -> str:
        return ", ".join(re.sub(r"//[^@/]*@", "//", server) for server in self._servers)

    # -- sending

    async def store(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None = None, *, timeout: float
    ) -> bool:
        """Store durably; see ``Transport.store``."""
        self._check_size(data, headers)
        return await self._open_outbox().store(subject, data, headers, timeout=timeout)

    async def ask(self, subject: str, data: bytes, *, timeout: float) -> bytes:
        """Ask a service; see ``Transport.ask``."""
        self._check_size(data, None)
        return await self._open_outbox().ask(subject, data, timeout=timeout)

    def _check_size(self, data: bytes, headers: Mapping[str, str] | None) -> None:
        size = len(data)
        if headers:
            size += HEADER_FRAME + sum(len(name) + len(value.encode()) + 4 for name, value in headers.items())
        if size > self.max_payload:
            # The server would close the connection, and nats-py would stay closed.
            raise TooLarge(f"a message of {size} bytes is over the broker's limit of {self.max_payload}")

    def _open_outbox(self) -> Outbox:
        if self._outbox is None:
            raise Closed("this transport was not opened")
        return self._outbox

    async def _send(self, subject: str, data: bytes, reply: str, headers: Mapping[str, str] | None) -> bool:
        client = self._client
        if client is None or not client.is_connected:
            return False
        from nats.errors import Error  # noqa: PLC0415 - loaded with the client

        try:
            await client.publish(subject, data, reply=reply, headers=headers)  # type: ignore[arg-type]
        except (Error, OSError) as error:
            self._last_error = error
            return False
        return True

    # -- listening

    async def listen(self, subject: str) -> None:
        """Subscribe; see ``Transport.listen``."""
        if subject in self._subjects:
            return
        self._subjects[subject] = None
        client = self._client
        if client is not None and not client.is_closed:
            from producer_sdk.nats_client import told_to  # noqa: PLC0415 - loaded with the client

            self._subjects[subject] = await client.subscribe(subject, cb=told_to(self._on_live))

    async def ignore(self, subject: str) -> None:
        """Unsubscribe; see ``Transport.ignore``."""
        from nats.errors import Error  # noqa: PLC0415 - loaded with the client

        subscription = self._subjects.pop(subject, None)
        if subscription is not None:
            try:
                await subscription.unsubscribe()
            except Error as error:
                _log.debug("unsubscribing from %s: %s", subject, error)

    def _on_live(self, subject: str, data: bytes, status: str) -> None:
        if self._listener is not None:
            self._listener.heard(subject, data)

    def _on_answer(self, subject: str, data: bytes, status: str) -> None:
        if self._outbox is not None:
            self._outbox.answered(subject, data, status)

    # -- what happens to the connection

    async def _on_error(self, error: Exception) -> None:
        from nats.errors import SlowConsumerError  # noqa: PLC0415 - loaded with the client

        self._last_error = error
        text = str(error)
        if isinstance(error, SlowConsumerError):
            self._tell_restored()
        elif match := _FORBIDDEN_PUBLISH.search(text):
            if self._outbox is not None:
                self._outbox.forbid(match[1])
        elif _refuses(error):
            self._refuse()
            self._replace()
        else:
            _log.debug("broker: %s", error)

    def _refuse(self) -> None:
        if self._refused is not None:
            self._refused.set()
        if self._outbox is not None and self._client is not None:
            self._outbox.refuse(self._no_access())

    async def _on_reconnected(self) -> None:
        if self._outbox is not None:
            self._outbox.restored()
        self._tell_restored()

    def _tell_restored(self) -> None:
        if self._listener is not None:
            self._listener.restored()

    async def _on_closed(self) -> None:
        client = self._client
        if client is None:
            return
        if _refuses(client.last_error):
            self._refuse()
        self._replace()

    def _replace(self) -> None:
        """Give a client up that nats-py has closed for good, or that would go on asking with a revoked key."""
        client, self._client = self._client, None
        if client is not None and not self._closing and not self._connecting:  # whoever connects sees that it is gone
            self._rebuilding = asyncio.get_running_loop().create_task(self._rebuild(client))

    async def _rebuild(self, client: Client) -> None:
        """Make another client, for as long as it takes."""
        await _shut(client)
        pause, say = REBUILD_FIRST, _log.warning
        while not self._closing:
            self._subjects = dict.fromkeys(self._subjects)
            try:
                await self._connect(REBUILD_LONGEST)
            except Exception as error:  # noqa: BLE001 - whatever it was: nobody else would ever connect again
                say("no connection to the broker: %s", error, exc_info=not isinstance(error, PenstockError))
                say = _log.debug
                if isinstance(error, Forbidden) and self._outbox is not None:
                    self._outbox.refuse(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, REBUILD_LONGEST)
            else:
                await self._on_reconnected()
                return


def _refuses(error: BaseException | None) -> bool:
    return any(words in str(error).lower() for words in _NO_ACCESS)


async def _shut(client: Any) -> None:
    """Close a client without ever failing or hanging over it."""
    try:
        async with asyncio.timeout(2.0):
            await client.close()
    except Exception as error:  # noqa: BLE001 - the end of a connection: there is nobody left to tell
        _log.debug("closing the connection: %s", error)
