"""Error answers of many providers, and the kind each of them is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from catalogue.quirks import Quirks
from job_contracts.failures import FailureKind
from workers.dialects.failures import classify, classify_in_band

K = FailureKind


def openai(message: str, code: str | None = None, type: str = "invalid_request_error", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": None, "code": code, **more}}


def anthropic(type: str, message: str, **details: Any) -> dict[str, Any]:
    return {"type": "error", "error": {"type": type, "message": message, **details}, "request_id": "req_1"}


def gemini(code: int, status: str, message: str = "", *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def quota(name: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name}]}


def retry_info(delay: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


CASES: list[tuple[FailureKind, int, Any]] = [
    # money outweighs the status
    (K.QUOTA_EXHAUSTED, 429, openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota")),
    (K.QUOTA_EXHAUSTED, 429, openai("x", "billing_not_active", "billing_not_active")),
    (K.QUOTA_EXHAUSTED, 429, openai("x", "project_spend_limit_exceeded", "insufficient_quota")),
    (K.QUOTA_EXHAUSTED, 400, anthropic("invalid_request_error", "Your credit balance is too low to access the API.")),
    (K.QUOTA_EXHAUSTED, 400, anthropic("invalid_request_error", "You have reached your specified API usage limits.")),
    (
        K.QUOTA_EXHAUSTED,
        429,
        anthropic("rate_limit_error", "x", details={"error_code": "enforced_spend_limit_reached"}),
    ),
    (K.QUOTA_EXHAUSTED, 402, openai("Insufficient credits")),
    (K.QUOTA_EXHAUSTED, 402, b""),
    (K.QUOTA_EXHAUSTED, 429, gemini(429, "RESOURCE_EXHAUSTED", "quota", quota("GenerateRequestsPerDayPerProject"))),
    (K.QUOTA_EXHAUSTED, 429, gemini(429, "RESOURCE_EXHAUSTED", "Quota exceeded for metric: x, limit: 0, model: m")),
    (K.QUOTA_EXHAUSTED, 429, {"message": "Too many tokens per day, please wait before trying again."}),
    (K.QUOTA_EXHAUSTED, 403, {"code": "x", "error": "Your team has either used all available credits or reached its"}),
    (K.QUOTA_EXHAUSTED, 429, openai("Please retry after 86400 seconds.", "429")),
    # throttles that speak of quotas
    (K.RATE_LIMIT, 429, gemini(429, "RESOURCE_EXHAUSTED", "exceeded your current quota", quota("RequestsPerMinute"))),
    (K.RATE_LIMIT, 429, openai("Rate limit reached on requests per day (RPD). Please try again in 7m12s.")),
    (K.RATE_LIMIT, 402, openai("in_flight_budget exceeded, retry", "in_flight_budget")),
    # larger than the limit
    (
        K.REQUEST_EXCEEDS_LIMIT,
        400,
        openai("Requested 416735 tokens, max 300000 tokens per request", "max_tokens_per_request"),
    ),
    (
        K.REQUEST_EXCEEDS_LIMIT,
        400,
        openai("<400> Value error, batch size is invalid, it should not be larger than 10.", "InvalidParameter"),
    ),
    (
        K.REQUEST_EXCEEDS_LIMIT,
        400,
        gemini(400, "INVALID_ARGUMENT", "* requests: at most 100 requests can be in one batch"),
    ),
    (K.REQUEST_EXCEEDS_LIMIT, 422, {"error": "batch size 64 > maximum allowed batch size 32", "error_type": "x"}),
    (K.CONTEXT_OVERFLOW, 400, {"error": "the input length exceeds the context length"}),
    (K.REQUEST_EXCEEDS_LIMIT, 429, openai("Request too large for gpt-4o on tokens per min (TPM): Limit 30000", "x")),
    (K.REQUEST_EXCEEDS_LIMIT, 413, openai("Request too large for model on tokens per minute (TPM)", "x")),
    (K.REQUEST_EXCEEDS_LIMIT, 413, anthropic("request_too_large", "Request exceeds the maximum size")),
    (K.REQUEST_EXCEEDS_LIMIT, 413, b"<html><h1>413 Request Entity Too Large</h1></html>"),
    # context
    (
        K.CONTEXT_OVERFLOW,
        400,
        openai("This model's maximum context length is 128000 tokens.", "context_length_exceeded"),
    ),
    (K.CONTEXT_OVERFLOW, 400, anthropic("invalid_request_error", "prompt is too long: 200001 tokens > 200000 maximum")),
    (K.CONTEXT_OVERFLOW, 400, anthropic("invalid_request_error", "input length and `max_tokens` exceed context limit")),
    (K.CONTEXT_OVERFLOW, 400, gemini(400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number")),
    (K.BAD_REQUEST, 400, openai("Invalid 'user': string too long.", "string_above_max_length")),
    (K.RATE_LIMIT, 429, {"message": "Too many tokens, please wait before trying again."}),
    # policy
    (K.CONTENT_POLICY, 400, openai("The response was filtered", "content_filter")),
    (
        K.CONTENT_POLICY,
        400,
        openai("Invalid prompt: flagged as potentially violating our usage policy", "invalid_prompt"),
    ),
    (K.CONTENT_POLICY, 403, openai("Your input was flagged.")),
    (K.CONTENT_POLICY, 400, anthropic("invalid_request_error", "Output blocked by content filtering policy")),
    # keys and rights
    (K.AUTH, 401, openai("Incorrect API key provided: sk-...", "invalid_api_key")),
    (K.AUTH, 401, b"<html>401 Authorization Required</html>"),
    (K.AUTH, 400, {"code": "invalid-argument", "error": "Incorrect API key provided."}),
    (K.AUTH, 400, gemini(400, "INVALID_ARGUMENT", "API key not valid.", {"reason": "API_KEY_INVALID"})),
    (K.AUTH, 403, {"message": "The security token included in the request is expired"}),
    (K.PERMISSION, 403, anthropic("permission_error", "Your key may not use this resource")),
    (K.PERMISSION, 403, openai("Country, region, or territory not supported", "unsupported_country_region_territory")),
    (K.PERMISSION, 400, gemini(400, "FAILED_PRECONDITION", "User location is not supported for the API use.")),
    # the model
    (K.MODEL_NOT_FOUND, 404, openai("The model `x` does not exist", "model_not_found")),
    (K.MODEL_NOT_FOUND, 404, anthropic("not_found_error", "model: claude-sonet-4-5")),
    (K.MODEL_NOT_FOUND, 400, openai("The requested model 'x' does not exist.", "model_not_found")),
    (K.MODEL_NOT_FOUND, 400, openai("The model `x` has been decommissioned", "model_decommissioned")),
    # load
    (K.OVERLOADED, 529, anthropic("overloaded_error", "Overloaded")),
    (K.OVERLOADED, 503, b""),
    (K.OVERLOADED, 429, {"error": {"type": "engine_overloaded_error", "message": "The engine is overloaded"}}),
    (K.OVERLOADED, 429, {"message": "We're experiencing high traffic right now!", "code": "queue_exceeded"}),
    (K.OVERLOADED, 503, gemini(503, "UNAVAILABLE", "The model is overloaded.")),
    (K.OVERLOADED, 429, openai("Please slow down", "slow_down")),
    # throttles
    (K.RATE_LIMIT, 429, openai("Rate limit reached for gpt-4o", "rate_limit_exceeded", "requests")),
    (K.RATE_LIMIT, 429, anthropic("rate_limit_error", "This request would exceed your rate limit")),
    (K.RATE_LIMIT, 429, b""),
    # the rest
    (K.MODEL_OUTPUT_INVALID, 400, openai("Failed to call a function", "tool_use_failed", failed_generation="x")),
    (K.UNSUPPORTED_PARAM, 400, openai("Unsupported parameter: 'max_tokens'", "unsupported_parameter")),
    (K.UNSUPPORTED_PARAM, 400, anthropic("invalid_request_error", "temperature: Extra inputs are not permitted")),
    (K.BAD_REQUEST, 400, anthropic("invalid_request_error", "messages.0: Input does not match the expected shape.")),
    (K.BAD_REQUEST, 422, {"detail": [{"loc": ["body"], "msg": "field required", "type": "value_error"}]}),
    (K.SERVER_ERROR, 500, anthropic("api_error", "Internal server error")),
    (K.SERVER_ERROR, 502, b"<html>Bad gateway</html>"),
    (K.SERVER_ERROR, 504, b""),
    (K.SERVER_ERROR, 408, b""),
    (K.MALFORMED_RESPONSE, 302, b""),
]


@pytest.mark.parametrize(("kind", "status", "body"), CASES)
def test_the_most_telling_sign_decides(kind: FailureKind, status: int, body: Any) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    failure = classify(status, {}, data, Quirks(), provider="p")
    assert failure.kind is kind
    assert (failure.status, failure.provider) == (status, "p")
    assert failure.message.startswith(f"HTTP {status}: ")


def test_a_code_may_mean_something_else_at_one_provider() -> None:
    body = json.dumps(openai("You exceeded your current quota", "insufficient_quota")).encode()
    assert classify(429, {}, body, Quirks(error_kinds=("insufficient_quota=rate_limit",))).kind is K.RATE_LIMIT
    assert classify(413, {}, b"", Quirks(error_kinds=("413=context_overflow",))).kind is K.CONTEXT_OVERFLOW


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"retry-after": "37"}, b"", 37),
        ({"retry-after": "2", "retry-after-ms": "1440"}, json.dumps(openai("try again in 1.44s")).encode(), 2),
        ({}, json.dumps(openai("Please try again in 7m12s.")).encode(), 432),
        ({}, json.dumps(gemini(429, "RESOURCE_EXHAUSTED", "", retry_info("48s"))).encode(), 48),
        ({}, b'{"error": "Model m is currently loading", "estimated_time": 20.0}', 20),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "8.64s"}, b"", 8.64),
        ({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "8.64s"}, b"", None),
        (
            {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "8.64s", "retry-after": "3"},
            b"",
            3,
        ),
        ({}, b"", None),
    ],
)
def test_the_wait_is_the_longest_one_stated_else_the_reset_of_what_is_empty(
    headers: dict[str, str], body: bytes, seconds: float | None
) -> None:
    assert classify(429, headers, body, Quirks()).retry_after == seconds


def test_the_offending_parameter_and_the_code_are_named() -> None:
    body = {"error": {"message": "no", "type": "invalid_request_error", "param": "tools[0].name", "code": "bad_name"}}
    failure = classify(400, {}, json.dumps(body).encode(), Quirks())
    assert (failure.field, failure.code) == ("tools[0].name", "bad_name")


def test_a_key_that_the_provider_repeats_is_not_repeated_again() -> None:
    key = "sk-proj-0123456789abcdefABCDEF"
    body = json.dumps(openai(f"Incorrect API key provided: {key}. Find yours.", "invalid_api_key")).encode()
    message = classify(401, {}, body, Quirks()).message
    assert key not in message
    assert "(redacted)" in message
    assert key not in classify(401, {}, f"no such key {key}".encode(), Quirks()).message


@pytest.mark.parametrize("word", ["claude-sonnet-4-5-20250929", "rate_limit_exceeded", "req_011CWdN9pQjsMGioSTihLhYk"])
def test_names_of_models_codes_and_requests_are_no_keys(word: str) -> None:
    assert word in classify(404, {}, json.dumps(openai(f"about {word}")).encode(), Quirks()).message


def test_an_error_inside_an_answer_takes_its_status_from_the_body() -> None:
    assert classify_in_band({"error": {"code": 502, "message": "x"}}, Quirks()).kind is K.SERVER_ERROR
    assert classify_in_band({"error": {"code": 429, "message": "x"}}, Quirks()).status == 429
    assert classify_in_band({"error": {"type": "invalid_request_error"}}, Quirks()).kind is K.BAD_REQUEST
    assert classify_in_band("something went wrong", Quirks()).kind is K.SERVER_ERROR
    overflow = {"error": {"message": "The number of tokens is greater than the context length."}}
    assert classify_in_band(overflow, Quirks()).kind is K.CONTEXT_OVERFLOW


def test_an_endless_or_bottomless_body_is_read_in_part() -> None:
    deep = json.dumps({"error": json.loads("[" * 200 + "]" * 200)}).encode()
    assert classify(400, {}, deep, Quirks()).kind is K.BAD_REQUEST
    long = json.dumps(openai("x" * 50_000)).encode()
    assert len(classify(400, {}, long, Quirks()).message) <= 600
    assert classify(503, {}, b'{"error": "' + b"x" * 10_000_000, Quirks()).kind is K.OVERLOADED
