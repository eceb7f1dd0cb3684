"""The signs of failure in the order they outweigh one another: codes, phrases and statuses met at thirty providers.

``failures`` looks for them. A sign is data: a wording met anew is a line here. Codes are compared in lower case;
phrases and patterns are looked for in everything the body says, in lower case.

Sources: the providers' pages on errors (platform.openai.com/docs/guides/error-codes, docs.anthropic.com/en/api/errors,
ai.google.dev/gemini-api/docs/troubleshooting, learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter,
docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html, docs.bigmodel.cn/cn/api/api-code,
help.aliyun.com/zh/model-studio/error-code, platform.minimax.io/docs/api-reference/errorcode,
console.groq.com/docs/errors, openrouter.ai/docs/api-reference/errors, docs.cohere.com/reference/errors) and what
their users report.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from job_contracts.failures import FailureKind

_K = FailureKind


@dataclass(frozen=True, slots=True)
class Sign:
    """A kind, and what shows it: a status, one of the codes, one of the phrases, or a pattern."""

    kind: FailureKind
    codes: frozenset[str] = frozenset()
    code_pattern: re.Pattern[str] | None = None
    """For codes that come in families; matched against a whole code."""
    phrases: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    statuses: frozenset[int] = frozenset()
    unless: tuple[str, ...] = ()
    """Phrases that take the sign back."""
    unless_codes: frozenset[str] = frozenset()
    """Codes that take back what only words say."""

    def shows(self, status: int | None, codes: set[str], words: str) -> bool:
        """Whether an error with this status, these codes and these words is of this kind."""
        if any(phrase in words for phrase in self.unless):
            return False
        if not self.codes.isdisjoint(codes) or (status is not None and status in self.statuses):
            return True
        if self.code_pattern is not None and any(self.code_pattern.fullmatch(code) for code in codes):
            return True
        if not self.unless_codes.isdisjoint(codes):
            return False
        return any(phrase in words for phrase in self.phrases) or bool(self.pattern and self.pattern.search(words))


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OVERFLOW = re.compile(
    # "The input (9000 tokens) is longer than the model's context length", "prompt tokens exceed the token limit" ...
    r"\b(?:tokens?|length|prompt|inputs?|messages|context|conversation|request)\b[^.\n]{0,80}"
    r"\b(?:exceed(?:s|ed|ing)?|longer than|greater than|larger than|more than|over|beyond|surpass\w*)\b[^.\n]{0,80}"
    r"\b(?:context|max(?:imum)? (?:context|input|prompt|model|sequence|length|(?:allowed )?number of (?:input )?tokens"
    r"|tokens? allowed|allowed tokens)|(?:model )?tokens? limit|model'?s? (?:limit|maximum|window)|limit of \d+)"
    r"|\b(?:prompt|input|context|conversation)\b(?: tokens?| text| length| size| message)*(?: \([^)]{0,60}\))?"
    r"(?: is| are| was| has been)? "
    r"too (?:long|large|big|many tokens)\b(?! image)"
    r"|\btokens\b[^.\n]{0,80}\bcannot exceed\b"
    r"|\btoo many (?:input|prompt) tokens\b"
    r"|\breduce (?:the|your) (?:length|number|size) of (?:the |your |either )?"
    r"(?:messages?|prompt|input|one|tokens|context)"
)
_UNSUPPORTED = re.compile(
    r"\b(?:is|are|was)(?: currently)?(?: not|n't) supported(?: yet)? (?:with|by|for|on|in|when)\b"
    r"|\b(?:does|do)(?: not|n't)(?: yet| currently)? support\b"
    r"|\bunsupported (?:parameter|value|field|argument|option)"
    r"|\bun(?:recognized|known|expected) (?:request |keyword )?(?:argument|parameter|field|name|property|key)\b"
    r"|\bproperty '[^']{1,80}' is unsupported"
    r"|\b(?:extra|additional) (?:inputs?|fields?|properties)(?: are| is)? not (?:permitted|allowed)"
    r"|\bnot supported (?:with|by|for|on|in) (?:this|the|your) "
    r"|\bonly [\d.]+ is allowed for this model"
    r"|\bis not enabled for this model\b"
    r"|\bno endpoints found that (?:support|can handle)"
    r"|\b(?:is|are) not enabled for this model\b"
    r"|\bis not a multimodal model\b"
    r"|\b(?:image_url|input_audio|video_url) is not supported\b"
    r"|\bmodel features? [\w ,]{1,60} not support"
)

SIGNS: tuple[Sign, ...] = (
    Sign(
        _K.QUOTA_EXHAUSTED,
        codes=_codes(
            "insufficient_quota credit_balance_exhausted billing_not_active billing_error billing_disabled "
            "enforced_spend_limit_reached exceeded_current_quota_error payment_required payment_required_error "
            "insufficient_credits insufficient_balance insufficient_funds insufficientbalance arrearage "
            "allocationquota.freetieronly blocked_api_access customer_verification_required quota_exhausted "
            "credit_limit_exceeded out_of_credits prepaidbilloverdue postpaidbilloverdue budget_exceeded"
        ),
        code_pattern=re.compile(
            r"(?:\w+_)?(?:spend|spending|usage|billing|credit)(?:_hard|_soft)?_limit_(?:exceeded|reached)"
        ),
        phrases=(
            "credit balance is too low",
            "specified api usage limits",
            "specified workspace api usage limits",
            "insufficient balance",
            "insufficient credit",
            "insufficient funds",
            "insufficient account balance",
            "insufficient_balance",
            "insufficient quota",
            "not enough credits",
            "requires more credits",
            "used all available credits",
            "monthly spending limit",
            "spending limit",
            "spending cap",
            "spend limit",
            "spend alert",
            "credit limit exceeded",
            "out of credits",
            "credits expired",
            "credits have been exhausted",
            "monthly included credits",
            "prepayment credits are depleted",
            "prepaid credits",
            "check your billing",
            "billing hard limit",
            "billing is disabled",
            "requires billing to be enabled",
            "enable billing",
            "payment required",
            "payment method",
            "valid credit card",
            "free tier of the model has been exhausted",
            "free quota has been exhausted",
            "account balance",
            "calls / month",
            "too many tokens per day",
            "free-models-per-day",
            "key limit exceeded",
            "monthly limit",
            "in arrears",
            "in good standing",
            "overdue payment",
            "recharge",
            "no resource package",
            "inactive subscription",
            "余额不足",
            "欠费",
            "充值",
        ),
        pattern=re.compile(
            r"\baccount\b.{0,60}\bsuspended\b(?!.{0,80}violat)"
            r"|\b(?:daily|monthly|weekly) (?:call |usage |token |request )?(?:limit|quota|allowance)\b.{0,40}"
            r"\b(?:reached|exceeded|exhausted|used up)"
        ),
        statuses=frozenset({402}),
        unless=("in_flight_budget", "in-flight", "not available in your country"),
    ),
    # Google says the same of a limit a minute: there the name of the quota tells (``failures``).
    Sign(_K.QUOTA_EXHAUSTED, phrases=("check your plan and billing",), unless_codes=frozenset({"resource_exhausted"})),
    Sign(
        _K.REQUEST_EXCEEDS_LIMIT,
        codes=_codes(
            "request_too_large weight_exceeds_budget requestentitytoolarge payload_too_large max_tokens_per_request"
        ),
        phrases=(
            "request too large",
            "weight_exceeds_budget",
            "request entity too large",
            "payload too large",
            "request payload size exceeds",
            "request body too large for the rate limit",
            "exceeds the maximum allowed number of bytes",
            "request exceeds the maximum size",
            "length limit exceeded",
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
        codes=_codes(
            "context_length_exceeded exceed_context_size_error too_many_prompt_tokens too_many_tokens "
            "tokens_limit_reached model_max_prompt_tokens_exceeded context_window_exceeded "
            "contextwindowexceedederror prompt_too_long input_too_long context_overflow "
            "max_context_length_exceeded context_too_long"
        ),
        phrases=(
            "maximum context length",
            "context length exceeded",
            "context_length_exceeded",
            "exceeds the context window",
            "context window exceeds limit",
            "context window",
            "context limit",
            "exceeds the available context",
            "context size has been exceeded",
            "exceeds context",
            "input tokens exceeded",
            "input token count",
            "maximum prompt length",
            "too large for model with",
            "range of input length",
            "prompt exceeds max length",
            "total length of all messages is too long",
            "total message token length",
            "too many tokens: size limit exceeded",
            "too many tokens: total number",
            "`inputs` must have less than",
            "inputs` tokens + `max_new_tokens` must be",
            "token limit exceeded",
            "exceeded model token limit",
            "prompt token count",
            "tokens to keep from the initial prompt",
            "loaded with context length",
            "input is too large to process",
            "maximum model length",
            "configured context size",
            "上下文长度",
            "超过最大长度",
            "超出最大长度",
        ),
        pattern=_OVERFLOW,
        unless=(
            "please wait before trying again",
            "string too long",
            "array too long",
            "tokens per min",
            "per minute",
            "per day",
            "per second",
            "output tokens",
            "rate limit",
        ),
    ),
    Sign(
        _K.CONTENT_POLICY,
        codes=_codes(
            "content_filter content_policy_violation data_inspection_failed datainspectionfailed "
            "responsibleaipolicyviolation invalid_prompt moderation_blocked content_policy content_moderation "
            "content_filtered cyber_policy safety_violation moderation input_moderation contentfilter"
        ),
        phrases=(
            "content management policy",
            "content policy",
            "usage policy",
            "usage policies",
            "usage guidelines",
            "output blocked",
            "inappropriate content",
            "unsafe or sensitive content",
            "your input was flagged",
            "flagged as potentially",
            "requires moderation",
            "blocked by content filter",
            "blocked by our content filter",
            "new_sensitive",
            "safety system",
            "safety reasons",
            "safety filter",
            "content exists risk",
            "considered high risk",
            "prohibited content",
            "blocked by guardrail",
            "guardrail_intervened",
            "failed check: safety_check",
            "敏感内容",
            "不安全",
        ),
        unless=("rate limit",),
    ),
    Sign(
        _K.AUTH,
        codes=_codes(
            "invalid_api_key invalidapikey api_key_invalid authentication_error unauthenticated "
            "expiredtokenexception unrecognizedclientexception invalidsignatureexception "
            "incompletesignatureexception signaturedoesnotmatch missingauthenticationtokenexception "
            "missingauthenticationtoken invalidclienttokenid expiredtoken invalid_authentication "
            "invalid_authentication_error authentication_token_not_valid authentication_token_expired "
            "access_token_type_unsupported invalid_key"
        ),
        phrases=(
            "incorrect api key",
            "invalid api key",
            "invalid api token",
            "invalid x-api-key",
            "invalid authentication",
            "api key not valid",
            "api key expired",
            "api key is invalid",
            "api key provided is invalid",
            "api key you provided is invalid",
            "api key is missing",
            "api key is required",
            "no api key",
            "missing api key",
            "api key was reported as leaked",
            "api key not found",
            "unregistered callers",
            "security token",
            "signature we calculated does not match",
            "signature expired",
            "authorization failed",
            "authentication failed",
            "login fail",
            "invalid bearer token",
        ),
        statuses=frozenset({401}),
    ),
    Sign(
        _K.PERMISSION,
        codes=_codes(
            "unsupported_country_region_territory permission_error permission_denied request_forbidden "
            "accessdeniedexception accessdenied access_denied model.accessdenied access_terminated_error "
            "forbidden service_disabled"
        ),
        phrases=(
            "user location is not supported",
            "country, region, or territory not supported",
            "not available in your country",
            "not available in your region",
            "does not have access to the model with the specified model id",
            "don't have access to the model",
            "matching your data policy",
            "not authorized to perform",
            "not allowed for this organization",
        ),
        unless=("does not exist",),
    ),
    Sign(
        _K.UNSUPPORTED_PARAM,
        phrases=(
            "no endpoints found that support",
            "no endpoints found that can handle",
            # a model without eyes or ears, at llama.cpp under 500
            "image input is not supported",
            "audio input is not supported",
            "video input is not supported",
        ),
    ),
    Sign(
        _K.MODEL_NOT_FOUND,
        codes=_codes(
            "model_not_found modelnotfound deploymentnotfound invalid_model model_decommissioned "
            "model_not_available notfounderror model_not_supported resourcenotfoundexception "
            "resource_not_found_error unknown_model modeldeprecated deprecatedmodel model_deprecated "
            "model_not_exist model_terminated model_retired modelnotsupported not_found_error"
        ),
        phrases=(
            "model identifier is invalid",
            "has been decommissioned",
            "has been deprecated",
            "has been retired",
            "has been discontinued",
            "has been shut down",
            "is deprecated and no longer",
            "no longer supported",
            "no longer available",
            "reached the end of its life",
            "reached end of life",
            "marked by provider as legacy",
            "was removed on",
            "is not found for api version",
            "no such model",
            "invalid model",
            "not a valid model",
            "on-demand throughput isn",
            "supported api model names are",
            "model does not exist",
            "model not exist",
            "model not found",
            "unknown model",
            "unable to access model",
            "not supported by any provider",
            "no endpoints found for",
            "not found the model",
            "try pulling it first",
            "模型不存在",
        ),
        pattern=re.compile(
            r"\bmodels?\b[ :`'\"]{0,3}[^\s,;]{0,100}[`'\"]? (?:was |is )?(?:does not exist|not found|not exist)\b"
        ),
        statuses=frozenset({404, 410}),
    ),
    Sign(
        _K.OVERLOADED,
        codes=_codes(
            "overloaded_error overloaded server_is_overloaded server_overloaded engine_overloaded "
            "engine_overloaded_error queue_exceeded capacity_exceeded service_tier_capacity_exceeded slow_down "
            "model_overloaded service_overloaded service_unavailable_error service_unavailable serviceunavailable "
            "unavailable nocapacity no_capacity modelnotreadyexception serviceunavailableexception "
            "modelservingerror upstream_overloaded insufficient_system_resource deployment_overloaded"
        ),
        phrases=(
            "overloaded",
            "high demand",
            "high traffic",
            "high load",
            "heavy load",
            "server busy",
            "server is busy",
            "too busy",
            "currently loading",
            "over capacity",
            "at capacity",
            "capacity exceeded",
            "capacity limits",
            "capacity constraints",
            "insufficient capacity",
            "not ready for inference",
            "访问量过大",
        ),
        statuses=frozenset({498, 503, 529}),
    ),
    Sign(
        _K.RATE_LIMIT,
        codes=_codes(
            "rate_limit_exceeded rate_limit_error rate_limit_reached rate_limit_reached_error rate_limited "
            "ratelimitreached too_many_requests toomanyrequests resource_exhausted throttlingexception throttling "
            "servicequotaexceededexception toomanyrequestsexception ratelimitexceeded userratelimitexceeded "
            "rate_limit throttled limit_requests limit_burst_rate throttling.ratequota throttling.allocationquota "
            "throttling.burstrate model_rate_limit"
        ),
        phrases=(
            "rate limit",
            "ratelimit",
            "too many requests",
            "rate growth limit",
            "rate-limited",
            "rate limited",
            "in_flight_budget",
            "in-flight",
            "too many concurrent requests",
            "being throttled",
            "exceeds the service quota",
        ),
        statuses=frozenset({429}),
        unless=("maximum length",),
    ),
    Sign(
        _K.MODEL_OUTPUT_INVALID,
        codes=_codes("tool_use_failed json_validate_failed output_parse_failed malformed_function_call"),
        phrases=(
            "tool call validation failed",
            "failed to generate json",
            "failed to validate json",
            "no valid response generated",
        ),
    ),
)
"""In the order they are tried: the first that shows decides."""

UNSUPPORTED = Sign(
    _K.UNSUPPORTED_PARAM,
    codes=_codes(
        "unsupported_parameter unsupported_value unknown_parameter extra_forbidden unsupported_feature "
        "invalid_parameter_combination"
    ),
    pattern=_UNSUPPORTED,
)
"""A setting or a part the model does not take. Looked for last, and only where the provider did not fail by itself."""
