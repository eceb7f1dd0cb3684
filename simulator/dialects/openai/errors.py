"""OpenAI's errors and rate-limit headers, after recorded traffic (pure)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic_core import to_json

from simulator.conversation import Refusal, RefusalKind, Stamp
from simulator.dialects.dialect import ErrorReply
from simulator.limits import Dimension, Exceeded, Gauge
from simulator.wire import JSON, header_lines


@dataclass(frozen=True, slots=True)
class Shape:
    """Status, type, code and words of an error; the refusal's own words and code come first where it has any."""

    status: int
    type: str
    code: str | None
    message: str


_INVALID = "invalid_request_error"
_SHAPES: dict[RefusalKind, Shape] = {
    "auth_missing": Shape(
        401,
        _INVALID,
        None,
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
        "(i.e. Authorization: Bearer YOUR_KEY).",
    ),
    "auth": Shape(401, _INVALID, "invalid_api_key", "Incorrect API key provided: ****."),
    "permission": Shape(
        403,
        "request_forbidden",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    "bad_json": Shape(
        400,
        _INVALID,
        None,
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
        "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)",
    ),
    "bad_request": Shape(400, _INVALID, None, "The request is invalid."),
    "method": Shape(405, _INVALID, "method_not_supported", "Method not allowed."),
    "not_found": Shape(404, _INVALID, None, "Invalid URL"),
    "model_gone": Shape(404, _INVALID, "model_not_found", ""),
    "overloaded": Shape(
        503,
        "service_unavailable_error",
        "server_is_overloaded",
        "Our servers are currently overloaded. Please try again later.",
    ),
    "server_error": Shape(
        500,
        "server_error",
        None,
        "The server had an error processing your request. Sorry about that! You can retry your request.",
    ),
    "quota": Shape(
        429,
        "insufficient_quota",
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "context": Shape(400, _INVALID, "context_length_exceeded", ""),
    "prompt_blocked": Shape(
        400,
        _INVALID,
        "invalid_prompt",
        "Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again with a "
        "different prompt",
    ),
    "rate_limit": Shape(429, "requests", "rate_limit_exceeded", "Rate limit reached. Please try again later."),
    "too_large": Shape(429, "tokens", "rate_limit_exceeded", ""),
    "concurrency": Shape(429, "requests", "rate_limit_exceeded", "Too many requests in progress."),
    "status": Shape(500, "server_error", None, "The request could not be completed."),
}


def error(refusal: Refusal, stamp: Stamp) -> ErrorReply:
    """An error with its headers."""
    body = to_json({"error": described(refusal)})
    lines = headers(stamp, refusal.gauges)
    wait = refusal.retry_after
    if wait > 0:
        lines += header_lines({"retry-after": str(math.ceil(wait)), "retry-after-ms": str(math.ceil(wait * 1_000))})
    return ErrorReply(_status(refusal), JSON, lines, body)


def _status(refusal: Refusal) -> int:
    return refusal.status or _SHAPES[refusal.kind].status


def described(refusal: Refusal) -> dict[str, str | None]:
    """An error as an object: message, type, parameter and code."""
    shape = _SHAPES[refusal.kind]
    kind = shape.type
    message = refusal.message or shape.message
    exceeded = refusal.exceeded
    if exceeded is not None:
        kind = "tokens" if exceeded.dimension.endswith("tokens") else "requests"
        message = _rate_message(refusal, exceeded)
    elif refusal.kind == "status" and _status(refusal) < 500:
        kind = _INVALID
    elif refusal.overflow is not None:
        over = refusal.overflow
        message = (
            f"This model's maximum context length is {over.window} tokens. However, you requested "
            f"{over.tokens + over.reserved} tokens ({over.tokens} in the messages, {over.reserved} in the completion). "
            "Please reduce the length of the messages or completion."
        )
    elif refusal.kind == "model_gone":
        message = f"The model `{refusal.model}` does not exist or you do not have access to it."
    param = "messages" if refusal.overflow is not None else refusal.param
    return {"message": message, "type": kind, "param": param, "code": refusal.code or shape.code}


def headers(stamp: Stamp, gauges: tuple[Gauge, ...]) -> bytes:
    """The header lines of every response: versions, request id, and how the limits stand."""
    lines = b"openai-version: 2020-10-01\r\nopenai-processing-ms: 1\r\nx-request-id: req_%b\r\n" % stamp.serial.encode()
    return lines + _limit_lines(gauges) if gauges else lines


def go_duration(seconds: float) -> str:
    """A duration as Go prints it, which is how OpenAI does: ``0s``, ``6ms``, ``1.198s``, ``7m12s``.

    Rounded up to a millisecond.
    """
    milliseconds = math.ceil(seconds * 1_000 - 1e-6)
    if milliseconds <= 0:
        return "0s"
    if milliseconds < 1_000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1_000:g}s" if rest % 1_000 else f"{rest // 1_000}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _limit_lines(gauges: tuple[Gauge, ...]) -> bytes:
    """OpenAI has one header for tokens: the limit that has the least left, in proportion."""
    lines: dict[str, str] = {}
    requests = [gauge for gauge in gauges if gauge.dimension == "requests"]
    tokens = [gauge for gauge in gauges if gauge.dimension != "requests"]
    rows = [("requests", requests[0])] if requests else []
    if tokens:
        rows.append(("tokens", min(tokens, key=lambda gauge: gauge.remaining / gauge.limit)))
    for name, gauge in rows:
        lines[f"x-ratelimit-limit-{name}"] = str(gauge.limit)
        lines[f"x-ratelimit-remaining-{name}"] = str(gauge.remaining)
        lines[f"x-ratelimit-reset-{name}"] = go_duration(gauge.full_in)
    return header_lines(lines)


_UNITS: dict[Dimension, tuple[str, str]] = {
    "requests": ("requests", "R"),
    "input_tokens": ("input tokens", "IT"),
    "output_tokens": ("output tokens", "OT"),
    "tokens": ("tokens", "T"),
    "concurrency": ("concurrent requests", ""),
}


def _rate_message(refusal: Refusal, exceeded: Exceeded) -> str:
    noun, letter = _UNITS[exceeded.dimension]
    span, initial = {60.0: ("min", "M"), 86_400.0: ("day", "D")}.get(exceeded.period, (f"{exceeded.period:g}s", "P"))
    what = f"{noun} per {span} ({letter}P{initial})" if letter else noun
    if exceeded.too_large:
        return (
            f"Request too large for {refusal.model} in organization org-simulated on {what}: Limit {exceeded.limit}, "
            f"Requested {exceeded.asked}. The input or output tokens must be reduced in order to run successfully."
        )
    return (
        f"Rate limit reached for {refusal.model} in organization org-simulated on {what}: Limit {exceeded.limit}, "
        f"Used {exceeded.used}, Requested {exceeded.asked}. "
        f"Please try again in {go_duration(exceeded.retry_after)}."
    )
