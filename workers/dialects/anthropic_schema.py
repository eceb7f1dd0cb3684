"""JSON Schema cut to what Anthropic compiles into a grammar, for structured answers and strict tools.

https://docs.anthropic.com/en/docs/build-with-claude/structured-outputs: objects are closed, bounds of numbers, strings
and arrays are refused. What is taken out is told to the model in the description, so that it may still keep to it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.dialects.encoding import Losses

_KEPT = frozenset({"type", "title", "description", "default", "const", "$ref", "$schema", "$id", "$comment"})
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_MANY = frozenset({"anyOf", "allOf"})
_NAMED = frozenset({"properties", "$defs", "definitions"})
_BEYOND_PATTERNS = re.compile(r"\(\?[=!<]|\\[bB1-9]")
"""Looking around, word boundaries and references back are in no grammar."""


def grammar_subset(schema: Mapping[str, Any], losses: Losses, field: str) -> dict[str, Any]:
    """The schema as the API takes it; one loss names what it refuses and another what was put in another form."""
    cutter = _Cutter()
    cut = cutter.cut(schema)
    if cutter.told:
        losses.add("rewritten", field, f"told in the description, not enforced: {', '.join(sorted(cutter.told))}")
    if cutter.changed:
        losses.add("rewritten", field, ", ".join(sorted(cutter.changed)))
    return cut


class _Cutter:
    """One schema on its way through; what happened to it."""

    __slots__ = ("changed", "told")

    def __init__(self) -> None:
        self.told: set[str] = set()
        self.changed: set[str] = set()

    def cut(self, schema: Any) -> dict[str, Any]:
        if not isinstance(schema, dict):
            if schema is not True:
                self.changed.add("a schema that is no object becomes an empty one")
            return {}
        cut: dict[str, Any] = {}
        said: dict[str, Any] = {}
        for key, value in schema.items():
            if key in _KEPT:
                cut[key] = value
            elif key in _NAMED and isinstance(value, dict):
                cut[key] = {name: self.cut(part) for name, part in value.items()}
            elif key in _MANY and isinstance(value, list):
                cut[key] = [self.cut(part) for part in value]
            elif key == "oneOf" and isinstance(value, list) and "anyOf" not in schema:
                self.changed.add("oneOf as anyOf")
                cut["anyOf"] = [self.cut(part) for part in value]
            elif key == "items" and isinstance(value, dict | bool):
                cut[key] = self.cut(value)
            elif key == "additionalProperties":
                if isinstance(value, dict) and value:
                    said[key] = value
            elif _is_taken(key, value):
                cut[key] = value
            else:
                said[key] = value
        self._close(cut, open_=schema.get("additionalProperties") is not False)
        self._tell(cut, said)
        return cut

    def _close(self, cut: dict[str, Any], *, open_: bool) -> None:
        kind = cut.get("type")
        if kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in cut:
            if open_:
                self.changed.add("objects take no additionalProperties")
            cut["additionalProperties"] = False

    def _tell(self, cut: dict[str, Any], said: dict[str, Any]) -> None:
        if not said:
            return
        self.told.update(map(str, said))
        told = to_json(said, inf_nan_mode="null").decode()
        before = cut.get("description")
        cut["description"] = f"{before}\n\n{told}" if isinstance(before, str) and before else told


def _is_taken(key: str, value: Any) -> bool:
    """Keywords that only some values of are taken."""
    match key:
        case "required":
            return isinstance(value, list)
        case "enum":
            return isinstance(value, list) and all(one is None or isinstance(one, str | int | float) for one in value)
        case "format":
            return value in _FORMATS if isinstance(value, str) else False
        case "minItems":
            return value in (0, 1)
        case "pattern":
            return isinstance(value, str) and not _BEYOND_PATTERNS.search(value)
    return False
