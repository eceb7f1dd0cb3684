"""Items of OpenAI's Responses API as the turns of a conversation: what was said, called, and thought.

After the API reference, ``POST /v1/responses``, ``input``. What a model said in one go, reasoning and calls included,
is one turn of ours, whichever number of items it is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gateway.bodies.failures import Failed, invalid
from gateway.bodies.openai_responses_seal import opened

Fields = dict[str, Any]

_TYPES_BY_ENDING = {
    "csv": "text/csv",
    "htm": "text/html",
    "html": "text/html",
    "json": "application/json",
    "md": "text/markdown",
    "txt": "text/plain",
    "xml": "application/xml",
}
"""What a file by address is taken for; anything else is a PDF, for which the API's own models are made."""
ITEM = frozenset({"type", "id", "status"})
"""Fields that any item may have."""
CALLED = ITEM | {"namespace", "caller"}
MARK = frozenset({"type", "prompt_cache_breakpoint"})
_TEXTS = ("input_text", "output_text", "text")
_ELSEWHERE = {
    "item_reference": "send the item itself, or name its response in previous_response_id",
    "custom_tool_call": "describe the tool as a function",
    "custom_tool_call_output": "describe the tool as a function",
}


class Turns:
    """Collects turns item by item; ``unused`` are paths of what was understood and could not be made use of."""

    def __init__(self) -> None:
        self.turns: list[Fields] = []
        self.unused: list[str] = []
        self._whole: list[Fields] = []
        """Parts of the present assistant's turn that a seal has made whole."""
        self._said: list[Fields] = []
        """Further parts of it."""

    def all(self) -> list[Fields]:
        """The turns, the last one closed."""
        self._close()
        return self.turns

    def add(self, item: object, path: str) -> None:
        """One more item. Raises ``Failed`` with 400 naming the field."""
        fields = _fields(item, path)
        kind = fields.get("type", "message")
        read = _READ.get(kind) if isinstance(kind, str) else None
        if read is None:
            remedy = _ELSEWHERE.get(str(kind), f"use one of: {', '.join(_READ)}")
            message = f"{path}.type: items of type {kind!r} are not carried"
            raise invalid(message, param=f"{path}.type", code="unsupported_parameter", remedy=remedy)
        read(self, fields, path)

    def message(self, fields: Fields, path: str) -> None:
        """What somebody says."""
        _only(fields, ITEM | {"role", "content", "phase"}, path)
        role = fields.get("role")
        content = fields.get("content", "")
        if role == "assistant":
            self._said += _answer_parts(content, f"{path}.content")
        elif role in ("user", "system", "developer"):
            self._close()
            read = _shown if role == "user" else _text
            self.turns.append({"role": role, "content": _content(content, f"{path}.content", read)})
        else:
            remedy = "use one of: user, assistant, system, developer"
            raise invalid(f"{path}.role: {role!r} is none", param=f"{path}.role", remedy=remedy)

    def call(self, fields: Fields, path: str) -> None:
        """A call the model asked for."""
        _only(fields, CALLED | {"call_id", "name", "arguments"}, path)
        names = {"id": "call_id", "name": "name", "arguments": "arguments"}
        self._said.append({"type": "tool_call", **{ours: _string(fields, name, path) for ours, name in names.items()}})

    def output(self, fields: Fields, path: str) -> None:
        """What a call came to."""
        _only(fields, CALLED | {"call_id", "output", "name"}, path)
        self._close()
        content = _content(fields.get("output"), f"{path}.output", _shown)
        self.turns.append({"role": "tool", "tool_call_id": _string(fields, "call_id", path), "content": content})

    def reasoning(self, fields: Fields, path: str) -> None:
        """What the model thought: ours, sealed, or of another endpoint, whose seal nobody else can open."""
        _only(fields, ITEM | {"summary", "content", "encrypted_content"}, path)
        texts: list[str] = []
        for name in ("summary", "content"):
            for at, part in enumerate(_list(fields.get(name, ()), f"{path}.{name}")):
                where = f"{path}.{name}[{at}]"
                texts.append(_string(_fields(part, where), "text", where))
        text = "\n\n".join(one for one in texts if one)
        sealed = _string(fields, "encrypted_content", path) if "encrypted_content" in fields else ""
        whole = opened(self._said, sealed) if sealed and not text else None
        if whole is not None:
            self._whole += whole
            self._said = []
            return
        if sealed:
            self.unused.append(f"{path}.encrypted_content")
        if text:
            self._said.append({"type": "reasoning", "text": text})

    def _close(self) -> None:
        parts = [*self._whole, *self._said]
        if parts:
            self.turns.append({"role": "assistant", "content": parts})
        self._whole, self._said = [], []


_READ: Mapping[str, Callable[[Turns, Fields, str], None]] = {
    "message": Turns.message,
    "function_call": Turns.call,
    "function_call_output": Turns.output,
    "reasoning": Turns.reasoning,
}

# -- what is in an item

_Read = Callable[[Fields, str], Fields]


def _content(content: object, path: str, read: _Read) -> str | list[Fields]:
    """Text as it is, also where it is the only part: not every provider takes parts everywhere."""
    if isinstance(content, str):
        return content
    parts = [read(_fields(part, f"{path}[{at}]"), f"{path}[{at}]") for at, part in enumerate(_list(content, path))]
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


def _answer_parts(content: object, path: str) -> list[Fields]:
    """What the model said before, as parts of ours; what was cited or how likely it was is of no further use."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    found: list[Fields] = []
    for at, part in enumerate(_list(content, path)):
        where = f"{path}[{at}]"
        fields = _fields(part, where)
        if fields.get("type") == "refusal":
            found.append({"type": "refusal", "text": _string(fields, "refusal", where)})
        elif fields.get("type") in _TEXTS:
            found.append({"type": "text", "text": _string(fields, "text", where)})
        else:
            raise _no_part(fields, where, ("output_text", "refusal"))
    return [part for part in found if part["text"]]


def _text(fields: Fields, path: str) -> Fields:
    if fields.get("type") not in _TEXTS:
        raise _no_part(fields, path, ("input_text",))
    return {"type": "text", "text": _string(fields, "text", path)}


def _shown(fields: Fields, path: str) -> Fields:
    """A part of what a user says, or of what a call came to."""
    match fields.get("type"):
        case "input_image":
            return _image(fields, path)
        case "input_file":
            return _file(fields, path)
        case "input_text" | "output_text" | "text":
            return _text(fields, path)
    raise _no_part(fields, path, ("input_text", "input_image", "input_file"))


def _image(fields: Fields, path: str) -> Fields:
    _only(fields, MARK | {"image_url", "detail", "file_id"}, path)
    _not_there(fields, path, "send the image itself: image_url with data:image/png;base64,…, or an address")
    url = _string(fields, "image_url", path)
    detail = fields.get("detail")
    part: Fields = {"type": "image"} if detail is None else {"type": "image", "detail": detail}
    if not url.startswith("data:"):
        return part | {"url": url}
    media_type, data = _of_data_url(url, f"{path}.image_url", "write data:image/png;base64,…, or an https address")
    return part | {"data": data, "media_type": media_type}


def _file(fields: Fields, path: str) -> Fields:
    _only(fields, MARK | {"file_data", "file_url", "file_id", "filename", "detail"}, path)
    _not_there(fields, path, "send the file itself: file_data with data:application/pdf;base64,…")
    name = fields.get("filename")
    part: Fields = {"type": "file"} if name is None else {"type": "file", "name": name}
    if "file_data" not in fields:
        url = _string(fields, "file_url", path)
        return part | {"url": url, "media_type": _type_of(name if isinstance(name, str) else url)}
    data = _string(fields, "file_data", path)
    if not data.startswith("data:"):
        return part | {"data": data, "media_type": _type_of(name if isinstance(name, str) else "")}
    media_type, data = _of_data_url(data, f"{path}.file_data", "write data:application/pdf;base64,…")
    return part | {"data": data, "media_type": media_type}


def _type_of(name: str) -> str:
    ending = name.partition("?")[0].rpartition(".")[2].lower()
    return _TYPES_BY_ENDING.get(ending, "application/pdf")


def _of_data_url(url: str, where: str, remedy: str) -> tuple[str, str]:
    """Media type and base64 data of a ``data:`` URL (RFC 2397)."""
    head, comma, data = url[5:].partition(",")
    media_type, _, encoding = head.partition(";")
    if not comma or encoding.rpartition(";")[2] != "base64" or not media_type:
        raise invalid(f"{where}: not a base64 data URL", param=where, remedy=remedy)
    return media_type, data


# -- checks, each raising ``Failed`` with 400 and the path


def _fields(value: object, path: str) -> Fields:
    if not isinstance(value, Mapping):
        raise invalid(f"{path}: expected an object, not {type(value).__name__}", param=path, code="invalid_type")
    return {name: field for name, field in value.items() if field is not None}


def _list(value: object, path: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise invalid(f"{path}: expected a list, not {type(value).__name__}", param=path, code="invalid_type")
    return value


def _string(fields: Fields, name: str, path: str) -> str:
    value = fields.get(name)
    where = f"{path}.{name}"
    if value is None:
        raise invalid(f"{where}: missing", param=where, code="missing_required_parameter", remedy=f"add {name}")
    if not isinstance(value, str):
        raise invalid(f"{where}: expected a string, not {type(value).__name__}", param=where, code="invalid_type")
    return value


def _only(fields: Iterable[str], known: frozenset[str], path: str) -> None:
    for name in fields:
        if name not in known:
            where = f"{path}.{name}"
            raise invalid(f"{where}: there is no such field", param=where, code="unknown_parameter", remedy="remove it")


def _not_there(fields: Fields, path: str, remedy: str) -> None:
    if "file_id" in fields:
        where = f"{path}.file_id"
        message = f"{where}: files that lie elsewhere are not carried"
        raise invalid(message, param=where, code="unsupported_parameter", remedy=remedy)


def _no_part(fields: Fields, path: str, known: Iterable[str]) -> Failed:
    where = f"{path}.type"
    message = f"{where}: {fields.get('type')!r} cannot stand here"
    return invalid(message, param=where, remedy=f"use one of: {', '.join(known)}")
