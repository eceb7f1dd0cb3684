"""JSON Schemas of what is submitted to ``/v1/jobs``, for the document."""

from __future__ import annotations

from typing import Any, get_args

from gateway.bodies import openai_chat
from gateway.bodies.extras import MOMENT
from gateway.bodies.kinds import setting_schemas
from gateway.bodies.openai_schemas import FLAG, MESSAGES, MODEL, TOOLS
from job_contracts.embeddings import MOST_INPUTS, EmbeddingRequest, Purpose
from job_contracts.jobs import LANES, MAX_TAGS

_MOMENT: dict[str, Any] = {
    "anyOf": [{"type": "null"}, {"type": "number", "minimum": 0}, MOMENT],
    "description": 'Seconds from now (30, "15m") or a moment with its zone.',
}


def submission() -> dict[str, Any]:
    """The body of a submission: of a conversation (``messages``) or of texts (``inputs``)."""
    dimensions = EmbeddingRequest.model_json_schema()["properties"]["dimensions"]
    return {
        "type": "object",
        "required": ["model"],
        "additionalProperties": False,
        "properties": {
            "model": MODEL,
            "messages": {"anyOf": [{"type": "null"}, {"type": "string"}, MESSAGES], "description": "For an answer."},
            "tools": TOOLS,
            "stream": {**FLAG, "description": "Whether tokens are wanted while they come, for /events."},
            **setting_schemas(openai_chat.SETTINGS),
            "inputs": {
                "anyOf": [
                    {"type": "null"},
                    {"type": "string", "minLength": 1},
                    {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MOST_INPUTS},
                ],
                "description": "For vectors: texts in place of messages.",
            },
            "dimensions": {key: value for key, value in dimensions.items() if key != "default"},
            "purpose": {"enum": [*get_args(Purpose), None]},
            "lane": {"enum": [*LANES, None]},
            "priority": {"type": ["integer", "null"], "minimum": 0, "maximum": 9},
            "deadline": _MOMENT,
            "not_before": _MOMENT,
            "idempotency_key": {"type": ["string", "null"], "minLength": 1, "maxLength": 256},
            "session": {"type": ["string", "null"], "maxLength": 256},
            "max_cost": {"type": ["number", "string", "null"], "minimum": 0, "description": "US dollars."},
            "tags": {
                "type": ["object", "null"],
                "maxProperties": MAX_TAGS,
                "additionalProperties": {"type": "string"},
            },
        },
    }
