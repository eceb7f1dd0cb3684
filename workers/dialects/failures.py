"""Which kind of failure an error answer is: one ordered table for all dialects, the most telling sign first.

The status alone is right in two cases of three: an exhausted balance comes as 429 or 400, an overload as 429, a wrong
key as 400. So codes and phrases are looked at in the order in which they outweigh one another, and the status decides
what is left. Codes that mean something else at one provider are quirks of its row (``error_kinds``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from job_contracts.failures import Failure, FailureKind
from workers.dialects.errors import Told, told, without_secrets
from workers.dialects.limits import fullest_wait
from workers.dialects.waits import retry_after, said

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalogue.quirks import Quirks

_K = FailureKind
_LONG = 3600.0
"""A stated wait from which a throttle with a daily or monthly quota in it is an exhausted quota."""
_DAY = 86400.0
_MAX_MESSAGE = 600
_BODY = 65536
"""How much of an error body is read."""


@dataclass(frozen=True, slots=True)
class Sign:
    """A kind, and what shows it: one of the codes, or one of the phrases if the status allows them."""

    kind: FailureKind
    codes: frozenset[str] = frozenset()
    phrases: tuple[str, ...] = ()
    statuses: frozenset[int] = frozenset()
    unless: tuple[str, ...] = ()
    """Phrases that take the sign back."""


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


SIGNS: tuple[Sign, ...] = (
    Sign(
        _K.QUOTA_EXHAUSTED,
        codes=_codes(
            "insufficient_quota credit_balance_exhausted billing_not_active billing_hard_limit_reached "
            "project_spend_limit_exceeded organization_spend_limit_exceeded organization_usage_limit_exceeded "
            "project_usage_limit_exceeded enforced_spend_limit_reached billing_error exceeded_current_quota_error "
            "payment_required insufficient_credits insufficient_balance arrearage"
        ),
        phrases=(
            "credit balance is too low",
            "specified api usage limits",
            "insufficient balance",
            "insufficient credits",
            "insufficient funds",
            "used all available credits",
            "monthly spending limit",
            "spending limit",
            "spend limit",
            "out of credits",
            "prepayment credits are depleted",
            "check your plan and billing details on our website",
            "billing hard limit",
            "account is not active, please check your billing",
            "payment required",
            "free tier of the model has been exhausted",
            "account balance",
            "calls / month",
            "too many tokens per day",
            "in arrears",
            "overdue payment",
        ),
        statuses=frozenset({402}),
        unless=("in_flight_budget",),
    ),
    Sign(
        _K.REQUEST_EXCEEDS_LIMIT,
        codes=_codes("request_too_large weight_exceeds_budget max_tokens_per_request"),
        phrases=(
            "request too large",
            "weight_exceeds_budget",
            "request entity too large",
            "payload too large",
            # too many texts to be embedded in one call
            "requests can be in one batch",
            "total number of texts must be at most",
            "batch size is invalid, it should not be larger than",
            "maximum allowed batch size",
            "too many inputs in request",
            "too many tokens in batch",
        ),
    ),
    Sign(
        _K.CONTEXT_OVERFLOW,
        codes=_codes("context_length_exceeded exceed_context_size_error too_many_prompt_tokens too_many_tokens"),
        phrases=(
            "maximum context length",
            "context length exceeded",
            "context_length_exceeded",
            "exceeds the context window",
            "exceeds the context length",
            "exceed context limit",
            "exceeds the available context",
            "exceeds context",
            "context window",
            "prompt is too long",
            "prompt too long",
            "input is too long",
            "input tokens exceeded",
            "input token count",
            "exceeds the maximum number of tokens",
            "maximum prompt length",
            "reduce the length of the messages",
            "too large for model with",
            "range of input length",
            "prompt exceeds max length",
            "total length of all messages is too long",
            "too many tokens: size limit exceeded",
            "greater than the context length",
            "exceeds the context length",
            "inputs` tokens + `max_new_tokens` must be",
            "input length and `max_tokens` exceed",
            "token limit exceeded",
            "exceeded the model's context",
            "exceeds the model's maximum context",
            "prompt token count",
            "longer than the model's context length",
            "please reduce your prompt",
        ),
        unless=("please wait before trying again", "string too long", "tokens per min", "per minute"),
    ),
    Sign(
        _K.CONTENT_POLICY,
        codes=_codes(
            "content_filter content_policy_violation data_inspection_failed responsibleaipolicyviolation "
            "invalid_prompt moderation_blocked content_policy"
        ),
        phrases=(
            "content management policy",
            "content policy",
            "usage policy",
            "output blocked",
            "inappropriate content",
            "unsafe or sensitive content",
            "your input was flagged",
            "requires moderation",
            "blocked by content filtering",
            "new_sensitive",
            "safety system",
        ),
        unless=("rate limit",),
    ),
    Sign(
        _K.AUTH,
        codes=_codes("invalid_api_key api_key_invalid authentication_error unauthenticated expiredtokenexception"),
        phrases=(
            "incorrect api key",
            "invalid api key",
            "invalid x-api-key",
            "api key not valid",
            "api key expired",
            "security token",
        ),
        statuses=frozenset({401}),
    ),
    Sign(
        _K.PERMISSION,
        codes=_codes("unsupported_country_region_territory permission_error permission_denied request_forbidden"),
        phrases=("user location is not supported", "country, region, or territory not supported"),
    ),
    Sign(
        _K.MODEL_NOT_FOUND,
        codes=_codes(
            "model_not_found deploymentnotfound invalid_model model_decommissioned model_not_available notfounderror"
        ),
        phrases=(
            "model identifier is invalid",
            "has been decommissioned",
            "has been deprecated",
            "was removed on",
            "is not found for api version",
            "no such model",
            "invalid model",
            "not a valid model",
            "on-demand throughput isn",
            "model does not exist",
            "unknown model",
        ),
        statuses=frozenset({404, 410}),
    ),
    Sign(
        _K.OVERLOADED,
        codes=_codes(
            "overloaded_error server_is_overloaded engine_overloaded engine_overloaded_error queue_exceeded "
            "capacity_exceeded service_tier_capacity_exceeded slow_down model_overloaded service_overloaded "
            "service_unavailable_error unavailable nocapacity"
        ),
        phrases=(
            "overloaded",
            "high demand",
            "high traffic",
            "server busy",
            "too busy",
            "currently loading",
            "over capacity",
            "capacity exceeded",
            "not ready for inference",
        ),
        statuses=frozenset({498, 503, 529}),
    ),
    Sign(
        _K.RATE_LIMIT,
        codes=_codes(
            "rate_limit_exceeded rate_limit_error rate_limit_reached rate_limit_reached_error rate_limited "
            "too_many_requests resource_exhausted throttlingexception"
        ),
        phrases=("rate limit", "too many requests", "rate-limited", "in_flight_budget"),
        statuses=frozenset({429}),
        unless=("maximum length",),
    ),
    Sign(
        _K.MODEL_OUTPUT_INVALID,
        codes=_codes("tool_use_failed json_validate_failed output_parse_failed"),
        phrases=("tool call validation failed", "failed to generate json"),
    ),
)

_UNSUPPORTED_CODES = _codes("unsupported_parameter unsupported_value unknown_parameter extra_forbidden")
_UNSUPPORTED_PHRASES = (
    "unsupported parameter",
    "unsupported value",
    "not supported with this model",
    "is not supported by this model",
    "does not support",
    "doesn't support",
    "unrecognized request argument",
    "unknown parameter",
    "extra inputs are not permitted",
    "unknown name",
    "not supported for this model",
)
_PER_DAY = ("per day", "daily", "perday", "/day", "per month", "(rpd)", "(tpd)")


def classify(
    status: int, headers: Mapping[str, str], body: bytes, quirks: Quirks, *, provider: str | None = None
) -> Failure:
    """The failure that an answer with this status is. Header names are lower case; never raises on any bytes."""
    about, page = _about(body)
    wait = _wait(about, headers)
    kind = _kind(status, about, wait, quirks)
    message = about.message or (readable(page) if page else "") or "no explanation"
    return Failure(
        kind=kind,
        message=without_secrets(f"HTTP {status}: {message}")[:_MAX_MESSAGE],
        field=about.parameter,
        status=status,
        code=_code(about),
        retry_after=wait,
        provider=provider,
    )


def classify_in_band(error: Any, quirks: Quirks) -> Failure:
    """The failure that an error object inside a 200 answer or a stream is."""
    about = told(error)
    wait = _wait(about, {})
    return Failure(
        kind=_kind(about.status, about, wait, quirks),
        message=without_secrets(about.message or "an error without explanation")[:_MAX_MESSAGE],
        field=about.parameter,
        status=about.status,
        code=_code(about),
        retry_after=wait,
    )


def readable(data: bytes) -> str:
    """The beginning of bytes that were not understood, as one line of text."""
    text = " ".join(data[:400].decode("utf-8", "replace").split())
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}…"


_EXCERPT = 160


def _about(body: bytes) -> tuple[Told, bytes]:
    """What the body says, and the body itself if it is no JSON."""
    text = body[:_BODY].strip()
    for candidate in (text, text.removeprefix(b"data:")):
        if candidate[:1] in (b"{", b"[", b'"'):
            try:
                return told(from_json(candidate)), b""
            except ValueError:
                break
    plain = "" if text[:1] == b"<" else text.decode("utf-8", "replace")
    return told(plain), text


def _code(about: Told) -> str | None:
    specific = [code for code in about.codes if not code.isdecimal() and code not in _EMPTY_CODES]
    return next(iter(specific or about.codes), None)


_EMPTY_CODES = frozenset({"error", "invalid_request_error"})


def _wait(about: Told, headers: Mapping[str, str]) -> float | None:
    """The longest wait stated anywhere; the reset of a bucket counts only if nothing else says more."""
    stated = [wait for wait in (retry_after(headers), about.wait, said(about.words)) if wait]
    return max(stated) if stated else fullest_wait(headers)


def _kind(status: int | None, about: Told, wait: float | None, quirks: Quirks) -> FailureKind:
    codes = {code.lower() for code in about.codes}
    own = _own_kind(quirks, codes, status)
    if own is not None:
        return own
    if _is_used_up(status, about, wait):
        return _K.QUOTA_EXHAUSTED
    for sign in SIGNS:
        if _shows(sign, status, codes, about.words):
            return sign.kind
    if status is not None and status >= 500:
        return _K.SERVER_ERROR
    if codes & _UNSUPPORTED_CODES or any(phrase in about.words for phrase in _UNSUPPORTED_PHRASES):
        return _K.UNSUPPORTED_PARAM
    return _by_status(status, codes)


def _own_kind(quirks: Quirks, codes: set[str], status: int | None) -> FailureKind | None:
    if not quirks.error_kinds:
        return None
    own = {code.lower(): kind for code, _, kind in (entry.rpartition("=") for entry in quirks.error_kinds)}
    for code in (*codes, str(status)):
        if code in own:
            return FailureKind(own[code])
    return None


def _is_used_up(status: int | None, about: Told, wait: float | None) -> bool:
    """A throttle whose window is a day or longer, or whose limit is nothing at all, is a quota that is used up."""
    if status not in {None, 403, 429}:
        return False
    if any("perday" in quota.lower() or "permonth" in quota.lower() for quota in about.quotas):
        return True
    if "limit: 0," in about.words or about.words.endswith("limit: 0"):
        return True
    if wait is not None and wait >= _DAY:
        return True
    return (wait is None or wait >= _LONG) and any(phrase in about.words for phrase in _PER_DAY)


def _shows(sign: Sign, status: int | None, codes: set[str], words: str) -> bool:
    if any(phrase in words for phrase in sign.unless):
        return False
    return (
        (status is not None and status in sign.statuses)
        or not sign.codes.isdisjoint(codes)
        or any(phrase in words for phrase in sign.phrases)
    )


def _by_status(status: int | None, codes: set[str]) -> FailureKind:
    if status is None:
        return _K.BAD_REQUEST if "invalid_request_error" in codes else _K.SERVER_ERROR
    if status == 403:
        return _K.PERMISSION
    if status in {408, 409, 425}:
        return _K.SERVER_ERROR
    if status == 413:
        return _K.REQUEST_EXCEEDS_LIMIT
    if status < 400:
        return _K.MALFORMED_RESPONSE
    return _K.BAD_REQUEST
