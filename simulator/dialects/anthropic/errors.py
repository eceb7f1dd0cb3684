"""Anthropic's errors and rate-limit headers, after recorded traffic (pure)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic_core import to_json

from simulator.conversation import Overflow, Refusal, RefusalKind, Stamp
from simulator.dialects.dialect import ErrorReply
from simulator.limits import Dimension, Exceeded, Gauge
from simulator.wire import JSON, header_lines


@dataclass(frozen=True, slots=True)
class Shape:
    """Status, type and words of an error, and what ``x-should-retry`` says."""

    status: int
    type: str
    message: str
    retry: bool = False


_INVALID = "invalid_request_error"
_SHAPES: dict[RefusalKind, Shape] = {
    "auth_missing": Shape(401, "authentication_error", "x-api-key header is required"),
    "auth": Shape(401, "authentication_error", "invalid x-api-key"),
    "permission": Shape(
        403, "permission_error", "Your API key does not have permission to use the specified resource."
    ),
    "bad_json": Shape(400, _INVALID, "The request body is not valid JSON"),
    "bad_request": Shape(400, _INVALID, "The request is invalid."),
    "method": Shape(405, _INVALID, "Method Not Allowed"),
    "not_found": Shape(404, "not_found_error", "Not found"),
    "model_gone": Shape(404, "not_found_error", ""),
    "overloaded": Shape(529, "overloaded_error", "Overloaded", retry=True),
    "server_error": Shape(500, "api_error", "Internal server error", retry=True),
    "quota": Shape(
        400,
        _INVALID,
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or "
        "purchase credits.",
    ),
    "context": Shape(400, _INVALID, "prompt is too long"),
    "prompt_blocked": Shape(400, _INVALID, "Output blocked by content filtering policy"),
    "rate_limit": Shape(
        429, "rate_limit_error", "This request would exceed your organization's rate limit.", retry=True
    ),
    "too_large": Shape(429, "rate_limit_error", "", retry=True),
    "concurrency": Shape(429, "rate_limit_error", "", retry=True),
    "status": Shape(500, "api_error", "The request could not be completed."),
}
_TYPES = {402: "billing_error", 413: "request_too_large", 504: "timeout_error"}


def error(refusal: Refusal, stamp: Stamp) -> ErrorReply:
    """An error with its headers."""
    shape = _SHAPES[refusal.kind]
    status = refusal.status or shape.status
    kind = shape.type
    message = refusal.message or shape.message
    if refusal.exceeded is not None:
        message = _rate_message(refusal.exceeded)
    elif refusal.overflow is not None:
        message = _context_message(refusal.overflow)
    elif refusal.kind == "model_gone":
        message = f"model: {refusal.model}"
    elif refusal.kind == "status":
        kind = _TYPES.get(status, _INVALID if status < 500 else "api_error")
    request_id = f"req_{stamp.serial}"
    body = to_json({"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id})
    retry = shape.retry or status >= 500
    lines = headers(stamp, refusal.gauges) + header_lines({"x-should-retry": "true" if retry else "false"})
    if refusal.retry_after > 0:
        lines += header_lines({"retry-after": str(math.ceil(refusal.retry_after))})
    return ErrorReply(status, JSON, lines, body)


_NAMES: dict[Dimension, str] = {
    "requests": "requests",
    "input_tokens": "input-tokens",
    "output_tokens": "output-tokens",
    "tokens": "tokens",
}


def headers(stamp: Stamp, gauges: tuple[Gauge, ...]) -> bytes:
    """The header lines of every response: request id, and how the limits stand."""
    lines = b"request-id: req_%b\r\n" % stamp.serial.encode()
    if not gauges:
        return lines
    rows: dict[str, str] = {}
    for gauge in gauges:
        name = f"anthropic-ratelimit-{_NAMES[gauge.dimension]}"
        rows[f"{name}-limit"] = str(gauge.limit)
        rows[f"{name}-remaining"] = str(gauge.remaining)
        rows[f"{name}-reset"] = rfc3339(stamp.created + gauge.full_in)
    return lines + header_lines(rows)


def rfc3339(seconds: float) -> str:
    """A time of the epoch, rounded up to a whole second."""
    return datetime.fromtimestamp(math.ceil(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _rate_message(exceeded: Exceeded) -> str:
    if exceeded.dimension == "concurrency":
        return (
            "Number of concurrent connections has exceeded your rate limit. Please try again later or contact sales at "
            "the address on the rate limits page to discuss your options for a rate limit increase."
        )
    span = {60.0: "minute", 3_600.0: "hour", 86_400.0: "day"}.get(exceeded.period, f"{exceeded.period:g} seconds")
    what = exceeded.dimension.replace("_", " ")
    return f"This request would exceed your organization's rate limit of {exceeded.limit:,} {what} per {span}."


def _context_message(over: Overflow) -> str:
    if over.tokens > over.window:
        return f"prompt is too long: {over.tokens} tokens > {over.window} maximum"
    return (
        f"input length and `max_tokens` exceed context limit: {over.tokens} + {over.reserved} > {over.window}, "
        "decrease input length or `max_tokens` and try again"
    )
