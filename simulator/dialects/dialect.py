"""The seam between the simulator and a wire format, and what readers of requests share (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic_core import from_json

from simulator.conversation import Answer, Ask, Refusal, Script, Stamp
from simulator.limits import Gauge
from simulator.meter import Usage
from simulator.names import BadSuffix, ModelName, parse_name
from simulator.settings import ProviderSettings
from simulator.wire import Request

MISSING = object()


Operation = Literal["complete", "embed", "embed_one", "count", "models", "model"]


@dataclass(frozen=True, slots=True)
class Route:
    """What a path asks for.

    ``model``, ``stream``: where the path says them; ``sse`` false: Gemini's JSON array; ``responses``: through OpenAI's
    Responses API, where a provider has two.
    """

    operation: Operation
    model: str = ""
    stream: bool = False
    sse: bool = True
    responses: bool = False


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An error in a dialect's shape: status, content type, further header lines, body."""

    status: int
    content_type: bytes
    headers: bytes
    body: bytes


class Dialect(Protocol):
    """One wire format, made for one provider."""

    stream_type: bytes
    cached_reads_count: bool
    """Whether cached input counts against the provider's token limits."""

    def route(self, request: Request) -> Route | Refusal: ...

    def key(self, request: Request) -> str:
        """The API key of a request, "" if it has none."""

    def read(self, request: Request, route: Route) -> Ask | Refusal: ...

    def headers(self, stamp: Stamp, gauges: tuple[Gauge, ...]) -> bytes:
        """Header lines of an answer."""

    def whole(self, ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> bytes:
        """The body of an answer that is not streamed."""

    def script(self, ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> Script:
        """The events of an answer that is streamed."""

    def count(self, tokens: int) -> bytes:
        """The body of an answer to a question for the number of tokens."""

    def models(self, names: tuple[str, ...]) -> bytes:
        """The body of a list of models."""

    def model(self, name: str) -> bytes:
        """The body that describes a model."""

    def error(self, refusal: Refusal, stamp: Stamp, route: Route | None) -> ErrorReply: ...

    def error_event(self, ask: Ask, refusal: Refusal, stamp: Stamp) -> bytes:
        """An error in the middle of a stream."""

    def broken_event(self, ask: Ask) -> bytes:
        """An event whose JSON breaks off."""

    def giant_event(self, ask: Ask, stamp: Stamp, size: int) -> bytes:
        """A well-formed event of about ``size`` bytes in one line."""


class Rejected(Exception):
    """A request that the provider would refuse, found while it is read."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def bad(message: str, param: str | None = None, code: str | None = None) -> Rejected:
    """A request that is wrong in a named place."""
    return Rejected(Refusal("bad_request", message, param=param, code=code))


def parse_object(body: bytes) -> dict[str, Any]:
    """A body that must be a JSON object."""
    try:
        value = from_json(body, cache_strings="keys")
    except ValueError as error:
        raise Rejected(Refusal("bad_json")) from error
    if not isinstance(value, dict):
        raise Rejected(Refusal("bad_json"))
    return value


def read_model(name: Any, settings: ProviderSettings) -> ModelName:
    """A model's name, if the provider has such a model."""
    try:
        model = parse_name(name)
    except BadSuffix as error:
        raise bad(str(error), "model") from None
    if settings.catalogue and model.base not in settings.catalogue:
        raise Rejected(Refusal("model_gone", model=model.base))
    return model


EFFORTS = {"none": 0, "minimal": 8, "low": 16, "medium": 32, "high": 64, "xhigh": 96, "max": 128}
"""Tokens of reasoning for each effort that a caller can ask for."""


def reasoning_tokens(model: ModelName, asked: int) -> int:
    """How long the model reasons: as its name says, else as the caller asks."""
    return asked if model.think is None else model.think
