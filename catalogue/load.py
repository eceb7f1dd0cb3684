"""Reads the rows of providers from TOML files: the one room of the catalogue that touches the disk.

A file is one provider: its name is the file's, so that adding a provider is adding a file.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from pydantic import ValidationError

from catalogue.rows import ProviderRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PACKAGED = Path(__file__).parent / "providers"


class CatalogueError(ValueError):
    """A file of the catalogue is not what it should be. The message names the file, the line and what is expected."""


def providers(*folders: Path) -> Mapping[str, ProviderRow]:
    """The packaged providers by name, then those of further folders, which may replace them.

    Raises CatalogueError for the first file that is not a provider's row.
    """
    rows = {}
    for folder in (PACKAGED, *folders):
        for path in sorted(folder.glob("*.toml")):
            rows[path.stem] = read(path)
    return MappingProxyType(rows)


def read(path: Path) -> ProviderRow:
    """One provider's row. Raises CatalogueError if the file cannot be read, is no TOML, or is no such row."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogueError(f"{path}: cannot be read: {error}") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogueError(f"{path}: not TOML: {error}") from error
    if values.setdefault("name", path.stem) != path.stem:
        raise CatalogueError(f"{path}: name: {values['name']!r} must be the file's own name, {path.stem!r}")
    try:
        return ProviderRow.model_validate(values)
    except ValidationError as error:
        raise CatalogueError(_explain(path, text, error)) from error


def _explain(path: Path, text: str, error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False)
    first = problems[0]
    place = first["loc"]
    line = _line(text, place)
    field = ".".join(str(part) for part in place) or "the file"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{path}:{line}: {field}: {first['msg']}{more}"


def _line(text: str, place: Sequence[int | str]) -> int:
    """The line the value is most likely on: the table's header for the index, then the innermost name met after it."""
    lines = text.splitlines()
    at = 0
    for outer, inner in zip(place, [*place[1:], None], strict=True):
        if isinstance(inner, int):
            headers = [number for number, line in enumerate(lines) if line.strip() == f"[[{outer}]]"]
            at = headers[inner] if inner < len(headers) else at
    for name in [part for part in place if isinstance(part, str)]:
        for number in range(at, len(lines)):
            words = lines[number].strip().strip("[]").replace("=", " ").replace(".", " ").split()
            if name in words[:3]:
                at = number
                break
    return at + 1
