"""Requests of OpenAI's Responses API as conversations."""

from __future__ import annotations

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
from workers.dialects.openai_reasoning import packed

_SAME = ("temperature", "top_p", "parallel_tool_calls", "top_logprobs")
_READ = {
    *_SAME,
    *("model", "input", "instructions", "tools", "tool_choice", "text", "max_output_tokens", "reasoning", "include"),
    *("stream", "store"),
}
_CHANGE_THE_ANSWER = ("previous_response_id", "conversation", "prompt", "background")
"""Fields that may not be left aside: they speak of what the provider keeps."""


def from_openai_responses(body: JsonObject, *, family: str = "", model: str = "") -> Translated:
    """A ``POST /responses`` body."""
    for field in _CHANGE_THE_ANSWER:
        if body.get(field):
            raise Untranslatable(field, "names what the provider keeps; a conversation is whole")
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else is_list(given, "input")
    turns: list[dict[str, Any]] = []
    if body.get("instructions"):
        turns.append({"role": "system", "content": body["instructions"]})
    for at, item in enumerate(items):
        _item(turns, is_object(item, f"input[{at}]"), f"input[{at}]", family)
    tools = [_tool(is_object(tool, f"tools[{at}]"), f"tools[{at}]") for at, tool in enumerate(body.get("tools") or ())]
    settings: dict[str, Any] = {name: body.get(name) for name in _SAME}
    settings["max_tokens"] = body.get("max_output_tokens")
    settings["reasoning_effort"] = (body.get("reasoning") or {}).get("effort")
    settings["logprobs"] = "message.output_text.logprobs" in (body.get("include") or ()) or None
    settings["tool_choice"] = _choice(body.get("tool_choice"))
    settings["response_format"] = _format((body.get("text") or {}).get("format"))
    return Translated(
        conversation=conversation(turns, tools, settings),
        model=str(body.get("model") or model),
        stream=bool(body.get("stream")),
        ignored=ignored(body, _READ),
    )


def _item(turns: list[dict[str, Any]], item: JsonObject, field: str, family: str) -> None:
    kind, role = item.get("type") or "message", item.get("role")
    if kind == "message" and role in {"system", "developer", "user"}:
        turns.append({"role": role, "content": _content(item.get("content"), f"{field}.content")})
    elif kind == "message" and role == "assistant":
        _said(turns, _assistant(item.get("content"), f"{field}.content"))
    elif kind == "function_call":
        call = {"id": item.get("call_id"), "name": item.get("name"), "arguments": item.get("arguments")}
        _said(turns, [{"type": "tool_call", **call}])
    elif kind == "function_call_output":
        content = _content(item.get("output"), f"{field}.output")
        turns.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": content})
    elif kind == "reasoning":
        _said(turns, [_reasoning(item, field, family)])
    else:
        raise Untranslatable(f"{field}.type", f"{kind!r} is of a tool that runs at the provider")


def _said(turns: list[dict[str, Any]], parts: list[dict[str, Any]]) -> None:
    """What the model said in one go is one turn."""
    if turns and turns[-1]["role"] == "assistant":
        turns[-1]["content"] += parts
    else:
        turns.append({"role": "assistant", "content": parts})


def _reasoning(item: JsonObject, field: str, family: str) -> dict[str, Any]:
    texts = [*(item.get("summary") or ()), *(item.get("content") or ())]
    part: dict[str, Any] = {"type": "reasoning", "text": "".join(str(text.get("text") or "") for text in texts)}
    signature = packed(item)
    if not signature and not part["text"]:
        raise Untranslatable(field, "the provider keeps what this reasoning was")
    return {**part, "signature": signature, "origin": family or None} if signature else part


def _assistant(content: Any, field: str) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    parts: list[dict[str, Any]] = []
    for at, part in enumerate(content or ()):
        kind = is_object(part, f"{field}[{at}]").get("type")
        if kind in {"output_text", "input_text"}:
            parts.append({"type": "text", "text": part.get("text")})
        elif kind == "refusal":
            parts.append({"type": "refusal", "text": part.get("refusal")})
        else:
            raise Untranslatable(f"{field}[{at}].type", f"{kind!r} parts have no counterpart in a conversation")
    return parts


def _content(content: Any, field: str) -> Any:
    if content is None or isinstance(content, str):
        return content or ""
    return [_part(is_object(part, f"{field}[{at}]"), f"{field}[{at}]") for at, part in enumerate(content)]


def _part(part: JsonObject, field: str) -> dict[str, Any]:
    kind = part.get("type")
    if kind == "input_text":
        return {"type": "text", "text": part.get("text")}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        found = image(part["image_url"])
        return {**found, "detail": part["detail"]} if part.get("detail") else found
    if kind == "input_file" and part.get("file_url"):
        return {"type": "file", "url": part["file_url"], "media_type": "application/octet-stream"}
    if kind == "input_file" and str(part.get("file_data")).startswith("data:"):
        head, _, data = str(part["file_data"]).partition(",")
        media_type = head.removeprefix("data:").partition(";")[0]
        if media_type.partition("/")[0] in {"audio", "video"}:
            raise Untranslatable(field, f"the API refuses {media_type} files")
        return {"type": "file", "data": data, "media_type": media_type, "name": part.get("filename")}
    raise Untranslatable(f"{field}.type", f"{kind!r} parts like this have no counterpart in a conversation")


def _tool(tool: JsonObject, field: str) -> dict[str, Any]:
    if tool.get("type") != "function":
        raise Untranslatable(f"{field}.type", f"{tool.get('type')!r} runs at the provider; only functions are tools")
    known = {name: tool.get(name) for name in ("name", "description", "parameters", "strict")}
    return {name: value for name, value in known.items() if value is not None}


def _choice(choice: Any) -> Any:
    if choice is None or isinstance(choice, str):
        return choice
    if is_object(choice, "tool_choice").get("type") != "function":
        raise Untranslatable("tool_choice.type", "only one function can be forced, or any")
    return {"name": choice.get("name")}


def _format(form: Any) -> Any:
    if form is None:
        return None
    if is_object(form, "text.format").get("type") != "json_schema":
        return {"type": form.get("type")}
    known = {
        "type": "json_schema",
        "name": form.get("name"),
        "description": form.get("description"),
        "json_schema": form.get("schema"),
        "strict": form.get("strict"),
    }
    return {name: value for name, value in known.items() if value is not None}
