"""Mistral's chat completions: OpenAI's form with an accent, as strict about it as Mistral is (pure)."""

from __future__ import annotations

from pydantic_core import to_json

from simulator.conversation import Answer, Ask, Refusal, Script, Stamp
from simulator.dialects.dialect import ErrorReply, Rejected, Route
from simulator.dialects.mistral import errors, reading, writing
from simulator.dialects.openai import OpenAI
from simulator.limits import Gauge
from simulator.meter import Usage
from simulator.settings import ProviderSettings
from simulator.wire import Request

__all__ = ["Mistral"]


class Mistral(OpenAI):
    """The paths, the key and the lists of models are OpenAI's; requests, answers, errors and headers are its own."""

    def __init__(self, settings: ProviderSettings) -> None:
        super().__init__(settings)
        self._mistral = settings

    def read(self, request: Request, route: Route) -> Ask | Refusal:
        if route.operation != "complete":
            return super().read(request, route)
        try:
            return reading.read(request.body, self._mistral)
        except Rejected as rejected:
            return rejected.refusal

    def headers(self, stamp: Stamp, gauges: tuple[Gauge, ...]) -> bytes:
        return errors.headers(stamp, gauges)

    def whole(self, ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> bytes:
        if ask.texts is not None:
            return super().whole(ask, answer, usage, stamp)
        return to_json(writing.whole(ask, answer, usage, stamp))

    def script(self, ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> Script:
        return writing.script(ask, answer, usage, stamp)

    def error(self, refusal: Refusal, stamp: Stamp, route: Route | None) -> ErrorReply:
        return errors.error(refusal, stamp)

    def error_event(self, ask: Ask, refusal: Refusal, stamp: Stamp) -> bytes:
        return b"data: " + errors.error(refusal, stamp).body + b"\n\n"

    def giant_event(self, ask: Ask, stamp: Stamp, size: int) -> bytes:
        return writing.event(writing.chunk(ask, stamp, {"content": "x" * size}))
