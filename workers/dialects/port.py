"""The seam between an attempt and a wire format: pure functions over bytes, no I/O, no clock.

A dialect turns a conversation into a request and the answer's bytes back into deltas and one ``Decoded``. Streamed and
plain answers share the path: ``feed`` bytes as they come, then ``finish``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from catalogue.rows import ModelRow, ProviderRow
    from job_contracts.attempts import LimitReading
    from job_contracts.chat import Answer, Conversation, FinishReason, Usage
    from job_contracts.embeddings import EmbeddingRequest, Embeddings
    from job_contracts.failures import Failure
    from job_contracts.results import Loss
    from job_contracts.stream import Delta

MAX_ANSWER = 64 * 1024 * 1024
"""Default bound of one answer in bytes."""
NO_NAMES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a request is for: the provider's row, the model's row (its name is what is sent)."""

    provider: ProviderRow
    model: ModelRow
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Encoded:
    """A request ready to be sent: path below the base URL (with query), headers without credentials, body, losses."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    losses: tuple[Loss, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    """Tool names as they were sent -> as the conversation has them, where they differ. To be given to the decoder."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A complete answer. Only an answer whose end was seen becomes one."""

    answer: Answer
    finish_reason: FinishReason
    finish_raw: str | None
    usage: Usage
    """Where it was not reported (``usage.reported`` is false), only ``output`` is estimated; ``tokens.estimate`` of the
    conversation is the input."""
    model: str | None = None
    cost: Decimal | None = None
    """US dollars where the provider states them."""
    losses: tuple[Loss, ...] = ()
    """What of the answer has no place in ``Answer`` (fields ``answer…``)."""
    embeddings: Embeddings | None = None
    """The vectors, where they were asked for; ``answer`` is then empty."""


@dataclass(slots=True)
class Partial:
    """What had come when an answer broke: for the books, never for the producer as a success."""

    usage: Usage
    output_characters: int = 0
    produced: bool = False
    final: bool = False
    """Whether ``usage`` is the account of the whole answer; else of what had come with it, or of the prompt alone."""
    told_at: int = 0
    """Characters of output that had come when it was told."""
    cost: Decimal | None = None
    """US dollars where the provider stated them already."""


class Decoder(Protocol):
    """Reads one answer. Never raises on any bytes: what is wrong with them is a ``Failure`` value."""

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Deltas (text, reasoning, tool calls) completed by these bytes; empty for a plain answer until ``finish``."""
        ...

    @property
    def failure(self) -> Failure | None:
        """Set as soon as the bytes themselves report or prove a failure (in-band error, malformed, too large)."""
        ...

    @property
    def complete(self) -> bool:
        """The terminator was seen: nothing after it matters, the connection may be released."""
        ...

    @property
    def partial(self) -> Partial:
        """What has come so far."""
        ...

    def finish(self) -> Decoded | Failure:
        """The body has ended (cleanly or not): the answer if its end was seen, else what was wrong.

        To be asked after a reset or a stall as well: an answer whose end had come before is whole.
        """
        ...


class Dialect(Protocol):
    """One wire format."""

    name: str

    def encode(self, conversation: Conversation, target: Target) -> Encoded:
        """The request. Whatever is dropped, renamed, clamped, merged or rewritten is in ``losses``."""
        ...

    def decoder(
        self,
        target: Target,
        *,
        content_type: str,
        max_bytes: int = MAX_ANSWER,
        names: Mapping[str, str] = NO_NAMES,
    ) -> Decoder:
        """A reader for one 2xx answer of the given content type; ``names`` are those of the ``Encoded`` request."""
        ...

    def failure(self, target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """Classify an answer that is not 2xx (header names lower case): kind, code, retry_after."""
        ...

    def limits(self, target: Target, headers: Mapping[str, str]) -> tuple[LimitReading, ...]:
        """What the headers of any answer say about the provider's limits (header names lower case)."""
        ...


class Embedder(Protocol):
    """How a dialect asks for embeddings; failures and limits are read by the dialect of the same name."""

    name: str

    def most(self, target: Target) -> int:
        """Texts the target takes in one call; ``encode`` is not asked with more."""
        ...

    def encode(self, request: EmbeddingRequest, target: Target) -> Encoded:
        """The request, never streamed; what the target has no word for is in ``losses``."""
        ...

    def decoder(
        self, request: EmbeddingRequest, target: Target, *, content_type: str, max_bytes: int = MAX_ANSWER
    ) -> Decoder:
        """A reader for one 2xx answer; a vector that is missing or not of the asked form is a failure."""
        ...


@dataclass(frozen=True, slots=True)
class Credentials:
    """How a provider wants its key: header name and value, bound to the provider's origin by the sender."""

    headers: Mapping[str, str] = field(default_factory=dict)
