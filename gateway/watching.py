"""What becomes of each request, told once as ``edge.answered``."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from runtime.telemetry import Telemetry

GONE = "gone"
"""In place of a class of status where nothing was answered."""


class Watched:
    """An ASGI application whose answers are counted under ``api``, the path of its route."""

    def __init__(self, telemetry: Telemetry, api: str, application: ASGIApp) -> None:
        self._telemetry = telemetry
        self._api = api
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = perf_counter()
        status, first, sent = GONE, None, 0

        def told(message: Message) -> Awaitable[None]:
            nonlocal status, first, sent
            if message["type"] == "http.response.start":
                status = f"{message['status'] // 100}xx"
            else:
                if first is None:
                    first = perf_counter() - begun
                sent += len(message.get("body", b""))
            return send(message)

        try:
            await self._application(scope, receive, told)
        finally:
            seconds = perf_counter() - begun
            self._telemetry.emit(
                "edge.answered", api=self._api, status=status, seconds=seconds, first_byte=first, sent=sent
            )
