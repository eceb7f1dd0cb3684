"""What of a request matters: two bodies with the same essence ask the same of a provider.

Left out of the comparison, for all formats:
- fields that a conversation has no place for and ``translate`` reports as ``ignored`` (metadata, user, service_tier,
  safety settings, a provider's own switches);
- ``stream`` and ``stream_options``, which the job decides;
- the difference between a single text part and a string, between ``null`` or an empty text and nothing, between one
  stop sequence and a list of one, between an absent setting and its documented default (``n`` 1, format ``text``,
  choice ``auto``), and between neighbouring messages of one role and one message (the providers join them);
- the two names of one thing: ``max_tokens`` and ``max_completion_tokens``, ``seed`` and ``random_seed``, ``required``
  and ``any``, camelCase and snake_case, ``output_format`` and ``output_config.format``, ``parameters`` and
  ``parametersJsonSchema``, ``responseSchema`` and ``responseJsonSchema``, tools in one group or in several;
- whether thoughts are shown;
- reasoning of earlier turns where it is not sent back (a loss says so), ``index`` of a call, names of schemas;
- ids of calls as such: they are numbered in the order they appear, so that pairs are compared and not names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.conformance.essence_parts import arguments_of as _arguments
from tests.conformance.essence_parts import as_list as _list
from tests.conformance.essence_parts import chosen as _choice
from tests.conformance.essence_parts import joined as _joined
from tests.conformance.essence_parts import numbered as _number
from tests.conformance.essence_parts import without_nothing as _without_nothing
from tests.conformance.essence_responses import responses

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
        "budget": (body.get("thinking") or {}).get("budget_tokens"),
        "effort": _anthropic_effort(body),
        **{name: body.get(name) for name in ("max_tokens", "temperature", "top_p", "top_k", "anthropic_version")},
    }
    return _without_nothing(found)


def _anthropic_effort(body: JsonObject) -> Any:
    effort = (body.get("output_config") or {}).get("effort")
    return None if effort == "high" else effort  # the documented default


def _anthropic_blocks(content: Any, ids: dict[str, int]) -> Any:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return [_anthropic_block(block, ids) for block in blocks if block.get("text") != ""]


def _anthropic_block(block: JsonObject, ids: dict[str, int]) -> Any:
    kind = block["type"]
    if kind == "tool_use":
        return {"id": _number(ids, block["id"]), "name": block["name"], "input": block.get("input") or {}}
    if kind == "tool_result":
        content = _anthropic_blocks(block.get("content") or "", ids)
        found = {"result": _number(ids, block["tool_use_id"]), "content": content, "error": bool(block.get("is_error"))}
        return {**found, **_anthropic_cache(block)}
    found = {name: value for name, value in block.items() if name not in {"type", "cache_control", "citations"}}
    return {**found, **_anthropic_cache(block)}


def _anthropic_cache(block: JsonObject) -> JsonObject:
    mark = block.get("cache_control")
    return {"cache": mark.get("ttl") or "5m"} if mark else {}


def _anthropic_tool(tool: JsonObject) -> Any:
    found = {name: tool.get(name) for name in ("name", "description", "input_schema", "strict")}
    schema = tool.get("input_schema") or {}
    found["input_schema"] = {"type": "object", "properties": {}} if not schema else {"type": "object", **schema}
    return _without_nothing({**found, **_anthropic_cache(tool)})


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
        "budget": thinking.get("thinkingBudget"),
    }
    for name in (
        "maxOutputTokens",
        "temperature",
        "topP",
        "topK",
        "seed",
        "presencePenalty",
        "frequencyPenalty",
        "logprobs",
    ):
        found[name] = config.get(name)
    return _without_nothing(found)


def _gemini_system(system: Any) -> Any:
    parts = system.get("parts") if isinstance(system, Mapping) else [{"text": system}] if system else []
    return [part["text"] for part in ([parts] if isinstance(parts, Mapping) else parts or ()) if part["text"]]


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


# -- bedrock


def _bedrock(body: JsonObject) -> Any:
    ids: dict[str, int] = {}
    config = body.get("toolConfig") or {}
    choice = config.get("toolChoice") or {}
    tools = [_bedrock_tool(tool["toolSpec"]) for tool in config.get("tools") or () if "toolSpec" in tool]
    inference, output = body.get("inferenceConfig") or {}, body.get("outputConfig") or {}
    more = body.get("additionalModelRequestFields") or {}
    form = (output.get("textFormat") or {}).get("structure") or {}
    messages = [{"role": m["role"], "content": _bedrock_blocks(m["content"], ids)} for m in body["messages"]]
    thinking = more.get("thinking") or more.get("reasoning_config") or more.get("reasoningConfig") or {}
    thinking = "enabled" if isinstance(thinking, str) else thinking.get("type")
    found = {
        "system": _bedrock_blocks(body.get("system") or (), ids),
        "messages": _joined(messages),
        "stop": inference.get("stopSequences"),
        "tools": tools,
        "tool_choice": _choice("any" if "any" in choice else (choice.get("tool") or {}).get("name"), tools),
        "schema": _arguments((form.get("jsonSchema") or {}).get("schema") or ""),
        "thinks": thinking in {"enabled", "adaptive"} or more.get("reasoning_effort") is not None,
        "top_k": more.get("top_k") or (more.get("inferenceConfig") or {}).get("topK"),
        **{name: inference.get(name) for name in ("maxTokens", "temperature", "topP")},
    }
    return _without_nothing(found)


def _bedrock_blocks(blocks: Any, ids: dict[str, int]) -> Any:
    return [_bedrock_block(block, ids) for block in blocks if "cachePoint" not in block]


def _bedrock_block(block: JsonObject, ids: dict[str, int]) -> Any:
    if "toolUse" in block:
        call = block["toolUse"]
        return {"id": _number(ids, call["toolUseId"]), "name": call["name"], "input": call.get("input") or {}}
    if "toolResult" in block:
        result = block["toolResult"]
        content = [
            {"json": part["json"] if "json" in part else _arguments(part["text"])}
            if part.keys() & {"json", "text"}
            else _bedrock_block(part, ids)
            for part in result["content"]
        ]
        failed = result.get("status") == "error"
        return {"result": _number(ids, result["toolUseId"]), "content": content, "error": failed}
    return dict(block)


def _bedrock_tool(spec: JsonObject) -> Any:
    schema = (spec.get("inputSchema") or {}).get("json") or {"properties": {}}
    found = {name: spec.get(name) for name in ("name", "description", "strict")}
    return _without_nothing({**found, "schema": {"type": "object", **schema}})


# -- cohere


def _cohere(body: JsonObject) -> Any:
    ids: dict[str, int] = {}
    tools = [_openai_tool(tool) for tool in body.get("tools") or ()]
    form, thinking = body.get("response_format") or {}, body.get("thinking") or {}
    found = {
        "messages": _joined([_cohere_message(message, ids) for message in body["messages"]]),
        "tools": tools,
        "strict": body.get("strict_tools"),
        "tool_choice": _choice((body.get("tool_choice") or "AUTO").lower(), tools),
        "json": form.get("type") in {"json_object", "json_schema"},
        "schema": form.get("json_schema") or form.get("schema"),
        "stop": body.get("stop_sequences"),
        "thinks": thinking.get("type"),
        **{name: body.get(name) for name in ("max_tokens", "temperature", "p", "k", "seed", "logprobs")},
        **{name: body.get(name) for name in ("presence_penalty", "frequency_penalty")},
    }
    return _without_nothing(found)


def _cohere_message(message: JsonObject, ids: dict[str, int]) -> Any:
    """A document as what it says: its id is the provider's to cite it by."""
    found = dict(_openai_message({**message, "content": None}, ids))
    content = message.get("content") or ()
    parts: Any = [{"type": "text", "text": content}] if isinstance(content, str) else content
    kept = []
    for part in parts:
        if part["type"] == "document":
            kept.append({"text": json.dumps(part["document"]["data"], sort_keys=True)})
        elif part["type"] == "image_url":
            kept.append(_openai_part(part))
        else:
            kept.append({name: part[name] for name in ("text", "thinking") if part.get(name)})
    found |= {"content": [part for part in kept if part], "plan": message.get("tool_plan")}
    return _without_nothing(found)


# -- ollama


def _ollama(body: JsonObject) -> Any:
    """Left out too: whether an input that is too long may be cut, and the window that is asked for."""
    options = {key: value for key, value in (body.get("options") or {}).items() if key != "num_ctx"}
    messages = []
    for message in body["messages"]:
        calls = [
            {"name": call["function"]["name"], "arguments": call["function"].get("arguments") or {}}
            for call in message.get("tool_calls") or ()
        ]
        content = [message["content"]] if message.get("content") else []
        known = {name: message.get(name) for name in ("role", "images", "thinking", "tool_name")}
        if message["role"] == "tool":
            known["tool_name"] = None  # older requests have none
        messages.append(_without_nothing({**known, "content": content, "calls": calls}))
    found = {
        "messages": _joined(messages),
        "tools": [_openai_tool(tool) for tool in body.get("tools") or ()],
        "format": body.get("format"),
        "think": body.get("think"),
        "logprobs": body.get("logprobs"),
        "top_logprobs": body.get("top_logprobs"),
        **{name: _list(value) if name == "stop" else value for name, value in options.items()},
    }
    return _without_nothing(found)


_ESSENCES: Mapping[str, Callable[[JsonObject], Any]] = {
    "openai_chat": _openai,
    "openai_responses": responses,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "cohere": _cohere,
    "ollama": _ollama,
    "bedrock": _bedrock,
}
