"""How long files and functions are: the aim, the limit, and who is beyond."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from tests.architecture.tree import modules, present

FILE_AIM, FILE_LIMIT = 400, 600
FUNCTION_AIM, FUNCTION_LIMIT = 60, 100

LONGER_FOR_A_REASON: dict[str, str] = {}
"""`path` or `path:function` beyond the limit -> why it is better whole. An entry that is no longer needed fails."""


@dataclass(frozen=True)
class Size:
    """A file, or a function as `path:name`, and its lines."""

    place: str
    lines: int
    aim: int
    limit: int


def sizes() -> Iterator[Size]:
    for module in modules(*present(), "tests", "benchmarks", "migrations", "examples"):
        yield Size(module.place, module.lines, FILE_AIM, FILE_LIMIT)
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                yield Size(f"{module.place}:{node.name}", lines, FUNCTION_AIM, FUNCTION_LIMIT)


def tail() -> list[Size]:
    """What is beyond the aim, the farthest first."""
    return sorted((size for size in sizes() if size.lines > size.aim), key=lambda size: -size.lines / size.aim)
