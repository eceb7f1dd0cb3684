"""The address of an endpoint that has places to be filled in: a region, a project, a resource.

A row writes them as ``{region}``, ``{project}`` ..., in its ``base_url`` and in the quirks that are paths; the operator
says what stands there. What is filled in can only be a word, so that no configuration leads a key to another host.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalogue.rows import ProviderRow, Quirk

PATHS = ("path", "stream_path", "embed_path")
"""The quirks that may hold places; ``{model}`` in them is the dialect's."""

_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_WORD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_HOST = re.compile(r"(?<=://)[^/?#]*")


class Unfilled(ValueError):
    """A place has nothing, or nothing fitting, to be filled with. The message names the place and the key to set."""


def settled(row: ProviderRow, *, region: str | None, variables: Mapping[str, str]) -> ProviderRow:
    """The row with every place filled: ``{region}`` by the region, others by ``variables``, else by the row's own.

    Regions that have a host of their own (``row.hosts``) get it. The same row if there is nothing to fill. Raises
    Unfilled.
    """
    words = {**row.variables, **variables}
    if region is not None:
        words["region"] = region
    base = row.base_url
    if region in row.hosts:
        base = _HOST.sub(lambda _: row.hosts[region or ""], base, count=1)
    changes: dict[str, object] = {"base_url": _filled(base, words, row.name)}
    changes["quirks"] = _paths(row.quirks, words, row.name)
    if any(_has_places(model.quirks) for model in row.models):
        changes["models"] = tuple(
            model.model_copy(update={"quirks": _paths(model.quirks, words, row.name)}) for model in row.models
        )
    changes = {name: value for name, value in changes.items() if value != getattr(row, name)}
    return row.changed(**changes) if changes else row


def _has_places(quirks: Mapping[str, Quirk]) -> bool:
    return any("{" in str(quirks.get(name, "")) for name in PATHS)


def _paths(quirks: Mapping[str, Quirk], words: Mapping[str, str], provider: str) -> Mapping[str, Quirk]:
    if not _has_places(quirks):
        return quirks
    filled = {name: _filled(str(quirks[name]), words, provider) for name in PATHS if name in quirks}
    return {**quirks, **filled}


def _filled(text: str, words: Mapping[str, str], provider: str) -> str:
    def fill(place: re.Match[str]) -> str:
        name = place.group(1)
        if name == "model":
            return place.group(0)
        key = f"providers.{provider}.region" if name == "region" else f"providers.{provider}.variables.{name}"
        word = words.get(name)
        if word is None:
            raise Unfilled(f"{key}: set it: the address has the place {{{name}}} ({text})")
        if not _WORD.fullmatch(word):
            raise Unfilled(
                f"{key}: it may hold letters, digits, '-', '.' and '_', and begins and ends with one of the first two"
            )
        return word

    return _PLACE.sub(fill, text)
