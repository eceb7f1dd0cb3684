"""Read the operator's YAML file into ``runtime.settings.Config``, or say precisely what is wrong with it, all at once.

A text value may hold ``${NAME}`` (unset is an error), ``${NAME:-default}`` (unset or empty gives the default) and
``${file:/path}`` (the file's text without the last line break; a relative path starts at the configuration's folder);
``$${`` is a plain ``${``. A problem names file:line:column, the dotted path, what was found and what is expected. A
value that is secret, or that came out of the environment or a file, is never shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from job_contracts.codec import dotted
from runtime.expected import expectation, known_names, secret_at
from runtime.settings import Config

__all__ = ["DATABASE", "ConfigError", "Problem", "load", "parse"]

DATABASE = "ledger.database"
"""Whose credentials are wanted when they are the ledger's: no provider can be called so."""
_LEDGERS = {("ledger", "database"), ("ledger", "alerts", "secret")}

MAX_SECRET_FILE = 64 * 1024
MAX_FILE = 4 * 1024 * 1024
MAX_SHOWN = 60

Path_ = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}")
_NAME = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$", re.DOTALL)
_USER_INFO = re.compile(r"://[^/@\s]*@")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where (``file:line:column``), dotted path, what was found, what is expected."""

    where: str
    path: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.where}: {self.path or 'the whole file'}: expected {self.expected}, found {self.found}"


class ConfigError(Exception):
    """The configuration cannot be used; ``problems`` holds everything that is wrong, in the file's order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def load(
    path: Path, *, environ: Mapping[str, str] | None = None, credentials_of: Collection[str] | None = None
) -> Config:
    """Read, fill in and validate the file at ``path``. Raises ConfigError.

    ``credentials_of``: the providers whose ``key`` is wanted, and ``DATABASE`` for the ledger's credentials; all others
    are not even looked up and come out empty. ``None`` means all of them.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE:
            raise ConfigError((Problem(str(path), "", f"{size} bytes", f"at most {MAX_FILE} bytes"),))
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        found = error.strerror or type(error).__name__
        raise ConfigError((Problem(str(path), "", found, "a readable YAML file"),)) from error
    except UnicodeDecodeError as error:
        raise ConfigError((Problem(str(path), "", f"byte {error.start} is not UTF-8", "UTF-8 text"),)) from error
    return parse(text, name=str(path), folder=path.parent, environ=environ, credentials_of=credentials_of)


def parse(
    text: str,
    *,
    name: str = "configuration",
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
    credentials_of: Collection[str] | None = None,
) -> Config:
    """The same for text; ``name`` stands for the file in messages. Raises ConfigError."""
    variables = os.environ if environ is None else environ  # noqa: TID251 - here the environment enters, and only here
    document = _Document(name, _Filler(variables, folder or Path()).fill, credentials_of)
    config = _read(text, name, Config, document)
    return config if folder is None else _anchored(config, folder)


def _anchored(config: Config, folder: Path) -> Config:
    """The same with relative paths that begin at the configuration's folder."""
    if config.gateway.access is not None:
        access = {"access": folder / config.gateway.access}
        config = config.model_copy(update={"gateway": config.gateway.model_copy(update=access)})
    if config.catalogue is not None:
        config = config.model_copy(update={"catalogue": folder / config.catalogue})
    return config


def _read(text: str, name: str, kind: type[M], document: _Document) -> M:
    try:
        values = document.read(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ConfigError((Problem(where, "", error.problem or "broken syntax", "valid YAML"),)) from error
    except yaml.YAMLError as error:
        raise ConfigError((Problem(name, "", "an unreadable character", "valid YAML in UTF-8"),)) from error
    try:
        config = kind.model_validate(values, extra="forbid")
    except ValidationError as error:
        document.judge(kind, error.errors(include_url=False))
    else:
        if not document.problems:
            return config
    ordered = sorted(document.problems, key=lambda entry: entry[0])
    raise ConfigError(tuple(problem for _, problem in ordered))


class _Unfilled(Exception):
    """A reference that cannot be resolved; the text says what was found and what is expected."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found, expected)
        self.found, self.expected = found, expected


@dataclass(frozen=True, slots=True)
class _Filler:
    """Resolves references in text."""

    environ: Mapping[str, str]
    folder: Path

    def fill(self, text: str) -> str:
        return _REFERENCE.sub(self._value, text)

    def _value(self, match: re.Match[str]) -> str:
        inner = match.group(1)
        if inner is None:
            return "${"
        if inner.startswith("file:"):
            return self._file(inner.removeprefix("file:"))
        name = _NAME.match(inner)
        if name is None:
            raise _Unfilled(f"${{{inner}}}", "${NAME}, ${NAME:-default} or ${file:/path}")
        value = self.environ.get(name.group(1))
        if name.group(2) is not None:
            return value or name.group(2)
        if value is None:
            expected = f"the environment variable {name.group(1)} to be set, or ${{{name.group(1)}:-default}}"
            raise _Unfilled(f"${{{name.group(1)}}}, which is not set", expected)
        return value

    def _file(self, place: str) -> str:
        try:
            with (self.folder / place).open(encoding="utf-8") as file:
                text = file.read(MAX_SECRET_FILE + 1)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise _Unfilled(f"${{file:{place}}} ({why})", "a readable text file") from error
        if len(text) > MAX_SECRET_FILE:
            raise _Unfilled(f"${{file:{place}}}, which is too large", f"at most {MAX_SECRET_FILE} characters")
        return text.removesuffix("\n").removesuffix("\r")


@dataclass(slots=True)
class _Document:
    """A YAML document as plain values, with the place of each."""

    name: str
    fill: Callable[[str], str]
    credentials_of: Collection[str] | None
    places: dict[Path_, yaml.Mark] = field(default_factory=dict)
    keys: dict[Path_, yaml.Mark] = field(default_factory=dict)
    filled: set[Path_] = field(default_factory=set)
    unusable: set[Path_] = field(default_factory=set)
    problems: list[tuple[tuple[int, int], Problem]] = field(default_factory=list)

    def read(self, text: str) -> Any:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return {}
            return self._value(loader, node, (), ())
        finally:
            loader.dispose()

    def _value(self, loader: yaml.SafeLoader, node: yaml.Node, path: Path_, above: tuple[yaml.Node, ...]) -> Any:
        self.places[path] = node.start_mark
        if any(node is other for other in above):
            raise yaml.constructor.ConstructorError(None, None, "an alias that contains itself", node.start_mark)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, path, (*above, node))
        if isinstance(node, yaml.SequenceNode):
            return [self._value(loader, part, (*path, i), (*above, node)) for i, part in enumerate(node.value)]
        if self._is_unwanted_key(path):
            return ""
        if isinstance(node.value, str) and "${" in node.value:
            return self._filled(node, path)
        return loader.construct_object(node)

    def _is_unwanted_key(self, path: Path_) -> bool:
        if self.credentials_of is None:
            return False
        if path in _LEDGERS:
            return DATABASE not in self.credentials_of
        of_a_provider = len(path) == 3 and path[0] == "providers" and path[2] == "key"
        return of_a_provider and path[1] not in self.credentials_of

    def _mapping(
        self, loader: yaml.SafeLoader, node: yaml.MappingNode, path: Path_, above: tuple[yaml.Node, ...]
    ) -> dict[Any, Any]:
        own = {id(key): key for key, _ in node.value}
        loader.flatten_mapping(node)  # what `<<` merges in comes first, so that the mapping's own keys win
        values: dict[Any, Any] = {}
        seen: dict[Any, yaml.Mark] = {}
        for key_node, value_node in node.value:
            key = str(loader.construct_object(key_node))
            here = (*path, key)
            if id(key_node) in own:
                if key in seen:
                    found = f"{key!r} again (first on line {seen[key].line + 1})"
                    self._note(key_node.start_mark, here, found, "each key once")
                seen[key] = key_node.start_mark
            self.keys[here] = key_node.start_mark
            values[key] = self._value(loader, value_node, here, above)
        return values

    def _filled(self, node: yaml.Node, path: Path_) -> str:
        self.filled.add(path)
        try:
            return self.fill(node.value)
        except _Unfilled as unfilled:
            self.unusable.add(path)
            self._note(node.start_mark, path, unfilled.found, unfilled.expected)
            return ""

    def judge(self, kind: type[BaseModel], errors: list[ErrorDetails]) -> None:
        """Turn pydantic's report into problems with a place."""
        for error in errors:
            path = tuple(part for part in error["loc"] if part not in {"[key]", "__root__"})
            expected = expectation(error)
            if not path and ": " in expected:  # a check over the whole file names its path itself
                path, expected = self._named(expected)
            if path in self.unusable or (error["type"] == "too_short" and error["input"]):
                continue  # told already, or the list is only short because its wrong members do not count
            found = self._found(kind, path, error)
            of_key = error["type"] == "extra_forbidden" or error["loc"][-1:] == ("[key]",)
            if error["type"] == "extra_forbidden":
                expected = _instead(kind, path)
            elif error["type"] == "missing":
                found = "nothing"
            self._note(self._mark(path, of_key=of_key), path, found, expected)

    def _named(self, message: str) -> tuple[Path_, str]:
        name, _, rest = message.partition(": ")
        for path in self.places:
            if path and dotted(path) == name:
                return path, rest
        return (), message

    def _mark(self, path: Path_, *, of_key: bool) -> yaml.Mark | None:
        while path:
            mark = (of_key and self.keys.get(path)) or self.places.get(path)
            if mark is not None:
                return mark
            path = path[:-1]
        return self.places.get(())

    def _found(self, kind: type[BaseModel], path: Path_, error: ErrorDetails) -> str:
        if error["type"] == "extra_forbidden":
            return f"the unknown key {path[-1]!r}"
        if error["loc"] and error["loc"][-1] == "[key]":
            return f"the name {path[-1]!r}"
        value = error.get("input")
        if any(path[:length] in self.filled for length in range(len(path) + 1)) or secret_at(kind, path):
            return "a value that is not shown"
        if isinstance(value, dict | list):
            return "a mapping" if isinstance(value, dict) else "a list"
        if value is None:
            return "nothing"
        shown = _USER_INFO.sub("://…@", repr(value)) if isinstance(value, str) else str(value)
        return shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}…"

    def _note(self, mark: yaml.Mark | None, path: Path_, found: str, expected: str) -> None:
        where = f"{self.name}:{mark.line + 1}:{mark.column + 1}" if mark else self.name
        order = (mark.line, mark.column) if mark else (0, 0)
        self.problems.append((order, Problem(where, dotted(path), found, expected)))


def _instead(kind: type[BaseModel], path: Path_) -> str:
    names = known_names(kind, path[:-1])
    close = get_close_matches(str(path[-1]), names, n=1)
    if close:
        return f"{close[0]!r}, perhaps"
    return f"one of {', '.join(sorted(names))}" if names else "no such key"
