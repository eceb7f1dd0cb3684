"""The seam between the services and the broker: what a bus offers, and how each broker answer is named.

The errors form one tree::

    BusError
    ├── Refused             the broker decided: nothing was stored
    │   ├── WrongSequence   the expected last sequence did not match (broker code 10071)
    │   ├── AlreadyStored   the subject holds its one message already (10077 on a per-subject limit)
    │   ├── StreamFull      the stream's limit is reached (10077 on messages or bytes; renewals are refused as well)
    │   └── TooLarge        payload and headers exceed what the connection or the stream takes
    ├── Undecided           another write on that subject is in flight (10164): ask again
    ├── Unreachable         certainly not stored: nothing was handed to the connection
    ├── OutcomeUnknown      handed over, no answer: it may be stored, now or later
    └── NotFound            no such message, stream or blob

An answer other than these is a bug of ours or of the broker and surfaces as ``BusError`` with the broker's text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from job_contracts.jobs import BlobRef

Family: TypeAlias = Literal["job", "result"]
"""Whose blob: a job's body, written by its producer, or a result, written by a worker."""


class BusError(Exception):
    """Any broker answer that is not a success; ``code`` is the broker's own error code, 0 where it gave none."""

    def __init__(self, message: str, *, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class Refused(BusError):
    """The broker decided against the write: nothing was stored."""


class WrongSequence(Refused):
    """The expected last sequence was not the current one; ``last_seq`` is what the broker named, 0 if it did not."""

    def __init__(self, message: str, *, code: int = 10071, last_seq: int = 0) -> None:
        super().__init__(message, code=code)
        self.last_seq = last_seq


class AlreadyStored(Refused):
    """The subject already holds the one message it may hold."""


class StreamFull(Refused):
    """The stream's message or byte limit is reached."""


class TooLarge(Refused):
    """Payload plus headers are larger than the broker takes; nothing was sent."""


class Undecided(BusError):
    """A write on the same subject is in flight; its outcome is not known yet, so neither is ours."""


class Unreachable(BusError):
    """There is no connection and nothing was handed to it: certainly not stored."""


class OutcomeUnknown(BusError):
    """The write was handed to the connection and no answer came: it may be stored now, later or never."""


class NotFound(BusError):
    """The stream, message or blob that was asked for is not there."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it was received; ``seq`` is its stream sequence, 0 for a core message."""

    subject: str
    data: bytes
    headers: Mapping[str, str] | None = None
    seq: int = 0
    reply: str = ""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to publish; ``headers`` may carry the broker's control headers."""

    subject: str
    data: bytes
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Ack:
    """The broker stored it: sequence of the (last) message, and how many a batch held."""

    stream: str
    seq: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class StreamState:
    """What a leader read of a stream says; ``subjects`` maps subject to message count when a filter was given."""

    name: str
    messages: int
    bytes: int
    first_seq: int
    last_seq: int
    max_messages: int = -1
    max_bytes: int = -1
    subjects: Mapping[str, int] | None = None
    first_at: float | None = None
    last_at: float | None = None
    """UTC seconds at which the oldest message that is there, and the last there ever was, were stored."""
    made_at: float | None = None
    """UTC seconds at which the stream was made: another one of that name has another, and its numbers mean others."""
    behind: tuple[str, ...] = ()
    """Nodes whose copy is not current, as the leader sees them."""


@dataclass(frozen=True, slots=True)
class ConsumerState:
    """A durable consumer's position: delivered stream sequence, unacknowledged and undelivered counts."""

    delivered_seq: int
    ack_pending: int
    pending: int
    redelivered: int = 0
    """Unacknowledged ones that were handed out more than once."""


class Delivery(Protocol):
    """A pulled message and the duty to answer for it."""

    @property
    def message(self) -> Message: ...
    async def ack(self) -> None:
        """Acknowledge without waiting; a lost acknowledgement leaves a remnant, never a redelivery."""
        ...

    async def ack_confirmed(self, *, within: float) -> bool:
        """Acknowledge and wait for the broker's answer, retrying for ``within`` seconds; True once answered."""
        ...

    async def in_progress(self) -> None:
        """Tell the broker the message is still being worked on."""
        ...


class Puller(Protocol):
    """A durable pull consumer bound by name."""

    async def fetch(self, limit: int, *, expires: float) -> Sequence[Delivery]:
        """Up to ``limit`` messages, as soon as one is there; empty after ``expires`` seconds without any.

        Never raises for an election, a lost connection or a deleted consumer: it waits, repairs, returns what it has.
        What a cancelled fetch had received already is returned by the next one, or by ``close``.
        """
        ...

    async def state(self) -> ConsumerState: ...
    async def close(self) -> Sequence[Delivery]:
        """Withdraw what was asked for; returns what had been received and was not fetched."""
        ...


class Subscription(Protocol):
    """A live subscription; closing it twice is safe."""

    async def close(self) -> None: ...


class Tail(Protocol):
    """An ordered, gap-free reading of a stream from a sequence on, repaired after reconnects and missed messages."""

    @property
    def position(self) -> int:
        """Sequence of the last message handed to the callback."""
        ...

    async def caught_up(self, seq: int, *, timeout: float) -> bool:
        """Wait until everything up to ``seq`` (that still exists) was handed over; False after ``timeout`` seconds."""
        ...

    async def close(self) -> None: ...


RUN_BYTES = 1024 * 1024
"""Bytes of messages for one request, beyond which no further message is sent."""

Handler = Callable[[Message], None]
"""Called synchronously for each message in order; it must only note the message and return."""

Responder = Callable[[Message], Awaitable[bytes]]
"""Answers one request; the bytes go to the request's reply inbox."""

Inboxes = Callable[[Message], tuple[str, ...]]
"""How the reply subject of a request may begin."""


class Bus(Protocol):
    """Everything the services ask of a broker."""

    @property
    def connected(self) -> bool: ...
    @property
    def server(self) -> str:
        """Name and version of the server that this connection is to; empty while there is none."""
        ...

    @property
    def max_payload(self) -> int:
        """Largest payload plus headers, in bytes, that one message may have."""
        ...

    async def close(self) -> None:
        """Flush what was handed over, then disconnect; bounded, safe to call twice."""
        ...

    # -- core: at most once
    async def publish(self, subject: str, data: bytes, *, headers: Mapping[str, str] | None = None) -> None: ...
    async def request(self, subject: str, data: bytes, *, timeout: float) -> Message:
        """Ask and wait for one answer. Raises Unreachable (nobody listens) or OutcomeUnknown (no answer in time)."""
        ...

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription: ...
    async def respond(
        self,
        subject: str,
        responder: Responder,
        *,
        queue: str = "",
        inbox: Inboxes | None = None,
    ) -> Subscription:
        """Answer requests; with ``inbox``, a request whose reply subject starts with none of ``inbox(request)`` is
        dropped, so a requester cannot make us publish elsewhere.
        """
        ...

    # -- streams: durable
    async def append(
        self,
        subject: str,
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        expect_last: int | None = None,
        ttl: int | None = None,
        timeout: float | None = None,
    ) -> Ack:
        """Publish one message and wait until it is stored.

        ``expect_last``: the last sequence the subject must have (0: none yet). ``ttl``: whole seconds until the broker
        removes it. Raises every leaf of the error tree except NotFound; makes one attempt, never retries by itself.
        """
        ...

    async def append_batch(self, messages: Sequence[Outgoing], *, timeout: float | None = None) -> Ack:
        """Publish 2..1000 messages of one stream atomically: all are stored, contiguous, or none.

        ``Ack.seq`` is the last one's sequence, so the first has ``seq - count + 1``. Same errors as ``append``;
        ``Unreachable`` only if the commit message was certainly never handed over.
        """
        ...

    async def tail(
        self, stream: str, handler: Handler, *, subjects: Sequence[str] = (), start: int = 1, headers_only: bool = False
    ) -> Tail: ...
    async def pull(self, stream: str, durable: str) -> Puller: ...
    async def last(self, stream: str, subject: str) -> Message:
        """Leader read of a subject's last message; NotFound if none. May be stale in a partition (see R2, R4)."""
        ...

    async def last_each(self, stream: str, subjects: Sequence[str]) -> Mapping[str, Message]:
        """``last`` of many subjects, without wildcards; those that hold nothing are not in it."""
        ...

    async def get(self, stream: str, seq: int) -> Message: ...
    async def next(self, stream: str, seq: int, subject: str) -> Message:
        """First message at or after ``seq`` whose subject matches ``subject`` (wildcards allowed)."""
        ...

    async def run(
        self, stream: str, seq: int, subject: str = ">", *, limit: int = 256, size: int = RUN_BYTES
    ) -> Sequence[Message]:
        """Messages of ``subject`` from ``seq`` on, in order, from any replica: about ``limit`` and ``size`` at most.

        What is returned is all that is stored between ``seq`` and the last of them. That there is none, or no more,
        means nothing. Raises BusError where the stream is not read directly.
        """
        ...

    async def count(self, stream: str, subject: str) -> int:
        """How many messages match ``subject`` (wildcards allowed) on one replica, any of them; none is looked at."""
        ...

    async def get_direct(self, stream: str, subject: str) -> Message:
        """Last message of a subject from any replica: fast; only a positive answer means something."""
        ...

    async def stream_state(self, stream: str, *, subjects: str = "") -> StreamState: ...
    async def consumer_states(self, stream: str) -> Mapping[str, ConsumerState]:
        """Its durable consumers, by name."""
        ...

    async def delete(self, stream: str, seq: int) -> bool:
        """Remove one message without erasing its bytes; False if it was not there."""
        ...

    async def purge(self, stream: str, *, below: int, subjects: str = "") -> int:
        """Remove every message (of ``subjects``) with a sequence below ``below``; returns how many."""
        ...

    # -- blobs: payloads over the message limit
    async def put_blob(self, key: str, data: bytes, *, of: Family = "result") -> BlobRef:
        """Store ``data`` under ``key`` (``<project>.<job id>``); the reference says what ``get_blob`` must find.

        Storing the same bytes again changes nothing. Raises TooLarge over the bound, else as ``append`` does.
        """
        ...

    async def get_blob(self, key: str, ref: BlobRef, *, of: Family = "result") -> bytes:
        """The bytes, if they are what ``ref`` says (BusError if not). Raises NotFound if a part is gone."""
        ...

    async def delete_blob(self, key: str, *, of: Family = "result") -> None: ...

    # -- assets
    async def ensure(self, assets: Sequence[Mapping[str, object]], *, create: bool = True) -> Sequence[str]:
        """Create what is missing and update what differs (``create=False``: only report); returns the drift, one line
        each. Streams in memory, which a restarted server has forgotten, are made again after each reconnect.
        Raises Refused, before anything is changed, if a change could destroy messages. Shapes are the broker's own
        JSON, see ``runtime.bus.manifest``.
        """
        ...
