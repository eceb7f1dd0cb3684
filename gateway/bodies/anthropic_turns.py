"""The messages of an Anthropic request as turns of a conversation.

After https://docs.anthropic.com/en/api/messages. What differs most: the system text stands beside the messages, results
of tools are blocks of the user's message, and reasoning comes back with its signature.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

from pydantic_core import to_json

from gateway.bodies.anthropic_fields import Block, block, blocks, cache, flag, only, optional_text, text, unsupported
from gateway.bodies.anthropic_seals import opened
from gateway.bodies.failures import invalid
from job_contracts.chat import (
    AssistantPart,
    AssistantTurn,
    CacheFor,
    FilePart,
    ImagePart,
    ReasoningPart,
    SystemTurn,
    TextPart,
    ToolCallPart,
    ToolTurn,
    Turn,
    UserPart,
    UserTurn,
)

_TEXT = frozenset({"type", "text", "cache_control", "citations"})
_SHOWN = frozenset({"type", "source", "cache_control"})
_DOCUMENT = _SHOWN | {"title", "context", "citations"}
_RESULT = frozenset({"type", "tool_use_id", "content", "is_error", "cache_control"})
_CALL = frozenset({"type", "id", "name", "input", "cache_control", "caller"})
_THINKING = frozenset({"type", "thinking", "signature"})
_REDACTED = frozenset({"type", "data"})
_AS_TEXT = "send what it says as text"


class Turns:
    """Reads turns; ``unused`` names what was understood and changes nothing here."""

    def __init__(self) -> None:
        self.unused: set[str] = set()
        self._shown: dict[str, Callable[[Block, str], UserPart]] = {
            "text": _text,
            "image": _image,
            "document": _document,
        }
        self._said: dict[str, Callable[[Block, str], AssistantPart]] = {
            "text": _text,
            "thinking": _thinking,
            "redacted_thinking": _redacted,
            "tool_use": _call,
        }

    def system(self, given: Any, path: str = "system") -> SystemTurn:
        """The system text: a string, or blocks of text. Raises ``Failed``."""
        if isinstance(given, str):
            return SystemTurn(role="system", content=given)
        parts = []
        for one, where in blocks(given, path):
            if one.get("type") != "text":
                raise invalid(f"{where}.type: only text stands here", param=f"{where}.type")
            parts.append(_text(one, where))
        return SystemTurn(role="system", content=tuple(parts))

    def messages(self, given: Any) -> list[Turn]:
        """All turns; a message with results of tools becomes several. Raises ``Failed``."""
        found: list[Turn] = []
        for message, path in blocks(given, "messages"):
            only(message, frozenset({"role", "content"}), path)
            role, content = message.get("role"), message.get("content")
            if content is None:
                raise invalid(f"{path}.content: field required", param=f"{path}.content")
            if role == "user":
                found += self._user(content, f"{path}.content")
            elif role == "assistant":
                found.append(self._assistant(content, f"{path}.content"))
            elif role == "system":
                found.append(self.system(content, f"{path}.content"))
            else:
                where = f"{path}.role"
                raise invalid(f"{where}: {role!r} is none", param=where, remedy="use user, assistant or system")
        if not found:
            raise invalid("messages: at least one message is needed", param="messages")
        return found

    def _user(self, content: Any, path: str) -> list[Turn]:
        if isinstance(content, str):
            return [UserTurn(role="user", content=content)]
        found: list[Turn] = []
        parts: list[UserPart] = []
        for one, where in blocks(content, path):
            if one.get("type") != "tool_result":
                parts.append(self._part(one, where))
                continue
            if parts:
                found.append(UserTurn(role="user", content=tuple(parts)))
                parts = []
            found.append(self._result(one, where))
        if parts:
            found.append(UserTurn(role="user", content=tuple(parts)))
        if not found:
            raise invalid(f"{path}: there is nothing in it", param=path, remedy="give text, or at least one block")
        return found

    def _part(self, one: Block, path: str) -> UserPart:
        read = self._shown.get(str(one.get("type")))
        if read is None:
            raise _unknown(one, path, (*self._shown, "tool_result"))
        return read(one, path)

    def _result(self, one: Block, path: str) -> ToolTurn:
        """A mark on a result stands on the last of its parts."""
        only(one, _RESULT, path)
        content, mark = one.get("content", ""), cache(one, path)
        parts: tuple[UserPart, ...] | str
        if isinstance(content, str):
            parts = (TextPart(text=content, cache=mark),) if mark else content
        else:
            parts = tuple(self._part(inner, where) for inner, where in blocks(content, f"{path}.content"))
            if mark:
                parts = marked(parts, mark) if parts else (TextPart(text="", cache=mark),)
        return ToolTurn(
            role="tool",
            tool_call_id=text(one, "tool_use_id", path),
            content=parts,
            is_error=flag(one, "is_error", path),
        )

    def _assistant(self, content: Any, path: str) -> AssistantTurn:
        if isinstance(content, str):
            return AssistantTurn(role="assistant", content=content)
        parts: list[AssistantPart] = []
        for one, where in blocks(content, path):
            read = self._said.get(str(one.get("type")))
            if read is None:
                raise _unknown(one, where, tuple(self._said))
            if "cache_control" in one and one["type"] != "text":
                self.unused.add(f"{one['type']}.cache_control")
            parts.append(read(one, where))
        return AssistantTurn(role="assistant", content=tuple(parts))


def marked(parts: Sequence[UserPart], mark: CacheFor) -> tuple[UserPart, ...]:
    """The same parts with a cache mark at the end, if there is none yet."""
    last = parts[-1]
    return (*parts[:-1], last if last.cache else last.model_copy(update={"cache": mark}))


def _unknown(one: Block, path: str, known: Sequence[str]) -> Exception:
    where, kind = f"{path}.type", one.get("type")
    if kind is None:
        return invalid(f"{where}: field required", param=where, remedy=f"use one of: {', '.join(known)}")
    return unsupported(
        where, f"blocks of type {kind!r} are not carried here", f"{_AS_TEXT}, or use: {', '.join(known)}"
    )


# -- blocks


def _text(one: Block, path: str) -> TextPart:
    only(one, _TEXT, path)
    return TextPart(text=text(one, "text", path), cache=cache(one, path))


def _image(one: Block, path: str) -> ImagePart:
    only(one, _SHOWN, path)
    where = f"{path}.source"
    source, mark = block(one.get("source"), where), cache(one, path)
    if source.get("type") == "base64":
        data, media_type = text(source, "data", where), text(source, "media_type", where)
        return ImagePart(data=data, media_type=media_type, cache=mark)
    if source.get("type") == "url":
        return ImagePart(url=text(source, "url", where), cache=mark)
    raise _elsewhere(source, where, "base64 or url")


def _document(one: Block, path: str) -> FilePart:
    only(one, _DOCUMENT, path)
    if flag(block(one.get("citations", {}), f"{path}.citations"), "enabled", f"{path}.citations"):
        raise unsupported(
            f"{path}.citations", "places in documents are not cited here", "leave it out, or say enabled: false"
        )
    if one.get("context"):
        raise unsupported(
            f"{path}.context", "it has no place beside a document", "send it as a block of text before it"
        )
    where = f"{path}.source"
    source = block(one.get("source"), where)
    name, mark = optional_text(one, "title", path), cache(one, path)
    match source.get("type"):
        case "base64":
            data, media_type = text(source, "data", where), text(source, "media_type", where)
            return FilePart(data=data, media_type=media_type, name=name, cache=mark)
        case "url":
            url = text(source, "url", where)
            return FilePart(url=url, media_type="application/pdf", name=name, cache=mark)
        case "text":
            written = text(source, "data", where)
        case "content":
            written = _written(source.get("content"), f"{where}.content")
        case _:
            raise _elsewhere(source, where, "base64, url, text or content")
    return FilePart(data=b64encode(written.encode()).decode(), media_type="text/plain", name=name, cache=mark)


def _written(content: Any, path: str) -> str:
    """The text of a document that was given in blocks."""
    if isinstance(content, str):
        return content
    found = []
    for one, where in blocks(content, path):
        if one.get("type") != "text":
            raise unsupported(f"{where}.type", "only text is carried within a document", "send pictures beside it")
        found.append(text(one, "text", where))
    return "\n".join(found)


def _elsewhere(source: Block, path: str, known: str) -> Exception:
    where, kind = f"{path}.type", source.get("type")
    if kind == "file":
        return unsupported(where, "files that lie at a provider are not carried", "send the data itself: type base64")
    return invalid(f"{where}: {kind!r} is none", param=where, remedy=f"use {known}")


def _thinking(one: Block, path: str) -> ReasoningPart:
    only(one, _THINKING | {"cache_control"}, path)
    shown, signature = text(one, "thinking", path), optional_text(one, "signature", path)
    if not signature:
        return ReasoningPart(text=shown)
    token, origin = opened(signature)
    return ReasoningPart(text=shown, signature=token, origin=origin)


def _redacted(one: Block, path: str) -> ReasoningPart:
    only(one, _REDACTED | {"cache_control"}, path)
    token, origin = opened(text(one, "data", path))
    return ReasoningPart(redacted=token, origin=origin)


def _call(one: Block, path: str) -> ToolCallPart:
    only(one, _CALL, path)
    given = block(one["input"], f"{path}.input") if "input" in one else {}
    return ToolCallPart(
        id=text(one, "id", path),
        name=text(one, "name", path),
        arguments=to_json(one["input"]).decode() if given else "{}",
    )
