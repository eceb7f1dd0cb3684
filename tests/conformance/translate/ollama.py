"""Ollama's own chat requests as conversations."""

from __future__ import annotations

import json
from collections import deque
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
)

_OPTIONS = ("temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty")
_READ = {"model", "messages", "tools", "format", "options", "think", "stream", "logprobs", "top_logprobs"}


def from_ollama(body: JsonObject, *, family: str = "", model: str = "") -> Translated:
    """A ``POST /api/chat`` body. Calls without an id get one, results without one that of the call they follow."""
    waiting: deque[str] = deque()
    messages = [
        _turn(is_object(message, f"messages[{at}]"), at, waiting)
        for at, message in enumerate(is_list(body.get("messages"), "messages"))
    ]
    tools = [_tool(is_object(tool, f"tools[{at}]")) for at, tool in enumerate(body.get("tools") or ())]
    options = body.get("options") or {}
    settings: dict[str, Any] = {name: options.get(name) for name in _OPTIONS}
    settings |= {"max_tokens": options.get("num_predict"), "stop": as_list(options.get("stop"))}
    settings |= {"logprobs": body.get("logprobs"), "top_logprobs": body.get("top_logprobs")}
    think = body.get("think")
    if think is not None:
        settings["reasoning_effort"] = {True: "medium", False: "none"}.get(think, think)
    if form := body.get("format"):
        settings["response_format"] = (
            {"type": "json_object"} if form == "json" else {"type": "json_schema", "json_schema": form}
        )
    elif isinstance(form, dict):
        settings["response_format"] = {"type": "json_schema", "json_schema": form}
    return Translated(
        conversation=conversation(messages, tools, settings),
        model=str(body.get("model") or model),
        stream=body.get("stream") is not False,
        ignored=ignored(body, _READ),
    )


def _turn(message: JsonObject, at: int, waiting: deque[str]) -> dict[str, Any]:
    role, text = message.get("role"), message.get("content") or ""
    images = [{"type": "image", "data": data, "media_type": "image/png"} for data in message.get("images") or ()]
    content: Any = [*([{"type": "text", "text": text}] if text else []), *images] if images else text
    if role in {"system", "user"}:
        return {"role": role, "content": content}
    if role == "tool":
        call = message.get("tool_call_id")
        if call is None:
            call = waiting.popleft() if waiting else f"result_{at}"
        turn = {"role": "tool", "tool_call_id": call, "content": content}
        return {**turn, "name": message["tool_name"]} if message.get("tool_name") else turn
    if role != "assistant":
        raise Untranslatable(f"messages[{at}].role", f"{role!r} is no role of a conversation")
    parts: list[dict[str, Any]] = []
    if message.get("thinking"):
        parts.append({"type": "reasoning", "text": message["thinking"]})
    if text:
        parts.append({"type": "text", "text": text})
    for number, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        call_id = call.get("id")
        if call_id is None:
            call_id = f"call_{at}_{number}"
            waiting.append(call_id)
        arguments = json.dumps(function.get("arguments") or {}, ensure_ascii=False)
        parts.append({"type": "tool_call", "id": call_id, "name": function["name"], "arguments": arguments})
    if len(parts) == 1 and parts[0]["type"] == "text":
        return {"role": "assistant", "content": text}
    return {"role": "assistant", "content": parts or ""}


def _tool(tool: JsonObject) -> dict[str, Any]:
    function = tool["function"]
    known = {name: function.get(name) for name in ("name", "description", "parameters")}
    return {name: value for name, value in known.items() if value is not None}
