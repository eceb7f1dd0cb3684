"""What the source says of a class's fields: the string literal after each, which Python itself throws away."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any, get_args

from pydantic import BaseModel


@cache
def said_of(kind: type) -> dict[str, str]:
    """Name of a field or enumeration member -> its docstring on one line; inherited ones are included."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if owner.__module__.partition(".")[0] in {"builtins", "pydantic", "enum", "typing", "abc"}:
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(definition, ast.ClassDef)
        found |= dict(_strings_after_names(definition.body))
    return found


def models_in(kind: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """The model and every model its fields mention, however deep, by class name."""
    found: dict[str, type[BaseModel]] = {}
    waiting: list[Any] = [kind]
    while waiting:
        here = waiting.pop()
        if isinstance(here, type) and issubclass(here, BaseModel):
            if here.__name__ not in found:
                found[here.__name__] = here
                waiting += [field.annotation for field in here.model_fields.values()]
        else:
            waiting += get_args(here)
    return found


def _strings_after_names(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for statement, after in pairwise(body):
        target = _name(statement)
        if target and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            text = after.value.value
            if isinstance(text, str):
                yield target, " ".join(text.split())


def _name(statement: ast.stmt) -> str | None:
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return name
        case _:
            return None
