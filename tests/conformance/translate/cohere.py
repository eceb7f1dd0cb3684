"""Cohere's chat requests (version 2) as conversations."""

from __future__ import annotations

import json
from typing import Any

from tests.conformance.translate.reading import (
    JsonObject,
    Translated,
    Untranslatable,
    conversation,
    ignored,
    image,
    is_list,
    is_object,
)

_SAME = ("max_tokens", "temperature", "seed", "presence_penalty", "frequency_penalty", "logprobs")
_READ = {
    *_SAME,
    *("model", "messages", "tools", "tool_choice", "strict_tools", "response_format", "stop_sequences", "p", "k"),
    *("thinking", "stream"),
}


def from_cohere(body: JsonObject, *, family: str = "", model: str = "") -> Translated:
    """A ``POST /v2/chat`` body."""
    if body.get("documents"):
        raise Untranslatable("documents", "has no counterpart in a conversation")
    strict = bool(body.get("strict_tools"))
    messages = [
        _turn(is_object(message, f"messages[{at}]"), f"messages[{at}]")
        for at, message in enumerate(is_list(body.get("messages"), "messages"))
    ]
    tools = [_tool(is_object(tool, f"tools[{at}]"), strict=strict) for at, tool in enumerate(body.get("tools") or ())]
    settings: dict[str, Any] = {name: body.get(name) for name in _SAME}
    settings |= {"top_p": body.get("p"), "top_k": body.get("k") or None, "stop": body.get("stop_sequences")}
    thinking = body.get("thinking") or {}
    if thinking.get("type") == "disabled":
        settings["reasoning_effort"] = "none"
    elif thinking:
        settings["reasoning_budget"] = thinking.get("token_budget")
        settings["reasoning_effort"] = None if thinking.get("token_budget") else "medium"
    choice = body.get("tool_choice")
    settings["tool_choice"] = choice.lower() if choice else None
    form = body.get("response_format") or {}
    if form.get("type") in {"json_object", "json_schema"}:
        schema = form.get("json_schema", form.get("schema"))
        settings["response_format"] = (
            {"type": "json_object"} if schema is None else {"type": "json_schema", "json_schema": schema}
        )
    return Translated(
        conversation=conversation(messages, tools, settings),
        model=str(body.get("model") or model),
        stream=bool(body.get("stream")),
        ignored=ignored(body, _READ),
    )


def _turn(message: JsonObject, field: str) -> dict[str, Any]:
    role = message.get("role")
    content = message.get("content")
    if role == "assistant":
        return _assistant(message, field)
    if role == "tool":
        told = content if isinstance(content, str) else [_result(part, field) for part in content or ()]
        if isinstance(told, list) and len(told) == 1:
            told = told[0]["text"]
        return {"role": "tool", "tool_call_id": message.get("tool_call_id"), "content": told}
    if role not in {"system", "user"}:
        raise Untranslatable(f"{field}.role", f"{role!r} is no role of a conversation")
    if not isinstance(content, str):
        content = [_part(part, field) for part in content or ()]
    return {"role": role, "content": content}


def _part(part: JsonObject, field: str) -> dict[str, Any]:
    if part.get("type") == "text":
        return {"type": "text", "text": part["text"]}
    if part.get("type") == "image_url":
        given = part["image_url"]
        found = image(given if isinstance(given, str) else given["url"])
        detail = None if isinstance(given, str) else given.get("detail")
        return {**found, "detail": detail} if detail else found
    raise Untranslatable(f"{field}.content", f"{part.get('type')!r} parts have no counterpart in a conversation")


def _result(part: JsonObject, field: str) -> dict[str, Any]:
    """A part of a result; a document as its data, and data that is one text as that text."""
    if part.get("type") == "text":
        return {"type": "text", "text": part["text"]}
    if part.get("type") != "document":
        raise Untranslatable(f"{field}.content", f"{part.get('type')!r} parts have no counterpart in a conversation")
    data = part["document"]["data"]
    return {"type": "text", "text": data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)}


def _assistant(message: JsonObject, field: str) -> dict[str, Any]:
    content = message.get("content")
    parts: list[dict[str, Any]] = []
    if message.get("tool_plan"):
        parts.append({"type": "text", "text": message["tool_plan"]})
    for part in [{"type": "text", "text": content}] if isinstance(content, str) else content or ():
        if part.get("type") == "thinking":
            parts.append({"type": "reasoning", "text": part["thinking"]})
        elif part.get("text"):
            parts.append(_part(part, field))
    for call in message.get("tool_calls") or ():
        function = call["function"]
        arguments = function.get("arguments") or "{}"
        parts.append({"type": "tool_call", "id": call.get("id"), "name": function["name"], "arguments": arguments})
    only_text = len(parts) == 1 and parts[0]["type"] == "text"
    return {"role": "assistant", "content": parts[0]["text"] if only_text else parts or ""}


def _tool(tool: JsonObject, *, strict: bool) -> dict[str, Any]:
    function = tool["function"]
    known = {name: function.get(name) for name in ("name", "description", "parameters")}
    known["strict"] = strict or None
    return {name: value for name, value in known.items() if value is not None}
