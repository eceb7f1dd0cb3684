"""What the routes of Anthropic's API say of themselves."""

from __future__ import annotations

from typing import Any

from gateway.bodies.about_openai import fixed
from gateway.bodies.anthropic import UNUSED
from gateway.bodies.openai_schemas import FLAG, MODEL
from gateway.bodies.openapi import EVENT, EVENTS, JSON, About, Told

_OPEN: dict[str, Any] = {"type": ["object", "null"]}
_BLOCKS: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]}


def _number(most: float | None = None) -> dict[str, Any]:
    return {"type": ["number", "null"], "minimum": 0, **({} if most is None else {"maximum": most})}


def _body(*required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["model", "messages", *required],
        "additionalProperties": False,
        "properties": {
            "model": MODEL,
            "max_tokens": {"type": ["integer", *([] if required else ["null"])], "minimum": 1},
            "messages": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["role", "content"],
                    "properties": {"role": {"type": "string"}, "content": _BLOCKS},
                },
            },
            "system": {"anyOf": [{"type": "null"}, *_BLOCKS["anyOf"]]},
            "stop_sequences": {"type": ["array", "null"], "items": {"type": "string"}},
            "stream": FLAG,
            "temperature": _number(2),
            "top_p": _number(1),
            "top_k": {"type": ["integer", "null"], "minimum": 1},
            "tools": {"type": ["array", "null"], "items": {"type": "object"}},
            **dict.fromkeys(("tool_choice", "thinking", "metadata", "output_config", "output_format"), _OPEN),
            **dict.fromkeys(("cache_control", "context_management"), _OPEN),
            **{name: {"description": "Taken, and without effect here."} for name in sorted(UNUSED)},
        },
    }


MESSAGES = About(
    "A message",
    "messages",
    {
        200: Told(
            "The message, or its events.",
            {
                JSON: fixed(
                    {
                        "id": {"type": "string"},
                        "type": {"const": "message"},
                        "role": {"const": "assistant"},
                        "model": {"type": "string"},
                        "content": {"type": "array", "items": {"type": "object"}},
                        "stop_reason": {"type": ["string", "null"]},
                        "usage": {"type": "object"},
                    }
                ),
                EVENTS: EVENT,
            },
        )
    },
    body=_body("max_tokens"),
    submits=True,
    description="After the Anthropic API.",
)
COUNT_TOKENS = About(
    "The tokens of a prompt",
    "messages",
    {200: Told("An estimate: no provider is asked.", {JSON: fixed({"input_tokens": {"type": "integer"}})})},
    body=_body(),
    errors=(404,),
)
