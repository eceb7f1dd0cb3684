"""Reads a value as a program of an older version would: by that version's JSON Schema, and nothing newer.

The part of draft 2020-12 that pydantic writes for our messages. What a reader of ours does beyond it is said here: it
drops fields it does not know, at every level, and takes any kind of failure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

VERSION_1_0 = Path(__file__).parents[1] / "unit" / "job_contracts" / "schema_1_0"
"""What version 1.0 published, and its lease record. Pinned: nothing here changes."""
OPEN_ENUMS = {"FailureKind"}
"""Enumerations that may grow: an older reader takes a new member for its general one."""


@dataclass
class Read:
    """What the reader has of a value, and what it stumbled over."""

    value: Any
    problems: list[str] = field(default_factory=list)


@cache
def pinned(name: str) -> dict[str, Any]:
    """A schema of version 1.0."""
    found: dict[str, Any] = json.loads((VERSION_1_0 / f"{name}.json").read_text(encoding="utf-8"))
    return found


def read(name: str, value: Any) -> Read:
    """A message as version 1.0 reads it."""
    root = pinned(name)
    return _Reader(root).read(root, value, name)


class _Reader:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def read(self, schema: Mapping[str, Any], value: Any, at: str) -> Read:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            if name in OPEN_ENUMS:
                return Read(value, [] if isinstance(value, str) else [f"{at}: not a text"])
            return self.read(self._root["$defs"][name], value, at)
        if "oneOf" in schema or "anyOf" in schema:
            return self._one_of(schema, value, at)
        problems = [f"{at}: {word}" for word in _simple(schema, value)]
        if isinstance(value, dict) and not problems:
            return self._object(schema, value, at)
        if isinstance(value, list) and not problems:
            items = [self.read(part, member, f"{at}[]") for part, member in _members(schema, value)]
            return Read([item.value for item in items], [word for item in items for word in item.problems])
        return Read(value, problems)

    def _one_of(self, schema: Mapping[str, Any], value: Any, at: str) -> Read:
        told = schema.get("discriminator")
        if told is not None and isinstance(value, dict):
            mapping = told["mapping"]
            tag = value.get(told["propertyName"])
            if tag not in mapping:
                return Read(value, [f"{at}: there is no {told['propertyName']} {tag!r}"])
            return self.read({"$ref": mapping[tag]}, value, at)
        tried = [self.read(branch, value, at) for branch in schema.get("anyOf") or schema["oneOf"]]
        return next((one for one in tried if not one.problems), tried[0])

    def _object(self, schema: Mapping[str, Any], value: Mapping[str, Any], at: str) -> Read:
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        result = Read({}, [f"{at}.{name}: missing" for name in schema.get("required", ()) if name not in value])
        for name, member in value.items():
            part = known.get(name, others)
            if part is False:
                result.problems.append(f"{at}.{name}: not allowed")
            elif part is None and known:
                continue  # a field of a newer version: unknown here, ignored
            elif part is None or part is True:
                result.value[name] = member
            else:
                inner = self.read(part, member, f"{at}.{name}")
                result.value[name] = inner.value
                result.problems += inner.problems
        return result


_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def _simple(schema: Mapping[str, Any], value: Any) -> list[str]:
    """What is wrong with a value as such, its members aside."""
    found = []
    wanted = schema.get("type")
    if wanted is not None and not _is(wanted, value):
        return [f"{value!r} is no {wanted}"]
    if "const" in schema and value != schema["const"]:
        found.append(f"{value!r} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{value!r} is none of {schema['enum']}")
    if isinstance(value, str | list | dict):
        for least, most in (("minLength", "maxLength"), ("minItems", "maxItems"), ("minProperties", "maxProperties")):
            if not schema.get(least, 0) <= len(value) <= schema.get(most, len(value)):
                found.append(f"{len(value)} is too short or too long")
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{value!r} is not of the form {schema['pattern']}")
    if isinstance(value, int | float):
        if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            found.append(f"{value} is too small or too large")
        if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
            found.append(f"{value} is too small")
    return found


def _is(wanted: str, value: Any) -> bool:
    if isinstance(value, bool):
        return wanted == "boolean"
    return isinstance(value, _TYPES[wanted])


def _members(schema: Mapping[str, Any], value: list[Any]) -> list[tuple[Mapping[str, Any], Any]]:
    first = schema.get("prefixItems", [])
    rest = [schema.get("items", {})] * max(0, len(value) - len(first))
    return list(zip([*first, *rest], value, strict=False))
