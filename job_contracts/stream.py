"""Tokens on their way: chunks as workers publish them, and the events a producer's program sees.

Every chunk carries ``(generation, sequence)``: the generation is the attempt's number, the sequence counts 1, 2, 3 …
within it without a gap. A higher generation starts the answer over.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from job_contracts.chat import FinishReason, Usage
from job_contracts.codec import VERSION, Version, Wire
from job_contracts.results import Result


class StartDelta(Wire):
    """The attempt has reached its provider; always the first chunk of a generation."""

    type: Literal["start"] = "start"
    deployment: str
    provider: str
    model: str
    switched_from: str | None = None
    reason: str | None = None
    continues: int | None = None
    """Attempt whose answer this generation goes on with. The text that was sent of it follows in the same chunk, and
    nothing else: who was told just that, or the beginning of it, has nothing to forget."""


class TextDelta(Wire):
    """More text of the answer."""

    type: Literal["text"] = "text"
    text: str


class ReasoningDelta(Wire):
    """More of the reasoning a model shows, or its seal: see ``chat.ReasoningPart``.

    ``signature`` ends a part and comes once, for all of its text; ``redacted`` is a part of its own.
    """

    type: Literal["reasoning"] = "reasoning"
    text: str
    signature: str | None = None
    redacted: str | None = None
    origin: str | None = None


class ToolCallDelta(Wire):
    """More of tool call ``index``: id and name come with its first delta, arguments in pieces of JSON text."""

    type: Literal["tool_call"] = "tool_call"
    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


class EndDelta(Wire):
    """The generation is complete; the result follows."""

    type: Literal["end"] = "end"
    finish_reason: FinishReason
    usage: Usage


Delta = Annotated[
    StartDelta | TextDelta | ReasoningDelta | ToolCallDelta | EndDelta,
    Field(discriminator="type"),
]


class Chunk(Wire):
    """What one message of a job's token subject holds."""

    version: Version = VERSION
    generation: int
    sequence: int
    deltas: tuple[Delta, ...]


# -- what a producer's program sees


class Event(Wire):
    """Base of the typed events of a stream; ``(generation, sequence)`` names its place, (0, 0) before the first."""

    generation: int = 0
    sequence: int = 0
    from_record: bool = False
    """Whether it was told by the job's record, because chunks were missing: it stands for all from its place on."""


class Queued(Event):
    """The job is accepted and durable; the figures are a forecast."""

    type: Literal["queued"] = "queued"
    job: str
    submitted: float | None = None
    """UTC seconds on the clock of whoever submitted it; ``None`` if that is not known here."""
    position: int | None = None
    eta: float | None = None
    estimated_cost: Decimal | None = None
    """US dollars its next attempt is likely to cost, where the desk has told."""
    worst_cost: Decimal | None = None
    """US dollars that attempt may cost at most."""


class Started(Event):
    """A provider works on it."""

    type: Literal["started"] = "started"
    deployment: str
    provider: str
    model: str
    continues: int | None = None
    """Attempt whose broken answer it goes on with: what was said so far stands, the rest follows."""


class Token(Event):
    """A piece of the answer's text."""

    type: Literal["token"] = "token"
    text: str
    refusal: bool = False
    """Whether it is the model's words for declining rather than an answer."""


class ReasoningToken(Event):
    """A piece of shown reasoning, or its seal: with ``signature`` a part has ended, ``redacted`` is one of its own."""

    type: Literal["reasoning"] = "reasoning"
    text: str
    signature: str | None = None
    redacted: str | None = None
    origin: str | None = None


class ToolCall(Event):
    """A piece of a tool call."""

    type: Literal["tool_call"] = "tool_call"
    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


class Switched(Event):
    """Another attempt took over: forget what this stream has said so far, the answer starts over."""

    type: Literal["switched"] = "switched"
    deployment: str
    switched_from: str | None = None
    reason: str | None = None


class UsageReported(Event):
    """Tokens the answer took."""

    type: Literal["usage"] = "usage"
    usage: Usage


class Finished(Event):
    """The job's one result; always the last event."""

    type: Literal["finished"] = "finished"
    result: Result


StreamEvent = Queued | Started | Token | ReasoningToken | ToolCall | Switched | UsageReported | Finished
