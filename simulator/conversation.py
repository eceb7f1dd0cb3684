"""What a request asks and what it gets, in the simulator's own words: between the wire and the answer (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from simulator.limits import Exceeded, Gauge
from simulator.names import ModelName

Finish = Literal["stop", "length", "tool_calls", "stop_sequence", "content_filter"]

RefusalKind = Literal[
    "auth",
    "auth_missing",
    "bad_json",
    "bad_request",
    "concurrency",
    "context",
    "method",
    "model_gone",
    "not_found",
    "overloaded",
    "permission",
    "prompt_blocked",
    "quota",
    "rate_limit",
    "server_error",
    "status",
    "too_large",
]


@dataclass(frozen=True, slots=True)
class Overflow:
    """A prompt of ``tokens`` with ``reserved`` tokens for the answer does not fit into ``window``."""

    tokens: int
    reserved: int
    window: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no answer; each dialect says it in its own shape.

    ``status`` overrides the shape's own; ``retry_after`` seconds; ``exceeded`` the limit that a rate-limit refusal is
    about, with the ``gauges`` of the whole domain; ``overflow`` the numbers of a context refusal.
    """

    kind: RefusalKind
    message: str = ""
    param: str | None = None
    code: str | None = None
    status: int = 0
    retry_after: float = 0.0
    model: str = ""
    exceeded: Exceeded | None = None
    gauges: tuple[Gauge, ...] = ()
    overflow: Overflow | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool offered: its name and the JSON Schema of its arguments."""

    name: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts to be turned into vectors of ``length`` numbers; ``packed`` as base64, ``alone`` if one was asked for."""

    inputs: list[str]
    length: int
    packed: bool = False
    alone: bool = False


@dataclass(slots=True)
class Ask:
    """A request for a completion, or for vectors of ``texts`` (which are its ``prompt``, too), read.

    ``prompt``: every text of the prompt in order, tools and system first. ``marks``: ends of the segments of ``prompt``
    up to which the caller wants the prefix cached (indices into ``prompt``, exclusive); None where the provider caches
    by itself. ``turn``: the text of the last user turn, "" when the last turn is a tool's result. ``choice``: how tools
    are to be used, or the name of the one that must be. ``reasoning``: tokens of reasoning, 0 for none;
    ``show_reasoning``: whether its text is wanted; ``seal_reasoning``: whether its encrypted form is. ``extra_tokens``:
    input that is not text (images, per-message cost). ``responses``: what an answer of OpenAI's Responses API repeats
    of the request, None for every other API.
    """

    model: ModelName
    prompt: list[str]
    turn: str
    stream: bool = False
    extra_tokens: int = 0
    images: int = 0
    marks: list[int] | None = None
    tools: list[Tool] = field(default_factory=list)
    choice: str = "auto"
    parallel: bool = True
    schema: dict[str, Any] | None = None
    json_object: bool = False
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    seed: int | None = None
    reasoning: int = 0
    show_reasoning: bool = False
    logprobs: int | None = None
    stream_usage: bool = True
    sse: bool = True
    seal_reasoning: bool = False
    responses: dict[str, Any] | None = None
    texts: Texts | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool: ``arguments`` is JSON text, cut short when ``complete`` is false; ``tokens`` its length."""

    id: str
    name: str
    arguments: str
    tokens: int
    complete: bool = True


@dataclass(slots=True)
class Answer:
    """An answer. ``thoughts`` and ``pieces`` are texts of one token each; ``stopped_by`` the stop sequence it hit."""

    pieces: list[str]
    thoughts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    finish: Finish = "stop"
    stopped_by: str | None = None
    vectors: list[list[float]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def output_tokens(self) -> int:
        """Tokens of text and calls, without reasoning."""
        return len(self.pieces) + sum(call.tokens for call in self.calls)


@dataclass(frozen=True, slots=True)
class Frame:
    """A piece of a stream: bytes on the wire and the output tokens they bring."""

    data: bytes
    tokens: int = 0


@dataclass(slots=True)
class Script:
    """A whole stream: what comes before the first token, the tokens, the end of the answer, the stream's terminator."""

    opening: bytes
    content: list[Frame]
    closing: bytes
    terminator: bytes


@dataclass(frozen=True, slots=True)
class Stamp:
    """What makes a response distinct: a serial number, as 24 hexadecimal digits, and the time, seconds of the epoch."""

    serial: str
    created: int
