"""Mistral's errors and rate-limit headers, after recorded traffic and its documentation (pure)."""

from __future__ import annotations

import math
from typing import Any

from pydantic_core import to_json

from simulator.conversation import Refusal, RefusalKind, Stamp
from simulator.dialects.dialect import ErrorReply
from simulator.limits import Gauge
from simulator.wire import JSON, header_lines

_INVALID = "invalid_request_error"
_SHAPES: dict[RefusalKind, tuple[int, str, str | None, str]] = {
    "auth_missing": (401, "", None, "Unauthorized"),
    "auth": (401, "", None, "Invalid API Key"),
    "permission": (403, _INVALID, None, "You do not have access to this resource."),
    "bad_json": (422, _INVALID, None, "JSON decode error"),
    "bad_request": (400, _INVALID, None, "The request is invalid."),
    "method": (405, "", None, "Method Not Allowed"),
    "not_found": (404, "", None, "no Route matched with those values"),
    "model_gone": (400, "invalid_model", "1500", ""),
    "overloaded": (429, "service_tier_capacity_exceeded", "3505", "Service tier capacity exceeded for this model."),
    "server_error": (500, "internal_server_error", "1000", "Internal server error"),
    "quota": (402, "payment_required", None, "Payment required"),
    "context": (400, _INVALID, "3051", ""),
    "prompt_blocked": (403, "guardrail_violation", None, "The prompt was blocked by a guardrail."),
    "rate_limit": (429, "rate_limited", "1300", "Rate limit exceeded"),
    "too_large": (429, "rate_limited", "1300", "Rate limit exceeded"),
    "concurrency": (429, "rate_limited", "1300", "Too many requests in progress"),
    "status": (500, "internal_server_error", None, "The request could not be completed."),
}
"""Status, type, code and words; the refusal's own come first. Without a type the body has a ``detail`` alone."""


def error(refusal: Refusal, stamp: Stamp) -> ErrorReply:
    """An error with its headers."""
    usual, kind, code, words = _SHAPES[refusal.kind]
    status = refusal.status or usual
    message: Any = refusal.message or words
    if refusal.kind == "model_gone":
        message = f"Invalid model: {refusal.model}"
    elif refusal.overflow is not None:
        over = refusal.overflow
        message = (
            f"Prompt contains {over.tokens} tokens and 0 draft tokens, too large for model with {over.window} maximum "
            "context length"
        )
    lines = headers(stamp, refusal.gauges)
    if refusal.retry_after > 0:
        lines += header_lines({"retry-after": str(math.ceil(refusal.retry_after))})
    if not kind and status < 500:
        return ErrorReply(status, JSON, lines, to_json({"detail": message}))
    if status == 422:
        place = ["body", *(refusal.param or "").split(".")]
        message = {"detail": [{"type": refusal.code or "value_error", "loc": place, "msg": message}]}
        return ErrorReply(status, JSON, lines, to_json(_body(message, _INVALID, None, None)))
    return ErrorReply(status, JSON, lines, to_json(_body(message, kind, refusal.param, refusal.code or code)))


def _body(message: Any, kind: str, param: str | None, code: str | None) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": kind, "param": param, "code": code}


def headers(stamp: Stamp, gauges: tuple[Gauge, ...]) -> bytes:
    """The header lines of every response: the request's id, and what is left; when it is full again is not told."""
    lines = {"x-request-id": stamp.serial}
    for gauge in gauges:
        name = "req-minute" if gauge.dimension == "requests" else "tokens-minute"
        if gauge.dimension in ("requests", "tokens", "input_tokens"):
            lines[f"x-ratelimit-limit-{name}"] = str(gauge.limit)
            lines[f"x-ratelimit-remaining-{name}"] = str(gauge.remaining)
    return header_lines(lines)
