"""Gemini's generateContent, streamed as events or as one JSON array (pure)."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, unquote

from pydantic_core import to_json

from simulator.conversation import Answer, Ask, Refusal, Script, Stamp
from simulator.dialects.dialect import ErrorReply, Operation, Rejected, Route
from simulator.dialects.gemini import embedding, errors, reading, writing
from simulator.limits import Gauge
from simulator.meter import Usage
from simulator.settings import ProviderSettings
from simulator.wire import EVENTS, Request

_CALL = re.compile(r"/models/(?P<model>[^/:]+):(?P<method>\w+)$")
_OPERATIONS: dict[str, Operation] = {
    "generateContent": "complete",
    "streamGenerateContent": "complete",
    "countTokens": "count",
    "embedContent": "embed_one",
    "batchEmbedContents": "embed",
}
_GENERATE = ("generateContent", "streamGenerateContent")
_MODEL = re.compile(r"/models/(?P<model>[^/:]+)$")


class Gemini:
    """``POST …/models/{model}:generateContent`` and its kin, with an ``x-goog-api-key`` or ``?key=``."""

    stream_type = EVENTS
    cached_reads_count = True

    def __init__(self, settings: ProviderSettings) -> None:
        self._settings = settings

    def route(self, request: Request) -> Route | Refusal:
        path = unquote(request.path)
        call = _CALL.search(path)
        if call is not None and request.method == "POST":
            name, method = call["model"], call["method"]
            if method not in _OPERATIONS:
                return Refusal("not_found", "The requested URL was not found on this server.")
            if method not in _GENERATE:
                return Route(_OPERATIONS[method], model=name)
            stream = method == "streamGenerateContent"
            return Route("complete", model=name, stream=stream, sse=not stream or "alt=sse" in request.query)
        if request.method == "GET" and path.endswith("/models"):
            return Route("models")
        described = _MODEL.search(path)
        if request.method == "GET" and described is not None:
            return Route("model", model=described["model"])
        return Refusal("not_found", "The requested URL was not found on this server.")

    def key(self, request: Request) -> str:
        value = request.headers.get(b"x-goog-api-key")
        if value is not None:
            return value.decode("latin-1")
        bearer = request.headers.get(b"authorization", b"").decode("latin-1").removeprefix("Bearer ").strip()
        return bearer or parse_qs(request.query).get("key", [""])[0]

    def read(self, request: Request, route: Route) -> Ask | Refusal:
        try:
            if route.operation in ("embed", "embed_one"):
                return embedding.read(request.body, route, self._settings)
            return reading.read(request.body, route, self._settings)
        except Rejected as rejected:
            return rejected.refusal

    def headers(self, stamp: Stamp, gauges: tuple[Gauge, ...]) -> bytes:
        return errors.HEADERS

    def whole(self, ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> bytes:
        if ask.texts is not None:
            return embedding.whole(ask, answer)
        return writing.whole(ask, answer, usage, stamp)

    def script(self, ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> Script:
        return writing.script(ask, answer, usage, stamp)

    def count(self, tokens: int) -> bytes:
        details = [{"modality": "TEXT", "tokenCount": tokens}]
        return to_json({"totalTokens": tokens, "promptTokensDetails": details})

    def models(self, names: tuple[str, ...]) -> bytes:
        return to_json({"models": [_described(name) for name in names]})

    def model(self, name: str) -> bytes:
        return to_json(_described(name))

    def error(self, refusal: Refusal, stamp: Stamp, route: Route | None) -> ErrorReply:
        return errors.error(refusal, route)

    def error_event(self, ask: Ask, refusal: Refusal, stamp: Stamp) -> bytes:
        return b"data: " + errors.error(refusal, None).body + b"\r\n\r\n"

    def broken_event(self, ask: Ask) -> bytes:
        return b'data: {"candidates": [{"content": {"parts": [{"te\r\n\r\n'

    def giant_event(self, ask: Ask, stamp: Stamp, size: int) -> bytes:
        return writing.text_event(ask, stamp, "x" * size)


def _described(name: str) -> dict[str, object]:
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name,
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }
