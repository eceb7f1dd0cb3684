"""Anthropic's message requests as conversations."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.conformance.translate.reading import (
    JsonObject,
    Translated,
    Untranslatable,
    as_list,
    conversation,
    ignored,
    is_list,
    is_object,
    unwrapped,
)

_READ = {
    *("model", "messages", "system", "max_tokens", "stream", "temperature", "top_p", "stop_sequences", "tools"),
    *("tool_choice", "thinking", "output_config", "output_format", "top_k", "anthropic_version", "inference_geo"),
}
_CHANGE_THE_ANSWER = ("mcp_servers", "container")


def from_anthropic(body: JsonObject, *, family: str = "", model: str = "") -> Translated:
    """A ``POST /messages`` body."""
    for field in _CHANGE_THE_ANSWER:
        if body.get(field):
            raise Untranslatable(field, "has no counterpart in a conversation")
    turns: list[dict[str, Any]] = []
    if body.get("system"):
        turns.append({"role": "system", "content": _system(body["system"], "system")})
    for at, message in enumerate(is_list(body.get("messages"), "messages")):
        turns += _turns(is_object(message, f"messages[{at}]"), f"messages[{at}]", family)
    tools = [_tool(is_object(tool, f"tools[{at}]"), f"tools[{at}]") for at, tool in enumerate(body.get("tools") or ())]
    choice, parallel = _choice(body.get("tool_choice"))
    settings = {
        "max_tokens": body.get("max_tokens"),
        "temperature": body.get("temperature"),
        "top_p": body.get("top_p"),
        "top_k": body.get("top_k"),
        "stop": as_list(body.get("stop_sequences")),
        "tool_choice": choice,
        "parallel_tool_calls": parallel,
        **_reasoning(body),
        "response_format": _format(body),
    }
    return Translated(
        conversation=conversation(turns, tools, settings),
        model=str(body.get("model") or model),
        stream=bool(body.get("stream")),
        ignored=ignored(body, _READ),
    )


def _system(system: Any, field: str) -> Any:
    if isinstance(system, str):
        return system
    return [_text(is_object(block, f"{field}[{at}]"), f"{field}[{at}]") for at, block in enumerate(system)]


def _text(block: JsonObject, field: str) -> dict[str, Any]:
    if block.get("type") != "text":
        raise Untranslatable(f"{field}.type", f"{block.get('type')!r} where only text may stand")
    return {"type": "text", "text": block.get("text"), **_cache(block)}


def _cache(block: JsonObject) -> dict[str, Any]:
    mark = block.get("cache_control")
    return {"cache": mark.get("ttl") or "5m"} if mark else {}


def _turns(message: JsonObject, field: str, family: str) -> list[dict[str, Any]]:
    role, content = message.get("role"), message.get("content")
    if role == "system":
        return [{"role": "system", "content": _system(content, f"{field}.content")}]
    if role == "assistant":
        return [{"role": "assistant", "content": _assistant(content, f"{field}.content", family)}]
    if role != "user":
        raise Untranslatable(f"{field}.role", f"{role!r} is no role of a conversation")
    if isinstance(content, str):
        return [{"role": "user", "content": content}]
    turns: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = []
    for at, block in enumerate(is_list(content, f"{field}.content")):
        place = f"{field}.content[{at}]"
        if is_object(block, place).get("type") == "tool_result":
            turns.append(_result(block, place))
        else:
            said.append(_part(block, place))
    return [*turns, {"role": "user", "content": said}] if said else turns


def _part(block: JsonObject, field: str) -> dict[str, Any]:
    kind = block.get("type")
    if kind == "document":
        return {**_document(block, field), **_cache(block)}
    if kind != "image":
        return _text(block, field)
    source = is_object(block.get("source"), f"{field}.source")
    if source.get("type") == "url":
        return {"type": "image", "url": source.get("url"), **_cache(block)}
    if source.get("type") == "base64":
        return {"type": "image", "data": source.get("data"), "media_type": source.get("media_type"), **_cache(block)}
    raise Untranslatable(f"{field}.source.type", f"{source.get('type')!r} sources have no counterpart")


def _document(block: JsonObject, field: str) -> dict[str, Any]:
    if (block.get("citations") or {}).get("enabled"):
        raise Untranslatable(f"{field}.citations", "a conversation cannot ask for them")
    source = is_object(block.get("source"), f"{field}.source")
    found: dict[str, Any] = {"type": "file", "media_type": source.get("media_type") or "application/pdf"}
    if block.get("title"):
        found["name"] = block["title"]
    match source.get("type"):
        case "base64":
            return {**found, "data": source.get("data")}
        case "url":
            return {**found, "url": source.get("url")}
        case "text":
            return {**found, "data": base64.b64encode(str(source.get("data")).encode()).decode()}
    raise Untranslatable(f"{field}.source.type", f"{source.get('type')!r} sources have no counterpart")


def _result(block: JsonObject, field: str) -> dict[str, Any]:
    content = block.get("content")
    parts: Any = content or ""
    if not isinstance(parts, str):
        parts = [_part(is_object(part, f"{field}.content[{at}]"), field) for at, part in enumerate(parts)]
    if mark := _cache(block):
        parts = [{"type": "text", "text": parts}] if isinstance(parts, str) else parts
        parts[-1:] = [{**part, **mark} for part in parts[-1:]]
    turn = {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": parts}
    return {**turn, "is_error": True} if block.get("is_error") else turn


def _assistant(content: Any, field: str, family: str) -> Any:
    if isinstance(content, str):
        return content
    parts: list[dict[str, Any]] = []
    for at, block in enumerate(is_list(content, field)):
        kind = is_object(block, f"{field}[{at}]").get("type")
        if kind == "thinking":
            parts.append(
                {
                    "type": "reasoning",
                    "text": block.get("thinking") or "",
                    "signature": block.get("signature"),
                    "origin": family or None,
                }
            )
        elif kind == "redacted_thinking":
            parts.append({"type": "reasoning", "redacted": block.get("data"), "origin": family or None})
        elif kind == "tool_use":
            arguments = json.dumps(block.get("input") or {}, ensure_ascii=False)
            parts.append(
                {"type": "tool_call", "id": block.get("id"), "name": block.get("name"), "arguments": arguments}
            )
        else:
            parts.append(_text(block, f"{field}[{at}]"))
    return unwrapped(parts)


def _tool(tool: JsonObject, field: str) -> dict[str, Any]:
    if tool.get("type", "custom") != "custom":
        raise Untranslatable(f"{field}.type", f"{tool['type']!r} runs at the provider")
    known = {
        "name": tool.get("name"),
        "description": tool.get("description"),
        "parameters": tool.get("input_schema"),
        "strict": tool.get("strict"),
        **_cache(tool),
    }
    return {name: value for name, value in known.items() if value is not None}


def _choice(choice: Any) -> tuple[Any, bool | None]:
    if choice is None:
        return None, None
    kind = is_object(choice, "tool_choice").get("type")
    serial = choice.get("disable_parallel_tool_use")
    parallel = None if serial is None else not serial
    if kind == "tool":
        return {"name": choice.get("name")}, parallel
    return ("required" if kind == "any" else kind), parallel


def _reasoning(body: JsonObject) -> dict[str, Any]:
    """The effort that was named, or the budget."""
    thinking, wanted = body.get("thinking") or {}, body.get("output_config") or {}
    if thinking.get("type") == "disabled":
        return {"reasoning_effort": "none"}
    if wanted.get("effort"):
        return {"reasoning_effort": str(wanted["effort"])}
    if thinking.get("type") == "enabled":
        return {"reasoning_budget": thinking.get("budget_tokens")}
    return {"reasoning_effort": "high"} if thinking.get("type") == "adaptive" else {}


def _format(body: JsonObject) -> dict[str, Any] | None:
    form = (body.get("output_config") or {}).get("format") or body.get("output_format")
    if form is None:
        return None
    return {"type": "json_schema", "json_schema": is_object(form, "output_config.format").get("schema")}
