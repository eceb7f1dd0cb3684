"""Gemini's generateContent requests as conversations; names are accepted in camelCase and in snake_case."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from tests.conformance.translate.reading import (
    JsonObject,
    Translated,
    Untranslatable,
    conversation,
    is_list,
    is_object,
    unwrapped,
)

_READ = {"contents", "systemInstruction", "generationConfig", "tools", "toolConfig", "model"}
_CONFIG = {
    "maxOutputTokens": "max_tokens",
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "seed": "seed",
    "stopSequences": "stop",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "responseLogprobs": "logprobs",
    "logprobs": "top_logprobs",
}
_ANSWER_IS_TEXT = {"TEXT"}


def from_gemini(body: JsonObject, *, family: str = "", model: str = "") -> Translated:
    """A ``:generateContent`` or ``:streamGenerateContent`` body; the path says which, and which model."""
    body = _camel(body)
    config = _camel(is_object(body.get("generationConfig") or {}, "generationConfig"))
    if set(config.get("responseModalities") or _ANSWER_IS_TEXT) - _ANSWER_IS_TEXT:
        raise Untranslatable("generationConfig.responseModalities", "answers are text")
    turns: list[dict[str, Any]] = []
    if body.get("systemInstruction"):
        turns.append({"role": "system", "content": _system(body["systemInstruction"])})
    contents = _Contents(family)
    for at, content in enumerate(is_list(body.get("contents"), "contents")):
        turns += contents.turns(is_object(content, f"contents[{at}]"), f"contents[{at}]")
    tools = [tool for at, group in enumerate(body.get("tools") or ()) for tool in _tools(_camel(group), f"tools[{at}]")]
    settings: dict[str, Any] = {ours: config.get(theirs) for theirs, ours in _CONFIG.items()}
    settings["response_format"] = _format(config)
    settings |= _reasoning(_camel(config.get("thinkingConfig") or {}))
    settings["tool_choice"] = _choice(_camel(body.get("toolConfig") or {}))
    left = sorted(key for key, value in body.items() if key not in _READ and value)
    known = {*_CONFIG, "responseMimeType", "responseSchema", "responseJsonSchema", "thinkingConfig"}
    left += sorted(f"generationConfig.{key}" for key in config if key not in known)
    return Translated(conversation=conversation(turns, tools, settings), model=model, ignored=tuple(left))


def _camel(value: JsonObject) -> JsonObject:
    """The object with its own names, not those of what is in it, in camelCase."""
    return {_word(key): item for key, item in value.items()}


def _word(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _system(system: Any) -> Any:
    if isinstance(system, str):
        return system
    parts = is_object(system, "systemInstruction").get("parts")
    parts = [parts] if isinstance(parts, dict) else parts or ()
    return unwrapped([{"type": "text", "text": part.get("text")} for part in parts])


class _Contents:
    """Contents as turns; calls that came without an id get one, and their results find it by name, in order."""

    def __init__(self, family: str) -> None:
        self._family = family or None
        self._waiting: dict[str, deque[str]] = {}
        self._count = 0

    def turns(self, content: JsonObject, field: str) -> list[dict[str, Any]]:
        parts = [_camel(is_object(part, field)) for part in content.get("parts") or ()]
        if content.get("role", "user") == "model":
            return [{"role": "assistant", "content": self._assistant(parts, field)}]
        turns: list[dict[str, Any]] = []
        said: list[dict[str, Any]] = []
        for at, part in enumerate(parts):
            if "functionResponse" in part:
                turns.append(self._result(_camel(part["functionResponse"])))
            else:
                said.append(_part(part, f"{field}.parts[{at}]"))
        return [*turns, {"role": "user", "content": unwrapped(said)}] if said else turns

    def _assistant(self, parts: list[JsonObject], field: str) -> Any:
        found: list[dict[str, Any]] = []
        for at, part in enumerate(parts):
            signature = part.get("thoughtSignature")
            if "functionCall" in part:
                found.append(self._call(_camel(part["functionCall"]), signature))
                continue
            if "text" not in part:
                raise Untranslatable(f"{field}.parts[{at}]", f"{sorted(part)} has no counterpart in a conversation")
            if part.get("thought"):
                found.append(self._signed({"type": "reasoning", "text": part["text"]}, signature))
                continue
            if part["text"]:
                found.append({"type": "text", "text": part["text"]})
            if signature:
                found.append(self._signed({"type": "reasoning"}, signature))
        return unwrapped(found)

    def _signed(self, part: dict[str, Any], signature: str | None) -> dict[str, Any]:
        return {**part, "signature": signature, "origin": self._family} if signature else part

    def _call(self, call: JsonObject, signature: str | None) -> dict[str, Any]:
        self._count += 1
        name, call_id = str(call.get("name")), call.get("id") or f"call_{self._count}"
        self._waiting.setdefault(name, deque()).append(call_id)
        arguments = json.dumps(call.get("args") or {}, ensure_ascii=False)
        return self._signed({"type": "tool_call", "id": call_id, "name": name, "arguments": arguments}, signature)

    def _result(self, response: JsonObject) -> dict[str, Any]:
        name = str(response.get("name"))
        waiting = self._waiting.get(name)
        call_id = response.get("id") or (waiting.popleft() if waiting else f"{name}_without_call")
        value = response.get("response") or {}
        turn: dict[str, Any] = {"role": "tool", "tool_call_id": call_id, "name": name}
        if value.keys() == {"error"} and isinstance(value["error"], str):
            turn["is_error"] = True
        images = [_part(_camel(part), "functionResponse.parts") for part in response.get("parts") or ()]
        if images:
            text = [{"type": "text", "text": _told(value)}] if value else []
            return {**turn, "content": text + images}
        return {**turn, "content": _told(value)}


def _told(value: JsonObject) -> str:
    """What a result says: the text under the documented keys, or the object itself."""
    for key in ("output", "error"):
        if value.keys() == {key} and isinstance(value[key], str):
            return str(value[key])
    return json.dumps(value, ensure_ascii=False)


def _part(part: JsonObject, field: str) -> dict[str, Any]:
    if "text" in part:
        return {"type": "text", "text": part["text"]}
    data, file = _camel(part.get("inlineData") or {}), _camel(part.get("fileData") or {})
    media_type = str(data.get("mimeType") or file.get("mimeType") or "")
    if (data or file) and media_type and not media_type.startswith("image/"):
        found = {"type": "file", "media_type": media_type, "name": data.get("displayName") or file.get("displayName")}
        return {**found, "data": data["data"]} if data else {**found, "url": file.get("fileUri")}
    if data:
        return {"type": "image", "data": data.get("data"), "media_type": media_type}
    if file:
        found = {"type": "image", "url": file.get("fileUri")}
        return {**found, "media_type": media_type} if media_type else found
    raise Untranslatable(field, f"{sorted(part)} has no counterpart in a conversation")


def _tools(group: JsonObject, field: str) -> list[dict[str, Any]]:
    others = sorted(key for key in group if key != "functionDeclarations")
    if others:
        raise Untranslatable(f"{field}.{others[0]}", "runs at the provider")
    tools = []
    for declared in group.get("functionDeclarations") or ():
        tool = _camel(declared)
        known = {
            "name": tool.get("name"),
            "description": tool.get("description"),
            "parameters": tool.get("parametersJsonSchema") or tool.get("parameters"),
        }
        tools.append({name: value for name, value in known.items() if value is not None})
    return tools


def _choice(config: JsonObject) -> Any:
    calling = _camel(config.get("functionCallingConfig") or {})
    mode, names = str(calling.get("mode") or "").upper(), calling.get("allowedFunctionNames") or ()
    if not mode:
        return None
    if mode == "ANY":
        return {"name": next(iter(names))} if len(names) == 1 else "required"
    return "none" if mode == "NONE" else "auto"


def _format(config: JsonObject) -> dict[str, Any] | None:
    schema = config.get("responseJsonSchema")
    if schema is None:
        schema = config.get("responseSchema")
    if schema is not None:
        return {"type": "json_schema", "json_schema": schema}
    return {"type": "json_object"} if config.get("responseMimeType") == "application/json" else None


def _reasoning(thinking: JsonObject) -> dict[str, Any]:
    if thinking.get("thinkingLevel"):
        return {"reasoning_effort": str(thinking["thinkingLevel"]).lower()}
    budget = thinking.get("thinkingBudget")
    if budget is None or budget < 0:
        return {}
    return {"reasoning_budget": budget} if budget else {"reasoning_effort": "none"}
