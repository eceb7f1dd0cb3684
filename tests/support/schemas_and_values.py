"""JSON Schemas of many shapes, values that may or may not fit them, and texts that hold such values somehow."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

names = st.sampled_from(["a", "b", "name", "total", "items"])
scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
"""Any value of JSON."""

_leaves: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.builds(lambda kind: {"type": kind}, st.sampled_from(["string", "integer", "number", "boolean", "null"])),
    st.builds(lambda kinds: {"type": kinds}, st.just(["string", "null"])),
    st.builds(lambda least: {"type": "integer", "minimum": least}, st.integers(-3, 3)),
    st.builds(lambda words: {"enum": words}, st.lists(st.text(max_size=4), min_size=1, max_size=3, unique=True)),
    st.just({"type": "string", "pattern": "^[a-z]*$"}),
    st.just({}),
)


def _objects(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def made(properties: dict[str, Any], required: list[str], closed: bool) -> dict[str, Any]:
        found = {
            "type": "object",
            "properties": properties,
            "required": sorted(set(required) & set(properties)),
        }
        return {**found, "additionalProperties": False} if closed else found

    return st.builds(made, st.dictionaries(names, inner, max_size=4), st.lists(names, max_size=3), st.booleans())


schemas: st.SearchStrategy[dict[str, Any]] = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        _objects(inner),
        st.builds(lambda one: {"type": "array", "items": one}, inner),
        st.builds(lambda some: {"anyOf": some}, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=8,
)
"""Schemas without references."""


@st.composite
def fitting(draw: st.DrawFn, schema: dict[str, Any]) -> Any:
    """A value of a schema as ``schemas`` makes them, with nulls for some of the keys that may be left out."""
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    if "anyOf" in schema:
        return draw(fitting(draw(st.sampled_from(schema["anyOf"]))))
    kind = schema.get("type")
    if kind == "object":
        made: dict[str, Any] = {}
        for name, one in schema["properties"].items():
            if name in schema["required"] or draw(st.booleans()):
                made[name] = draw(fitting(one))
            elif draw(st.booleans()):
                made[name] = None
        return made
    if kind == "array":
        return draw(st.lists(fitting(schema["items"]), max_size=3))
    return draw(_scalar_of(schema, kind))


def _scalar_of(schema: dict[str, Any], kind: Any) -> st.SearchStrategy[Any]:
    match kind:
        case "string":
            return st.from_regex(r"[a-z]{0,6}", fullmatch=True) if "pattern" in schema else st.text(max_size=8)
        case "integer":
            return st.integers(schema.get("minimum", -9), 9)
        case "number":
            return st.floats(-1e6, 1e6)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case None:
            return values
        case _:
            return st.none() | st.text(max_size=8)


@st.composite
def answers(draw: st.DrawFn) -> tuple[dict[str, Any], str]:
    """A schema, and a text as models write it: the value alone, in a fence, among words, with commas, cut, anything."""
    schema = draw(schemas)
    value = draw(st.one_of(fitting(schema), fitting(schema), values))
    text = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 2])))
    match draw(st.sampled_from(["plain", "plain", "fence", "words", "commas", "cut", "any"])):
        case "fence":
            text = f"```json\n{text}\n```"
        case "words":
            text = f"{draw(st.text(max_size=12))}\n{text}\n{draw(st.text(max_size=12))}"
        case "commas":
            text = text.replace("}", ",}").replace("]", " ,\n]")
        case "cut":
            text = text[: draw(st.integers(0, len(text)))]
        case "any":
            text = draw(st.text(alphabet='{}[]",:\\ \n1ab', max_size=24))
    return schema, text


@st.composite
def pieces(draw: st.DrawFn, text: str) -> list[str]:
    """A text in pieces."""
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
