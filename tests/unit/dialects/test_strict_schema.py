"""Strict mode's subset: what is valid there is valid under the schema that was asked for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.dialects.strict_schema import Strict, strict

KEYS = ("a", "b", "c")
DEMANDS_LEFT_OUT = {"minLength", "maxLength", "uniqueItems"}


def valid(value: Any, schema: dict[str, Any], root: dict[str, Any], left_out: frozenset[str] = frozenset()) -> bool:
    """A validator of the keywords these tests write (https://json-schema.org/draft/2020-12), our own and small."""
    if "$ref" in schema:
        return valid(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, left_out)
    for one in schema.get("allOf", ()):
        if not valid(value, one, root, left_out):
            return False
    if "anyOf" in schema and not any(valid(value, one, root, left_out) for one in schema["anyOf"]):
        return False
    if "enum" in schema and not any(value == one and type(value) is type(one) for one in schema["enum"]):
        return False
    kinds = schema.get("type")
    if kinds is not None and _kind(value) not in ([kinds] if isinstance(kinds, str) else kinds):
        return False
    if isinstance(value, str) and "minLength" not in left_out and len(value) < schema.get("minLength", 0):
        return False
    if isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return False
    if isinstance(value, list):
        return all(valid(one, schema.get("items", {}), root, left_out) for one in value)
    if isinstance(value, dict):
        known = schema.get("properties", {})
        if not set(schema.get("required", ())) <= value.keys():
            return False
        if schema.get("additionalProperties") is False and not value.keys() <= known.keys():
            return False
        return all(valid(one, known.get(name, {}), root, left_out) for name, one in value.items())
    return True


def _kind(value: Any) -> str:
    names = {str: "string", bool: "boolean", int: "integer", list: "array", dict: "object", type(None): "null"}
    return names[type(value)]


leaves = st.one_of(
    st.just({"type": "string"}),
    st.integers(0, 2).map(lambda least: {"type": "string", "minLength": least}),
    st.just({"type": "integer", "minimum": 0, "maximum": 3}),
    st.just({"type": ["string", "null"], "description": "d"}),
    st.just({"enum": ["x", "y", None]}),
    st.just({"type": "boolean", "default": True}),
    st.just({"$ref": "#/$defs/Named"}),
)


def objects(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    @st.composite
    def made(draw: st.DrawFn) -> dict[str, Any]:
        names = draw(st.lists(st.sampled_from(KEYS), min_size=1, unique=True))
        found: dict[str, Any] = {"type": "object", "properties": {name: draw(inner) for name in names}}
        required = draw(st.lists(st.sampled_from(names), unique=True))
        if required:
            found["required"] = required
        closed = draw(st.sampled_from([None, False, True]))
        return found if closed is None else {**found, "additionalProperties": closed}

    return made()


schemas = st.recursive(
    leaves,
    lambda inner: (
        objects(inner)
        | inner.map(lambda one: {"type": "array", "items": one})
        | st.lists(inner, min_size=1, max_size=3).map(lambda many: {"anyOf": many})
        | inner.map(lambda one: {"allOf": [one]})
    ),
    max_leaves=6,
)
roots = objects(schemas).map(
    lambda root: {**root, "$defs": {"Named": {"type": "object", "properties": {"a": {"type": "string"}}}}}
)


def instances(schema: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that are valid under a schema in the subset."""
    if "$ref" in schema:
        return st.deferred(lambda: instances(root["$defs"]["Named"], root))
    if "anyOf" in schema:
        return st.one_of(*(instances(one, root) for one in schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of(*(_instances(kind, schema, root) for kind in kinds))


def _instances(kind: str, schema: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    match kind:
        case "object":
            return st.fixed_dictionaries({name: instances(one, root) for name, one in schema["properties"].items()})
        case "array":
            return st.lists(instances(schema["items"], root), max_size=2)
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case _:
            return st.text(max_size=3)


def without_nulls(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """The value as the original has it: a key that is null and may be left out is left out."""
    if "$ref" in schema:
        return without_nulls(value, root["$defs"]["Named"], root)
    for one in schema.get("allOf", ()):
        value = without_nulls(value, one, root)
    for one in schema.get("anyOf", ()):
        stripped = without_nulls(value, one, root)
        if valid(stripped, one, root, frozenset(DEMANDS_LEFT_OUT)):
            return stripped
    if isinstance(value, list) and "items" in schema:
        return [without_nulls(one, schema["items"], root) for one in value]
    if isinstance(value, dict) and "properties" in schema:
        known, required = schema["properties"], schema.get("required", ())
        return {
            name: without_nulls(one, known[name], root)
            for name, one in value.items()
            if name in known and not (one is None and name not in required)
        }
    return value


@given(st.data())
def test_what_is_valid_when_rewritten_is_valid_but_for_nulls_and_named_demands(data: st.DataObject) -> None:
    root = data.draw(roots)
    found = strict(root)
    assert isinstance(found, Strict), found
    value = data.draw(instances(found.schema, found.schema))
    assert valid(value, found.schema, found.schema)
    stripped = without_nulls(value, root, root)
    assert valid(stripped, root, root, frozenset(DEMANDS_LEFT_OUT)), (root, found.schema, value)
    if not any("minLength" in change for change in found.changes):
        assert valid(stripped, root, root)


@given(roots)
def test_every_object_is_closed_and_wants_all_its_keys(root: dict[str, Any]) -> None:
    found = strict(root)
    assert isinstance(found, Strict)
    for one in _objects(found.schema):
        assert one["additionalProperties"] is False
        assert set(one["required"]) == set(one["properties"])
    again = strict(found.schema)
    assert again == Strict(found.schema, []), "a schema in the subset stays as it is"


def _objects(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [found for one in value for found in _objects(one)]
    if not isinstance(value, dict):
        return []
    mine = [value] if "properties" in value and isinstance(value.get("properties"), dict) else []
    return mine + [found for one in value.values() for found in _objects(one)]


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "array", "items": {"type": "string"}}, "the root is no object"),
        ({"anyOf": [{"type": "object", "properties": {}}]}, "the root is no object"),
        ({"type": "object", "properties": {"a": {"type": "object"}}}, "a is an object of free keys"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "the root is an object of free keys"),
        ({"type": "object", "properties": {"a": {}}}, "a allows anything"),
        ({"type": "object", "properties": {"a": {"not": {"type": "string"}}}}, "a: not is not part of strict mode"),
        ({"type": "object", "properties": {"a": {"$ref": "https://example.com/x"}}}, "a refers to another document"),
        ({"type": "object", "properties": {}, "required": ["a"]}, "the root requires keys it does not describe"),
    ],
)
def test_what_strict_mode_cannot_say_is_a_reason(schema: dict[str, Any], reason: str) -> None:
    assert strict(schema) == reason


def test_every_change_is_named() -> None:
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "minLength": 2, "default": "Rome"},
            "kind": {"oneOf": [{"type": "string"}, {"type": "integer"}], "discriminator": {"propertyName": "x"}},
        },
        "required": ["kind"],
    }
    found = strict(schema)
    assert isinstance(found, Strict)
    assert found.schema == {
        "type": "object",
        "properties": {
            "city": {"type": ["string", "null"]},
            "kind": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        },
        "required": ["city", "kind"],
        "additionalProperties": False,
    }
    assert found.changes == [
        "city: minLength is left out: the answer may not keep to it",
        "city: default is left out",
        "city: an optional key is required and may be null",
        "kind: oneOf is sent as anyOf: the answer may fit several",
        "the root: further keys are refused",
    ]
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(100):
        deep = {"type": "array", "items": deep}
    assert "nested too deeply" in str(strict({"type": "object", "properties": {"a": deep}}))
