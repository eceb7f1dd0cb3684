"""Instances of a JSON Schema, chosen by a hash: what a model with structured output would answer (pure).

Covers what the providers accept: types, unions, ``enum``, ``const``, ``$ref``, ``allOf``, bounds, lengths, formats, and
Gemini's dialect of it (upper-case types, ``nullable``). ``pattern`` is met for character classes, literals, groups,
alternatives and counted repeats. Every property is filled, required or not, until the depth is spent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from simulator.patterns import matching
from simulator.words import Chooser, sentence

DEEPEST = 6
"""Levels of nesting; below that only what is required is filled, which ends every recursion a finite value allows."""

MOST_VALUES = 400
"""Values in one instance; after so many it goes on as if at the deepest level."""

HARD_FLOOR = 40
"""Levels after which even a required value is given up as null: the schema has no finite instance."""

FORMATS = {
    "date-time": "2026-03-14T15:09:26Z",
    "date": "2026-03-14",
    "time": "15:09:26Z",
    "duration": "PT15M",
    "email": "ada@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/a",
    "uuid": "3f2b1c9a-5d4e-4f60-8a7b-9c0d1e2f3a4b",
}


def instance(schema: dict[str, Any], chooser: Chooser) -> Any:
    """An instance of a schema; the same schema and chooser give the same instance."""
    return _Writer(schema, chooser).value(schema, 0)


class _Writer:
    def __init__(self, root: dict[str, Any], chooser: Chooser) -> None:
        self._root = root
        self._choose = chooser
        self._values = 0

    def value(self, schema: Any, depth: int) -> Any:
        """An instance of a schema (``True`` and other non-objects allow anything) at a level of nesting."""
        self._values += 1
        if self._values > MOST_VALUES:
            depth = max(depth, DEEPEST)
        if not isinstance(schema, dict):
            return sentence(self._choose, 3)
        if depth > HARD_FLOOR:
            return None
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._one_of(schema["enum"])
        for union in ("anyOf", "oneOf"):
            if schema.get(union):
                return self.value(self._branch(schema, schema[union], depth), depth + 1)
        return self._typed(schema, depth)

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Follow ``$ref`` and fold ``allOf`` in."""
        for _ in range(HARD_FLOOR):
            reference = schema.get("$ref")
            if isinstance(reference, str):
                target = self._target(reference)
                schema = {**target, **{name: one for name, one in schema.items() if name != "$ref"}}
            elif schema.get("allOf"):
                schema = self._folded(schema)
            else:
                return schema
        return {}

    def _folded(self, schema: dict[str, Any]) -> dict[str, Any]:
        merged: dict[str, Any] = {name: one for name, one in schema.items() if name != "allOf"}
        for part in schema["allOf"]:
            for name, one in self._resolved(part).items():
                if name == "properties":
                    merged["properties"] = {**merged.get("properties", {}), **one}
                elif name == "required":
                    merged["required"] = [*merged.get("required", []), *one]
                else:
                    merged.setdefault(name, one)
        return merged

    def _target(self, reference: str) -> dict[str, Any]:
        node: Any = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            if not step:
                continue
            node = node.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(node, dict) else {}
        return node if isinstance(node, dict) else {}

    def _branch(self, schema: dict[str, Any], branches: Sequence[Any], depth: int) -> Any:
        """A branch of a union; when the depth is spent, one that ends soonest."""
        if depth >= DEEPEST:
            branches = sorted(branches, key=_weight)[:1]
        branch = self._one_of(branches)
        shared = {name: one for name, one in schema.items() if name not in ("anyOf", "oneOf", "title", "description")}
        return {**shared, **self._resolved(branch)} if isinstance(branch, dict) and shared else branch

    def _typed(self, schema: dict[str, Any], depth: int) -> Any:
        kind = schema.get("type") or (
            "object" if "properties" in schema else "array" if "items" in schema else "string"
        )
        if isinstance(kind, list):
            sober = [one for one in kind if str(one).lower() != "null"]
            kind = self._one_of(sober) if sober else "null"
        match str(kind).lower():
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer":
                return self._integer(schema)
            case "number":
                return self._number(schema)
            case "boolean":
                return self._choose(2) == 1
            case "null":
                return None
            case _:
                return self._string(schema)

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        required = set(schema.get("required", ()))
        properties = schema.get("properties") or {}
        wanted = {name: one for name, one in properties.items() if depth < DEEPEST or name in required}
        made = {name: self.value(one, depth + 1) for name, one in wanted.items()}
        extra = schema.get("additionalProperties")
        values = extra if isinstance(extra, dict) else {}
        for name in sorted(required - set(made)):
            made[name] = self.value(values, depth + 1)
        while len(made) < schema.get("minProperties", 0):
            made[f"key_{len(made)}"] = self.value(values, depth + 1)
        return made

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        first = schema.get("prefixItems") or []
        least = max(int(schema.get("minItems", 0)), len(first))
        length = least if depth >= DEEPEST else max(least, 1 + self._choose(2))
        if schema.get("items") is False:
            length = len(first)
        length = min(length, int(schema.get("maxItems", length)))
        made = [self.value(one, depth + 1) for one in first[:length]]
        items = schema.get("items", {})
        unique = bool(schema.get("uniqueItems"))
        for _ in range(8 * (length + 1)):
            if len(made) >= length:
                break
            item = self.value(items, depth + 1)
            if not unique or item not in made:
                made.append(item)
        return made

    def _bounds(self, schema: dict[str, Any], step: float) -> tuple[float, float]:
        low, high = schema.get("minimum"), schema.get("maximum")
        above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        if isinstance(above, int | float) and not isinstance(above, bool):
            low = above + step if low is None else max(low, above + step)
        if isinstance(below, int | float) and not isinstance(below, bool):
            high = below - step if high is None else min(high, below - step)
        if low is None:
            low = 1 if high is None else min(1, high)
        return low, high if high is not None else low + 99

    def _integer(self, schema: dict[str, Any]) -> int:
        low, high = self._bounds(schema, 1)
        first, last = math.ceil(low), math.floor(high)
        multiple = schema.get("multipleOf")
        if isinstance(multiple, int) and multiple > 0:
            first, last = math.ceil(first / multiple), math.floor(last / multiple)
            return multiple * (first + self._choose(max(1, last - first + 1)))
        return first + self._choose(max(1, last - first + 1))

    def _number(self, schema: dict[str, Any]) -> float:
        multiple = schema.get("multipleOf")
        if isinstance(multiple, int | float) and multiple > 0:
            low, high = self._bounds(schema, float(multiple))
            first, last = math.ceil(low / multiple), math.floor(high / multiple)
            return float(multiple * (first + self._choose(max(1, last - first + 1))))
        low, high = self._bounds(schema, 0.0)
        inner = 1 + self._choose(7)  # never an end: an exclusive bound is one
        return low + (high - low) * inner / 8

    def _string(self, schema: dict[str, Any]) -> str:
        if isinstance(schema.get("pattern"), str):
            return matching(schema["pattern"], self._choose)
        if schema.get("format") in FORMATS:
            return FORMATS[schema["format"]]
        text = sentence(self._choose, 2 + self._choose(3))
        least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
        while len(text) < least:
            text += " " + sentence(self._choose, 4)
        return text if most is None else text[: int(most)].ljust(least, "x")

    def _one_of(self, options: Sequence[Any]) -> Any:
        return options[self._choose(len(options))]


def _weight(schema: Any) -> int:
    """How much a branch would drag in: null and plain values first, references last."""
    if not isinstance(schema, dict):
        return 1
    if schema.get("type") == "null":
        return 0
    if "$ref" in schema or schema.get("type") in ("object", "array") or "properties" in schema:
        return 2 + len(schema.get("required", ()))
    return 1
