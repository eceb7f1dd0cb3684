"""JSON Schemas of what is submitted to ``/v1/jobs``, for the document."""

from __future__ import annotations

from typing import get_args

from gateway.bodies import openai_chat_schemas as chat
from gateway.bodies.extras import AMOUNT, MOMENT
from gateway.bodies.schemas import FLAG, MODEL, SOME_TEXT, TEXT, Fields, either, many, one_of, taken
from job_contracts.constraints import Hosting
from job_contracts.embeddings import MOST_INPUTS, EmbeddingRequest, Purpose
from job_contracts.jobs import LANES, MAX_TAG_NAME, MAX_TAG_VALUE, MAX_TAGS

LATEST = 1e9
"""Seconds from now; what is larger is taken for a timestamp, and refused (``producer_sdk.request``)."""
_MOMENT: Fields = {
    **either({"type": "number", "minimum": 0, "exclusiveMaximum": LATEST}, MOMENT),
    "description": 'Seconds from now (30, "15m") or a moment with its zone.',
}


_GLOBS = many({"type": "string", "minLength": 1, "maxLength": 128}, least=1, most=64)
_AMOUNT = either({"type": "number", "minimum": 0, "maximum": 1_000_000}, {"type": "string", "pattern": AMOUNT})
CONSTRAINTS: Fields = {
    **taken(
        {},
        {
            **dict.fromkeys(("residency", "providers", "deny_providers", "models", "deny_models"), _GLOBS),
            "hosting": one_of(get_args(Hosting)),
            "zero_retention": FLAG,
            "max_input_price": _AMOUNT,
            "max_output_price": _AMOUNT,
            "quantisation": _GLOBS,
        },
    ),
    "description": "What a deployment must be; prices in US dollars per million tokens.",
}


def submission() -> Fields:
    """The body of a submission: of a conversation (``messages``) or of texts (``inputs``)."""
    return {"anyOf": [_conversation(), _texts()]}


def _conversation() -> Fields:
    return taken(
        {"model": MODEL, "messages": either(TEXT, chat.MESSAGES)},
        {
            "tools": many(chat.tool()),
            "stream": {**FLAG, "description": "Whether tokens are wanted while they come, for /events."},
            **chat.settings(),
            **_options(),
        },
    )


def _texts() -> Fields:
    dimensions = EmbeddingRequest.model_json_schema()["properties"]["dimensions"]
    return taken(
        {"model": MODEL, "inputs": either(SOME_TEXT, many(SOME_TEXT, least=1, most=MOST_INPUTS))},
        {
            "dimensions": {key: value for key, value in dimensions.items() if key != "default"},
            "purpose": one_of(get_args(Purpose)),
            **_options(),
        },
    )


def _options() -> Fields:
    amount = either({"type": "number", "minimum": 0}, {"type": "string", "pattern": AMOUNT})
    return {
        "lane": one_of(LANES),
        "priority": {"type": "integer", "minimum": 0, "maximum": 9},
        "deadline": _MOMENT,
        "not_before": _MOMENT,
        "idempotency_key": {"type": "string", "minLength": 1, "maxLength": 256},
        "session": {"type": "string", "maxLength": 256},
        "max_cost": {**amount, "description": "US dollars."},
        "constraints": CONSTRAINTS,
        "tags": {
            "type": "object",
            "maxProperties": MAX_TAGS,
            "propertyNames": {"maxLength": MAX_TAG_NAME},
            "additionalProperties": {**TEXT, "maxLength": MAX_TAG_VALUE},
        },
    }
