"""Turns as programs write them (ours, or the OpenAI chat API's dicts) into the one form that is submitted. Pure.

Whatever cannot be carried over is refused by its path (``messages[2].content[0].type``) with what to do about it;
nothing is dropped silently. Fields that are ``None`` or an empty list, as ``model_dump()`` of other SDKs leaves them,
count as absent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from job_contracts.chat import AssistantTurn, SystemTurn, ToolTurn, UserTurn
from producer_sdk.errors import InvalidRequest

Fields = dict[str, Any]

_OURS = (SystemTurn, UserTurn, AssistantTurn, ToolTurn)
_OUR_PARTS = frozenset({"text", "reasoning", "tool_call", "refusal"})
_SHOWN = frozenset({"image", "image_url", "file", "input_audio"})
"""Parts that a user or a tool may show beside text."""
_ELSEWHERE = {
    "function_call": "use tool_calls, and a turn of role 'tool' for the answer",
    "audio": "an earlier spoken answer is not carried: send its transcript as text",
    "cache_control": "mark a part of the content with it, or a tool",
}
_MARKS = frozenset({"cache", "cache_control"})
_LIFETIMES = ("5m", "1h")


def turns(messages: object, path: str = "messages") -> list[Any]:
    """The turns of ``messages`` as dicts (or turns) that ``job_contracts.chat.Conversation`` validates.

    The index of every turn stays what it was. Raises InvalidRequest.
    """
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    if isinstance(messages, Mapping) or not isinstance(messages, Iterable):
        raise InvalidRequest(
            f"{path}: expected a list of turns, not {_kind(messages)}",
            field=path,
            remedy='write [{"role": "user", "content": "…"}]',
        )
    found = [_turn(message, f"{path}[{index}]") for index, message in enumerate(messages)]
    if not found:
        raise InvalidRequest(f"{path}: there is no turn in it", field=path, remedy="add at least one user turn")
    return found


def _turn(message: object, path: str) -> Any:
    if isinstance(message, _OURS):
        return message
    fields = as_fields(message, path, "a turn")
    role = fields.get("role")
    read = _ROLES.get(role) if isinstance(role, str) else None
    if read is None:
        known = ", ".join(_ROLES)
        remedy = "use role 'tool' with its tool_call_id" if role == "function" else f"use one of: {known}"
        what = f"unknown role {role!r}" if "role" in fields else "the role is missing"
        raise InvalidRequest(f"{path}.role: {what}", field=f"{path}.role", remedy=remedy)
    return read(fields, path)


def as_fields(value: object, path: str, what: str) -> Fields:
    """``value`` as a dict without its empty fields: a mapping, or any pydantic model. Raises InvalidRequest."""
    dump = getattr(value, "model_dump", None)
    if dump is not None and not isinstance(value, type):
        value = dump(exclude_none=True)
    if not isinstance(value, Mapping):
        raise InvalidRequest(
            f"{path}: expected {what} as a dict, not {_kind(value)}", field=path, remedy="write it as a dict"
        )
    return {key: field for key, field in value.items() if field is not None and field != []}


def no_others(fields: Fields, known: frozenset[str], path: str) -> None:
    """Raise InvalidRequest for the first field that is not ``known``."""
    for name in fields:
        if name not in known:
            where = f"{path}.{name}"
            remedy = _ELSEWHERE.get(name) or f"remove it, or check its spelling (known: {', '.join(sorted(known))})"
            raise InvalidRequest(f"{where}: unknown field", field=where, remedy=remedy)


def need_text(fields: Fields, name: str, path: str) -> str:
    """The string ``fields[name]``. Raises InvalidRequest."""
    where = f"{path}.{name}"
    if name not in fields:
        raise InvalidRequest(f"{where}: missing", field=where, remedy=f"add {name}")
    value = fields[name]
    if not isinstance(value, str):
        raise InvalidRequest(
            f"{where}: expected a string, not {_kind(value)}", field=where, remedy=f"make {name} a string"
        )
    return value


_SYSTEM = frozenset({"role", "content"})
_USER = frozenset({"role", "content", "name"})
_TOOL = frozenset({"role", "content", "name", "tool_call_id", "is_error"})
_ASSISTANT = frozenset({"role", "content", "tool_calls", "refusal", "reasoning_content"})


def _system(fields: Fields, path: str) -> Fields:
    no_others(fields, _SYSTEM, path)
    return fields | {"content": _content(fields, path, shown=False)}


def _user(fields: Fields, path: str) -> Fields:
    no_others(fields, _USER, path)
    return fields | {"content": _content(fields, path, shown=True)}


def _tool(fields: Fields, path: str) -> Fields:
    no_others(fields, _TOOL, path)
    need_text(fields, "tool_call_id", path)
    return fields | {"content": _content(fields, path, shown=True)}


def _assistant(fields: Fields, path: str) -> Fields:
    no_others(fields, _ASSISTANT, path)
    extra: list[Fields] = []
    if "refusal" in fields:
        extra.append({"type": "refusal", "text": need_text(fields, "refusal", path)})
    calls = fields.get("tool_calls", ())
    if not isinstance(calls, (list, tuple)):
        raise InvalidRequest(
            f"{path}.tool_calls: expected a list, not {_kind(calls)}",
            field=f"{path}.tool_calls",
            remedy="write a list of calls",
        )
    extra += [_call(call, f"{path}.tool_calls[{index}]") for index, call in enumerate(calls)]
    content: Any = _content(fields, path, shown=False, ours=True) if "content" in fields else ""
    if "reasoning_content" in fields:
        shown = {"type": "reasoning", "text": need_text(fields, "reasoning_content", path)}
        content = [shown, *_as_parts(content)]
    return {"role": "assistant", "content": [*_as_parts(content), *extra] if extra else content}


def _as_parts(content: str | list[Any]) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content


def _call(call: object, path: str) -> Fields:
    fields = as_fields(call, path, "a tool call")
    if fields.get("type") == "tool_call":
        return fields
    no_others(fields, frozenset({"id", "type", "function", "index"}), path)
    if fields.get("type", "function") != "function":
        where = f"{path}.type"
        raise InvalidRequest(f"{where}: {fields['type']!r} is not carried", field=where, remedy="use type 'function'")
    function = as_fields(fields.get("function"), f"{path}.function", "a function")
    no_others(function, frozenset({"name", "arguments"}), f"{path}.function")
    arguments = function.get("arguments", "{}")
    if isinstance(arguments, Mapping):
        arguments = json.dumps(arguments, ensure_ascii=False)
    elif not isinstance(arguments, str):
        where = f"{path}.function.arguments"
        raise InvalidRequest(
            f"{where}: expected JSON text, not {_kind(arguments)}", field=where, remedy="write the arguments as JSON"
        )
    return {
        "type": "tool_call",
        "id": need_text(fields, "id", path),
        "name": need_text(function, "name", f"{path}.function"),
        "arguments": arguments,
    }


def _content(fields: Fields, path: str, *, shown: bool, ours: bool = False) -> str | list[Any]:
    where = f"{path}.content"
    content = fields.get("content", "" if "content" in fields or ours else None)
    if isinstance(content, str):
        return content
    if content is None:
        raise InvalidRequest(f"{where}: missing or empty", field=where, remedy="give text, or a list of parts")
    if not isinstance(content, (list, tuple)):
        raise InvalidRequest(
            f"{where}: expected text or a list of parts, not {_kind(content)}",
            field=where,
            remedy="give text, or a list of parts",
        )
    return [_part(part, f"{where}[{index}]", shown=shown, ours=ours) for index, part in enumerate(content)]


def _part(part: object, path: str, *, shown: bool, ours: bool) -> Any:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    fields = as_fields(part, path, "a part")
    kind = fields.get("type")
    read = _READ.get(kind) if isinstance(kind, str) and (shown or kind not in _SHOWN) else None
    if read is not None:
        return read(marked(fields, path), path)
    if kind == "refusal" and ours and "refusal" in fields:
        return {"type": "refusal", "text": need_text(fields, "refusal", path)}
    allowed = {"text"} | (_SHOWN if shown else set())
    if ours:
        allowed |= _OUR_PARTS
    if isinstance(kind, str) and kind in allowed:
        return marked(fields, path)
    where = f"{path}.type"
    what = f"{kind!r} cannot stand here" if kind is not None else "missing"
    raise InvalidRequest(f"{where}: {what}", field=where, remedy=f"use one of: {', '.join(sorted(allowed))}")


def marked(fields: Fields, path: str) -> Fields:
    """The fields with Anthropic's ``cache_control`` as our ``cache``. Raises InvalidRequest."""
    if "cache_control" not in fields:
        return fields
    where = f"{path}.cache_control"
    control = as_fields(fields["cache_control"], where, "a mark")
    no_others(control, frozenset({"type", "ttl"}), where)
    kind, lifetime = control.get("type", "ephemeral"), control.get("ttl", _LIFETIMES[0])
    if kind != "ephemeral" or lifetime not in _LIFETIMES:
        remedy = f'write {{"type": "ephemeral", "ttl": …}} with one of: {", ".join(_LIFETIMES)}'
        raise InvalidRequest(f"{where}: {dict(control)!r} is not carried", field=where, remedy=remedy)
    rest = {name: value for name, value in fields.items() if name != "cache_control"}
    if rest.setdefault("cache", lifetime) != lifetime:
        raise InvalidRequest(f"{where}: cache says something else", field=where, remedy="give one of the two")
    return rest


def _text(fields: Fields, path: str) -> Fields:
    no_others(fields, frozenset({"type", "text"}) | _MARKS, path)
    need_text(fields, "text", path)
    return fields


def _mark_of(fields: Fields) -> Fields:
    return {"cache": fields["cache"]} if "cache" in fields else {}


def _image_url(fields: Fields, path: str) -> Fields:
    no_others(fields, frozenset({"type", "image_url"}) | _MARKS, path)
    where = f"{path}.image_url"
    source = fields.get("image_url")
    if isinstance(source, str):
        source = {"url": source}
    image = as_fields(source, where, "an image")
    no_others(image, frozenset({"url", "detail"}), where)
    url = need_text(image, "url", where)
    part: Fields = {"type": "image", **_mark_of(fields)}
    if "detail" in image:
        part["detail"] = image["detail"]
    if not url.startswith("data:"):
        return part | {"url": url}
    media_type, data = _of_data_url(url, f"{where}.url", "write data:image/png;base64,…, or an https URL")
    return part | {"data": data, "media_type": media_type}


def _of_data_url(url: str, where: str, remedy: str) -> tuple[str, str]:
    """Media type and base64 data of a ``data:`` URL (RFC 2397)."""
    head, comma, data = url[5:].partition(",")
    media_type, _, encoding = head.partition(";")
    if not url.startswith("data:") or not comma or encoding.rpartition(";")[2] != "base64" or not media_type:
        raise InvalidRequest(f"{where}: not a base64 data URL", field=where, remedy=remedy)
    return media_type, data


def _file(fields: Fields, path: str) -> Fields:
    """Ours, or OpenAI's ``{"file": {"file_data": "data:…", "filename": …}}``."""
    if "file" not in fields:
        return fields
    no_others(fields, frozenset({"type", "file"}) | _MARKS, path)
    where = f"{path}.file"
    file = as_fields(fields["file"], where, "a file")
    if "file_id" in file:
        raise InvalidRequest(
            f"{where}.file_id: files that lie at a provider are not carried",
            field=f"{where}.file_id",
            remedy="send the file itself: file_data",
        )
    no_others(file, frozenset({"file_data", "filename"}), where)
    remedy = 'write data:application/pdf;base64,…; of an address {"type": "file", "url": …, "media_type": …}'
    media_type, data = _of_data_url(need_text(file, "file_data", where), f"{where}.file_data", remedy)
    part = {"type": "file", "data": data, "media_type": media_type, **_mark_of(fields)}
    return part | ({"name": need_text(file, "filename", where)} if "filename" in file else {})


def _input_audio(fields: Fields, path: str) -> Fields:
    """OpenAI's ``{"input_audio": {"data": base64, "format": "wav"}}``."""
    no_others(fields, frozenset({"type", "input_audio"}) | _MARKS, path)
    where = f"{path}.input_audio"
    audio = as_fields(fields.get("input_audio"), where, "a recording")
    no_others(audio, frozenset({"data", "format"}), where)
    data, form = need_text(audio, "data", where), need_text(audio, "format", where)
    return {"type": "file", "data": data, "media_type": f"audio/{form}", **_mark_of(fields)}


_READ: dict[str, Callable[[Fields, str], Fields]] = {
    "text": _text,
    "image_url": _image_url,
    "file": _file,
    "input_audio": _input_audio,
}
_ROLES: dict[str, Callable[[Fields, str], Fields]] = {
    "system": _system,
    "developer": _system,
    "user": _user,
    "assistant": _assistant,
    "tool": _tool,
}


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
