"""JSON Schemas of the Responses API's bodies, for the document: what is taken, and what is answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from gateway.bodies import openai_chat_schemas as chat
from gateway.bodies import openai_responses as api
from gateway.bodies.openai_responses_answer import Status
from gateway.bodies.openai_responses_items import CALLED, ITEM, MARK
from gateway.bodies.schemas import (
    ANYTHING,
    COUNT,
    DATA_URL,
    FLAG,
    MODEL,
    MOMENT,
    OBJECT,
    TEXT,
    UNUSED,
    URL_OR_DATA,
    Fields,
    each,
    either,
    many,
    one_of,
    page,
    pairs,
    shown,
    taken,
)


def _ours(names: frozenset[str]) -> Fields:
    return each(names - {"type"}, ANYTHING)


_SAID = shown({"type": one_of(("input_text", "output_text", "text")), "text": TEXT})
_IMAGE = taken(
    {"type": {"const": "input_image"}, "image_url": URL_OR_DATA},
    {"detail": one_of(("auto", "low", "high")), **_ours(MARK)},
)
_FILE_DATA = {"type": "string", "anyOf": [{"not": {"pattern": "^data:"}}, {"pattern": DATA_URL}]}
_BESIDE = {"filename": TEXT, "detail": ANYTHING, **_ours(MARK)}
_FILES = (
    taken({"type": {"const": "input_file"}, "file_data": _FILE_DATA}, {"file_url": ANYTHING, **_BESIDE}),
    taken({"type": {"const": "input_file"}, "file_url": TEXT}, _BESIDE),
)
_SHOWN = either(_SAID, _IMAGE, *_FILES)
_THOUGHT = many(shown({"text": TEXT}))


def _content(part: Mapping[str, Any]) -> Fields:
    return either(TEXT, many(part, least=1))


def _message(role: Mapping[str, Any], content: Mapping[str, Any]) -> Fields:
    others = {"type": {"const": "message"}, "content": content, "phase": ANYTHING, **_ours(ITEM)}
    return taken({"role": role}, others)


_ITEM = either(
    _message({"const": "user"}, _content(_SHOWN)),
    _message(one_of(("system", "developer")), _content(_SAID)),
    _message(
        {"const": "assistant"},
        either(TEXT, many(either(_SAID, shown({"type": {"const": "refusal"}, "refusal": TEXT})))),
    ),
    taken(
        {"type": {"const": "function_call"}, "call_id": TEXT, "name": TEXT, "arguments": TEXT},
        _ours(CALLED),
    ),
    taken(
        {"type": {"const": "function_call_output"}, "call_id": TEXT, "output": _content(_SHOWN)},
        {"name": ANYTHING, **_ours(CALLED)},
    ),
    taken(
        {"type": {"const": "reasoning"}},
        {"summary": _THOUGHT, "content": _THOUGHT, "encrypted_content": TEXT, **_ours(ITEM)},
    ),
)
_FORMAT = either(
    taken(
        {"type": one_of(("text", "json_object"))},
        each(("name", "schema", "strict", "description"), UNUSED),
    ),
    taken(
        {"type": {"const": "json_schema"}, "schema": OBJECT},
        {"name": TEXT, "strict": FLAG, "description": TEXT},
    ),
)


def _tool() -> Fields:
    """A function; its type has to be said here."""
    return {"allOf": [taken({"type": {"const": "function"}}, {}, open=True), chat.tool()]}


def request() -> Fields:
    """The body that asks for a response."""
    known = chat.settings()
    return taken(
        {"model": MODEL, "input": either(TEXT, many(_ITEM))},
        {
            "instructions": TEXT,
            "previous_response_id": {**TEXT, "description": "The response this one goes on from."},
            "stream": FLAG,
            "background": {**FLAG, "description": "Answered at once; the response is fetched later."},
            "store": {**FLAG, "description": "false: the response cannot be fetched or gone on from."},
            "max_output_tokens": known["max_tokens"],
            **{name: known[name] for name in (*api.SAME, "top_logprobs")},
            "tools": many(_tool()),
            "text": taken({}, {"format": _FORMAT, "verbosity": UNUSED}),
            "reasoning": taken(
                {},
                {
                    "effort": known["reasoning_effort"],
                    **each(("summary", "generate_summary", "context", "mode"), UNUSED),
                },
            ),
            "include": many(one_of(sorted({api.LOGPROBS, api.SEALED, *api.OF_TOOLS}))),
            "stream_options": taken({}, {"include_obfuscation": UNUSED}),
            "metadata": pairs(api.MOST_METADATA, api.LONGEST_NAME, api.LONGEST_VALUE),
            "prompt_cache_key": chat.session(),
            **each(api.UNUSED, UNUSED),
        },
    )


# -- what is answered

_OUTPUT = either(
    shown(
        {
            "type": {"const": "message"},
            "id": TEXT,
            "role": {"const": "assistant"},
            "status": one_of(("in_progress", "completed", "incomplete")),
            "content": many(
                either(
                    shown(
                        {
                            "type": {"const": "output_text"},
                            "text": TEXT,
                            "annotations": many(OBJECT),
                            "logprobs": many(OBJECT),
                        }
                    ),
                    shown({"type": {"const": "refusal"}, "refusal": TEXT}),
                )
            ),
        }
    ),
    shown(
        {"type": {"const": "function_call"}, "id": TEXT, "status": TEXT, **each(("call_id", "name", "arguments"), TEXT)}
    ),
    shown(
        {"type": {"const": "reasoning"}, "id": TEXT, "summary": many(shown({"type": TEXT, "text": TEXT}))},
        {"encrypted_content": TEXT},
    ),
)
_USAGE = shown(
    {
        **each(("input_tokens", "output_tokens", "total_tokens"), COUNT),
        "input_tokens_details": OBJECT,
        "output_tokens_details": OBJECT,
    }
)
RESPONSE: Fields = shown(
    {
        "id": TEXT,
        "object": {"const": "response"},
        "created_at": MOMENT,
        "status": one_of(get_args(Status)),
        "background": FLAG,
        "model": TEXT,
        "output": many(_OUTPUT),
        "usage": {"anyOf": [{"type": "null"}, _USAGE]},
        "error": {"anyOf": [{"type": "null"}, shown({"code": TEXT, "message": TEXT})]},
        "incomplete_details": {"anyOf": [{"type": "null"}, shown({"reason": TEXT})]},
        **each(api.ECHOED, {"description": "As it was asked for."}),
    },
    {"completed_at": {"type": ["integer", "null"]}},
)
DELETED: Fields = shown({"id": TEXT, "object": {"const": "response"}, "deleted": {"const": True}})
ITEMS: Fields = page(shown({"type": TEXT, "id": TEXT}))
