"""The seam between a producer and whatever carries its jobs: NATS, or a gateway in memory for tests.

An implementation knows bytes and subjects (``job_contracts.subjects``), nothing of jobs. Both are held to
``tests/conformance/test_sdk_transport.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Listener(Protocol):
    """Who is told what arrives. Both methods are called on the event loop and return at once."""

    def heard(self, subject: str, data: bytes) -> None:
        """A message on one of the subjects that are listened to."""
        ...

    def restored(self) -> None:
        """The connection was lost and is back, or messages had to be dropped: something may have been missed."""
        ...


class Transport(Protocol):
    """A connection as one project. Unless said otherwise methods raise Unreachable, Forbidden or Closed."""

    @property
    def project(self) -> str:
        """The project this connection may speak for."""
        ...

    @property
    def max_payload(self) -> int:
        """Bytes one message with its headers may have."""
        ...

    async def open(self, stem: str, listener: Listener, *, timeout: float) -> None:
        """Connect within ``timeout`` seconds and listen to everything said of jobs with this stem."""
        ...

    async def store(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None = None, *, timeout: float
    ) -> bool:
        """Store one message durably, repeating the same bytes until that is certain.

        True if it was stored; False if the subject already held its one message (perhaps this one, from an earlier
        try), which is known only of messages with the headers ``outbox.FIRST``. Raises TooLarge (nothing was sent),
        QueueFull, and Unreachable after ``timeout`` seconds, whose ``maybe_stored`` is honest.
        """
        ...

    async def ask(self, subject: str, data: bytes, *, timeout: float) -> bytes:
        """One question, one answer. Raises Unreachable if nobody answers within ``timeout`` seconds."""
        ...

    async def listen(self, subject: str) -> None:
        """Listen to one more subject (wildcards allowed) before anything else is sent; twice is once."""
        ...

    async def ignore(self, subject: str) -> None:
        """Stop listening to a subject of ``listen``."""
        ...

    async def close(self) -> None:
        """Disconnect; what is still waiting fails with Closed. Safe to call twice, and before ``open``."""
        ...
