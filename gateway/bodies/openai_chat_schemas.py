"""JSON Schemas of the OpenAI chat API's bodies, for the document: what is taken, and what is answered.

Turns, parts and tools are those of ``producer_sdk.messages`` and ``producer_sdk.generation``, which read them; where
ours stand beside the API's own, they are the contract's (``job_contracts.chat``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from gateway.bodies import openai_chat
from gateway.bodies.kinds import LONGEST_SESSION, setting_schemas
from gateway.bodies.schemas import (
    ANYTHING,
    COUNT,
    DATA_URL,
    FLAG,
    MODEL,
    MOMENT,
    NOTHING,
    OBJECT,
    TEXT,
    UNUSED,
    URL_OR_DATA,
    WHOLE,
    Fields,
    each,
    either,
    many,
    one_of,
    optional,
    shown,
    taken,
)
from job_contracts.chat import CacheFor, FinishReason, ImagePart, Tool

_CACHE = one_of(get_args(CacheFor))
MARKS: Fields = {
    "cache": {**_CACHE, "description": "The prompt up to here is worth keeping for so long."},
    "cache_control": taken({}, {"type": {"const": "ephemeral"}, "ttl": _CACHE}),
}
_DETAIL = {"enum": ImagePart.model_json_schema()["properties"]["detail"]["anyOf"][0]["enum"]}
_TEXT_PART = taken({"type": {"const": "text"}, "text": TEXT}, MARKS)
_IMAGE_URL = taken(
    {
        "type": {"const": "image_url"},
        "image_url": either(URL_OR_DATA, taken({"url": URL_OR_DATA}, {"detail": _DETAIL})),
    },
    MARKS,
)
_IMAGES = (
    taken({"type": {"const": "image"}, "url": TEXT}, {"media_type": TEXT, "detail": _DETAIL, **MARKS}),
    taken({"type": {"const": "image"}, "data": TEXT, "media_type": TEXT}, {"detail": _DETAIL, **MARKS}),
)
_FILE = taken(
    {
        "type": {"const": "file"},
        "file": taken({"file_data": {"type": "string", "pattern": DATA_URL}}, {"filename": TEXT}),
    },
    MARKS,
)
_FILES = tuple(
    taken({"type": {"const": "file"}, source: TEXT, "media_type": TEXT}, {"name": TEXT, **MARKS})
    for source in ("url", "data")
)
_AUDIO = taken({"type": {"const": "input_audio"}, "input_audio": taken({"data": TEXT, "format": TEXT}, {})}, MARKS)
_SHOWN = either(TEXT, _TEXT_PART, _IMAGE_URL, *_IMAGES, _FILE, *_FILES, _AUDIO)
_CALL = taken(
    {"id": TEXT, "function": taken({"name": TEXT}, {"arguments": either(TEXT, OBJECT)})},
    {"type": {"const": "function"}, "index": ANYTHING},
)
_SIGNED = each(("signature", "origin"), TEXT)
_OUR_CALL = taken({"type": {"const": "tool_call"}, "id": TEXT, "name": TEXT}, {"arguments": TEXT, **_SIGNED})
_SAID = either(
    TEXT,
    _TEXT_PART,
    shown({"type": {"const": "refusal"}, "refusal": TEXT}),
    taken({"type": {"const": "refusal"}, "text": TEXT}, {}),
    taken({"type": {"const": "reasoning"}}, {"text": TEXT, "redacted": TEXT, **_SIGNED}),
    _OUR_CALL,
)


def _content(part: Mapping[str, Any]) -> Fields:
    return either(TEXT, many(part, least=1))


MESSAGES: Fields = many(
    either(
        taken({"role": one_of(("system", "developer")), "content": _content(either(TEXT, _TEXT_PART))}, {}),
        taken({"role": {"const": "user"}, "content": _content(_SHOWN)}, {"name": TEXT}),
        taken(
            {"role": {"const": "assistant"}},
            {
                "content": either(TEXT, many(_SAID)),
                "tool_calls": many(either(_CALL, _OUR_CALL)),
                "refusal": TEXT,
                "reasoning_content": TEXT,
            },
        ),
        taken(
            {"role": {"const": "tool"}, "tool_call_id": TEXT, "content": _content(_SHOWN)},
            {"name": TEXT, "is_error": FLAG},
        ),
    ),
    least=1,
)


def tool() -> Fields:
    """One tool: a function, as the API has it or flat."""
    name = Tool.model_json_schema()["properties"]["name"]["pattern"]
    function = {"description": TEXT, "parameters": OBJECT, "strict": FLAG, **MARKS}
    named = {"name": {"type": "string", "pattern": name}}
    kind = {"type": {"const": "function"}}
    return either(
        taken({"function": taken(named, {**kind, **function})}, {**kind, **MARKS}), taken(named, {**kind, **function})
    )


def settings() -> Fields:
    """The generation settings by name."""
    forms = {"response_format": _FORMAT, "tool_choice": CHOICE}
    return {**setting_schemas(openai_chat.SETTINGS - forms.keys()), **forms}


_NESTED = taken({"schema": OBJECT}, {"name": TEXT, "description": TEXT, "strict": FLAG})
_FLAT: Fields = {"type": "object", "not": {"required": ["schema"], "properties": {"schema": OBJECT}}}
_FORMAT = optional(
    either(
        taken({"type": one_of(("text", "json_object"))}, {}),
        taken({"type": {"const": "json_schema"}, "json_schema": _NESTED}, {}),
        taken(
            {"type": {"const": "json_schema"}, "json_schema": _FLAT},
            {"name": TEXT, "description": TEXT, "strict": FLAG},
        ),
    )
)
CHOICE = optional(
    either(
        one_of(("auto", "none", "required")),
        taken({"type": {"const": "function"}, "function": shown({"name": TEXT})}, {"name": ANYTHING}),
        taken({"type": {"const": "function"}, "name": TEXT}, {"function": NOTHING}),
        taken({"name": TEXT}, {}),
    )
)


def session() -> Fields:
    """A body's own word for what belongs together."""
    return {"description": "What belongs together: the job's session.", "maxLength": LONGEST_SESSION}


def request() -> Fields:
    """The body of a chat completion's request."""
    return taken(
        {"model": MODEL, "messages": MESSAGES},
        {
            "tools": many(tool()),
            "stream": FLAG,
            "n": {"type": "integer", "minimum": 1, "maximum": 128},
            "modalities": {"const": ["text"]},
            "stream_options": taken({}, {"include_usage": FLAG, "include_obfuscation": ANYTHING}),
            "prompt_cache_key": session(),
            **settings(),
            **each(openai_chat.UNUSED, UNUSED),
        },
    )


# -- what is answered

_ENDS = [*(reason.value for reason in FinishReason if reason is not FinishReason.ERROR)]
_LIKELY = {"token": TEXT, "logprob": {"type": "number"}, "bytes": many(WHOLE)}
_MESSAGE = shown(
    {
        "role": {"const": "assistant"},
        "content": {"type": ["string", "null"]},
        "refusal": {"type": ["string", "null"]},
        "annotations": many(shown({"type": {"const": "url_citation"}, "url_citation": shown({"url": TEXT})})),
    },
    {
        "reasoning_content": TEXT,
        "tool_calls": many(
            shown(
                {"id": TEXT, "type": {"const": "function"}, "function": shown({"name": TEXT, "arguments": TEXT})},
            )
        ),
    },
)
COMPLETION: Fields = shown(
    {
        "id": TEXT,
        "object": {"const": "chat.completion"},
        "created": MOMENT,
        "model": TEXT,
        "choices": many(
            shown(
                {
                    "index": COUNT,
                    "message": _MESSAGE,
                    "finish_reason": one_of(_ENDS),
                    "logprobs": optional(
                        shown({"content": many(shown({**_LIKELY, "top_logprobs": many(shown(_LIKELY))}))})
                    ),
                }
            ),
            least=1,
        ),
        "usage": shown(
            each(("prompt_tokens", "completion_tokens", "total_tokens"), COUNT),
            {"prompt_tokens_details": OBJECT, "completion_tokens_details": OBJECT},
        ),
    },
    {"service_tier": TEXT, "system_fingerprint": {"type": ["string", "null"]}},
)
