"""Gemini's errors, after recorded traffic; it announces its limits in the body of a 429 alone (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from simulator.conversation import Refusal, RefusalKind
from simulator.dialects.dialect import ErrorReply, Route
from simulator.limits import Dimension, Exceeded
from simulator.wire import JSON

HEADERS = b"server: scaffolding on HTTPServer2\r\nserver-timing: gfet4t7; dur=1\r\n"


@dataclass(frozen=True, slots=True)
class Shape:
    """Status, its name and the words of an error."""

    status: int
    name: str
    message: str


_QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "head to the page on rate limits."
)
_SHAPES: dict[RefusalKind, Shape] = {
    "auth_missing": Shape(
        403,
        "PERMISSION_DENIED",
        "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other "
        "form of API consumer identity to call this API.",
    ),
    "auth": Shape(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
    "permission": Shape(403, "PERMISSION_DENIED", "Permission denied: Consumer has been suspended."),
    "bad_json": Shape(400, "INVALID_ARGUMENT", "Invalid JSON payload received."),
    "bad_request": Shape(400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
    "method": Shape(405, "UNIMPLEMENTED", "Method not allowed."),
    "not_found": Shape(404, "NOT_FOUND", "The requested URL was not found on this server."),
    "model_gone": Shape(404, "NOT_FOUND", ""),
    "overloaded": Shape(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "server_error": Shape(500, "INTERNAL", "An internal error has occurred. Please retry."),
    "quota": Shape(429, "RESOURCE_EXHAUSTED", _QUOTA),
    "context": Shape(400, "INVALID_ARGUMENT", ""),
    "prompt_blocked": Shape(200, "", ""),
    "rate_limit": Shape(429, "RESOURCE_EXHAUSTED", _QUOTA),
    "too_large": Shape(429, "RESOURCE_EXHAUSTED", _QUOTA),
    "concurrency": Shape(429, "RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later."),
    "status": Shape(500, "INTERNAL", "The request could not be completed."),
}
_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}


def error(refusal: Refusal, route: Route | None) -> ErrorReply:
    """An error; a stream that is a JSON array has its errors in an array too."""
    body = to_json(_blocked(refusal) if refusal.kind == "prompt_blocked" else _body(refusal))
    if route is not None and not route.sse:
        body = b"[%b]" % body
    elif refusal.kind == "prompt_blocked" and route is not None and route.stream:
        body = b"data: %b\r\n\r\n" % body
    return ErrorReply(refusal.status or _SHAPES[refusal.kind].status, JSON, HEADERS, body)


def _body(refusal: Refusal) -> dict[str, Any]:
    shape = _SHAPES[refusal.kind]
    status = refusal.status or shape.status
    name = _NAMES.get(status, "UNKNOWN") if refusal.status else shape.name
    message = refusal.message or shape.message
    details: list[dict[str, Any]] = []
    if refusal.kind == "auth":
        details = [_info("API_KEY_INVALID")]
    elif refusal.kind == "permission":
        details = [_info("CONSUMER_SUSPENDED")]
    elif refusal.kind == "model_gone":
        message = (
            f"models/{refusal.model} is not found for API version v1beta, or is not supported for generateContent. "
            "Call ListModels to see the list of available models and their supported methods."
        )
    elif refusal.overflow is not None:
        over = refusal.overflow
        message = (
            f"The input token count ({over.tokens + over.reserved}) exceeds the maximum number of tokens allowed "
            f"({over.window})."
        )
    elif refusal.kind == "quota":
        details = [_quota_failure("requests", 86_400.0, 0, refusal.model)]
    elif refusal.exceeded is not None and refusal.exceeded.dimension != "concurrency":
        exceeded = refusal.exceeded
        details = [_quota_failure(exceeded.dimension, exceeded.period, exceeded.limit, refusal.model)]
        message += _quota_line(exceeded, refusal.model)
    if refusal.retry_after > 0:
        details.append(
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{_seconds(refusal.retry_after)}s"}
        )
    body: dict[str, Any] = {"code": status, "message": message, "status": name}
    if details:
        body["details"] = details
    return {"error": body}


def _blocked(refusal: Refusal) -> dict[str, Any]:
    return {
        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
        "usageMetadata": {"promptTokenCount": 8, "totalTokenCount": 8},
        "modelVersion": refusal.model,
    }


def _info(reason: str) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com"},
    }


_METRICS: dict[Dimension, tuple[str, str]] = {
    "requests": ("generate_requests_per_model", "GenerateRequests"),
    "input_tokens": ("generate_content_input_token_count", "GenerateContentInputTokens"),
    "output_tokens": ("generate_content_output_token_count", "GenerateContentOutputTokens"),
    "tokens": ("generate_content_token_count", "GenerateContentTokens"),
}


def _quota_failure(dimension: Dimension, period: float, limit: int, model: str) -> dict[str, Any]:
    metric, quota = _METRICS[dimension]
    span = {60.0: "PerMinute", 86_400.0: "PerDay"}.get(period, f"Per{period:g}Seconds")
    return {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [
            {
                "quotaMetric": f"generativelanguage.googleapis.com/{metric}",
                "quotaId": f"{quota}{span}PerProjectPerModel",
                "quotaDimensions": {"location": "global", "model": model},
                "quotaValue": str(limit),
            }
        ],
    }


def _quota_line(exceeded: Exceeded, model: str) -> str:
    metric = _METRICS[exceeded.dimension][0]
    return (
        f" \n* Quota exceeded for metric: generativelanguage.googleapis.com/{metric}, limit: {exceeded.limit}, model: "
        f"{model}\nPlease retry in {_seconds(exceeded.retry_after)}s."
    )


def _seconds(value: float) -> str:
    """Seconds with at most three decimals, never rounded down."""
    return f"{-(-value * 1_000 // 1) / 1_000:.3f}".rstrip("0").rstrip(".")
