"""A span's name and attributes, by the version of OpenTelemetry's GenAI conventions that its readers know. Pure.

| version | what it is |
|---|---|
| ``1.37`` | the first with ``gen_ai.provider.name``; what most that is installed reads. Knows no cached tokens |
| ``1.41`` | the last of the general conventions: streaming, cached and reasoning tokens |
| ``genai-latest`` | the conventions in a repository of their own (0.1): a cache is *written* |

What they have no name for is ours, under ``penstock.``, in every version.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from runtime.tracing.observations import AttemptSeen, JobSeen, RequestSeen

__all__ = [
    "VERSIONS",
    "Attributes",
    "attempt_attributes",
    "attempt_name",
    "job_attributes",
    "job_name",
    "request_attributes",
    "request_name",
]

Value: TypeAlias = str | bool | int | float | tuple[str, ...]
Attributes: TypeAlias = dict[str, Value]
Version = Literal["1.37", "1.41", "genai-latest"]

_VENDORS: Mapping[str, str] = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""Providers of the catalogue that the conventions know by another name; any other keeps its own, as they allow."""
_NEWER: Mapping[str, str] = {"moonshot": "moonshot_ai"}
_MODEL = re.compile(r"[A-Za-z0-9._:/@+-]{1,128}")
"""What a model's name may look like that a provider tells: it is a stranger's text."""


def _v1_37(_: AttemptSeen) -> Attributes:
    return {}


def _v1_41(seen: AttemptSeen) -> Attributes:
    return {
        **_streaming_and_parts(seen),
        **_counted("gen_ai.usage.cache_creation.input_tokens", seen.usage.cache_write),
    }


def _genai_latest(seen: AttemptSeen) -> Attributes:
    return {**_streaming_and_parts(seen), **_counted("gen_ai.usage.cache_write.input_tokens", seen.usage.cache_write)}


VERSIONS: Mapping[str, Callable[[AttemptSeen], Attributes]] = {
    "1.37": _v1_37,
    "1.41": _v1_41,
    "genai-latest": _genai_latest,
}
"""By version: what it has beside what all of them have."""


def attempt_name(seen: AttemptSeen) -> str:
    """As all versions have it."""
    return f"{seen.operation} {seen.model}"


def attempt_attributes(seen: AttemptSeen, version: str) -> Attributes:
    """Of the span of one attempt: what the conventions name, and our own."""
    found: Attributes = {
        "gen_ai.operation.name": seen.operation,
        "gen_ai.provider.name": _vendor(seen.vendor, version),
        "gen_ai.request.model": seen.model,
        "gen_ai.usage.input_tokens": seen.usage.input,
        "gen_ai.usage.output_tokens": seen.usage.output,
    }
    if seen.server is not None:
        host, port = seen.server
        found["server.address"] = host
        if port is not None:
            found["server.port"] = port
    if seen.answered_by is not None and _MODEL.fullmatch(seen.answered_by):
        found["gen_ai.response.model"] = seen.answered_by
    if seen.finish is not None:
        found["gen_ai.response.finish_reasons"] = (seen.finish,)
    if seen.failure is not None:
        found["error.type"] = seen.failure.value
    return found | VERSIONS[version](seen) | _ours(seen)


def job_name(seen: JobSeen) -> str:
    """As the messaging conventions have it: what is done, and where the message lay."""
    return f"process {seen.stream}"


def job_attributes(seen: JobSeen) -> Attributes:
    """Of the span of a job, by the messaging conventions, which are the same in all versions, and our own."""
    found: Attributes = {
        "messaging.system": "nats",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": seen.stream,
        "messaging.message.id": seen.job,
        "penstock.project": seen.project,
        "penstock.job": seen.job,
        "penstock.state": seen.state.value,
    }
    if seen.attempts is not None:
        found["penstock.attempts"] = seen.attempts
    if seen.deployment is not None:
        found["penstock.deployment"] = seen.deployment
    if seen.follow_up is not None:
        found["penstock.follow_up"] = seen.follow_up
    return found


def request_name(seen: RequestSeen) -> str:
    """As the HTTP conventions have it."""
    return f"{seen.method} {seen.route}"


def request_attributes(seen: RequestSeen) -> Attributes:
    """Of the span of a request, by the HTTP conventions, which are stable, and our own."""
    found: Attributes = {
        "http.request.method": seen.method,
        "http.route": seen.route,
        "penstock.project": seen.project,
        "penstock.request": seen.request,
    }
    if seen.status is not None:
        found["http.response.status_code"] = seen.status
    return found


def _vendor(name: str, version: str) -> str:
    known = _VENDORS.get(name)
    if known is None and version == "genai-latest":
        known = _NEWER.get(name)
    return known or name


def _streaming_and_parts(seen: AttemptSeen) -> Attributes:
    found: Attributes = {}
    if seen.operation == "chat":
        found["gen_ai.request.stream"] = seen.streamed
    if seen.first_token is not None:
        found["gen_ai.response.time_to_first_chunk"] = seen.first_token
    found |= _counted("gen_ai.usage.cache_read.input_tokens", seen.usage.cache_read)
    return found | _counted("gen_ai.usage.reasoning.output_tokens", seen.usage.reasoning)


def _counted(name: str, tokens: int) -> Attributes:
    """Parts of a count stand there when there are any."""
    return {name: tokens} if tokens else {}


def _ours(seen: AttemptSeen) -> Attributes:
    found: Attributes = {
        "penstock.project": seen.project,
        "penstock.job": seen.job,
        "penstock.attempt": seen.attempt,
        "penstock.route": seen.route,
        "penstock.deployment": seen.deployment,
        "penstock.worker": seen.worker,
        "penstock.called": seen.called,
        "penstock.usage.reported": seen.usage.reported,
    }
    where: Mapping[str, Value | None] = {
        "penstock.cost_usd": None if seen.cost is None else float(seen.cost),
        "penstock.waited_seconds": seen.waited,
        "penstock.switched_from": seen.switched_from,
        "penstock.switch_reason": seen.switch_reason,
        "penstock.hedge": seen.hedge or None,
        "penstock.continued_attempt": seen.continued,
        "penstock.follow_up": seen.follow_up,
        "penstock.report": seen.stored,
    }
    return found | {name: value for name, value in where.items() if value is not None}
