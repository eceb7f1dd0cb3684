"""JSON Schemas of Anthropic's messages, for the document: what is taken, and what is answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.bodies import anthropic as api
from gateway.bodies import openai_chat_schemas as chat
from gateway.bodies.schemas import (
    ANYTHING,
    COUNT,
    FLAG,
    MODEL,
    NOTHING,
    OBJECT,
    SOME_TEXT,
    TEXT,
    UNUSED,
    Fields,
    each,
    either,
    many,
    one_of,
    shown,
    taken,
)

_CACHE = {"cache_control": taken({"type": {"const": "ephemeral"}}, {"ttl": one_of(("5m", "1h"))}, open=True)}


def _typed(kind: str, required: Mapping[str, Any], others: Mapping[str, Any], *, open: bool = False) -> Fields:
    return taken({"type": {"const": kind}, **required}, others, open=open)


def _source(*kinds: Mapping[str, Any]) -> Fields:
    data = _typed("base64", {"data": TEXT, "media_type": TEXT}, {}, open=True)
    return either(data, _typed("url", {"url": TEXT}, {}, open=True), *kinds)


_TEXT = _typed("text", {"text": TEXT}, {"citations": UNUSED, **_CACHE})
_IMAGE = _typed("image", {"source": _source()}, _CACHE)
_WRITTEN = either(TEXT, many(_typed("text", {"text": TEXT}, {}, open=True)))
_DOCUMENT = _typed(
    "document",
    {
        "source": _source(
            _typed("text", {"data": TEXT}, {}, open=True),
            _typed("content", {"content": _WRITTEN}, {}, open=True),
        )
    },
    {"title": TEXT, "context": NOTHING, "citations": taken({}, {"enabled": {"const": False}}, open=True), **_CACHE},
)
_SHOWN = (_TEXT, _IMAGE, _DOCUMENT)
_RESULT = _typed(
    "tool_result",
    {"tool_use_id": TEXT},
    {"content": either(TEXT, many(either(*_SHOWN))), "is_error": FLAG, **_CACHE},
)
_MARKED = {"cache_control": UNUSED}
_SAID = either(
    _TEXT,
    _typed("thinking", {"thinking": TEXT}, {"signature": TEXT, **_MARKED}),
    _typed("redacted_thinking", {"data": TEXT}, _MARKED),
    _typed("tool_use", {"id": TEXT, "name": TEXT}, {"input": OBJECT, "caller": UNUSED, **_MARKED}),
)
_SYSTEM = either(TEXT, many(_TEXT))
_MESSAGES = many(
    either(
        taken({"role": {"const": "user"}, "content": either(TEXT, many(either(*_SHOWN, _RESULT), least=1))}, {}),
        taken({"role": {"const": "assistant"}, "content": either(TEXT, many(_SAID))}, {}),
        taken({"role": {"const": "system"}, "content": _SYSTEM}, {}),
    ),
    least=1,
)
_FORMAT = _typed("json_schema", {"schema": OBJECT}, {}, open=True)
_THINKING = either(
    taken({"type": one_of(("adaptive", "disabled"))}, {"display": ANYTHING}, open=True),
    _typed("enabled", {"budget_tokens": {"type": "integer", "minimum": 1}}, {"display": ANYTHING}, open=True),
)
_ALONE = {"disable_parallel_tool_use": FLAG}
_CHOICE = either(
    taken({"type": one_of(("auto", "any", "none"))}, {"name": ANYTHING, **_ALONE}),
    _typed("tool", {"name": TEXT}, _ALONE),
)
_KEPT = taken(
    {},
    {
        "edits": many(
            taken({"type": {"pattern": "^clear_thinking_", "type": "string"}, "keep": {"const": "all"}}, {}, open=True)
        )
    },
    open=True,
)


def _tool() -> Fields:
    name = chat.tool()["anyOf"][1]["properties"]["name"]
    return taken(
        {"name": name, "input_schema": OBJECT},
        {
            "type": {"const": "custom"},
            "description": TEXT,
            "strict": FLAG,
            "eager_input_streaming": UNUSED,
            "defer_loading": {"const": False},
            "allowed_callers": {"const": ["direct"]},
            "input_examples": NOTHING,
            **_CACHE,
        },
    )


def _fields() -> Fields:
    known = chat.settings()
    return {
        "system": _SYSTEM,
        "tools": many(_tool()),
        "tool_choice": _CHOICE,
        "thinking": _THINKING,
        "stream": FLAG,
        "stop_sequences": many(TEXT, most=known["stop"]["anyOf"][1]["maxItems"]),
        "metadata": taken({}, {"user_id": {"type": "string", "maxLength": api.MOST_USER_ID}}, open=True),
        "output_config": taken({}, {"effort": one_of(api.EFFORTS), "format": _FORMAT, "task_budget": {"type": "null"}}),
        "output_format": _FORMAT,
        "context_management": _KEPT,
        **_CACHE,
        **each(api.UNUSED, UNUSED),
        **each(api.NOT_HERE, NOTHING),
        **{name: known[name] for name in api.SAMPLING},
    }


def request() -> Fields:
    """The body that asks for a message."""
    most = {**chat.settings()["max_tokens"], "type": "integer"}
    return taken({"model": MODEL, "max_tokens": most, "messages": _MESSAGES}, _fields())


def counted() -> Fields:
    """The body whose tokens are counted."""
    most = {**chat.settings()["max_tokens"], "type": "integer"}
    return taken({"model": MODEL, "messages": _MESSAGES}, {"max_tokens": most, **_fields()})


# -- what is answered


def _block(kind: str, texts: Iterable[str], others: Mapping[str, Any] | None = None) -> Fields:
    return shown({"type": {"const": kind}, **each(texts, TEXT), **(others or {})})


_USAGE = shown(each(("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"), COUNT))
MESSAGE: Fields = shown(
    {
        "id": TEXT,
        "type": {"const": "message"},
        "role": {"const": "assistant"},
        "model": TEXT,
        "content": many(
            either(
                _block("text", ["text"], {"citations": {"type": ["array", "null"]}}),
                _block("thinking", ["thinking", "signature"]),
                _block("redacted_thinking", ["data"]),
                _block("tool_use", ["id", "name"], {"input": OBJECT}),
            )
        ),
        "stop_reason": SOME_TEXT,
        "stop_sequence": {"type": ["string", "null"]},
        "usage": _USAGE,
    }
)
COUNTED: Fields = shown({"input_tokens": COUNT})
