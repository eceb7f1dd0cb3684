"""Anthropic's messages (pure)."""

from __future__ import annotations

import re
from urllib.parse import unquote

from pydantic_core import to_json

from simulator.conversation import Answer, Ask, Refusal, Script, Stamp
from simulator.dialects.anthropic import errors, reading, writing
from simulator.dialects.dialect import ErrorReply, Rejected, Route
from simulator.limits import Gauge
from simulator.meter import Usage
from simulator.settings import ProviderSettings
from simulator.wire import EVENTS, Request


class Anthropic:
    """``POST …/messages``, ``POST …/messages/count_tokens``, ``GET …/models``, with an ``x-api-key``.

    Also as Google's cloud has it: ``POST …/publishers/anthropic/models/{model}:rawPredict`` and ``:streamRawPredict``,
    with a bearer token.
    """

    stream_type = EVENTS
    cached_reads_count = False

    def __init__(self, settings: ProviderSettings) -> None:
        self._settings = settings

    def route(self, request: Request) -> Route | Refusal:
        path = request.path
        cloud = _ON_THE_CLOUD.search(unquote(path))
        if cloud is not None and request.method == "POST":
            return Route("complete", model=cloud["model"], stream=cloud["method"] == "streamRawPredict")
        operation = _OPERATIONS.get(path.rsplit("/v1", 1)[-1])
        if operation is not None and (request.method == "GET") == (operation.operation == "models"):
            return operation
        name = path.partition("/v1/models/")[2]
        if name and request.method == "GET":
            return Route("model", model=name)
        return Refusal("method" if operation else "not_found", "Method Not Allowed" if operation else "Not found")

    def key(self, request: Request) -> str:
        value = request.headers.get(b"x-api-key")
        if value is not None:
            return value.decode("latin-1")
        return request.headers.get(b"authorization", b"").decode("latin-1").removeprefix("Bearer ").strip()

    def read(self, request: Request, route: Route) -> Ask | Refusal:
        if not route.model and b"anthropic-version" not in request.headers:
            return Refusal("bad_request", "anthropic-version: header is required")
        try:
            counting = route.operation == "count"
            return reading.read(request.body, self._settings, counting=counting, in_path=route.model)
        except Rejected as rejected:
            return rejected.refusal

    def headers(self, stamp: Stamp, gauges: tuple[Gauge, ...]) -> bytes:
        return errors.headers(stamp, gauges)

    def whole(self, ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> bytes:
        return writing.whole(ask, answer, usage, stamp)

    def script(self, ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> Script:
        return writing.script(ask, answer, usage, stamp)

    def count(self, tokens: int) -> bytes:
        return to_json({"input_tokens": tokens})

    def models(self, names: tuple[str, ...]) -> bytes:
        rows = [_described(name) for name in names]
        first, last = (names[0], names[-1]) if names else (None, None)
        return to_json({"data": rows, "has_more": False, "first_id": first, "last_id": last})

    def model(self, name: str) -> bytes:
        return to_json(_described(name))

    def error(self, refusal: Refusal, stamp: Stamp, route: Route | None) -> ErrorReply:
        return errors.error(refusal, stamp)

    def error_event(self, ask: Ask, refusal: Refusal, stamp: Stamp) -> bytes:
        return b"event: error\ndata: " + errors.error(refusal, stamp).body + b"\n\n"

    def broken_event(self, ask: Ask) -> bytes:
        return b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_\n\n'

    def giant_event(self, ask: Ask, stamp: Stamp, size: int) -> bytes:
        return writing.text_event("x" * size)


_ON_THE_CLOUD = re.compile(r"/publishers/anthropic/models/(?P<model>[^/:]+):(?P<method>rawPredict|streamRawPredict)$")
_OPERATIONS = {
    "/messages": Route("complete"),
    "/messages/count_tokens": Route("count"),
    "/models": Route("models"),
}


def _described(name: str) -> dict[str, str]:
    return {"type": "model", "id": name, "display_name": name, "created_at": "2025-01-01T00:00:00Z"}
