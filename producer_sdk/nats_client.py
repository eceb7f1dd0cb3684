"""nats-py's client with a short way from the socket to whoever listens: no queue, no task, no headers nobody reads."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from nats.aio.client import Client
from nats.aio.msg import Msg

_log = logging.getLogger("producer_sdk")

Told: TypeAlias = Callable[[str, bytes, str], None]
"""Subject, data and status of a message; only the broker's own remarks (``503``) have one, and they have no data."""
_VERSION = len("NATS/1.0")


def told_to(tell: Told) -> Callable[[Msg], Awaitable[None]]:
    """The callback of a subscription whose messages are told to ``tell`` at once."""

    async def callback(message: Msg) -> None:
        tell(message.subject, message.data, (message.headers or {}).get("Status", "") if not message.data else "")

    callback.tell = tell  # type: ignore[attr-defined]  # looked for below
    return callback


class DirectClient(Client):
    """Tells what comes to those of ``told_to`` in the order of the wire; anything else goes the library's way."""

    async def _connect_to_server(self, server: Any) -> None:
        """The library leaves a connection open whose greeting failed, as one does that is not let in at once."""
        left = getattr(self, "_transport", None)
        if left is not None:
            left.close()
        await super()._connect_to_server(server)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        subscription: Any = self._subs.get(sid)
        tell: Told | None = getattr(getattr(subscription, "_cb", None), "tell", None)
        if tell is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        self.stats["in_msgs"] += 1
        self.stats["in_bytes"] += len(data)
        status = ""
        if headers and not data:
            status = headers[_VERSION:].partition(b"\r\n")[0].strip().partition(b" ")[0].decode("ascii", "replace")
        try:
            tell(subject.decode(), data, status)
        except Exception:  # noqa: BLE001 - a bug of ours must not end the reading
            _log.exception("hearing of %s", subject)
