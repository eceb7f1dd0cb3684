"""OpenAI's chat completion requests as conversations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.conformance.translate.reading import (
    JsonObject,
    Translated,
    Untranslatable,
    as_list,
    conversation,
    ignored,
    image,
    is_list,
    is_object,
)

_SAME = (
    "temperature", "top_p", "seed", "presence_penalty", "frequency_penalty", "parallel_tool_calls", "reasoning_effort",
    "logprobs", "top_logprobs", "top_k",
)  # fmt: skip
_READ = {
    *_SAME,
    *("model", "messages", "tools", "tool_choice", "response_format", "stop", "stream", "n", "random_seed"),
    *("max_tokens", "max_completion_tokens", "reasoning", "thinking", "enable_thinking", "stream_options"),
    *("top_k", "thinking_budget", "chat_template_kwargs", "prompt_mode", "clear_thinking"),
}
_CHANGE_THE_ANSWER = ("audio", "functions", "function_call", "web_search_options", "prediction")
"""Fields that may not be left aside."""


def from_openai_chat(body: JsonObject, *, family: str = "", model: str = "") -> Translated:
    """A ``POST /chat/completions`` body."""
    for field in _CHANGE_THE_ANSWER:
        if body.get(field):
            raise Untranslatable(field, "has no counterpart in a conversation")
    if (body.get("n") or 1) != 1:
        raise Untranslatable("n", "a job has one answer")
    if set(body.get("modalities") or ["text"]) != {"text"}:
        raise Untranslatable("modalities", "answers are text")
    messages = [
        _turn(is_object(message, f"messages[{at}]"), f"messages[{at}]", family)
        for at, message in enumerate(is_list(body.get("messages"), "messages"))
    ]
    tools = [_tool(is_object(tool, f"tools[{at}]"), f"tools[{at}]") for at, tool in enumerate(body.get("tools") or ())]
    settings: dict[str, Any] = {name: body.get(name) for name in _SAME}
    if settings["seed"] is None:
        settings["seed"] = body.get("random_seed")
    settings["max_tokens"] = body.get("max_completion_tokens") or body.get("max_tokens")
    settings["reasoning_budget"] = budget = _budget(body)
    settings["reasoning_effort"] = None if budget else _effort(body)
    settings["stop"] = as_list(body.get("stop"))
    settings["tool_choice"] = _choice(body.get("tool_choice"))
    settings["response_format"] = _format(body.get("response_format"))
    return Translated(
        conversation=conversation(messages, tools, settings),
        model=str(body.get("model") or model),
        stream=bool(body.get("stream")),
        ignored=ignored(body, _READ),
    )


def _turn(message: JsonObject, field: str, family: str) -> dict[str, Any]:
    role = message.get("role")
    if role in {"system", "developer"}:
        return {"role": role, "content": _content(message.get("content"), f"{field}.content")}
    if role == "user":
        turn = {"role": "user", "content": _content(message.get("content"), f"{field}.content")}
        if message.get("name"):
            turn["name"] = message["name"]
        return turn
    if role == "tool":
        content = _content(message.get("content"), f"{field}.content")
        return {"role": "tool", "tool_call_id": message.get("tool_call_id"), "content": content}
    if role == "assistant":
        return _assistant(message, field, family)
    raise Untranslatable(f"{field}.role", f"{role!r} is no role of a conversation")


def _content(content: Any, field: str) -> Any:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return [_part(is_object(part, f"{field}[{at}]"), f"{field}[{at}]") for at, part in enumerate(content)]


def _part(part: JsonObject, field: str) -> dict[str, Any]:
    kind = part.get("type")
    found = _plain_part(kind, part, field)
    mark = part.get("cache_control")
    if isinstance(mark, Mapping):
        found["cache"] = mark.get("ttl", "5m")
    return found


def _plain_part(kind: Any, part: JsonObject, field: str) -> dict[str, Any]:
    if kind == "text":
        return {"type": "text", "text": part.get("text")}
    if kind in {"file", "file_url", "document_url"}:
        return _document(kind, part, field)
    if kind in {"input_audio", "audio_url", "video_url"}:
        return _recording(kind, part, field)
    if kind == "image_url":
        source = part.get("image_url")
        if isinstance(source, str):
            return image(source)
        given = is_object(source, f"{field}.image_url")
        found = image(str(given.get("url")))
        return {**found, "detail": given["detail"]} if given.get("detail") else found
    raise Untranslatable(f"{field}.type", f"{kind!r} parts have no counterpart in a conversation")


def _document(kind: str, part: JsonObject, field: str) -> dict[str, Any]:
    held = part.get(kind)
    inner = {"url": held} if isinstance(held, str) else is_object(held, f"{field}.{kind}")
    url = inner.get("file_data") or inner.get("url")
    if not isinstance(url, str):
        raise Untranslatable(f"{field}.{kind}", "a file that lies at the provider has no counterpart")
    name = inner.get("filename") or part.get("file_name") or part.get("document_name")
    return _file(url, "application/pdf", name)


def _recording(kind: str, part: JsonObject, field: str) -> dict[str, Any]:
    held = part.get(kind)
    if isinstance(held, str):
        return _file(held, "audio/mp3")
    inner = is_object(held, f"{field}.{kind}")
    form = inner.get("format", "mp3")
    return _file(str(inner.get("data") or inner.get("url")), "video/mp4" if kind == "video_url" else f"audio/{form}")


def _file(address: str, usual: str, name: Any = None) -> dict[str, Any]:
    """A file by address; what is no address is its data, of the type that is ``usual`` where none is said."""
    named = {"name": name} if name else {}
    head, comma, data = address.partition(",")
    if address.startswith("data:") and comma:
        return {"type": "file", "data": data, "media_type": head[5:].removesuffix(";base64") or usual, **named}
    if address.startswith(("http://", "https://", "gs://", "s3://")):
        return {"type": "file", "url": address, "media_type": usual, **named}
    return {"type": "file", "data": address, "media_type": usual, **named}


def _assistant(message: JsonObject, field: str, family: str) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    if message.get("function_call"):
        raise Untranslatable(f"{field}.function_call", "use tool_calls")
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(reasoning, str):
        parts.append({"type": "reasoning", "text": reasoning})
    content = message.get("content")
    for at, part in enumerate([{"type": "text", "text": content}] if isinstance(content, str) else content or ()):
        if part.get("type") == "refusal":
            parts.append({"type": "refusal", "text": part.get("refusal")})
        elif part.get("type") == "thinking":
            parts.append({"type": "reasoning", "text": _thinking(part)})
        else:
            parts.append(_part(part, f"{field}.content[{at}]"))
    if message.get("refusal"):
        parts.append({"type": "refusal", "text": message["refusal"]})
    calls = message.get("tool_calls") or ()
    if calls:
        parts = [part for part in parts if part["type"] != "text" or part["text"]]
    for at, call in enumerate(calls):
        function = is_object(call.get("function"), f"{field}.tool_calls[{at}].function")
        arguments = function.get("arguments")
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments or {})
        parts.append({"type": "tool_call", "id": call.get("id"), "name": function.get("name"), "arguments": arguments})
    if not parts:
        return {"role": "assistant", "content": ""}
    only_text = len(parts) == 1 and parts[0]["type"] == "text" and isinstance(content, str)
    return {"role": "assistant", "content": content if only_text else parts}


def _thinking(part: JsonObject) -> str:
    thinking = part.get("thinking")
    return thinking if isinstance(thinking, str) else "".join(piece.get("text", "") for piece in thinking or ())


def _tool(tool: JsonObject, field: str) -> dict[str, Any]:
    if tool.get("type", "function") != "function":
        raise Untranslatable(f"{field}.type", "only functions are tools of a conversation")
    function = is_object(tool.get("function"), f"{field}.function")
    known = {name: function.get(name) for name in ("name", "description", "parameters", "strict")}
    mark = tool.get("cache_control")
    known["cache"] = mark.get("ttl", "5m") if isinstance(mark, Mapping) else None
    return {name: value for name, value in known.items() if value is not None}


def _effort(body: JsonObject) -> str | None:
    """The effort, in any of the forms that the copies of this format have for it; on without a measure is medium."""
    effort = body.get("reasoning_effort") or (body.get("reasoning") or {}).get("effort")
    if effort:
        return str(effort)
    template = body.get("chat_template_kwargs") or {}
    switches = (
        {"enabled": True, "disabled": False}.get(str((body.get("thinking") or {}).get("type"))),
        body.get("enable_thinking"),
        template.get("enable_thinking"),
        template.get("thinking"),
        body["prompt_mode"] == "reasoning" if "prompt_mode" in body else None,
    )
    on = next((switch for switch in switches if switch is not None), None)
    return None if on is None else "medium" if on else "none"


def _budget(body: JsonObject) -> int | None:
    """A budget of reasoning tokens, in any of the forms."""
    found = (
        body.get("thinking_budget"),
        (body.get("reasoning") or {}).get("max_tokens"),
        (body.get("thinking") or {}).get("budget_tokens"),
        (body.get("chat_template_kwargs") or {}).get("thinking_budget"),
    )
    return next((budget for budget in found if budget), None)


def _choice(choice: Any) -> Any:
    if isinstance(choice, str):
        return "required" if choice == "any" else choice
    if choice is None:
        return None
    return {"name": is_object(choice.get("function"), "tool_choice.function").get("name")}


def _format(form: Any) -> Any:
    if form is None:
        return None
    if is_object(form, "response_format").get("type") != "json_schema":
        return {"type": form.get("type")}
    schema = is_object(form.get("json_schema"), "response_format.json_schema")
    known = {
        "type": "json_schema",
        "name": schema.get("name"),
        "description": schema.get("description"),
        "json_schema": schema.get("schema"),
        "strict": schema.get("strict"),
    }
    return {name: value for name, value in known.items() if value is not None}
