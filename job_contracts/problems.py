"""Pydantic's report on a value as one readable sentence: which field is wrong, why, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Path = tuple[str | int, ...]

LONGEST_WORD = 100
"""Characters that are repeated of what a message's author has made up: what is refused is answered in one message."""
MAX_SAID = 1_000
"""Characters of one sentence about a value: what a stranger wrote is repeated in it, and it must fit into any message
that tells of it."""
MAX_NAMED = 300
"""Characters of a path or a word that stands within a sentence."""
MOST_REPORTS = 200
"""Faults of one value that are looked at: a body may have as many as it has bytes, and whoever reads it leads."""
_NAMED = re.compile(r"([a-z_]+(?:\.[a-z_]+)*): (.+)", re.DOTALL)
"""A check over several fields names the one it means in its own message."""


@dataclass(frozen=True, slots=True)
class Problem:
    """The dotted path of the field (empty: the whole value), what is wrong with it, and the remedy."""

    field: str
    message: str
    remedy: str


def problem(kind: type[BaseModel], error: ValidationError) -> Problem:
    """The first thing that is wrong with a value of ``kind``, and how many more there are.

    Where the members of a union were tried one after the other, the one that got furthest is the one that was meant.
    """
    reports = error.errors(include_url=False, include_input=False)[:MOST_REPORTS]
    paths = [_path(kind, report) for report in reports]
    first = paths[0]
    at = max(range(len(reports)), key=lambda index: (_length_below(first, paths[index]), -index))
    field, message = brief(dotted(paths[at]), MAX_NAMED), _said(reports[at])
    named = _NAMED.fullmatch(message) if reports[at]["type"] == "value_error" else None
    if named is not None:
        field, message = f"{field}.{named[1]}" if field else named[1], named[2]
    others = {path for path in paths if not _same_branch(path, paths[at]) and not _same_branch(path, first)}
    least = "at least " if error.error_count() > MOST_REPORTS else ""
    more = f" (and {least}{len(others)} more)" if others else ""
    return Problem(field, f"{brief(message)}{more}", _remedy(reports[at], field))


def brief(text: str, most: int = MAX_SAID) -> str:
    """``text``, or its beginning where it is long."""
    return text if len(text) <= most else f"{text[:most]} …"


def dotted(location: Sequence[str | int]) -> str:
    """``("messages", 0, "role")`` as ``messages[0].role``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _same_branch(one: Path, other: Path) -> bool:
    """Whether one lies inside the other: a consequence of it, or another try at the same value."""
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]


def _length_below(first: Path, path: Path) -> int:
    return len(path) if path[: len(first)] == first else -1


def _said(report: ErrorDetails) -> str:
    context = report.get("ctx", {})
    if report["type"] == "union_tag_invalid":
        return f"{_cut(context['tag'])!r} is none of {context['expected_tags']}"
    if report["type"] in {"union_tag_not_found", "missing"}:
        return "is missing"
    return report["msg"].removeprefix("Value error, ").removeprefix("Input ")


def _remedy(report: ErrorDetails, field: str) -> str:
    match report["type"]:
        case "missing" | "union_tag_not_found":
            return f"add {field}"
        case "extra_forbidden":
            return f"remove {field}, or check its spelling"
        case "json_invalid":
            return "send one valid JSON document in UTF-8"
        case "other_version":
            return "bring both sides to the same major version"
        case _:
            return f"correct {field}" if field else "correct the value"


def _path(kind: type[BaseModel], report: ErrorDetails) -> Path:
    """Pydantic's location without the names of the union members it tried: they stand in no message."""
    path: list[str | int] = []
    here: Any = kind
    location = report["loc"]
    for at, part in enumerate(location):
        here, is_field = _step(here, part)
        if is_field or (report["type"] == "extra_forbidden" and at == len(location) - 1):
            path.append(_cut(part) if isinstance(part, str) else part)
    if report["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        path.append(report["ctx"]["discriminator"].strip("'"))
    return tuple(path)


def _cut(word: str) -> str:
    return word if len(word) <= LONGEST_WORD else f"{word[:LONGEST_WORD]}…"


def _step(here: Any, part: str | int) -> tuple[Any, bool]:
    """The type that lies at ``part`` below a type, and whether ``part`` stands in the message."""
    here = _bare(here)
    if isinstance(here, type) and issubclass(here, BaseModel):
        found = here.model_fields.get(str(part))
        return (here, False) if found is None else (found.annotation, True)
    origin, args = get_origin(here), get_args(here)
    if origin in {Union, UnionType}:
        return _member(args, str(part)), False
    if origin in {dict, Mapping} and part != "[key]":
        return args[1], True
    if origin in {tuple, list} and isinstance(part, int):
        return args[0] if args[-1] is Ellipsis or origin is list else args[part], True
    return here, False


def _member(members: tuple[Any, ...], name: str) -> Any:
    """The member of a union that pydantic calls ``name``: a tag, a class, or the kind of a collection."""
    bare = [_bare(member) for member in members]
    for member in bare:
        if isinstance(member, type) and issubclass(member, BaseModel):
            tags = [tag for field in ("type", "role") if field in member.model_fields for tag in _tags(member, field)]
            if name in {member.__name__, *tags}:
                return member
    kind = name.partition("[")[0]
    return next((member for member in bare if getattr(get_origin(member), "__name__", "") == kind), None)


def _tags(member: type[BaseModel], field: str) -> tuple[Any, ...]:
    annotation = member.model_fields[field].annotation
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _bare(annotation: Any) -> Any:
    """A type without ``Annotated`` and without ``| None``."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in {Union, UnionType}:
        others = [member for member in get_args(annotation) if member is not type(None)]
        return _bare(others[0]) if len(others) == 1 else annotation
    return annotation
