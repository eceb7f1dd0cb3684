"""What of an answer has no place in the API's items, as one opaque string that comes back with them: a seal.

Providers sign their reasoning, and some their calls; an answer goes on only if these come back where they stood. While
an answer streams nobody knows them: they are in its record. So the items of an answer show what was said as it was
said, and one more reasoning item after them, without a text, holds the seal in its ``encrypted_content``: for each
part of the answer how long it is, and what was signed. With the items before it that is the answer again, part by
part. A seal that does not fit what stands before it (somebody has changed the text) is left aside.

A seal is no secret and no proof: whoever forges one gets what a forged signature gets from its provider.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic_core import from_json, to_json

from job_contracts.chat import AssistantPart, ReasoningPart, RefusalPart, TextPart, ToolCallPart

Fields = dict[str, Any]

_PREFIX = "penstock1."
_SIGNED = ("signature", "redacted", "origin")
_LONG = ("text", "reasoning", "refusal")


def seal(parts: Sequence[AssistantPart]) -> str | None:
    """The seal of an answer; ``None`` for one whose items say everything."""
    if not any(_marks(part) for part in parts):
        return None
    return _PREFIX + urlsafe_b64encode(to_json([_entry(part) for part in parts])).decode()


def _entry(part: AssistantPart) -> Fields:
    match part:
        case ToolCallPart():
            return {"type": part.type, "id": part.id, **_marks(part)}
        case TextPart() | RefusalPart() | ReasoningPart():
            return {"type": part.type, "length": len(part.text), **_marks(part)}


def _marks(part: AssistantPart) -> Fields:
    found = {name: getattr(part, name, None) for name in _SIGNED}
    if found["signature"] is None and found["redacted"] is None:
        return {}
    return {name: value for name, value in found.items() if value is not None}


def opened(said: Iterable[Mapping[str, Any]], sealed: str) -> list[Fields] | None:
    """The parts that ``said`` (parts without their marks, as ``producer_sdk`` takes them) were made of.

    ``None`` if the seal is not one of ours, or not of this.
    """
    if not sealed.startswith(_PREFIX):
        return None
    try:
        entries = from_json(urlsafe_b64decode(sealed.removeprefix(_PREFIX).encode()))
        return _put_together(list(said), entries)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # somebody else's string with our prefix, or cut


def _put_together(said: list[Mapping[str, Any]], entries: list[Fields]) -> list[Fields]:
    """Raises KeyError, TypeError or ValueError where the two do not belong together."""
    left = {kind: "".join(part["text"] for part in said if part["type"] == kind) for kind in _LONG}
    calls = {part["id"]: dict(part) for part in said if part["type"] == "tool_call"}
    found: list[Fields] = []
    for entry in entries:
        kind, marks = entry["type"], {name: str(entry[name]) for name in _SIGNED if name in entry}
        if kind == "tool_call":
            found.append(calls.pop(entry["id"]) | marks)
            continue
        length, rest = int(entry["length"]), left[kind]
        if not 0 <= length <= len(rest):
            raise ValueError(length)
        left[kind] = rest[length:]
        found.append({"type": kind, "text": rest[:length], **marks})
    if calls or any(left.values()):
        raise ValueError(entries)
    return found
