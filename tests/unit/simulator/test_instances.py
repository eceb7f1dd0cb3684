"""Instances of schemas, judged by pydantic: what it generates a schema for must validate what we answer."""

from __future__ import annotations

import enum
import re
from datetime import date, datetime, time
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AnyUrl, BaseModel, Field, TypeAdapter

from simulator.instances import instance
from simulator.patterns import matching
from simulator.words import Chooser, digest

seeds = st.text(max_size=8).map(digest)


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    street: Annotated[str, Field(min_length=3, max_length=12)]
    zip: Annotated[str, Field(pattern=r"^[0-9]{5}(-[0-9]{4})?$")]


class Node(BaseModel):
    name: str
    parent: Node | None = None
    children: list[Node] = []


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=1, le=9)]


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str]


class Invoice(BaseModel):
    id: UUID
    issued: date
    at: datetime
    due: time
    link: AnyUrl
    colour: Colour
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    address: Address
    ratio: Annotated[float, Field(gt=0, lt=1)]
    many: Annotated[int, Field(ge=10, le=30, multiple_of=7)]
    rows: Annotated[list[Address], Field(min_length=2, max_length=3)]
    names: dict[str, int]
    pair: tuple[int, str]
    tags: Annotated[set[Colour], Field(min_length=2)]
    maybe: int | None
    yes: bool
    anything: Any


@pytest.mark.parametrize("kind", [Invoice, Node, Address, Cat | Dog, list[int], dict[str, Address], int | str, bool])
@given(seed=seeds)
def test_an_instance_of_a_generated_schema_is_valid(kind: Any, seed: bytes) -> None:
    adapter = TypeAdapter(kind)
    adapter.validate_python(instance(adapter.json_schema(), Chooser(seed)))


@given(seed=seeds)
def test_a_schema_in_geminis_words_is_understood(seed: bytes) -> None:
    schema = {
        "type": "OBJECT",
        "properties": {
            "size": {"type": "INTEGER", "minimum": 3, "maximum": 4},
            "colour": {"type": "STRING", "enum": ["red", "blue"]},
            "rows": {"type": "ARRAY", "items": {"type": "NUMBER"}, "minItems": 2},
            "flag": {"type": "BOOLEAN", "nullable": True},
        },
        "required": ["size"],
    }
    made = instance(schema, Chooser(seed))
    assert made["size"] in (3, 4)
    assert made["colour"] in ("red", "blue")
    assert len(made["rows"]) == 2
    assert all(isinstance(one, float) for one in made["rows"])
    assert isinstance(made["flag"], bool)


def test_the_same_seed_gives_the_same_instance_and_another_seed_another() -> None:
    schema = Invoice.model_json_schema()
    assert instance(schema, Chooser(digest("a"))) == instance(schema, Chooser(digest("a")))
    assert instance(schema, Chooser(digest("a"))) != instance(schema, Chooser(digest("b")))


def test_folded_schemas_keep_every_part() -> None:
    schema = {
        "allOf": [
            {"properties": {"a": {"const": 1}}, "required": ["a"]},
            {"$ref": "#/$defs/B"},
        ],
        "$defs": {"B": {"type": "object", "properties": {"b": {"const": 2}}}},
    }
    assert instance(schema, Chooser(digest("a"))) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}},
        {"$ref": "#", "type": "object"},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"anyOf": [{"$ref": "#"}]},
        {"type": "object", "properties": {name: {"type": "array", "items": {"$ref": "#"}} for name in "abcdef"}},
        {"$ref": "#/nowhere"},
        {},
        {"properties": {"a": True, "b": False}},
    ],
)
def test_a_schema_that_turns_in_circles_or_says_nothing_still_comes_to_an_end(schema: dict[str, Any]) -> None:
    instance(schema, Chooser(digest("a")))


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[A-Z]{3}-\d{4}$",
        r"^(foo|bar)+baz?$",
        r"[^a-z0-9]{2,5}",
        r"^\w+@\w+\.(com|org)$",
        r"a.c\s*",
        r"^[\d\-x]{1,3}$",
        r"^(?:[a-f]|\.){4,}?$",
        r"^[^\s]x[^x]$",
    ],
)
@given(seed=seeds)
def test_a_pattern_is_met(pattern: str, seed: bytes) -> None:
    assert re.search(pattern, matching(pattern, Chooser(seed)))


def test_a_pattern_that_is_none_is_answered_all_the_same() -> None:
    assert matching("(", Chooser(digest("a"))) == "x"
