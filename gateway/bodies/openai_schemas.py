"""JSON Schemas of the OpenAI chat API's bodies, for the document: what is taken, and what is answered."""

from __future__ import annotations

from typing import Any

from gateway.bodies import openai_chat
from gateway.bodies.kinds import setting_schemas

MODEL: dict[str, Any] = {"type": "string", "minLength": 1, "description": "The name of a route."}
MESSAGES: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["role"],
        "properties": {
            "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
            "content": {"type": ["string", "array", "null"], "description": "Text, or parts."},
        },
    },
}
TOOLS: dict[str, Any] = {"type": ["array", "null"], "items": {"type": "object"}}
FLAG: dict[str, Any] = {"type": ["boolean", "null"]}


def chat_request() -> dict[str, Any]:
    """The body of a chat completion's request."""
    return {
        "type": "object",
        "required": ["model", "messages"],
        "additionalProperties": False,
        "properties": {
            "model": MODEL,
            "messages": MESSAGES,
            "tools": TOOLS,
            "stream": FLAG,
            "n": {"type": ["integer", "null"], "minimum": 1, "maximum": 128},
            "modalities": {"enum": [["text"], None]},
            "stream_options": {
                "type": ["object", "null"],
                "additionalProperties": False,
                "properties": {"include_usage": FLAG, "include_obfuscation": {}},
            },
            "prompt_cache_key": {"description": "What belongs together: the job's session."},
            **setting_schemas(openai_chat.SETTINGS),
            **{name: {"description": "Taken, and without effect here."} for name in sorted(openai_chat.UNUSED)},
        },
    }


COMPLETION: dict[str, Any] = {
    "type": "object",
    "required": ["id", "object", "created", "model", "choices", "usage"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "chat.completion"},
        "created": {"type": "integer", "description": "UTC seconds."},
        "model": {"type": "string"},
        "choices": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["index", "message", "finish_reason", "logprobs"],
                "properties": {
                    "index": {"type": "integer"},
                    "finish_reason": {"enum": ["stop", "length", "tool_calls", "content_filter"]},
                    "logprobs": {"type": ["object", "null"]},
                    "message": {
                        "type": "object",
                        "required": ["role", "content", "refusal"],
                        "properties": {
                            "role": {"const": "assistant"},
                            "content": {"type": ["string", "null"]},
                            "refusal": {"type": ["string", "null"]},
                            "reasoning_content": {"type": "string"},
                            "tool_calls": {"type": "array", "items": {"type": "object"}},
                            "annotations": {"type": "array", "items": {"type": "object"}},
                        },
                    },
                },
            },
        },
        "usage": {
            "type": "object",
            "required": ["prompt_tokens", "completion_tokens", "total_tokens"],
            "properties": {
                name: {"type": "integer"} for name in ("prompt_tokens", "completion_tokens", "total_tokens")
            },
        },
    },
}
