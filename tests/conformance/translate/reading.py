"""What the translators share: the result, the refusal, and reading JSON of a request with paths in the errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from job_contracts import codec
from job_contracts.chat import Conversation

JsonObject = Mapping[str, Any]


class Untranslatable(ValueError):
    """A request holds something a conversation cannot express; ``field`` is its path."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True)
class Translated:
    """A request in neutral form. ``ignored`` names the fields left aside."""

    conversation: Conversation
    model: str
    stream: bool = False
    ignored: tuple[str, ...] = ()


def conversation(messages: list[dict[str, Any]], tools: list[dict[str, Any]], settings: dict[str, Any]) -> Conversation:
    """The contract's model of the translated values. Raises ContractError with the path of what does not fit."""
    wanted = {key: value for key, value in settings.items() if value is not None}
    return codec.check(Conversation, {"messages": messages, "tools": tools, "settings": wanted}, strict_names=True)


def ignored(body: JsonObject, known: set[str]) -> tuple[str, ...]:
    """Top-level fields that hold something and were not read."""
    return tuple(sorted(key for key, value in body.items() if key not in known and value is not None))


def is_object(value: Any, field: str) -> JsonObject:
    """The value, if it is a JSON object."""
    if not isinstance(value, Mapping):
        raise Untranslatable(field, "should be an object")
    return value


def is_list(value: Any, field: str) -> Sequence[Any]:
    """The value, if it is a JSON array."""
    if not isinstance(value, list | tuple):
        raise Untranslatable(field, "should be an array")
    return value


def as_list(value: Any) -> list[Any] | None:
    """One value or a list of them, as a list."""
    return None if value is None else [value] if isinstance(value, str) else list(value)


def image(url: str) -> dict[str, Any]:
    """An image by address; a base64 ``data:`` address becomes the data itself."""
    head, comma, data = url.partition(",")
    if url.startswith("data:") and comma and head.endswith(";base64"):
        media_type = head.removeprefix("data:").removesuffix(";base64").partition(";")[0]
        return {"type": "image", "data": data, "media_type": media_type or "image/png"}
    return {"type": "image", "url": url}


def unwrapped(parts: list[dict[str, Any]]) -> Any:
    """Parts as content: a single text as a string."""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"} and parts[0]["type"] == "text":
        return parts[0]["text"]
    return parts
