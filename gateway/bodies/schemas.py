"""Words in which the JSON Schemas of bodies are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.bodies.kinds import JOB

Fields = dict[str, Any]

TEXT: Fields = {"type": "string"}
SOME_TEXT: Fields = {"type": "string", "minLength": 1}
FLAG: Fields = {"type": "boolean"}
OBJECT: Fields = {"type": "object"}
WHOLE: Fields = {"type": "integer"}
COUNT: Fields = {"type": "integer", "minimum": 0}
ANYTHING: Fields = {}
ROUTE: Fields = {key: JOB["route"][key] for key in ("type", "minLength", "maxLength")}
MODEL: Fields = {**ROUTE, "description": "The name of a route."}
MOMENT: Fields = {"type": "integer", "description": "UTC seconds."}
UNUSED: Fields = {"description": "Taken, and without effect here."}
NOTHING: Fields = {"enum": [None, False, 0, "", [], {}], "description": "Not carried: leave it out, or empty."}


def optional(schema: Mapping[str, Any]) -> Fields:
    """The same, or null."""
    kind = schema.get("type")
    if kind == "null" or not schema.keys() - {"description"} or None in schema.get("enum", ()):
        return dict(schema)
    if isinstance(kind, str) and not schema.keys() & {"enum", "const"}:
        return {**schema, "type": [kind, "null"]}
    return {"anyOf": [{"type": "null"}, schema]}


def taken(required: Mapping[str, Any], others: Mapping[str, Any], *, open: bool = False) -> Fields:
    """An object of a request. ``others`` may be left out or null; unless it is ``open`` there are no further fields."""
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **{name: optional(schema) for name, schema in others.items()}},
        **({} if open else {"additionalProperties": False}),
    }


def shown(required: Mapping[str, Any], others: Mapping[str, Any] | None = None) -> Fields:
    """An object of an answer, to which fields may be added at any time."""
    return {"type": "object", "required": list(required), "properties": {**required, **(others or {})}}


def many(schema: Mapping[str, Any], *, least: int = 0, most: int | None = None) -> Fields:
    """A list of it."""
    bounds = {"minItems": least or None, "maxItems": most}
    return {"type": "array", "items": schema, **{key: value for key, value in bounds.items() if value is not None}}


def one_of(words: Iterable[str]) -> Fields:
    """One of these."""
    return {"type": "string", "enum": list(words)}


def either(*schemas: Mapping[str, Any]) -> Fields:
    """One of these forms."""
    return {"anyOf": list(schemas)}


def each(names: Iterable[str], schema: Mapping[str, Any]) -> Fields:
    """Fields of those names, all alike."""
    return dict.fromkeys(sorted(names), schema)


def pairs(most: int, name: int, value: int) -> Fields:
    """An object of texts: so many, with names and values of so many characters at most."""
    return {
        "type": "object",
        "maxProperties": most,
        "propertyNames": {"maxLength": name},
        "additionalProperties": {"type": "string", "maxLength": value},
    }


def page(kind: Mapping[str, Any]) -> Fields:
    """A page of a list, as the OpenAI API has it."""
    ends = each(("first_id", "last_id"), {"type": ["string", "null"]})
    return shown({"object": {"const": "list"}, "data": many(kind), **ends, "has_more": FLAG})


DATA_URL = r"^data:[^;,]+;(?:[^,]*;)?base64,"
URL_OR_DATA: Fields = {
    "type": "string",
    "anyOf": [{"not": {"pattern": "^data:"}}, {"pattern": DATA_URL}],
    "description": "An address, or data:…;base64,….",
}
