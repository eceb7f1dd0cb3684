"""What Anthropic refuses in documents, cache marks, schemas and sampling (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from simulator.dialects.dialect import bad

MOST_MARKS = 4
_NEW = re.compile(r"claude-[a-z]+-([5-9]|4-[6-9])")
_SYSTEM_WITHIN = re.compile(r"claude-[a-z]+-([5-9]|4-[89])")
_NO_SAMPLING = re.compile(r"claude-[a-z]+-([5-9]|4-[7-9])")
_BOUNDS = {
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength"),
    "array": ("maxItems", "uniqueItems"),
}
_SOURCES = {"base64": "data", "text": "data", "url": "url", "content": "content", "file": "file_id"}


def takes_system_within(model: str) -> bool:
    """Whether a model takes system messages between the others."""
    return _SYSTEM_WITHIN.match(model) is not None


def check_prefill(model: str, last: dict[str, Any]) -> None:
    """The newer models do not continue an answer."""
    if last.get("role") == "assistant" and _NEW.match(model):
        raise bad(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )


def check_document(block: dict[str, Any], place: str) -> str:
    """A document's source must be of a known form; returns its text."""
    source = block.get("source")
    kind = source.get("type") if isinstance(source, dict) else None
    wanted = _SOURCES.get(str(kind))
    if not isinstance(source, dict) or wanted is None:
        tags = ", ".join(repr(one) for one in sorted(_SOURCES))
        raise bad(f"{place}.document.source: Input tag '{kind}' does not match {tags}")
    if not source.get(wanted):
        raise bad(f"{place}.document.source.{kind}.{wanted}: Field required")
    media_type = {"base64": "application/pdf", "text": "text/plain"}.get(str(kind))
    if media_type and source.get("media_type") != media_type:
        raise bad(f"{place}.document.source.{kind}.media_type: Input should be '{media_type}'")
    return str(source["data"]) if kind == "text" else ""


def check_marks(raw: dict[str, Any]) -> None:
    """Four cache marks, those that live longer first."""
    marks = [mark for block in _blocks(raw) if isinstance(mark := block.get("cache_control"), dict)]
    if raw.get("cache_control"):
        marks.append(raw["cache_control"])
    if len(marks) > MOST_MARKS:
        raise bad(f"A maximum of {MOST_MARKS} blocks with cache_control may be provided. Found {len(marks)}.")
    lives = [mark.get("ttl", "5m") for mark in marks]
    if lives != sorted(lives):
        raise bad("a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block.")


def _blocks(raw: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Everything that may bear a mark, in the order it is cached."""
    for name in ("tools", "system"):
        found = raw.get(name)
        yield from (one for one in (found if isinstance(found, list) else ()) if isinstance(one, dict))
    for message in raw.get("messages") or ():
        content = message.get("content") if isinstance(message, dict) else None
        yield from (one for one in (content if isinstance(content, list) else ()) if isinstance(one, dict))


def check_schema(schema: Any, place: str) -> None:
    """A schema that is compiled into a grammar: closed objects, no bounds."""
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    if kind == "object" and schema.get("additionalProperties") is not False:
        raise bad(f"{place}: For 'object' type, 'additionalProperties' must be explicitly set to false")
    for name in _BOUNDS.get(str(kind), ()):
        if name in schema:
            raise bad(f"{place}: For '{kind}' type, property '{name}' is not supported")
    if "oneOf" in schema:
        raise bad(f"{place}: Schema type 'oneOf' is not supported")
    for name in ("properties", "$defs", "definitions"):
        for one in (schema.get(name) or {}).values():
            check_schema(one, place)
    check_schema(schema.get("items"), place)
    for name in ("anyOf", "allOf"):
        for one in schema.get(name) or ():
            check_schema(one, place)


def check_sampling(raw: dict[str, Any], model: str) -> None:
    """The newer models take no word on sampling."""
    for name in ("temperature", "top_p", "top_k"):
        if raw.get(name) is not None and _NO_SAMPLING.match(model):
            raise bad(f"`{name}` is deprecated for this model.")


def check_thinking(raw: dict[str, Any]) -> None:
    """Sampling that does not go together with thinking."""
    if raw.get("top_k") is not None:
        raise bad("`top_k` must be unset when thinking is enabled.")
    top_p = raw.get("top_p")
    if top_p is not None and top_p < 0.95:
        raise bad("`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.")
