"""Which schemas are sure to be checked in a time that grows with the answer: no other is, where others wait. Pure.

A schema without references is a tree, and each of its nodes looks at a place of the answer at most once. With
references it is one when each is put in place of what it names, unless they go in a circle: so that is counted, and
what is beyond the count, or beyond being counted, is not plain.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["BEYOND", "MOST_NODES", "cost"]

MOST_NODES = 5_000
"""Nodes of a plain schema, its references put in place."""
BEYOND = -1
"""What a schema costs that is not plain."""

_MANY_LOOKS = frozenset(
    {"$dynamicRef", "$recursiveRef", "$anchor", "$dynamicAnchor", "unevaluatedProperties", "unevaluatedItems"}
)
"""Keywords that look elsewhere, or at one place many times."""
_HOLDERS = frozenset({"$defs", "definitions"})
_PATTERNS = frozenset({"pattern", "patternProperties"})
_LONGEST_PATTERN, _MOST_TIMES = 128, 64
_TIMES = re.compile(r"\{\s*(\d+)?\s*,?\s*(\d+)?\s*\}")
_LOOKS_AROUND = re.compile(r"\(\?(?!:)|\\[1-9k]")
_DEEPEST = 100


class _Beyond(Exception):
    """Not plain."""


def cost(schema: dict[str, Any]) -> int:
    """Nodes each place of an answer is looked at by, at most; ``BEYOND`` if the schema is not plain."""
    counter = _Counter(schema)
    try:
        return counter.nodes(schema, (), 0)
    except _Beyond:
        return BEYOND


class _Counter:
    """One schema; what was counted of its references."""

    __slots__ = ("_known", "_root", "_seen")

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._known: dict[str, int] = {}
        self._seen = 0

    def nodes(self, part: Any, within: tuple[str, ...], depth: int) -> int:
        self._seen += 1
        if self._seen > MOST_NODES or depth > _DEEPEST:
            raise _Beyond
        if isinstance(part, list):
            return self._sum(part, within, depth)
        if not isinstance(part, dict):
            return 1
        if _MANY_LOOKS & part.keys() or ("$id" in part and part is not self._root):
            raise _Beyond
        total = self._sum([value for key, value in part.items() if key not in _HOLDERS], within, depth)
        for key in _PATTERNS & part.keys():
            self._cheap(part[key])
        if "$ref" in part:
            total += self._reference(part["$ref"], within)
        if total > MOST_NODES:
            raise _Beyond
        return total + 1

    def _sum(self, parts: list[Any], within: tuple[str, ...], depth: int) -> int:
        total = 0
        for part in parts:
            total += self.nodes(part, within, depth + 1)
        return total

    def _reference(self, name: Any, within: tuple[str, ...]) -> int:
        if not isinstance(name, str) or not name.startswith("#") or name in within or len(within) >= _DEEPEST:
            raise _Beyond
        if name not in self._known:
            self._known[name] = self.nodes(self._found(name), (*within, name), len(within))
        return self._known[name]

    def _found(self, name: str) -> Any:
        found: Any = self._root
        for step in name[1:].split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or key not in found:
                raise _Beyond
            found = found[key]
        return found

    @staticmethod
    def _cheap(pattern: Any) -> None:
        """Patterns that are short, repeat little and look nowhere else. Raises _Beyond."""
        for one in [pattern] if isinstance(pattern, str) else pattern if isinstance(pattern, dict) else ():
            times = 1
            for found in _TIMES.finditer(one):
                times *= max(int(found[1] or 1), int(found[2] or 1), 1)
            if len(one) > _LONGEST_PATTERN or times > _MOST_TIMES or _LOOKS_AROUND.search(one):
                raise _Beyond
