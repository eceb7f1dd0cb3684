"""A settings file: YAML, checked field by field, refused with file, line and expected form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from simulator.settings import Settings


class BadConfiguration(ValueError):
    """A settings file that cannot be used; the message has one line for each mistake."""


def load(path: Path) -> Settings:
    """The settings in a file.

    Raises:
        BadConfiguration: the file cannot be read, is no YAML, or has a field that is unknown or wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        raw = yaml.safe_load(text)
    except OSError as error:
        raise BadConfiguration(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise BadConfiguration(f"{path}: {error}") from error
    try:
        return Settings.model_validate(raw or {})
    except ValidationError as error:
        lines = [f"{path}:{_line(tree, row['loc'])}: {_place(row['loc'])}: {row['msg']}" for row in error.errors()]
        raise BadConfiguration("\n".join(lines)) from error


def _place(loc: tuple[int | str, ...]) -> str:
    return ".".join(map(str, loc)) or "the file"


def _line(node: Any, loc: tuple[int | str, ...]) -> int:
    """The line of the deepest node on the way to a field, from 1."""
    line = 1 if node is None else node.start_mark.line + 1
    for step in loc:
        below = None
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(step)]
            if found:
                line, below = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            below = node.value[step]
            line = below.start_mark.line + 1
        if below is None:
            return line
        node = below
    return line
