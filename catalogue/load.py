"""Reads the rows of providers from TOML files: the one room of the catalogue that touches the disk.

A file is one provider: its name is the file's, so that adding a provider is adding a file. What the files do not say of
a model (its window, its prices) is looked up in the price library, when and if somebody asks.
"""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from pydantic import ValidationError

from catalogue.library import Library
from catalogue.rows import ProviderRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PACKAGED = Path(__file__).parent / "providers"


class CatalogueError(ValueError):
    """A file of the catalogue is not what it should be. The message names the file, the line and what is expected."""


def providers(*folders: Path | None) -> Mapping[str, ProviderRow]:
    """The packaged providers by name, and those of further folders (``None`` is no folder).

    A file there whose name is that of a known provider changes it: what it says comes on top, for the provider and for
    single models; it need not repeat the rest. Any other file is a provider of its own.

    Raises CatalogueError for the first file that is not a provider's row, or a folder that is none.
    """
    rows = dict(_packaged())
    for folder in folders:
        if folder is None:
            continue
        if not folder.is_dir():
            raise CatalogueError(f"{folder}: not a folder; name one with a file NAME.toml for each provider")
        for path in sorted(folder.glob("*.toml")):
            row = read(path, over=rows.get(path.stem))
            rows[path.stem] = row if path.stem in _packaged() else row.operators()
    whole = {name: _with_lent(row, rows) for name, row in rows.items()}
    for row in whole.values():
        row.ask(Library(row.library, row.library_names) if row.library else None)
    return MappingProxyType(whole)


@cache
def _packaged() -> Mapping[str, ProviderRow]:
    """As the files say it: whoever asks is given copies."""
    return {path.stem: read(path) for path in sorted(PACKAGED.glob("*.toml"))}


def read(path: Path, *, over: ProviderRow | None = None) -> ProviderRow:
    """One provider's row; ``over``: the row that the file changes.

    Raises CatalogueError if the file cannot be read, is no TOML, or is no such row.
    """
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
        if over is None:
            return ProviderRow.model_validate(values)
        base = {name: getattr(over, name) for name in over.model_fields_set}
        # Of several operators' folders the later one has the last word, and of equal matches the last one counts.
        changed = ProviderRow.model_validate({**base, **values, "models": (), "changes": values.get("models", ())})
    except ValidationError as error:
        raise CatalogueError(_explain(path, text, error)) from error
    return changed.model_copy(
        update={
            "models": over.models,
            "changes": (*over.changes, *changed.changes),
            "quirks": {**over.quirks, **changed.quirks},
        }
    )


def _with_lent(row: ProviderRow, rows: Mapping[str, ProviderRow]) -> ProviderRow:
    """A provider with the models of others that it serves, after its own."""
    borrowed = []
    for lent in row.lent:
        lender = rows.get(lent.provider)
        if lender is None:
            known = ", ".join(sorted(rows))
            raise CatalogueError(f"{row.name}: lent: there is no provider {lent.provider!r} (there are: {known})")
        borrowed += [
            model.model_copy(
                update={
                    "dialect": lent.dialect or model.dialect,
                    "quirks": {**model.quirks, **lent.quirks},
                    "family": f"{model.family}@{row.name}" if model.family and lent.apart else model.family,
                    # What it costs and how long it lives is for each provider to say.
                    "prices": (),
                    "deprecated": False,
                    "retires": None,
                    "successor": "",
                }
            )
            for model in lender.models
            if fnmatchcase(model.name, lent.models)
        ]
    return row.model_copy(update={"models": (*row.models, *borrowed)}) if borrowed else row.model_copy()


def _explain(path: Path, text: str, error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False)
    first = problems[0]
    place = tuple("models" if part == "changes" else part for part in first["loc"])
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
