"""Schemas that are plain, and those that are not."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from pydantic import BaseModel

from tests.support.schemas_and_values import schemas
from workers.answers.bounds import BEYOND, MOST_NODES, cost


class Line(BaseModel):
    name: str
    price: float
    note: str | None = None


class Invoice(BaseModel):
    lines: list[Line]
    total: float
    first: Line | None = None


class Tree(BaseModel):
    children: list[Tree] = []


def doubled(times: int) -> dict[str, Any]:
    """A few bytes that take 2 ** times looks at a value."""
    parts: dict[str, Any] = {"p0": {"type": "string"}}
    for n in range(times):
        parts[f"p{n + 1}"] = {"allOf": [{"$ref": f"#/$defs/p{n}"}, {"$ref": f"#/$defs/p{n}"}]}
    return {"$defs": parts, "$ref": f"#/$defs/p{times}"}


@given(schemas)
def test_a_tree_costs_what_it_has_of_nodes(schema: dict[str, Any]) -> None:
    assert 0 < cost(schema) <= MOST_NODES


def test_what_a_model_of_pydantic_asks_for_is_plain() -> None:
    assert 10 < cost(Invoice.model_json_schema()) < 100


def test_references_are_counted_as_often_as_they_are_made() -> None:
    assert cost(doubled(5)) > 2**5
    assert cost(doubled(5)) > 1.8 * cost(doubled(4))


@pytest.mark.parametrize(
    "schema",
    [
        doubled(40),
        Tree.model_json_schema(),
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"$ref": "other.json"},
        {"$dynamicRef": "#x"},
        {"properties": {"a": {"$id": "x"}}},
        {"unevaluatedProperties": False},
        {"enum": list(range(MOST_NODES))},
        {"pattern": "(a?){1000}"},
        {"pattern": "((a{9}){9}){9}"},
        {"pattern": "^(?=a)"},
        {"pattern": r"(a)\1"},
        {"patternProperties": {"a" * 200: True}},
    ],
)
def test_what_may_take_long_is_not_plain_and_that_is_seen_at_once(schema: dict[str, Any]) -> None:
    began = time.process_time()
    assert cost(schema) == BEYOND
    assert time.process_time() - began < 1.0


def test_a_schema_nested_without_an_end_is_not_plain() -> None:
    schema: dict[str, Any] = {}
    for _ in range(50_000):
        schema = {"not": schema}
    assert cost(schema) == BEYOND
