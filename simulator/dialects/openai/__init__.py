"""OpenAI's APIs: chat completions, which everything shaped like it speaks, responses and embeddings (pure)."""

from __future__ import annotations

from pydantic_core import to_json

from simulator.conversation import Answer, Ask, Refusal, Script, Stamp
from simulator.dialects.dialect import ErrorReply, Rejected, Route
from simulator.dialects.openai import embedding, errors, reading, responses_reading, responses_writing, writing
from simulator.limits import Gauge
from simulator.meter import Usage
from simulator.settings import ProviderSettings
from simulator.wire import EVENTS, Request

BEARER = "Bearer "


class OpenAI:
    """``POST …/chat/completions``, ``…/responses``, ``…/responses/input_tokens``, ``…/embeddings``, ``GET …/models``,
    ``…/models/{model}``, with a bearer key.
    """

    stream_type = EVENTS
    cached_reads_count = True

    def __init__(self, settings: ProviderSettings) -> None:
        self._settings = settings

    def route(self, request: Request) -> Route | Refusal:
        path = request.path
        asked = next((route for ending, route in _ASKED.items() if path.endswith(ending)), None)
        if asked is not None:
            return asked if request.method == "POST" else _not_allowed(request)
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
            if route.responses:
                return responses_reading.read(request.body, self._settings)
            if route is _EMBED:
                return embedding.read(request.body, self._settings)
            return reading.read(request.body, self._settings)
        except Rejected as rejected:
            return rejected.refusal

    def headers(self, stamp: Stamp, gauges: tuple[Gauge, ...]) -> bytes:
        return errors.headers(stamp, gauges)

    def whole(self, ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> bytes:
        if ask.responses is not None:
            return responses_writing.whole(ask, answer, usage, stamp)
        if ask.texts is not None:
            return embedding.whole(ask, answer, usage)
        return writing.whole(ask, answer, usage, stamp, self._settings.reasoning_field)

    def script(self, ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> Script:
        if ask.responses is not None:
            return responses_writing.script(ask, answer, usage, stamp)
        return writing.script(ask, answer, usage, stamp, self._settings.reasoning_field)

    def count(self, tokens: int) -> bytes:
        return to_json({"object": "response.input_tokens", "input_tokens": tokens})

    def models(self, names: tuple[str, ...]) -> bytes:
        return to_json({"object": "list", "data": [_described(name) for name in names]})

    def model(self, name: str) -> bytes:
        return to_json(_described(name))

    def error(self, refusal: Refusal, stamp: Stamp, route: Route | None) -> ErrorReply:
        return errors.error(refusal, stamp)

    def error_event(self, ask: Ask, refusal: Refusal, stamp: Stamp) -> bytes:
        if ask.responses is not None:
            return responses_writing.error_events(ask, refusal, stamp)
        return b"data: " + errors.error(refusal, stamp).body + b"\n\n"

    def broken_event(self, ask: Ask) -> bytes:
        if ask.responses is not None:
            return (
                b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","item_id":"msg_br\n\n'
            )
        return b'data: {"id":"chatcmpl-broken","object":"chat.completion.chunk","choices":[{"index":0,"del\n\n'

    def giant_event(self, ask: Ask, stamp: Stamp, size: int) -> bytes:
        if ask.responses is not None:
            return responses_writing.text_event("x" * size)
        return writing.text_event(ask, stamp, "x" * size)


_EMBED = Route("embed")
_ASKED = {
    "/chat/completions": Route("complete"),
    "/responses": Route("complete", responses=True),
    "/responses/input_tokens": Route("count", responses=True),
    "/embeddings": _EMBED,
}
_MODELS = Route("models")


def _not_allowed(request: Request) -> Refusal:
    return Refusal("method", f"Not allowed to {request.method} on {request.path}.")


def _described(name: str) -> dict[str, str | int]:
    return {"id": name, "object": "model", "created": 1_735_689_600, "owned_by": "simulator"}
