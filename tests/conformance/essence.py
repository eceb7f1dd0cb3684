"""What of a request matters: two bodies with the same essence ask the same of a provider.

Left out of the comparison, for all formats:
- fields that a conversation has no place for and ``translate`` reports as ``ignored`` (metadata, user, service_tier,
  safety settings, a provider's own switches), and ``cache_control`` marks wherever they stand;
- ``stream`` and ``stream_options``, which the job decides;
- the difference between a single text part and a string, between ``null`` or an empty text and nothing, between one
  stop sequence and a list of one, between an absent setting and its documented default (``n`` 1, format ``text``,
  choice ``auto``), and between neighbouring messages of one role and one message (the providers join them);
- the two names of one thing: ``max_tokens`` and ``max_completion_tokens``, ``seed`` and ``random_seed``, ``required``
  and ``any``, camelCase and snake_case, ``output_format`` and ``output_config.format``, ``parameters`` and
  ``parametersJsonSchema``, ``responseSchema`` and ``responseJsonSchema``, tools in one group or in several;
- the exact thinking budget, the form of effort (an effort is what a conversation has), and whether thoughts are shown;
- reasoning of earlier turns where it is not sent back (a loss says so), ``index`` of a call, names of schemas;
- ids of calls as such: they are numbered in the order they appear, so that pairs are compared and not names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

JsonObject = Mapping[str, Any]


def essence(dialect: str, body: JsonObject) -> Any:
    """The part of a request's body that matters, in a form to be compared with ``==``."""
    return _ESSENCES[dialect](body)


# -- openai_chat


def _openai(body: JsonObject) -> Any:
    ids: dict[str, int] = {}
    choice = body.get("tool_choice")
    tools = [_openai_tool(tool) for tool in body.get("tools") or ()]
    if isinstance(choice, Mapping):
        choice = choice["function"]["name"]
    found = {
        "messages": _joined([_openai_message(message, ids) for message in body["messages"]]),
        "max_tokens": body.get("max_completion_tokens") or body.get("max_tokens"),
        "seed": body.get("seed") if body.get("seed") is not None else body.get("random_seed"),
        "stop": _list(body.get("stop")),
        "tools": tools,
        "tool_choice": _choice(choice, tools),
        "parallel_tool_calls": body.get("parallel_tool_calls") if tools else None,
        "response_format": _openai_format(body.get("response_format")),
    }
    for name in ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs"):
        found[name] = body.get(name)
    found["reasons"] = _openai_reasoning(body)
    return _without_nothing(found)


def _openai_reasoning(body: JsonObject) -> Any:
    """Effort, budget or switch in whichever form; that reasoning is on is the default of those that have a switch."""
    reasoning, thinking = body.get("reasoning") or {}, body.get("thinking") or {}
    budget = body.get("thinking_budget") or reasoning.get("max_tokens") or thinking.get("budget_tokens")
    if budget:
        return budget
    effort = body.get("reasoning_effort") or reasoning.get("effort")
    if thinking.get("type") == "disabled" or body.get("enable_thinking") is False:
        return "none"
    return effort


def _openai_message(message: JsonObject, ids: dict[str, int]) -> Any:
    calls = [
        {
            "id": _number(ids, call["id"]),
            "name": call["function"]["name"],
            "arguments": _arguments(call["function"]["arguments"]),
        }
        for call in message.get("tool_calls") or ()
    ]
    content = message.get("content")
    parts = [] if not content else [{"type": "text", "text": content}] if isinstance(content, str) else content
    kept = [_openai_part(part) for part in parts if part.get("type") not in {"thinking", "refusal"}]
    refusal = message.get("refusal") or "".join(p["refusal"] for p in parts if p.get("type") == "refusal")
    result = _number(ids, message["tool_call_id"]) if message.get("tool_call_id") else None
    return _without_nothing(
        {
            "role": message["role"],
            "content": kept,
            "name": message.get("name") if message["role"] == "user" else None,
            "tool_calls": calls,
            "refusal": refusal,
            "tool_call_id": result,
        }
    )


def _openai_part(part: JsonObject) -> Any:
    marked = part.get("cache_control")
    mark = {"cache": marked.get("ttl", "5m")} if marked else {}
    if part["type"] == "text":
        return {"text": part["text"], **mark}
    if part["type"] != "image_url":
        return {name: value for name, value in part.items() if name not in {"type", "cache_control"}} | mark
    image = part["image_url"]
    image = {"url": image} if isinstance(image, str) else image
    return _without_nothing(
        {"url": image["url"], "detail": None if image.get("detail") == "auto" else image.get("detail")}
    )


def _openai_tool(tool: JsonObject) -> Any:
    function = tool["function"]
    return _without_nothing({name: function.get(name) for name in ("name", "description", "parameters", "strict")})


def _openai_format(form: Any) -> Any:
    if not form or form["type"] == "text":
        return None
    if form["type"] == "json_object":
        return "json"
    return form["json_schema"].get("schema")


# -- anthropic


def _anthropic(body: JsonObject) -> Any:
    ids: dict[str, int] = {}
    choice = body.get("tool_choice") or {}
    tools = [_anthropic_tool(tool) for tool in body.get("tools") or ()]
    form = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    messages = [{"role": m["role"], "content": _anthropic_blocks(m["content"], ids)} for m in body["messages"]]
    found = {
        "system": _anthropic_blocks(body.get("system") or "", ids),
        "messages": _joined(messages),
        "stop": _list(body.get("stop_sequences")),
        "tools": tools,
        "tool_choice": _choice(choice.get("name") or choice.get("type"), tools),
        "serial": bool(choice.get("disable_parallel_tool_use")),
        "schema": form.get("schema"),
        "thinks": (body.get("thinking") or {}).get("type") in {"enabled", "adaptive"}
        or bool((body.get("output_config") or {}).get("effort")),
        **{name: body.get(name) for name in ("max_tokens", "temperature", "top_p")},
    }
    return _without_nothing(found)


def _anthropic_blocks(content: Any, ids: dict[str, int]) -> Any:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return [_anthropic_block(block, ids) for block in blocks if block.get("text") != ""]


def _anthropic_block(block: JsonObject, ids: dict[str, int]) -> Any:
    kind = block["type"]
    if kind == "tool_use":
        return {"id": _number(ids, block["id"]), "name": block["name"], "input": block.get("input") or {}}
    if kind == "tool_result":
        content = _anthropic_blocks(block.get("content") or "", ids)
        return {"result": _number(ids, block["tool_use_id"]), "content": content, "error": bool(block.get("is_error"))}
    return {name: value for name, value in block.items() if name not in {"type", "cache_control", "citations"}}


def _anthropic_tool(tool: JsonObject) -> Any:
    found = {name: tool.get(name) for name in ("name", "description", "input_schema", "strict")}
    schema = tool.get("input_schema") or {}
    found["input_schema"] = {"type": "object", "properties": {}} if not schema else {"type": "object", **schema}
    return _without_nothing(found)


# -- gemini


def _gemini(body: JsonObject) -> Any:
    body = _camel(body)
    config = _camel(body.get("generationConfig") or {})
    tools = [_gemini_tool(_camel(tool)) for group in body.get("tools") or () for tool in next(iter(group.values()))]
    calling = _camel((_camel(body.get("toolConfig") or {})).get("functionCallingConfig") or {})
    names = calling.get("allowedFunctionNames") or ()
    mode = {"ANY": "required", "NONE": "none"}.get(str(calling.get("mode")).upper(), "auto")
    thinking = _camel(config.get("thinkingConfig") or {})
    contents = [
        {"role": content.get("role", "user"), "content": [_gemini_part(_camel(part)) for part in content["parts"]]}
        for content in body["contents"]
    ]
    found = {
        "system": _gemini_system(body.get("systemInstruction")),
        "contents": _joined(contents),
        "tools": tools,
        "tool_choice": _choice(next(iter(names)) if len(names) == 1 else mode, tools),
        "json": config.get("responseMimeType") == "application/json",
        "schema": config.get("responseJsonSchema") or config.get("responseSchema"),
        "stop": config.get("stopSequences"),
        "effort": str(thinking.get("thinkingLevel") or "").lower(),
    }
    for name in ("maxOutputTokens", "temperature", "topP", "seed", "presencePenalty", "frequencyPenalty", "logprobs"):
        found[name] = config.get(name)
    return _without_nothing(found)


def _gemini_system(system: Any) -> Any:
    parts = system.get("parts") if isinstance(system, Mapping) else [{"text": system}] if system else []
    return [part["text"] for part in ([parts] if isinstance(parts, Mapping) else parts or ())]


def _gemini_part(part: JsonObject) -> Any:
    found = dict(part)
    for name in ("functionCall", "functionResponse", "inlineData", "fileData"):
        if name in found:
            found[name] = {key: value for key, value in _camel(found[name]).items() if key not in {"id", "displayName"}}
    if "functionResponse" in found:
        parts = found["functionResponse"].get("parts") or ()
        found["functionResponse"]["parts"] = [_gemini_part(_camel(part)) for part in parts]
    if "functionCall" in found:
        found["functionCall"] = {"args": {}, **found["functionCall"]}
    return found


def _gemini_tool(tool: JsonObject) -> Any:
    schema = tool.get("parametersJsonSchema") or tool.get("parameters")
    return _without_nothing({"name": tool["name"], "description": tool.get("description"), "parameters": schema})


def _camel(value: JsonObject) -> JsonObject:
    return {_word(key): item for key, item in value.items()}


def _word(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


# -- shared


def _joined(messages: list[Any]) -> list[Any]:
    """Neighbours of one role that hold only content, as one."""
    joined: list[Any] = []
    for message in messages:
        last = joined[-1] if joined else None
        only = {"role", "content"}
        if last and last["role"] == message["role"] != "tool" and last.keys() <= only and message.keys() <= only:
            joined[-1] = {**last, "content": [*last.get("content", []), *message.get("content", [])]}
        else:
            joined.append(message)
    return joined


def _choice(choice: Any, tools: list[Any]) -> Any:
    if not tools or choice in {None, "auto"}:
        return None
    return "required" if choice == "any" else choice


def _list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _number(ids: dict[str, int], call: str) -> int:
    return ids.setdefault(call, len(ids))


def _arguments(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text) if text.strip() else {}
    except ValueError:
        return text


def _without_nothing(found: JsonObject) -> dict[str, Any]:
    return {name: value for name, value in found.items() if value not in (None, [], "", False)}


_ESSENCES: Mapping[str, Callable[[JsonObject], Any]] = {
    "openai_chat": _openai,
    "anthropic": _anthropic,
    "gemini": _gemini,
}
