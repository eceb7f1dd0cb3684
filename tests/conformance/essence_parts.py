"""What the essences of all formats share: messages joined, ids numbered, nothing left away."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

JsonObject = Mapping[str, Any]


def joined(messages: list[Any]) -> list[Any]:
    """Neighbours of one role that hold only content, as one."""
    found: list[Any] = []
    for message in messages:
        last = found[-1] if found else None
        only = {"role", "content"}
        if last and last["role"] == message["role"] != "tool" and last.keys() <= only and message.keys() <= only:
            found[-1] = {**last, "content": [*last.get("content", []), *message.get("content", [])]}
        else:
            found.append(message)
    return found


def chosen(choice: Any, tools: list[Any]) -> Any:
    """A choice of tools in one word; none where nothing is chosen or there is nothing to choose from."""
    if not tools or choice in {None, "auto"}:
        return None
    return "required" if choice == "any" else choice


def as_list(value: Any) -> Any:
    """One value or a list of them, as a list."""
    return [value] if isinstance(value, str) else value


def numbered(ids: dict[str, int], call: str) -> int:
    """The number of an id in the order ids appear."""
    return ids.setdefault(call, len(ids))


def arguments_of(text: Any) -> Any:
    """Arguments of a call as values, where they are JSON."""
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text) if text.strip() else {}
    except ValueError:
        return text


def without_nothing(found: JsonObject) -> dict[str, Any]:
    """What is there: without absent, empty and false values."""
    return {name: value for name, value in found.items() if value not in (None, [], "", False)}
