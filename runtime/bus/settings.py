"""How a process reaches the broker, and every bound of its connection, as one frozen model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

Seconds = Annotated[float, Field(gt=0)]


class BusSettings(BaseModel):
    """Address, identity and bounds of one connection; all times in seconds, all sizes in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | tuple[str, ...] = "nats://127.0.0.1:4222"
    """Of one server, or of all nodes of a cluster: several, or one text with commas between them."""
    user: str | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None
    tls_ca: Path | None = None
    """Whom to trust when the connection is encrypted (``tls://``, or the server asks for it); default: the system's."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    name: str = "penstock"
    """Shown by the broker's monitoring."""
    inbox_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_$-]+(\.[A-Za-z0-9_-]+)*$")] = "_INBOX"
    """Answers arrive below it; the credential must be allowed to subscribe to ``<prefix>.>``."""

    connect_timeout: Seconds = 2.0
    """For the connection to one server and its greeting."""
    backoff_first: Seconds = 0.05
    backoff_longest: Seconds = 2.0
    """Pauses between attempts to reconnect double from the first to the longest, with jitter; there is no last one."""
    watchdog: Seconds = 2.0
    """Every so often a message is sent to ourselves; when it does not come back in the same time, we reconnect."""
    flush_timeout: Seconds = 5.0
    """How long a publisher waits when the socket takes no more bytes."""
    close_timeout: Seconds = 5.0

    publish_timeout: Seconds = 5.0
    """Until an append without an answer is ``OutcomeUnknown``."""
    api_timeout: Seconds = 5.0
    """The same for everything else that is asked of the broker."""
    in_flight: Annotated[int, Field(gt=0, le=65_536)] = 4_096
    """Appends that may wait for their answers at once; further ones wait for a place."""
    pending_bytes: Annotated[int, Field(ge=65_536)] = 16 * 1024 * 1024
    """Bytes that may wait for the socket before publishers wait."""
    responders: Annotated[int, Field(gt=0)] = 256
    """Requests that one responder answers at once; further ones are dropped, the requester asks again."""

    pull_expires: Seconds = 5.0
    """Longest wait of one pull request at the broker; a fetch that waits longer asks again."""
    heartbeat: Seconds = 1.0
    """The broker's sign of life on a waiting pull; after two and a half without one the pull is asked anew."""
    tail_batch: Annotated[int, Field(ge=2, le=10_000)] = 500
    """Messages a tail asks for at a time."""
    max_blob: Annotated[int, Field(gt=0)] = 64 * 1024 * 1024
    chunk: Annotated[int, Field(gt=0)] = 256 * 1024
    """Bytes of one message of a blob."""

    @property
    def urls(self) -> tuple[str, ...]:
        """Each server's own."""
        given = (self.url,) if isinstance(self.url, str) else self.url
        return tuple(url.strip() for text in given for url in text.split(",") if url.strip())
