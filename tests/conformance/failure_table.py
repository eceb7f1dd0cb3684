"""Failures of every provider as their documentation and their users describe them: status, headers, body, kind, wait.

A row: the provider whose quirks apply (empty: none), the status (0: inside an answer, no status), headers, the body,
the kind it is, and the seconds to wait if any are stated. The sentences are our own after the sense of the originals;
codes and the words that tell the kind are the providers'.
"""

from __future__ import annotations

from typing import Any

from job_contracts.failures import FailureKind

K = FailureKind
Row = tuple[str, int, dict[str, str], Any, FailureKind, float | None]

QUOTA, RATE, LARGE, OVERFLOW = K.QUOTA_EXHAUSTED, K.RATE_LIMIT, K.REQUEST_EXCEEDS_LIMIT, K.CONTEXT_OVERFLOW
POLICY, AUTH, PERMISSION, GONE = K.CONTENT_POLICY, K.AUTH, K.PERMISSION, K.MODEL_NOT_FOUND
BUSY, SERVER, PARAM, BAD, OUTPUT = (
    K.OVERLOADED,
    K.SERVER_ERROR,
    K.UNSUPPORTED_PARAM,
    K.BAD_REQUEST,
    K.MODEL_OUTPUT_INVALID,
)
NONE: dict[str, str] = {}
DATE = {"date": "Fri, 27 Nov 2026 12:00:00 GMT"}


def oa(message: str, code: Any = None, type: str = "invalid_request_error", param: str | None = None) -> dict[str, Any]:
    """OpenAI's form."""
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


def an(type: str, message: str, **more: Any) -> dict[str, Any]:
    """Anthropic's form."""
    return {"type": "error", "error": {"type": type, "message": message, **more}, "request_id": "req_1"}


def go(code: int, status: str, message: str, *details: dict[str, Any]) -> dict[str, Any]:
    """Google's form."""
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def info(reason: str, **metadata: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "metadata": metadata}


def quota(name: str, **more: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name, **more}]}


def delay(text: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": text}


def aws(name: str) -> dict[str, str]:
    return {"x-amzn-errortype": f"{name}:http://internal.amazon.com/coral/com.amazon.bedrock/"}


HTML = b"<!DOCTYPE html><html><head><title>Attention</title></head><body>blocked</body></html>"

MONEY: tuple[Row, ...] = (
    ("", 429, NONE, oa("Quota exceeded, see plan.", "insufficient_quota", "insufficient_quota"), QUOTA, None),
    ("", 429, NONE, oa("No credit left.", "credit_balance_exhausted", "insufficient_quota"), QUOTA, None),
    ("", 429, NONE, oa("Over the cap.", "project_spend_limit_exceeded", "limit"), QUOTA, None),
    ("", 429, NONE, oa("Over the cap.", "organization_spend_limit_exceeded", "limit"), QUOTA, None),
    ("", 429, NONE, oa("Over the cap.", "user_usage_limit_exceeded", "limit"), QUOTA, None),
    ("", 429, NONE, oa("Over the cap.", "billing_hard_limit_reached", "limit"), QUOTA, None),
    ("", 429, NONE, oa("Your account is not active, please check your billing.", "billing_not_active"), QUOTA, None),
    ("", 429, NONE, oa("You exceeded your current quota, please check your plan and billing details."), QUOTA, None),
    ("", 400, NONE, an("invalid_request_error", "Your credit balance is too low for this API."), QUOTA, None),
    ("", 402, NONE, an("billing_error", "There is a problem with the invoice."), QUOTA, None),
    ("", 429, NONE, an("rate_limit_error", "x", details={"error_code": "enforced_spend_limit_reached"}), QUOTA, None),
    (
        "",
        400,
        DATE,
        an(
            "invalid_request_error",
            "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
        ),
        QUOTA,
        302400.0,
    ),
    (
        "",
        429,
        NONE,
        go(
            429,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota, please check your plan and billing details.",
            quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
            delay("46s"),
        ),
        QUOTA,
        46.0,
    ),
    (
        "",
        429,
        NONE,
        go(429, "RESOURCE_EXHAUSTED", "Quota exceeded", quota("GenerateRequestsPerMinute", quotaValue="0")),
        QUOTA,
        None,
    ),
    ("", 429, NONE, go(429, "RESOURCE_EXHAUSTED", "Prepayment credits are depleted."), QUOTA, None),
    ("", 429, NONE, go(429, "RESOURCE_EXHAUSTED", "Your project has exceeded its monthly spending cap."), QUOTA, None),
    (
        "",
        403,
        NONE,
        go(403, "PERMISSION_DENIED", "This API method requires billing to be enabled.", info("BILLING_DISABLED")),
        QUOTA,
        None,
    ),
    (
        "",
        429,
        aws("ThrottlingException"),
        {"message": "Too many tokens per day, please wait before trying again."},
        QUOTA,
        None,
    ),
    ("zhipu", 429, NONE, oa("Insufficient balance or no resource package. Please recharge.", "1113"), QUOTA, None),
    (
        "zhipu",
        429,
        NONE,
        oa("Usage limit reached for 5 hours. Your limit will reset at 2026-11-27 14:30:00", "1308"),
        QUOTA,
        None,
    ),
    (
        "zhipu",
        429,
        DATE,
        oa("Usage limit reached for 5 hours. Your limit will reset at 2026-11-27 14:30:00", "1308"),
        QUOTA,
        9000.0,
    ),
    ("zhipu", 429, NONE, oa("Daily call limit for this API reached", "1304"), QUOTA, None),
    (
        "",
        429,
        NONE,
        oa("Account suspended: check your plan and billing.", None, "exceeded_current_quota_error"),
        QUOTA,
        None,
    ),
    (
        "",
        403,
        NONE,
        {
            "code": "The caller does not have permission to execute the specified operation",
            "error": "Your team has used all available credits or reached its monthly spending limit.",
        },
        QUOTA,
        None,
    ),
    (
        "",
        429,
        NONE,
        {
            "code": "Some resource has been exhausted",
            "error": "Your team 1 has used all available credits or reached its spending limit.",
        },
        QUOTA,
        None,
    ),
    (
        "qwen",
        400,
        NONE,
        oa("Access denied, please make sure your account is in good standing.", "Arrearage"),
        QUOTA,
        None,
    ),
    (
        "qwen",
        403,
        NONE,
        oa("The free tier of the model has been exhausted.", "AllocationQuota.FreeTierOnly"),
        QUOTA,
        None,
    ),
    ("minimax", 0, NONE, {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, QUOTA, None),
    (
        "fireworks",
        412,
        NONE,
        {"error": {"message": "Account x is suspended, an invoice is unpaid.", "code": "PRECONDITION_FAILED"}},
        QUOTA,
        None,
    ),
    ("fireworks", 412, NONE, b"", QUOTA, None),
    (
        "",
        429,
        {"retry-after": "86400"},
        oa("Requests have exceeded the call rate limit. Please retry after 86400 seconds.", "429"),
        QUOTA,
        86400.0,
    ),
    (
        "openrouter",
        402,
        NONE,
        {"error": {"code": 402, "message": "This request requires more credits, or fewer max_tokens."}},
        QUOTA,
        None,
    ),
    ("openrouter", 403, NONE, {"error": {"code": 403, "message": "Key limit exceeded (total limit)."}}, QUOTA, None),
    (
        "openrouter",
        429,
        NONE,
        {"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-day. Add credits."}},
        QUOTA,
        None,
    ),
    ("deepseek", 402, NONE, oa("Insufficient Balance", "invalid_request_error", "unknown_error"), QUOTA, None),
    ("together", 402, NONE, oa("Credit limit exceeded, see the billing page."), QUOTA, None),
    (
        "perplexity",
        401,
        NONE,
        oa("You exceeded your current quota, please check your plan and billing details.", 401, "insufficient_quota"),
        QUOTA,
        None,
    ),
    ("", 402, NONE, {"error": "You have exceeded your monthly included credits for Inference Providers."}, QUOTA, None),
    ("", 429, NONE, {"message": "You are using a Trial key, which is limited to 1000 API calls / month."}, QUOTA, None),
    ("", 402, NONE, {"status": 402, "title": "Payment Required", "detail": "Cloud credits expired"}, QUOTA, None),
    (
        "mistral",
        402,
        NONE,
        {"object": "error", "message": "Payment required", "type": "payment_required", "code": None},
        QUOTA,
        None,
    ),
    (
        "cerebras",
        402,
        NONE,
        {"message": "Payment required to use this.", "type": "payment_required_error"},
        QUOTA,
        None,
    ),
    ("groq", 400, NONE, oa("API access is blocked by a spend alert.", "blocked_api_access"), QUOTA, None),
)

THROTTLES: tuple[Row, ...] = (
    (
        "qwen",
        429,
        NONE,
        oa(
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
            "insufficient_quota",
        ),
        RATE,
        None,
    ),
    ("qwen", 429, NONE, oa("Requests throttling triggered.", "Throttling.RateQuota"), RATE, None),
    ("qwen", 429, NONE, oa("Too many requests. Batch requests are being throttled.", "limit_burst_rate"), RATE, None),
    (
        "openrouter",
        402,
        {"retry-after": "5"},
        {"error": {"code": 402, "message": "in_flight_budget: too much is running"}},
        RATE,
        5.0,
    ),
    (
        "openrouter",
        429,
        NONE,
        {
            "error": {
                "code": 429,
                "message": "Provider returned error",
                "metadata": {
                    "raw": "m is temporarily rate-limited upstream. Please retry shortly.",
                    "provider_name": "X",
                },
            }
        },
        RATE,
        None,
    ),
    (
        "openrouter",
        429,
        DATE,
        {
            "error": {
                "code": 429,
                "message": "Rate limit exceeded: free-models-per-min.",
                "metadata": {
                    "headers": {
                        "X-RateLimit-Limit": "20",
                        "X-RateLimit-Remaining": "0",
                        "X-RateLimit-Reset": "1795780860000",
                    }
                },
            }
        },
        RATE,
        60.0,
    ),
    (
        "",
        429,
        NONE,
        go(
            429,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota, please check your plan and billing details. Please retry in 34.4s.",
            quota("GenerateRequestsPerMinutePerProject"),
            delay("34s"),
        ),
        RATE,
        34.4,
    ),
    (
        "",
        429,
        NONE,
        [go(429, "RESOURCE_EXHAUSTED", "Quota exceeded", quota("InputTokensPerModelPerMinute"))],
        RATE,
        None,
    ),
    ("", 429, NONE, go(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."), RATE, None),
    (
        "",
        429,
        NONE,
        oa(
            "Rate limit reached for m on requests per day (RPD): Limit 200. Please try again in 7m12s.",
            "rate_limit_exceeded",
            "requests",
        ),
        RATE,
        432.0,
    ),
    ("", 429, {"retry-after": "1", "retry-after-ms": "0"}, oa("Rate limit is exceeded.", "429"), RATE, 1.0),
    (
        "",
        429,
        {"retry-after": "37"},
        oa("Exceeded the token rate limit of your pricing tier. Please retry after 37 seconds.", "RateLimitReached"),
        RATE,
        37.0,
    ),
    (
        "",
        429,
        {"retry-after": "12", "x-should-retry": "true"},
        an("rate_limit_error", "This would exceed the limit of 30,000 input tokens per minute."),
        RATE,
        12.0,
    ),
    ("", 429, {**DATE, "retry-after": "Fri, 27 Nov 2026 12:00:20 GMT"}, b"", RATE, 20.0),
    (
        "",
        429,
        {
            **DATE,
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": "2026-11-27T12:00:09Z",
        },
        an("rate_limit_error", "x"),
        RATE,
        9.0,
    ),
    (
        "groq",
        429,
        {"retry-after": "7"},
        oa(
            "Rate limit reached on tokens per minute (TPM): Limit 6000, Used 5900. Please try again in 6.5s.",
            "rate_limit_exceeded",
            "tokens",
        ),
        RATE,
        7.0,
    ),
    (
        "mistral",
        429,
        NONE,
        {"object": "error", "message": "Requests rate limit exceeded", "type": "rate_limited", "code": "1300"},
        RATE,
        None,
    ),
    (
        "xai",
        429,
        NONE,
        {
            "code": "Some resource has been exhausted",
            "error": "Too many requests for team 1, model m. Your team's rate limit is 60 requests per minute.",
        },
        RATE,
        None,
    ),
    (
        "moonshot",
        429,
        NONE,
        oa("Your account reached max RPM: 3, please try again after 1 seconds", None, "rate_limit_reached_error"),
        RATE,
        1.0,
    ),
    ("zhipu", 429, NONE, oa("High concurrency usage of this API", "1302"), RATE, None),
    ("zhipu", 429, NONE, oa("High frequency usage of this API", "1303"), RATE, None),
    ("minimax", 0, NONE, {"base_resp": {"status_code": 1002, "status_msg": "rate limit"}}, RATE, None),
    ("minimax", 0, NONE, {"base_resp": {"status_code": 1039, "status_msg": "token limit"}}, RATE, None),
    ("", 429, NONE, {"message": "You are using a Trial key, which is limited to 40 API calls / minute."}, RATE, None),
    ("", 429, aws("ThrottlingException"), {"message": "Too many tokens, please wait before trying again."}, RATE, None),
    ("", 429, NONE, {"__type": "com.amazon.coral.service#ThrottlingException", "message": "Rate exceeded"}, RATE, None),
    ("", 400, aws("ServiceQuotaExceededException"), {"message": "Your request exceeds the service quota."}, RATE, None),
    (
        "",
        400,
        NONE,
        {"__type": "ServiceQuotaExceededException", "message": "Over the quota of your account."},
        RATE,
        None,
    ),
    ("", 0, NONE, {"type": "throttlingException", "message": "Too many requests, please wait."}, RATE, None),
    ("", 0, NONE, {"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-min."}}, RATE, None),
    (
        "",
        0,
        NONE,
        {"type": "error", "code": "rate_limit_exceeded", "message": "Slow. Please try again in 3s."},
        RATE,
        3.0,
    ),
    ("", 429, NONE, b"error code: 1015", RATE, None),
    ("", 429, NONE, HTML, RATE, None),
    ("", 429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "2"}, b"", RATE, 2.0),
    ("", 429, NONE, {"detail": "Request was throttled. Expected available in 17 seconds."}, RATE, 17.0),
)

TOO_LARGE: tuple[Row, ...] = (
    (
        "",
        429,
        NONE,
        oa(
            "Request too large for m on tokens per min (TPM): Limit 30000, Requested 40000.",
            "rate_limit_exceeded",
            "tokens",
        ),
        LARGE,
        None,
    ),
    (
        "groq",
        413,
        NONE,
        oa(
            "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 9012",
            "rate_limit_exceeded",
            "tokens",
        ),
        LARGE,
        None,
    ),
    ("", 413, NONE, an("request_too_large", "Request exceeds the maximum size"), LARGE, None),
    ("openrouter", 429, NONE, {"error": {"code": 429, "message": "weight_exceeds_budget"}}, LARGE, None),
    ("", 413, NONE, HTML, LARGE, None),
    ("", 413, NONE, b"", LARGE, None),
    (
        "",
        400,
        NONE,
        go(400, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes."),
        LARGE,
        None,
    ),
    ("", 413, NONE, {"message": "Payload Too Large"}, LARGE, None),
)

_OVERFLOWS: tuple[tuple[str, int, Any], ...] = (
    (
        "",
        400,
        oa(
            "This model's maximum context length is 128000 tokens, your messages have 130512.",
            "context_length_exceeded",
        ),
    ),
    ("", 400, oa("Your input exceeds the context window of this model.", "context_length_exceeded")),
    (
        "",
        400,
        oa("Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens."),
    ),
    ("", 400, an("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")),
    (
        "",
        400,
        an("invalid_request_error", "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"),
    ),
    (
        "",
        400,
        go(400, "INVALID_ARGUMENT", "The input token count (1200000) exceeds the maximum number of tokens allowed."),
    ),
    (
        "",
        400,
        go(
            400,
            "INVALID_ARGUMENT",
            "Unable to submit request because the input token count is 32785 but model only supports up to 32768.",
        ),
    ),
    ("", 400, {"message": "Input is too long for requested model."}),
    ("", 400, {"message": "The model returned the following errors: prompt is too long: 3 tokens > 2 maximum"}),
    ("", 400, {"message": "Too many input tokens. Max input tokens: 8192, request input token count: 9000"}),
    ("deepseek", 400, oa("This model's maximum context length is 65536 tokens. You requested 70000 tokens.")),
    ("qwen", 400, oa("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 98304]")),
    ("qwen", 400, oa("Total message token length exceed model limit (10000000) tokens.")),
    (
        "mistral",
        400,
        {
            "object": "error",
            "message": "Prompt contains 40012 tokens, too large for model with 32768 maximum",
            "code": "3051",
        },
    ),
    (
        "xai",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
        },
    ),
    ("groq", 400, oa("Please reduce the length of the messages or completion.", "context_length_exceeded")),
    ("", 400, {"message": "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4292."}),
    ("", 400, {"error_type": "TOO_MANY_TOKENS", "message": "too many tokens: size limit exceeded by 12 tokens."}),
    ("together", 422, oa("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 4100")),
    ("together", 400, oa("The input (5000 tokens) is longer than the model's context length (4096 tokens).")),
    (
        "fireworks",
        400,
        oa("The prompt is too long: 140000, model maximum context length: 131071", "invalid_request_error"),
    ),
    (
        "openrouter",
        400,
        {
            "error": {
                "code": 400,
                "message": "This endpoint's maximum context length is 131072 tokens. However, "
                "you requested about 150000 tokens. Please reduce the length of either one.",
            }
        },
    ),
    (
        "openrouter",
        400,
        {
            "error": {
                "code": 400,
                "message": "Provider returned error",
                "metadata": {"raw": '{"error":{"message":"too long","code":"context_length_exceeded"}}'},
            }
        },
    ),
    (
        "cerebras",
        400,
        {
            "message": "Please reduce the length of the messages or completion. Current length is 9000 while limit "
            "is 8192",
            "code": "context_length_exceeded",
        },
    ),
    ("cerebras", 413, b""),
    ("moonshot", 400, oa("Invalid request: Your request exceeded model token limit: 131072 (requested: 140000)")),
    ("moonshot", 400, oa("Input token length too long")),
    ("zhipu", 400, oa("Prompt exceeds max length", "1261")),
    ("minimax", 0, {"base_resp": {"status_code": 2013, "status_msg": "invalid params, context window exceeds limit"}}),
    (
        "minimax",
        400,
        {
            "type": "error",
            "error": {"type": "bad_request_error", "message": "invalid params, context window exceeds limit (2013)"},
        },
    ),
    ("vllm", 400, oa("The decoder prompt (length 5000) is longer than the maximum model length of 4096.", 400)),
    ("vllm", 400, oa("The prompt (total length 5000) is too long to fit into the model (context length 4096).", 400)),
    ("", 400, oa("Requested token count exceeds the model's maximum context length of 8192 tokens.")),
    ("", 400, oa("the request exceeds the available context size", 400, "exceed_context_size_error")),
    ("", 500, oa("Context size has been exceeded.", 500, "server_error")),
    ("", 500, oa("input is too large to process. increase the physical batch size", 500, "server_error")),
    ("ollama", 400, {"error": "the input length exceeds the context length"}),
    ("ollama", 400, {"error": "prompt too long; exceeded max context length by 12 tokens"}),
    (
        "",
        0,
        {
            "error": {
                "message": "The number of tokens to keep from the initial prompt is greater than the context length."
            }
        },
    ),
    (
        "",
        400,
        {"error": "Trying to keep the first 5000 tokens when the model is loaded with context length of only 4096"},
    ),
    (
        "",
        422,
        {
            "error": "Input validation error: `inputs` must have less than 1024 tokens. Given: 1200",
            "error_type": "validation",
        },
    ),
    (
        "",
        400,
        {
            "errors": [
                {
                    "code": "invalid_input_argument",
                    "message": "the number of input tokens 5000 cannot exceed the "
                    "total tokens limit 4096 for this model",
                }
            ],
            "status_code": 400,
        },
    ),
    ("", 413, oa("Request body too large for m model. Max size: 8000 tokens.", "tokens_limit_reached")),
    ("", 400, oa("prompt token count of 130000 exceeds the limit of 128000", "model_max_prompt_tokens_exceeded")),
    ("", 400, oa("Prompt has 9000 tokens, but the configured context size is 8192 tokens")),
    ("", 400, oa("The total number of tokens in the input exceeds the model limit of 32768.")),
)
OVERFLOWS: tuple[Row, ...] = tuple((who, status, NONE, body, OVERFLOW, None) for who, status, body in _OVERFLOWS)

_OTHERS: tuple[tuple[str, int, Any, FailureKind], ...] = (
    # not an overflow, though it speaks of length
    ("", 400, oa("Invalid 'user': string too long. Expected a maximum length of 64.", "string_above_max_length"), BAD),
    ("", 400, oa("max_tokens is too large: 40000. This model supports at most 16384 completion tokens."), BAD),
    ("", 400, an("invalid_request_error", "max_tokens: 9000 > 8192, the maximum allowed number of output tokens"), BAD),
    ("", 400, an("invalid_request_error", "messages.0.content.0: image exceeds 5 MB maximum"), BAD),
    ("qwen", 400, oa("Range of max_tokens should be [1, 8192]", "invalid_parameter_error"), BAD),
    # policy
    (
        "azure",
        400,
        {
            "error": {
                "message": "The response was filtered due to the prompt triggering the content management policy.",
                "code": "content_filter",
                "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            }
        },
        POLICY,
    ),
    ("qwen", 400, oa("Input data may contain inappropriate content.", "data_inspection_failed"), POLICY),
    ("qwen", 400, {"code": "DataInspectionFailed", "message": "Output data may contain it."}, POLICY),
    ("zhipu", 400, oa("Unsafe content was detected.", "1301"), POLICY),
    ("minimax", 0, {"base_resp": {"status_code": 1027, "status_msg": "output new_sensitive"}}, POLICY),
    ("", 400, oa("Invalid prompt: we've limited access to this content for safety reasons.", "invalid_prompt"), POLICY),
    ("", 400, an("invalid_request_error", "Output blocked by content filtering policy"), POLICY),
    ("deepseek", 400, oa("Content Exists Risk"), POLICY),
    (
        "moonshot",
        400,
        oa("The request was rejected because it was considered high risk", None, "content_filter"),
        POLICY,
    ),
    (
        "xai",
        403,
        {
            "code": "The caller does not have permission to execute the specified operation",
            "error": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO",
        },
        POLICY,
    ),
    (
        "openrouter",
        403,
        {
            "error": {
                "code": 403,
                "message": "m requires moderation. Your input was flagged.",
                "metadata": {"reasons": ["violence"]},
            }
        },
        POLICY,
    ),
    # keys
    ("", 401, b"", AUTH),
    ("perplexity", 401, HTML, AUTH),
    ("xai", 400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xa***."}, AUTH),
    (
        "",
        400,
        go(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", info("API_KEY_INVALID")),
        AUTH,
    ),
    ("", 400, go(400, "INVALID_ARGUMENT", "API key expired. Please renew it.", info("API_KEY_INVALID")), AUTH),
    ("", 403, go(403, "PERMISSION_DENIED", "Your API key was reported as leaked."), AUTH),
    ("", 403, go(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers."), AUTH),
    ("", 401, go(401, "UNAUTHENTICATED", "Request had invalid credentials."), AUTH),
    ("", 403, {"message": "The security token included in the request is invalid."}, AUTH),
    (
        "",
        403,
        {"__type": "InvalidSignatureException", "message": "The request signature we calculated does not match"},
        AUTH,
    ),
    ("", 403, {"Message": "Authentication failed: Please make sure your API Key is valid."}, AUTH),
    ("minimax", 0, {"base_resp": {"status_code": 1004, "status_msg": "login fail: carry the key"}}, AUTH),
    ("minimax", 0, {"base_resp": {"status_code": 2049, "status_msg": "invalid api key"}}, AUTH),
    ("zhipu", 401, oa("token expired or incorrect", "1002"), AUTH),
    ("qwen", 401, {"code": "InvalidApiKey", "message": "Invalid API-key provided."}, AUTH),
    ("", 403, {"status": 403, "title": "Forbidden", "detail": "Authorization failed"}, AUTH),
    ("mistral", 401, {"detail": "Unauthorized"}, AUTH),
    ("", 401, {"message": "invalid api token"}, AUTH),
    ("azure", 401, {"error": {"code": "401", "message": "Access denied due to invalid subscription key."}}, AUTH),
    # rights and regions
    ("", 403, an("permission_error", "Your key may not use this."), PERMISSION),
    ("", 403, oa("Country, region, or territory not supported", "unsupported_country_region_territory"), PERMISSION),
    ("", 400, go(400, "FAILED_PRECONDITION", "User location is not supported for the API use."), PERMISSION),
    (
        "",
        400,
        go(400, "FAILED_PRECONDITION", "The free tier is not available in your country. Please enable billing."),
        PERMISSION,
    ),
    ("", 403, {"message": "You don't have access to the model with the specified model ID."}, PERMISSION),
    (
        "",
        403,
        {"__type": "AccessDeniedException", "message": "User is not authorized to perform: bedrock:InvokeModel"},
        PERMISSION,
    ),
    (
        "openrouter",
        404,
        {"error": {"code": 404, "message": "No endpoints found matching your data policy."}},
        PERMISSION,
    ),
    ("qwen", 403, {"code": "Model.AccessDenied", "message": "Model access denied."}, PERMISSION),
    ("", 403, HTML, PERMISSION),
    (
        "",
        403,
        go(403, "PERMISSION_DENIED", "Vertex AI API has not been used in project.", info("SERVICE_DISABLED")),
        PERMISSION,
    ),
    # the model
    ("", 404, oa("The model `m` does not exist or you do not have access to it.", "model_not_found"), GONE),
    ("", 400, oa("The requested model 'm' does not exist.", "model_not_found"), GONE),
    ("", 400, {"message": "The provided model identifier is invalid."}, GONE),
    ("", 404, {"message": "This model version has reached the end of its life."}, GONE),
    (
        "",
        400,
        {"message": "Invocation of model ID m with on-demand throughput isn't supported. Use an inference profile."},
        GONE,
    ),
    ("mistral", 400, {"object": "error", "message": "Invalid model: m", "type": "invalid_model", "code": "1500"}, GONE),
    ("groq", 400, oa("The model `m` has been decommissioned.", "model_decommissioned"), GONE),
    ("deepseek", 400, oa("Model Not Exist"), GONE),
    ("zhipu", 400, oa("Unknown Model, please check the model code.", "1211"), GONE),
    ("qwen", 404, oa("The model `m` does not exist or you do not have access to it.", "model_not_found"), GONE),
    ("moonshot", 404, oa("Not found the model m or Permission denied", None, "resource_not_found_error"), GONE),
    ("together", 404, oa("Unable to access model m. Please visit the list.", "model_not_available"), GONE),
    (
        "fireworks",
        404,
        {
            "error": {
                "object": "error",
                "code": "NOT_FOUND",
                "message": "Model not found, inaccessible, and/or not deployed",
            }
        },
        GONE,
    ),
    ("openrouter", 400, {"error": {"code": 400, "message": "m is not a valid model ID"}}, GONE),
    ("openrouter", 404, {"error": {"code": 404, "message": "No endpoints found for m."}}, GONE),
    (
        "perplexity",
        400,
        oa("Invalid model 'm'. Permitted models are in the documentation.", 400, "invalid_model"),
        GONE,
    ),
    ("minimax", 0, {"base_resp": {"status_code": 2013, "status_msg": "invalid params, unknown model 'm'"}}, GONE),
    ("", 404, {"message": "model 'm' was removed on September 15, 2025."}, GONE),
    ("ollama", 404, {"error": "model 'm' not found"}, GONE),
    ("", 404, go(404, "NOT_FOUND", "models/m is not found for API version v1beta"), GONE),
    ("azure", 404, oa("The API deployment for this resource does not exist.", "DeploymentNotFound"), GONE),
    ("", 410, b"", GONE),
    ("", 404, b"404 page not found", GONE),
    (
        "",
        400,
        {
            "error": {
                "message": "The requested model 'm' is not supported by any provider you have enabled.",
                "code": "model_not_supported",
            }
        },
        GONE,
    ),
    # load
    ("", 529, an("overloaded_error", "Overloaded"), BUSY),
    ("", 0, an("overloaded_error", "Overloaded"), BUSY),
    ("", 503, oa("The server is overloaded.", "server_is_overloaded", "server_error"), BUSY),
    ("", 429, oa("The engine is currently overloaded, please try again later", None, "engine_overloaded"), BUSY),
    ("", 429, oa("Please reduce your request rate.", "slow_down", "rate_limit_error"), BUSY),
    (
        "mistral",
        429,
        {
            "object": "error",
            "message": "Service tier capacity exceeded for this model.",
            "type": "service_tier_capacity_exceeded",
            "code": "3505",
        },
        BUSY,
    ),
    (
        "moonshot",
        429,
        oa("The engine is currently overloaded, please try again later", None, "engine_overloaded_error"),
        BUSY,
    ),
    (
        "cerebras",
        429,
        {
            "message": "We're experiencing high traffic right now!",
            "type": "too_many_requests_error",
            "code": "queue_exceeded",
        },
        BUSY,
    ),
    ("zhipu", 429, oa("This model is temporarily overloaded, please try again later", "1305"), BUSY),
    ("zhipu", 429, oa("The model has too much traffic", "1312"), BUSY),
    ("groq", 498, oa("Flex tier capacity exceeded", "capacity_exceeded"), BUSY),
    (
        "azure",
        429,
        oa("The system is currently experiencing high demand and cannot process your request.", "NoCapacity"),
        BUSY,
    ),
    ("", 503, go(503, "UNAVAILABLE", "This model is currently experiencing high demand."), BUSY),
    ("", 503, [go(503, "UNAVAILABLE", "The model is overloaded.")], BUSY),
    ("", 503, {"__type": "ServiceUnavailableException", "message": "Unable to process your request."}, BUSY),
    ("", 429, {"__type": "ModelNotReadyException", "message": "Model is not ready for inference."}, BUSY),
    ("", 0, {"type": "serviceUnavailableException", "message": "Unable."}, BUSY),
    ("together", 503, oa("The server is overloaded or not ready yet.", None, "service_unavailable"), BUSY),
    ("deepseek", 503, oa("Service is too busy. Please switch for a while."), BUSY),
    ("qwen", 429, oa("Too many requests. Your requests are being throttled due to system capacity limits."), BUSY),
    ("xai", 429, {"code": "x", "error": "The model is at capacity and currently cannot serve this request."}, BUSY),
    ("openrouter", 503, {"error": {"code": 503, "message": "There is no available model provider for this."}}, BUSY),
    ("ollama", 503, {"error": "server busy, please try again. maximum pending requests exceeded"}, BUSY),
    ("", 503, b"upstream connect error or disconnect/reset before headers. reset reason: overflow", BUSY),
    ("", 503, HTML, BUSY),
    # servers that fail
    ("", 500, an("api_error", "Internal server error"), SERVER),
    ("", 0, an("api_error", "Internal server error"), SERVER),
    ("", 502, HTML, SERVER),
    ("", 504, b"", SERVER),
    ("", 520, b"error code: 520", SERVER),
    ("", 500, go(500, "INTERNAL", "An internal error has occurred."), SERVER),
    ("", 504, go(504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete."), SERVER),
    ("", 424, {"__type": "ModelErrorException", "message": "The model failed."}, SERVER),
    ("", 408, {"__type": "ModelTimeoutException", "message": "Model has timed out."}, SERVER),
    ("", 0, {"type": "internalServerException", "message": "The system failed."}, SERVER),
    ("", 0, {"type": "modelStreamErrorException", "message": "The stream failed.", "originalStatusCode": 500}, SERVER),
    ("minimax", 0, {"base_resp": {"status_code": 1000, "status_msg": "unknown error"}}, SERVER),
    ("ollama", 0, {"error": "an error was encountered while running the model: unexpected EOF"}, SERVER),
    ("openrouter", 0, {"error": {"code": 502, "message": "Provider returned error"}}, SERVER),
    # what is wrong with the request
    (
        "",
        400,
        oa(
            "Unsupported parameter: 'max_tokens' is not supported with this model.",
            "unsupported_parameter",
            param="max_tokens",
        ),
        PARAM,
    ),
    ("", 400, oa("Unsupported value: 'temperature' does not support 0.2 with this model.", "unsupported_value"), PARAM),
    ("", 400, oa("Unrecognized request argument supplied: foo"), PARAM),
    (
        "mistral",
        422,
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "foo"], "msg": "Extra inputs are not permitted"}]},
        PARAM,
    ),
    (
        "cerebras",
        400,
        {"message": "property 'foo' is unsupported", "type": "invalid_request_error", "code": "wrong_api_format"},
        PARAM,
    ),
    (
        "xai",
        400,
        {"code": "Client specified an invalid argument", "error": "Argument not supported on this model: stop"},
        PARAM,
    ),
    ("xai", 400, {"code": "x", "error": "Model m does not support parameter presencePenalty."}, PARAM),
    (
        "",
        400,
        go(400, "INVALID_ARGUMENT", 'Invalid JSON payload received. Unknown name "foo": Cannot find field.'),
        PARAM,
    ),
    ("", 400, an("invalid_request_error", "foo: Extra inputs are not permitted"), PARAM),
    ("openrouter", 404, {"error": {"code": 404, "message": "No endpoints found that support tool use."}}, PARAM),
    ("moonshot", 400, oa("invalid temperature: only 1 is allowed for this model"), PARAM),
    ("", 400, oa("Invalid schema for function 'f': 'required' is required to include every key in properties."), BAD),
    ("zhipu", 400, oa("Invalid API parameter, please check the documentation.", "1210"), BAD),
    ("minimax", 0, {"base_resp": {"status_code": 2013, "status_msg": "invalid params"}}, BAD),
    ("", 400, {"__type": "ValidationException", "message": "The text field is blank."}, BAD),
    ("", 0, {"type": "validationException", "message": "The text field is blank."}, BAD),
    ("", 422, {"detail": [{"loc": ["body", "messages"], "msg": "field required", "type": "value_error.missing"}]}, BAD),
    ("", 400, b"", BAD),
    ("groq", 400, oa("Failed to call a function. See 'failed_generation'.", "tool_use_failed"), OUTPUT),
    ("groq", 0, oa("Failed to validate JSON.", "json_validate_failed"), OUTPUT),
    ("", 200, b"", K.MALFORMED_RESPONSE),
)
OTHERS: tuple[Row, ...] = tuple((who, status, NONE, body, kind, None) for who, status, body, kind in _OTHERS)

TABLE: tuple[Row, ...] = (*MONEY, *THROTTLES, *TOO_LARGE, *OVERFLOWS, *OTHERS)
