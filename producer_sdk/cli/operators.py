"""Questions of operators: asked in place of a project by ``-``, over one connection with the services' login."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from job_contracts.codec import Wire
from job_contracts.desk import Operation
from producer_sdk.desk import Desk
from producer_sdk.nats_transport import NatsTransport
from producer_sdk.producer import DEFAULT_URL

W = TypeVar("W", bound=Wire)

OPERATOR = "-"
"""In place of a project."""
PATIENCE = 5.0


class Asking(Protocol):
    """Asks one question."""

    def __call__(self, operation: Operation, question: Wire | None, kind: type[W], /) -> Awaitable[W]: ...


class _Nobody:
    """Nothing is listened to: a question has one answer."""

    def heard(self, subject: str, data: bytes) -> None:
        """See ``Listener``."""

    def restored(self) -> None:
        """See ``Listener``."""


@asynccontextmanager
async def operators(url: str | None) -> AsyncIterator[Asking]:
    """A connection, for as many questions as are wanted."""
    transport = NatsTransport(url or DEFAULT_URL, OPERATOR)
    desk = Desk(transport, timeout=PATIENCE)
    try:
        await transport.open("operator", _Nobody(), timeout=PATIENCE)
        yield desk.ask
    finally:
        desk.close()
        await transport.close()
