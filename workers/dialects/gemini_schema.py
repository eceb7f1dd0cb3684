"""JSON Schema cut to what Gemini understands: https://ai.google.dev/api/caching#Schema.

Two subsets: the older fields ``parameters`` and ``responseSchema`` take one of OpenAPI 3.0, ``responseJsonSchema``
takes one of JSON Schema. What is taken out or put in another form is told by losses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.dialects.encoding import Losses

_KEPT = frozenset(
    {
        *("type", "format", "title", "description", "nullable", "enum", "default", "example", "anyOf"),
        *("properties", "required", "propertyOrdering", "minProperties", "maxProperties"),
        *("items", "minItems", "maxItems", "minLength", "maxLength", "pattern", "minimum", "maximum"),
    }
)
_JSON = frozenset(
    {
        *("$id", "$defs", "$ref", "$anchor", "type", "format", "title", "description", "enum", "items", "prefixItems"),
        *("minItems", "maxItems", "minimum", "maximum", "anyOf", "oneOf", "properties", "additionalProperties"),
        *("required", "propertyOrdering"),
    }
)
_NOTES = frozenset({"$schema", "$id", "$comment", "$defs", "definitions", "examples"})
"""Words whose loss changes nothing a model could notice, or that are resolved."""
_FORMATS = {
    "string": {"enum", "date-time"}, "number": {"float", "double"}, "integer": {"int32", "int64"},
}  # fmt: skip
_DEPTH = 24
"""Schemas within one another, from which on no reference is put in its place."""
_LEVELS = 3
"""Of what refers to itself."""
_MOST_REFERENCES = 256
"""References put in their place in one schema: a few that refer to one another could fill any memory."""


def openapi_subset(schema: dict[str, Any], losses: Losses, field: str) -> dict[str, Any]:
    """The schema with local references put in their place, ``const`` as ``enum``, lists of types as ``anyOf`` or
    ``nullable``; what the subset has no word for is dropped. One loss names what was dropped, one what was rewritten.
    Of what refers to itself a few levels are said, then it is an object of any form.
    """
    cutter = _Cutter(schema)
    cut = cutter.openapi(schema)
    cutter.tell(losses, field)
    return cut


def json_subset(schema: dict[str, Any], losses: Losses, field: str) -> dict[str, Any]:
    """The schema without the words that ``responseJsonSchema`` has not; ``const`` as ``enum``."""
    cutter = _Cutter(schema)
    cut: dict[str, Any] = cutter.json(schema)
    cutter.tell(losses, field)
    return cut


class _Cutter:
    """One schema on its way through; what happened to it."""

    __slots__ = ("_depth", "_inside", "_references", "dropped", "rewritten", "root")

    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root
        self._inside: list[str] = []
        """The references that are being put in their place, each within the one before."""
        self._depth = self._references = 0
        self.dropped: set[str] = set()
        self.rewritten: set[str] = set()

    def tell(self, losses: Losses, field: str) -> None:
        if self.dropped:
            losses.add("dropped", field, f"no word for {', '.join(sorted(self.dropped))}")
        if self.rewritten:
            losses.add("rewritten", field, ", ".join(sorted(self.rewritten)))

    def json(self, schema: Any) -> Any:
        if not isinstance(schema, dict):
            return schema
        cut: dict[str, Any] = {}
        for key, value in schema.items():
            if key in {"properties", "$defs", "definitions"} and isinstance(value, dict):
                if key == "definitions":
                    self.rewritten.add("definitions as $defs")
                name = "$defs" if key == "definitions" else key
                cut[name] = {one: self.json(part) for one, part in value.items()}
            elif key in {"anyOf", "oneOf", "prefixItems"} and isinstance(value, list):
                cut[key] = [self.json(part) for part in value]
            elif key in {"items", "additionalProperties"}:
                cut[key] = self.json(value)
            elif key == "allOf" and isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
                self.rewritten.add("allOf of one put in its place")
                cut.update(self.json(value[0]))
            elif key == "$ref" and isinstance(value, str):
                cut[key] = value.replace("#/definitions/", "#/$defs/")
            elif key == "const":
                self._put_enum(cut, [value])
            elif key in _JSON:
                cut[key] = value
            elif key not in _NOTES:
                self.dropped.add(str(key))
        return cut

    def openapi(self, schema: Any) -> dict[str, Any]:
        if not isinstance(schema, dict):
            return {}
        if "$ref" in schema:
            return self._referred(schema)
        cut: dict[str, Any] = {}
        self._depth += 1
        for key, value in schema.items():
            self._take(cut, key, value)
        self._depth -= 1
        self._see_to(cut)
        return cut

    def _referred(self, schema: dict[str, Any]) -> dict[str, Any]:
        reference = str(schema["$ref"])
        recursive = self._inside.count(reference) >= _LEVELS
        if recursive or self._depth + len(self._inside) >= _DEPTH or self._references >= _MOST_REFERENCES:
            self.dropped.add("$ref (recursive)" if recursive else "$ref (too many)")
            return {"type": "object"}
        self.rewritten.add("references put in their place")
        self._references += 1
        self._inside.append(reference)
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        cut = self.openapi({**_resolved(reference, self.root), **beside})
        self._inside.pop()
        return cut

    def _take(self, cut: dict[str, Any], key: str, value: Any) -> None:
        if key == "properties" and isinstance(value, dict):
            cut[key] = {name: self.openapi(part) for name, part in value.items()}
        elif key == "items":
            cut[key] = self.openapi(value)
        elif key in {"anyOf", "oneOf"} and isinstance(value, list):
            self._put_any(cut, value, key)
        elif key == "allOf" and isinstance(value, list) and len(value) == 1:
            self.rewritten.add("allOf of one put in its place")
            cut.update(self.openapi(value[0]))
        elif key == "const":
            self._put_enum(cut, [value])
        elif key == "type" and isinstance(value, list):
            self.rewritten.add("types as anyOf or nullable")
            _put_types(cut, value)
        elif key == "additionalProperties":
            if value is not False:
                self.dropped.add(key)
        elif key in _KEPT:
            cut[key] = value
        elif key not in _NOTES:
            self.dropped.add(str(key))

    def _put_enum(self, cut: dict[str, Any], values: list[Any]) -> None:
        self.rewritten.add("const as enum")
        cut["enum"] = values

    def _put_any(self, cut: dict[str, Any], variants: list[Any], key: str) -> None:
        if key == "oneOf":
            self.rewritten.add("oneOf as anyOf")
        kept = [one for one in variants if not (isinstance(one, dict) and one.get("type") == "null")]
        if len(kept) < len(variants):
            self.rewritten.add("types as anyOf or nullable")
            cut["nullable"] = True
        made = [self.openapi(one) for one in kept]
        if len(made) == 1 and len(kept) < len(variants):
            cut.update({name: value for name, value in made[0].items() if name not in cut})
        elif made:
            cut["anyOf"] = made

    def _see_to(self, cut: dict[str, Any]) -> None:
        """Values the API refuses in words it has: figures in an enum, foreign formats, required without a property."""
        kind = cut.get("type")
        enum = cut.get("enum")
        if enum is not None and not (isinstance(enum, list) and all(isinstance(value, str) for value in enum)):
            self.dropped.add("enum of other values than text")
            del cut["enum"]
        elif enum is not None:
            cut.setdefault("type", "string")
        known = _FORMATS.get(str(kind).lower())
        if "format" in cut and known is not None and cut["format"] not in known:
            self.dropped.add(f"format {cut.pop('format')}")
        required, properties = cut.get("required"), cut.get("properties")
        if isinstance(required, list):
            there = [name for name in required if isinstance(properties, dict) and name in properties]
            if there != required:
                self.dropped.add("required of what is no property")
                cut["required"] = there


def _put_types(cut: dict[str, Any], types: list[Any]) -> None:
    named = [name for name in types if name != "null"]
    if len(named) < len(types):
        cut["nullable"] = True
    if len(named) == 1:
        cut["type"] = named[0]
    elif named:
        cut["anyOf"] = [{"type": name} for name in named]


def _resolved(reference: Any, root: dict[str, Any]) -> dict[str, Any]:
    found: Any = root
    for step in str(reference).removeprefix("#").split("/"):
        if step:
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}
