"""OpenAI's chat completions and embeddings: what OpenAI and everything shaped like it speaks (pure)."""

from __future__ import annotations

from pydantic_core import to_json

from simulator.conversation import Answer, Ask, Refusal, Script, Stamp
from simulator.dialects.dialect import ErrorReply, Rejected, Route
from simulator.dialects.openai import embedding, errors, reading, writing
from simulator.limits import Gauge
from simulator.meter import Usage
from simulator.settings import ProviderSettings
from simulator.wire import EVENTS, Request

BEARER = "Bearer "


class OpenAI:
    """``POST …/chat/completions``, ``…/embeddings``, ``GET …/models``, ``…/models/{model}``, with a bearer key."""

    stream_type = EVENTS
    cached_reads_count = True

    def __init__(self, settings: ProviderSettings) -> None:
        self._settings = settings

    def route(self, request: Request) -> Route | Refusal:
        path = request.path
        if path.endswith("/chat/completions"):
            return _COMPLETE if request.method == "POST" else _not_allowed(request)
        if path.endswith("/embeddings"):
            return _EMBED if request.method == "POST" else _not_allowed(request)
        if path.endswith("/models"):
            return _MODELS if request.method == "GET" else _not_allowed(request)
        name = path.partition("/models/")[2]
        if name and request.method == "GET":
            return Route("model", model=name)
        return Refusal("not_found", f"Invalid URL ({request.method} {path})")

    def key(self, request: Request) -> str:
        value = request.headers.get(b"authorization")
        if value is not None:
            text = value.decode("latin-1")
            return text[len(BEARER) :].strip() if text[: len(BEARER)].lower() == BEARER.lower() else ""
        return request.headers.get(b"api-key", b"").decode("latin-1")

    def read(self, request: Request, route: Route) -> Ask | Refusal:
        try:
            if route is _EMBED:
                return embedding.read(request.body, self._settings)
            return reading.read(request.body, self._settings)
        except Rejected as rejected:
            return rejected.refusal

    def headers(self, stamp: Stamp, gauges: tuple[Gauge, ...]) -> bytes:
        return errors.headers(stamp, gauges)

    def whole(self, ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> bytes:
        if ask.texts is not None:
            return embedding.whole(ask, answer, usage)
        return writing.whole(ask, answer, usage, stamp, self._settings.reasoning_field)

    def script(self, ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> Script:
        return writing.script(ask, answer, usage, stamp, self._settings.reasoning_field)

    def count(self, tokens: int) -> bytes:
        return to_json({"object": "response.input_tokens", "input_tokens": tokens})

    def models(self, names: tuple[str, ...]) -> bytes:
        return to_json({"object": "list", "data": [_described(name) for name in names]})

    def model(self, name: str) -> bytes:
        return to_json(_described(name))

    def error(self, refusal: Refusal, stamp: Stamp, route: Route | None) -> ErrorReply:
        return errors.error(refusal, stamp)

    def error_event(self, refusal: Refusal, stamp: Stamp) -> bytes:
        return b"data: " + errors.error(refusal, stamp).body + b"\n\n"

    def broken_event(self) -> bytes:
        return b'data: {"id":"chatcmpl-broken","object":"chat.completion.chunk","choices":[{"index":0,"del\n\n'

    def giant_event(self, ask: Ask, stamp: Stamp, size: int) -> bytes:
        return writing.text_event(ask, stamp, "x" * size)


_COMPLETE = Route("complete")
_EMBED = Route("embed")
_MODELS = Route("models")


def _not_allowed(request: Request) -> Refusal:
    return Refusal("method", f"Not allowed to {request.method} on {request.path}.")


def _described(name: str) -> dict[str, str | int]:
    return {"id": name, "object": "model", "created": 1_735_689_600, "owned_by": "simulator"}
