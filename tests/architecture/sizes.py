"""How long files and functions are: the aim, the limit, and who is beyond."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tests.architecture.tree import modules, present

FILE_AIM, FILE_LIMIT = 400, 600
FUNCTION_AIM, FUNCTION_LIMIT = 60, 100

TAIL = "sizes"
"""The property of a test's report under which the tail is told."""

LONGER_FOR_A_REASON: dict[str, str] = {}
"""`path` or `path:function` beyond the limit -> why it is better whole. An entry that is no longer needed fails."""


@dataclass(frozen=True)
class Size:
    """A file, or a function as `path:name`, and its lines."""

    place: str
    lines: int
    aim: int
    limit: int


@cache
def sizes() -> tuple[Size, ...]:
    return tuple(_sizes())


def _sizes() -> Iterator[Size]:
    for module in modules(*present(), "tests", "benchmarks", "migrations", "examples"):
        yield Size(module.place, module.lines, FILE_AIM, FILE_LIMIT)
        for node in _statements(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                yield Size(f"{module.place}:{node.name}", lines, FUNCTION_AIM, FUNCTION_LIMIT)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """What is written in lines of its own, however deep; no expressions, which are most of a tree."""
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        below = getattr(node, name, None)
        for one in below if isinstance(below, list) else ():
            yield one
            yield from _statements(one)


def tail() -> list[Size]:
    """What is beyond the aim, the farthest first."""
    return sorted((size for size in sizes() if size.lines > size.aim), key=lambda size: -size.lines / size.aim)
