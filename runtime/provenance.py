"""Where each value of the configuration comes from: a default, a line of the file, a variable, a file of secrets.

``explained`` is pure: the file's text, the variables there are, and the models that were made of them, become rows. A
secret is never in a row, only that there is one; nor is text that came out of a variable or a file, which may be one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, SecretStr

from job_contracts.codec import dotted
from runtime.expected import choices_at
from runtime.settings import Config

Source = Literal["default", "file", "environment", "secret file", "access file", "command line"]
SOURCES: tuple[Source, ...] = ("default", "file", "environment", "secret file", "access file", "command line")
Place = tuple[str | int, ...]

HIDDEN = frozenset({"hash", "admin_hash", "webhook"})
"""Fields that are no secrets by their type, and are not shown all the same: what they hold nearly lets somebody in."""
LONGEST = 200
"""Characters of a value that are shown."""
SET, EMPTY = "set, not shown", "empty here, or not read by this process"

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Row:
    """One value."""

    path: str
    """Dotted, as the configuration's problems have it."""
    value: str
    """As it may be shown."""
    source: Source
    where: str = ""
    """``file:line``, of what stands in one."""
    names: tuple[str, ...] = ()
    """What is referred to there, as it is written: ``${NAME}``."""


@dataclass(frozen=True, slots=True)
class _Written:
    """A value as it stands in the file."""

    line: int
    names: tuple[str, ...] = ()
    source: Source = "file"


def explained(
    config: Config,
    text: str,
    *,
    name: str,
    environ: Mapping[str, str],
    over: Mapping[Place, tuple[Source, str]] | None = None,
) -> tuple[Row, ...]:
    """A row for each value there is, in the order of the settings.

    ``name`` stands for the file; ``over``: what did not come out of it, by its place (all below it as well), and where
    that is from. Raises yaml.YAMLError for text that no configuration was made of.
    """
    written = _written(text, environ)
    return tuple(_row(leaf, written, name, over or {}) for leaf in _leaves(config, (), given=True))


@dataclass(frozen=True, slots=True)
class _Leaf:
    path: Place
    value: Any
    given: bool
    """Whether somebody gave it, rather than nobody."""


def _leaves(value: Any, path: Place, *, given: bool) -> Iterator[_Leaf]:
    if isinstance(value, BaseModel):
        for field in type(value).model_fields:
            there = given and field in value.model_fields_set
            yield from _leaves(getattr(value, field), (*path, field), given=there)
    elif isinstance(value, Mapping) and value:
        for key, one in value.items():
            yield from _leaves(one, (*path, str(key)), given=given)
    elif isinstance(value, tuple | list) and value:
        for index, one in enumerate(value):
            yield from _leaves(one, (*path, index), given=given)
    else:
        yield _Leaf(path, value, given)


def _row(leaf: _Leaf, written: Mapping[Place, _Written], name: str, over: Mapping[Place, tuple[Source, str]]) -> Row:
    path = leaf.path
    for length in range(len(path), 0, -1):
        if path[:length] in over:
            source, where = over[path[:length]]
            return Row(dotted(path), _shown(leaf, source), source, where)
    found = _nearest(path, written) if leaf.given else None
    if found is None:
        source = "file" if leaf.given else "default"
        return Row(dotted(path), _shown(leaf, source), source)
    source = found.source
    if found.names and isinstance(leaf.value, SecretStr) and not leaf.value.get_secret_value():
        source = "environment"  # whether it is set where it is read, nobody can say here
    return Row(dotted(path), _shown(leaf, source), source, f"{name}:{found.line}", found.names)


def _nearest(path: Place, written: Mapping[Place, _Written]) -> _Written | None:
    """Where it stands, or else what it was made of: a value may be written shorter than it is kept."""
    return next((written[path[:length]] for length in range(len(path), 0, -1) if path[:length] in written), None)


def _shown(leaf: _Leaf, source: Source) -> str:
    value = leaf.value
    if isinstance(value, SecretStr):
        return SET if value.get_secret_value() else EMPTY if leaf.given else "none"
    if value is None or value in ((), {}, [], ""):
        return "none"
    if leaf.path[-1] in HIDDEN:
        return SET
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        value = value.value
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    outside = source in {"environment", "secret file", "access file"}
    if outside and isinstance(value, str | Path) and not choices_at(Config, leaf.path):
        return SET
    text = bare(text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def bare(text: str) -> str:
    """Addresses without user, password and query."""
    if "://" not in text:
        return text
    return ",".join(_one(part) for part in text.split(","))


def _one(url: str) -> str:
    scheme, found, rest = url.rpartition("://")
    rest, query, _ = rest.partition("?")
    user = "…@" if "@" in rest else ""
    return f"{scheme}{found}{user}{rest.rpartition('@')[2]}{'?…' if query else ''}"


# -- the file


def _written(text: str, environ: Mapping[str, str]) -> dict[Place, _Written]:
    """Every value's place."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        return {} if node is None else dict(_values(loader, node, (), environ))
    finally:
        loader.dispose()


def _values(
    loader: yaml.SafeLoader, node: yaml.Node, path: Place, environ: Mapping[str, str]
) -> Iterator[tuple[Place, _Written]]:
    if path:
        yield path, _told(node, environ)
    if isinstance(node, yaml.MappingNode):
        loader.flatten_mapping(node)  # what is merged in comes first, so that the mapping's own keys win
        for key, value in node.value:
            yield from _values(loader, value, (*path, _named(loader, key)), environ)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _values(loader, value, (*path, index), environ)


def _named(loader: yaml.SafeLoader, key: yaml.Node) -> str:
    name = str(loader.construct_object(key))
    return "first_token" if name == "ttft" else name  # the one key with a short name


def _told(node: yaml.Node, environ: Mapping[str, str]) -> _Written:
    line = node.start_mark.line + 1
    inner = _REFERENCE.findall(node.value) if isinstance(node, yaml.ScalarNode) else []
    names = [one for one in inner if one]
    if not names:
        return _Written(line)
    used: Collection[Source] = [_used(one, environ) for one in names]
    source: Source = next((one for one in ("secret file", "environment") if one in used), "file")
    return _Written(line, tuple(f"${{{_without_default(one)}}}" for one in names), source)


def _used(reference: str, environ: Mapping[str, str]) -> Source:
    if reference.startswith("file:"):
        return "secret file"
    name, default, _ = reference.partition(":-")
    return "file" if default and not environ.get(name) else "environment"


def _without_default(reference: str) -> str:
    return reference if reference.startswith("file:") else reference.partition(":-")[0]
