"""Bedrock's Converse requests as conversations."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.conformance.translate.reading import (
    JsonObject,
    Translated,
    Untranslatable,
    conversation,
    ignored,
    is_list,
    is_object,
    unwrapped,
)
from workers.dialects.encoding import BUDGETS

_READ = {
    *("messages", "system", "inferenceConfig", "toolConfig", "additionalModelRequestFields", "outputConfig"),
    "modelId",
}
_CHANGE_THE_ANSWER = ("guardrailConfig", "promptVariables", "additionalModelResponseFieldPaths")
_MEDIA = {
    **dict.fromkeys(("png", "jpeg", "gif", "webp"), "image/"),
    "pdf": "application/pdf",
    "csv": "text/csv",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "html": "text/html",
    "txt": "text/plain",
    "md": "text/markdown",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "mp4": "video/mp4",
}


def from_bedrock(body: JsonObject, *, family: str = "", model: str = "") -> Translated:
    """A ``POST /model/…/converse`` body."""
    for field in _CHANGE_THE_ANSWER:
        if body.get(field):
            raise Untranslatable(field, "has no counterpart in a conversation")
    turns: list[dict[str, Any]] = []
    if body.get("system"):
        turns.append({"role": "system", "content": _parts(is_list(body["system"], "system"), "system")})
    for at, message in enumerate(is_list(body.get("messages"), "messages")):
        turns += _turns(is_object(message, f"messages[{at}]"), f"messages[{at}]", family)
    config = body.get("toolConfig") or {}
    inference = body.get("inferenceConfig") or {}
    more = body.get("additionalModelRequestFields") or {}
    settings = {
        "max_tokens": inference.get("maxTokens"),
        "temperature": inference.get("temperature"),
        "top_p": inference.get("topP"),
        "top_k": more.get("top_k") or more.get("k") or (more.get("inferenceConfig") or {}).get("topK"),
        "stop": inference.get("stopSequences") or None,
        "tool_choice": _choice(config.get("toolChoice")),
        "reasoning_effort": _effort(more, body.get("outputConfig") or {}),
        "response_format": _format((body.get("outputConfig") or {}).get("textFormat")),
    }
    return Translated(
        conversation=conversation(turns, _tools(config.get("tools") or ()), settings),
        model=model,
        ignored=ignored(body, _READ),
    )


def _turns(message: JsonObject, field: str, family: str) -> list[dict[str, Any]]:
    role, content = message.get("role"), is_list(message.get("content"), f"{field}.content")
    if role == "assistant":
        return [{"role": "assistant", "content": _assistant(content, f"{field}.content", family)}]
    if role == "system":
        return [{"role": "system", "content": _parts(content, field)}]
    if role != "user":
        raise Untranslatable(f"{field}.role", f"{role!r} is no role of a conversation")
    turns: list[dict[str, Any]] = []
    said: list[Any] = []
    for at, block in enumerate(content):
        result = is_object(block, f"{field}.content[{at}]").get("toolResult")
        if result is None:
            said.append(block)
            continue
        place = f"{field}.content[{at}].toolResult"
        turn = {"role": "tool", "tool_call_id": result.get("toolUseId"), "content": _result(result, place)}
        turns.append({**turn, "is_error": True} if result.get("status") == "error" else turn)
    parts = _parts(said, f"{field}.content")
    return [*turns, {"role": "user", "content": parts}] if parts or not turns else turns


def _result(result: JsonObject, field: str) -> Any:
    blocks = [
        {"text": json.dumps(block["json"], ensure_ascii=False)} if "json" in block else block
        for block in is_list(result.get("content"), f"{field}.content")
    ]
    return _parts(blocks, field) or ""


def _parts(blocks: Any, field: str) -> Any:
    parts: list[dict[str, Any]] = []
    for at, block in enumerate(blocks):
        if "cachePoint" in block:
            if parts:
                parts[-1]["cache"] = block["cachePoint"].get("ttl") or "5m"
        else:
            parts.append(_part(is_object(block, f"{field}[{at}]"), f"{field}[{at}]"))
    return parts if any("cache" in part for part in parts) else unwrapped(parts)


def _part(block: JsonObject, field: str) -> dict[str, Any]:
    if "text" in block:
        return {"type": "text", "text": block["text"]}
    for kind in ("image", "document", "audio", "video"):
        if kind in block:
            given = is_object(block[kind], f"{field}.{kind}")
            source = is_object(given.get("source"), f"{field}.{kind}.source")
            form = given.get("format")
            if form not in _MEDIA or given.get("context") or given.get("citations"):
                raise Untranslatable(f"{field}.{kind}", "has no counterpart in a conversation")
            found: dict[str, Any] = {"type": "image", "media_type": f"image/{form}"}
            if kind != "image":
                found = {"type": "file", "media_type": _MEDIA[form], "name": given.get("name")}
            if "bytes" in source:
                return {**found, "data": source["bytes"]}
            if "s3Location" in source:
                return {**found, "url": source["s3Location"].get("uri")}
    raise Untranslatable(field, f"{sorted(block)} has no counterpart in a conversation")


def _assistant(blocks: Any, field: str, family: str) -> Any:
    parts: list[dict[str, Any]] = []
    for at, block in enumerate(blocks):
        if "cachePoint" in block:
            if not parts or parts[-1]["type"] != "text":  # what else a turn holds bears no mark
                parts.append({"type": "text", "text": ""})
            parts[-1]["cache"] = block["cachePoint"].get("ttl") or "5m"
        elif "toolUse" in block:
            call = block["toolUse"]
            arguments = json.dumps(call.get("input") or {}, ensure_ascii=False)
            parts.append(
                {"type": "tool_call", "id": call.get("toolUseId"), "name": call.get("name"), "arguments": arguments}
            )
        elif "reasoningContent" in block:
            parts.append({"type": "reasoning", "origin": family or None, **_reasoning(block["reasoningContent"])})
        elif "text" in block:
            parts.append({"type": "text", "text": block["text"]})
        else:
            raise Untranslatable(f"{field}[{at}]", f"{sorted(block)} has no counterpart in a conversation")
    return parts if any("cache" in part for part in parts) else unwrapped(parts)


def _reasoning(block: JsonObject) -> dict[str, Any]:
    if block.get("redactedContent"):
        data = base64.b64decode(block["redactedContent"])
        try:
            return {"redacted": data.decode()}
        except UnicodeDecodeError:
            return {"redacted": f"base64:{block['redactedContent']}"}
    shown = block.get("reasoningText") or {}
    return {"text": shown.get("text") or "", "signature": shown.get("signature")}


def _tools(blocks: Any) -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = []
    for at, block in enumerate(blocks):
        if "cachePoint" in block:
            tools[-1]["cache"] = block["cachePoint"].get("ttl") or "5m"
            continue
        spec = block.get("toolSpec")
        if spec is None:
            raise Untranslatable(f"toolConfig.tools[{at}]", "runs at the provider")
        known = {
            "name": spec.get("name"),
            "description": spec.get("description"),
            "parameters": (spec.get("inputSchema") or {}).get("json"),
            "strict": spec.get("strict"),
        }
        tools.append({name: value for name, value in known.items() if value is not None})
    return tools


def _choice(choice: JsonObject | None) -> Any:
    if not choice:
        return None
    if "tool" in choice:
        return {"name": choice["tool"].get("name")}
    return "required" if "any" in choice else "auto"


def _effort(more: JsonObject, output: JsonObject) -> str | None:
    """The effort that was named, or the one whose budget is nearest to the budget that was."""
    thinking = more.get("thinking") or more.get("reasoning_config") or {}
    if isinstance(thinking, str):  # Qwen's word for it
        return thinking
    nova = more.get("reasoningConfig") or {}
    named = (
        output.get("effort")
        or (more.get("output_config") or {}).get("effort")
        or more.get("reasoning_effort")
        or nova.get("maxReasoningEffort")
    )
    if "disabled" in {thinking.get("type"), nova.get("type")}:
        return "none"
    if named:
        return str(named)
    if thinking.get("type") == "enabled":
        budget = int(thinking.get("budget_tokens") or 0)
        return min(("low", "medium", "high", "xhigh", "max"), key=lambda effort: abs(BUDGETS[effort] - budget))
    return "high" if thinking.get("type") == "adaptive" else None


def _format(form: JsonObject | None) -> dict[str, Any] | None:
    if not form:
        return None
    schema = form["structure"]["jsonSchema"]
    known = {
        "type": "json_schema",
        "name": schema.get("name"),
        "description": schema.get("description"),
        "json_schema": json.loads(schema["schema"]),
    }
    return {name: value for name, value in known.items() if value is not None}
