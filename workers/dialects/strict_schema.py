"""JSON Schemas in the subset that OpenAI's strict mode takes, with every change named.

Strict mode (https://platform.openai.com/docs/guides/structured-outputs#supported-schemas) wants an object at the root;
``additionalProperties: false`` and every key in ``required`` on every object, so that a key that may be left out
becomes one that may be null; ``anyOf`` but neither ``allOf``, ``oneOf``, ``not``, conditions nor pattern properties.
Whatever is valid under the rewritten schema is valid under the original, but for nulls of optional keys and for demands
that strict mode has no words for (``minLength``), which are named. Where the structure itself cannot be said (an object
with free keys, a root that is no object), ``strict`` gives the reason instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Schema = dict[str, Any]

_DROPPED = frozenset({"$id", "default", "examples", "$comment", "deprecated", "readOnly", "writeOnly"})
"""Keywords without influence on what is valid, which strict mode does not take."""
_NOTES = _DROPPED | {"$schema", "title", "description"}
_KNOWN = frozenset(
    {
        *("type", "enum", "const", "properties", "required", "additionalProperties", "items", "anyOf", "$ref", "$defs"),
        *("definitions", "title", "description", "pattern", "format", "multipleOf", "maximum", "exclusiveMaximum"),
        *("minimum", "exclusiveMinimum", "minItems", "maxItems", "$schema"),
    }
)
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_LOOSENING = frozenset({"minLength", "maxLength", "uniqueItems", "minProperties", "maxProperties", "contains"})
_DEEPEST = 64


NULLABLE = "an optional key is required and may be null"
"""The one change after which an answer may not be valid under the schema as it was: whoever checks looks for this."""


class Inexpressible(ValueError):
    """The schema says something the subset has no words for; the message says where and what."""


@dataclass(slots=True)
class Strict:
    """A schema in the subset, and what was changed in it: places and reasons."""

    schema: Schema
    changes: list[str] = field(default_factory=list)


def strict(schema: Schema, *, defaults: bool = False) -> Strict | str:
    """The schema in the subset; a sentence with the reason where it cannot be said there.

    ``defaults``: the target takes ``default`` as well, which has no influence on what is valid.
    """
    rewriting = _Rewriting(_KNOWN | {"default"} if defaults else _KNOWN)
    try:
        if "type" not in schema and not schema.get("properties"):
            if schema:
                return "the root is no object"
            schema = {"type": "object", "properties": {}}
        made = rewriting.schema(schema, "", 0)
    except Inexpressible as error:
        return str(error)
    if made.get("type") != "object":
        return "the root is no object"
    return Strict(made if rewriting.changes else schema, rewriting.changes)


class _Rewriting:
    """One pass over a schema."""

    def __init__(self, known: frozenset[str]) -> None:
        self.changes: list[str] = []
        self._known = known

    def schema(self, given: Any, at: str, depth: int) -> Schema:
        if depth > _DEEPEST:
            raise Inexpressible(f"{at or 'the root'} is nested too deeply")
        if given is True or given == {}:
            raise Inexpressible(f"{at or 'the root'} allows anything")
        if not isinstance(given, dict):
            raise Inexpressible(f"{at or 'the root'} is no schema")
        given = self._unwrapped(given, at, depth)
        if "$ref" in given:
            return self._reference(given, at, depth)
        made = self._keywords(given, at)
        for key in ("$defs", "definitions"):
            if isinstance(given.get(key), dict):
                made[key] = {
                    name: self.schema(one, f"{at}.{key}.{name}", depth + 1) for name, one in given[key].items()
                }
        if "anyOf" in given:
            options = given["anyOf"]
            if not isinstance(options, list) or not options or "properties" in given or "items" in given:
                raise Inexpressible(f"{at or 'the root'}: anyOf beside other demands")
            made["anyOf"] = [self.schema(one, f"{at}.anyOf[{n}]", depth + 1) for n, one in enumerate(options)]
        if _is(given, "object"):
            self._object(given, made, at, depth)
        if _is(given, "array"):
            if "type" not in made:
                made["type"] = "array"
                self._note(at, "it is said to be an array")
            if "items" not in given:
                raise Inexpressible(f"{at or 'the root'}: items of any kind")
            made["items"] = self.schema(given["items"], f"{at}[]", depth + 1)
        if not made.keys() & {"type", "enum", "const", "anyOf"}:
            raise Inexpressible(f"{at or 'the root'} allows anything")
        return made

    def _unwrapped(self, given: Schema, at: str, depth: int) -> Schema:
        """``allOf`` of one schema is that schema, ``oneOf`` becomes ``anyOf``: what Pydantic writes for references."""
        beside = {key: value for key, value in given.items() if key not in {"allOf", "oneOf", "discriminator"}}
        all_of, one_of = given.get("allOf"), given.get("oneOf")
        if isinstance(all_of, list) and len(all_of) == 1 and isinstance(all_of[0], dict) and not beside.keys() - _NOTES:
            self._note(at, "allOf of one schema is written as that schema")
            if depth >= _DEEPEST:
                raise Inexpressible(f"{at or 'the root'} is nested too deeply")
            return self._unwrapped({**beside, **all_of[0]}, at, depth + 1)
        if isinstance(one_of, list) and "anyOf" not in given and "allOf" not in given:
            self._note(at, "oneOf is sent as anyOf: the answer may fit several")
            return {**beside, "anyOf": one_of}
        return given

    def _reference(self, given: Schema, at: str, depth: int) -> Schema:
        target = given["$ref"]
        if not isinstance(target, str) or not target.startswith("#"):
            raise Inexpressible(f"{at or 'the root'} refers to another document")
        beside = given.keys() - {"$ref", "$defs", "definitions"}
        if beside - _NOTES:
            raise Inexpressible(f"{at or 'the root'}: demands beside a $ref")
        if beside:
            self._note(at, f"{', '.join(sorted(beside))} beside a $ref is left out")
        if depth == 0:
            raise Inexpressible("the root is no object")
        return {"$ref": target}

    def _keywords(self, given: Schema, at: str) -> Schema:
        made: Schema = {}
        for key, value in given.items():
            if key in {"properties", "required", "additionalProperties", "items", "anyOf", "$defs", "definitions"}:
                continue
            if key == "type" and value == ["object"]:
                made[key] = "object"
            elif key == "format" and value not in _FORMATS:
                self._note(at, f"format {value!r} is left out: the answer may not keep to it")
            elif key in self._known:
                made[key] = value
            elif key in _DROPPED or key.startswith("x-"):
                self._note(at, f"{key} is left out")
            elif key in _LOOSENING:
                self._note(at, f"{key} is left out: the answer may not keep to it")
            else:
                raise Inexpressible(f"{at or 'the root'}: {key} is not part of strict mode")
        return made

    def _object(self, given: Schema, made: Schema, at: str, depth: int) -> None:
        extra = given.get("additionalProperties")
        properties = given.get("properties")
        if isinstance(extra, dict) and extra:
            raise Inexpressible(f"{at or 'the root'} is an object of free keys")
        if properties is None and at and extra is not False:
            raise Inexpressible(f"{at} is an object of free keys")
        properties = properties if isinstance(properties, dict) else {}
        required = [name for name in given.get("required") or () if isinstance(name, str)]
        if not set(required) <= properties.keys():
            raise Inexpressible(f"{at or 'the root'} requires keys it does not describe")
        if "type" not in made:
            made["type"] = "object"
            self._note(at, "it is said to be an object")
        made["properties"] = {}
        for name, one in properties.items():
            place = f"{at}.{name}" if at else name
            made["properties"][name] = self.schema(one, place, depth + 1)
            if name not in required:
                made["properties"][name] = _nullable(made["properties"][name])
                self._note(place, NULLABLE)
        made["required"] = list(properties)
        made["additionalProperties"] = False
        if extra is not False:
            self._note(at, "further keys are refused")

    def _note(self, at: str, what: str) -> None:
        self.changes.append(f"{at or 'the root'}: {what}")


def _is(schema: Schema, kind: str) -> bool:
    named = schema.get("type")
    if named is None and "enum" not in schema and "const" not in schema and "anyOf" not in schema:
        return (kind == "object" and "properties" in schema) or (kind == "array" and "items" in schema)
    return named == kind or (isinstance(named, list) and kind in named)


def _nullable(schema: Schema) -> Schema:
    kind = schema.get("type")
    if "anyOf" in schema:
        if {"type": "null"} in schema["anyOf"]:
            return schema
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    if "enum" in schema or "const" in schema or "$ref" in schema or kind is None:
        return {"anyOf": [schema, {"type": "null"}]}
    kinds = kind if isinstance(kind, list) else [kind]
    return schema if "null" in kinds else {**schema, "type": [*kinds, "null"]}
