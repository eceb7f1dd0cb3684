"""JSON Schema cut to the subset of OpenAPI that Gemini's older ``parameters`` and ``responseSchema`` understand."""

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
_NOTES = frozenset({"$schema", "$id", "$comment", "$defs", "definitions", "additionalProperties", "examples"})
"""Words whose loss changes nothing a model could notice, or that are resolved."""
_DEPTH = 24


def openapi_subset(schema: dict[str, Any], losses: Losses, field: str) -> dict[str, Any]:
    """The schema with local references put in their place, ``const`` as ``enum``, lists of types as ``anyOf`` or
    ``nullable``; what the subset has no word for is dropped, with one loss that names it.
    """
    dropped: set[str] = set()
    cut = _cut(schema, schema, dropped, _DEPTH)
    if dropped:
        losses.add("dropped", field, f"no word for {', '.join(sorted(dropped))}")
    return cut


def _cut(schema: Any, root: dict[str, Any], dropped: set[str], depth: int) -> dict[str, Any]:
    if not isinstance(schema, dict):
        return {}
    if "$ref" in schema:
        if depth <= 0:
            dropped.add("$ref (recursive)")
            return {"type": "object"}
        return _cut({**_resolved(schema["$ref"], root), **_without(schema, "$ref")}, root, dropped, depth - 1)
    cut: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties" and isinstance(value, dict):
            cut[key] = {name: _cut(part, root, dropped, depth - 1) for name, part in value.items()}
        elif key == "items":
            cut[key] = _cut(value, root, dropped, depth - 1)
        elif key in {"anyOf", "oneOf"} and isinstance(value, list):
            cut["anyOf"] = [_cut(part, root, dropped, depth - 1) for part in value]
        elif key == "allOf" and isinstance(value, list) and len(value) == 1:
            cut.update(_cut(value[0], root, dropped, depth - 1))
        elif key == "const":
            cut["enum"] = [value]
        elif key == "type" and isinstance(value, list):
            _put_types(cut, value)
        elif key in _KEPT:
            cut[key] = value
        elif key not in _NOTES:
            dropped.add(str(key))
    return cut


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


def _without(schema: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != key}
