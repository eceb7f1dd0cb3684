"""Lines of a batch file, in and out: our own shape, and that of OpenAI's batch API. Pure.

In: ``{"model", "messages", …}`` with any option of ``Producer.complete`` and an optional ``custom_id``, or
``{"custom_id", "method", "url", "body"}``. Out: one line for each, in the shape of its input.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from job_contracts.chat import ToolCallPart
from producer_sdk.answers import Answered
from producer_sdk.errors import InvalidRequest, JobFailed, PenstockError, Refused

CHAT = "/v1/chat/completions"
_BATCH = frozenset({"custom_id", "method", "url", "body"})
_FINE_AS = {"stream": (False,), "store": (False,), "service_tier": ("auto", "default")}
"""Fields of an OpenAI request that say nothing with these values; with others they are refused."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of input: the arguments of ``complete``, or the error that makes it none."""

    number: int
    """From 1."""
    custom_id: str
    request: Mapping[str, Any]
    batch: bool
    """It came in the shape of OpenAI's batch API."""
    error: InvalidRequest | None = None


def read_line(number: int, text: str, *, model: str | None = None) -> Line:
    """A line as a request; ``model`` is used where the line names none. Never raises: errors are in the line."""
    custom_id = f"line-{number}"
    batch = False
    try:
        fields = _object(text)
        custom_id = _custom_id(fields, custom_id)
        batch = "body" in fields
        request = _of_batch(fields) if batch else {k: v for k, v in fields.items() if k != "custom_id"}
        if model is not None and "model" not in request:
            request = {"model": model, **request}
        for name in ("model", "messages"):
            if name not in request:
                raise InvalidRequest(f"{name}: missing", field=name, remedy=f"add {name}")
        return Line(number, custom_id, request, batch)
    except InvalidRequest as error:
        return Line(number, custom_id, {}, batch, error)


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidRequest(f"not JSON: {error}", remedy="write one JSON object a line") from error
    if not isinstance(value, dict):
        raise InvalidRequest("not a JSON object", remedy="write one JSON object a line")
    return value


def _custom_id(fields: Mapping[str, Any], otherwise: str) -> str:
    given = fields.get("custom_id", otherwise)
    if not isinstance(given, str) or not given:
        raise InvalidRequest("custom_id: expected a string", field="custom_id", remedy="make it a string")
    return given


def _of_batch(fields: Mapping[str, Any]) -> dict[str, Any]:
    for name in fields:
        if name not in _BATCH:
            raise InvalidRequest(f"{name}: unknown field", field=name, remedy=f"known are: {', '.join(sorted(_BATCH))}")
    if fields.get("method", "POST") != "POST":
        raise InvalidRequest("method: only POST is carried", field="method", remedy="use POST")
    if fields.get("url", CHAT) != CHAT:
        raise InvalidRequest(f"url: {fields['url']!r} is not carried", field="url", remedy=f"use {CHAT}")
    body = fields["body"]
    if not isinstance(body, dict):
        raise InvalidRequest("body: expected an object", field="body", remedy="give the request's body")
    request = {name: value for name, value in body.items() if value is not None}
    for name, fine in _FINE_AS.items():
        if name in request and request[name] in fine:
            del request[name]
    tags = dict(request.pop("metadata", {}))
    if "user" in request:
        tags["user"] = request.pop("user")
    if tags:
        request["tags"] = tags
    return request


# -- out


def answer_line(line: Line, answer: Answered) -> dict[str, Any]:
    """What is written for a line that was answered."""
    if line.batch:
        response = {"status_code": 200, "request_id": answer.job, "body": completion(answer)}
        return {"id": answer.job, "custom_id": line.custom_id, "response": response, "error": None}
    return {"custom_id": line.custom_id, "line": line.number, **told(answer), "error": None}


def error_line(line: Line, error: PenstockError) -> dict[str, Any]:
    """What is written for a line that has no answer."""
    if line.batch:
        said = {"code": _code(error), "message": str(error), "param": error.field}
        return {"id": error.job, "custom_id": line.custom_id, "response": None, "error": said}
    return {
        "custom_id": line.custom_id,
        "line": line.number,
        "job": error.job,
        "state": error.result.state.value if isinstance(error, JobFailed) else "refused",
        "error": told_error(error),
    }


def told(answer: Answered) -> dict[str, Any]:
    """An answer as JSON; of vectors how many there are."""
    vectors = answer.embeddings
    return {
        "job": answer.job,
        "state": answer.result.state.value,
        "text": answer.text,
        **({"vectors": len(vectors.data), "dimensions": vectors.dimensions} if vectors else {}),
        **({"reasoning": answer.reasoning} if answer.reasoning else {}),
        **({"refusal": answer.refusal} if answer.refusal else {}),
        **({"tool_calls": [_call(call) for call in answer.tool_calls]} if answer.tool_calls else {}),
        "finish_reason": answer.finish_reason.value if answer.finish_reason else None,
        "usage": answer.usage.model_dump(mode="json"),
        "cost": str(answer.cost) if answer.cost is not None else None,
        "model": answer.model,
        "provider": answer.provider,
        "attempts": len(answer.attempts),
        **({"replay_of": answer.result.replay_of} if answer.result.replay_of else {}),
    }


def told_error(error: PenstockError) -> dict[str, Any]:
    """An error as JSON."""
    return {
        "code": _code(error),
        "message": error.message,
        "field": error.field,
        "remedy": error.remedy,
        "job": error.job,
        **({"attempts": len(error.attempts)} if isinstance(error, JobFailed) else {}),
    }


def _code(error: PenstockError) -> str:
    if isinstance(error, JobFailed) and error.kind is not None:
        return error.kind.value
    if isinstance(error, Refused) and error.failure is not None:
        return error.failure.kind.value
    name = type(error).__name__
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name).lstrip("_")


def _call(call: ToolCallPart) -> dict[str, Any]:
    return {"id": call.id, "name": call.name, "arguments": call.arguments}


def completion(answer: Answered) -> dict[str, Any]:
    """An answer as the body of OpenAI's chat completions API."""
    usage = answer.usage
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": answer.refusal}
    if answer.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in answer.tool_calls
        ]
    reason = answer.finish_reason.value if answer.finish_reason else None
    return {
        "id": f"chatcmpl-{answer.job}",
        "object": "chat.completion",
        "created": int(answer.times.finished),
        "model": answer.model,
        "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": None}],
        "usage": {
            "prompt_tokens": usage.input,
            "completion_tokens": usage.output,
            "total_tokens": usage.total,
            "prompt_tokens_details": {"cached_tokens": usage.cache_read},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
        },
    }
