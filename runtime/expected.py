"""What the settings' models expect at a place, in words: for the messages of ``runtime.config``."""

from __future__ import annotations

from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Place = tuple[str | int, ...]

_WORDS = {
    "missing": "this key",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "a mapping",
    "string_type": "text",
    "tuple_type": "a list",
}


def expectation(error: ErrorDetails) -> str:
    """The expected form, after the words "expected "; the message of one of our own checks as it is."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in _WORDS:
        return _WORDS[kind]
    if kind == "value_error":
        return str(context.get("error", error["msg"]))
    if kind == "literal_error":
        return f"one of {context['expected']}"
    if kind == "string_pattern_mismatch":
        return f"text that matches {context['pattern']}"
    message = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def known_names(kind: type[BaseModel], path: Place) -> list[str]:
    """The keys the mapping at ``path`` may have; empty where any name goes."""
    found = _at(kind, path)
    return list(found.model_fields) if isinstance(found, type) and issubclass(found, BaseModel) else []


def secret_at(kind: type[BaseModel], path: Place) -> bool:
    """Whether the value at ``path`` must not be shown."""
    return any(_at(kind, path[:length]) is SecretStr for length in range(1, len(path) + 1))


def choices_at(kind: type[BaseModel], path: Place) -> bool:
    """Whether the value at ``path`` is one of a few words."""
    return get_origin(_at(kind, path)) is Literal


def _at(kind: type[BaseModel], path: Place) -> Any:
    """The type that is expected at ``path``; ``None`` where there is none."""
    here: Any = kind
    for part in path:
        if isinstance(here, type) and issubclass(here, BaseModel):
            field = here.model_fields.get(str(part))
            here = _plain(field.annotation) if field is not None else None
        elif get_origin(here) is dict:
            here = _plain(get_args(here)[1])
        elif get_origin(here) in {tuple, list}:
            here = _plain(get_args(here)[0])
        else:
            return None
    return here


def _plain(annotation: Any) -> Any:
    """An annotation without ``Annotated`` and without ``| None``."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in {Union, UnionType}:
        others = [part for part in get_args(annotation) if part is not type(None)]
        return _plain(others[0]) if len(others) == 1 else annotation
    return annotation
