"""What the routes of OpenAI's Responses API say of themselves."""

from __future__ import annotations

from typing import Any

from gateway.bodies.about_openai import AFTER, ORDER, deleted, fixed, limit, listed
from gateway.bodies.kinds import setting_schemas
from gateway.bodies.openai_responses import LOGPROBS, OF_TOOLS, SEALED, UNUSED
from gateway.bodies.openai_schemas import FLAG, MODEL
from gateway.bodies.openapi import EVENT, EVENTS, JSON, LAST_EVENT_ID, About, Parameter, Told

_OPEN: dict[str, Any] = {"type": ["object", "null"]}
_TEXT: dict[str, Any] = {"type": ["string", "null"]}


def request() -> dict[str, Any]:
    """The body of a new response."""
    known = setting_schemas(
        ["max_tokens", "temperature", "top_p", "tool_choice", "parallel_tool_calls", "top_logprobs"]
    )
    included = [LOGPROBS, SEALED, *sorted(OF_TOOLS)]
    return {
        "type": "object",
        "required": ["model", "input"],
        "additionalProperties": False,
        "properties": {
            "model": MODEL,
            "input": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}, "minItems": 1}]},
            "instructions": _TEXT,
            "previous_response_id": _TEXT,
            "tools": {"type": ["array", "null"], "items": {"type": "object"}},
            "text": _OPEN,
            "reasoning": _OPEN,
            "include": {"type": ["array", "null"], "items": {"enum": included}},
            "stream": FLAG,
            "stream_options": _OPEN,
            "background": FLAG,
            "store": FLAG,
            "metadata": {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
            "prompt_cache_key": {"description": "What belongs together: the job's session."},
            "max_output_tokens": known.pop("max_tokens"),
            **known,
            **{name: {"description": "Taken, and without effect here."} for name in sorted(UNUSED)},
        },
    }


RESPONSE = fixed(
    {
        "id": {"type": "string"},
        "object": {"const": "response"},
        "created_at": {"type": "integer"},
        "model": {"type": "string"},
        "status": {"enum": ["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]},
        "output": {"type": "array", "items": {"type": "object"}},
    },
    error={"type": ["object", "null"]},
    usage={"type": ["object", "null"]},
)
_STANDS = Told("The response, as it stands.", {JSON: RESPONSE})
_OR_EVENTS = Told("The response, or its events.", {JSON: RESPONSE, EVENTS: EVENT})
CREATE = About(
    "A new response",
    "responses",
    {200: _OR_EVENTS},
    body=request,
    submits=True,
    description="Waited for, streamed, or left to itself (background).",
)
RETRIEVE = About(
    "One response",
    "responses",
    {200: _OR_EVENTS},
    parameters=(
        Parameter("stream", "query", "Its events in place of itself.", {"enum": ["true", "false"]}),
        Parameter(
            "starting_after", "query", "The number of the last event that was read.", {"type": "integer", "minimum": 0}
        ),
        LAST_EVENT_ID,
    ),
    errors=(409, 410, 502, 504),
)
DELETE = About("Forget a response", "responses", {200: Told("It is forgotten.", {JSON: deleted("response")})})
CANCEL = About("Call a background response off", "responses", {200: _STANDS})
INPUT = About(
    "What led to a response",
    "responses",
    {200: Told("A page of items.", {JSON: listed({"type": "object"})})},
    parameters=(limit(100), AFTER, ORDER, Parameter("include", "query", "What is left out otherwise.")),
)
