"""What of a request of OpenAI's Responses API matters; ``essence`` says what is left out for all formats.

Left out here besides: where a lone system prompt stands (``instructions`` or the first item) and which of the two roles
it has, ``store`` and what else is to be kept at the provider, whether a summary of the reasoning is shown and whether
its encrypted form comes with the answer (``include``), ids, states and phases of items, the difference between a tool
that is not ``strict`` and one that does not say (the encoder says it), and reasoning that came without its encrypted
form (a row says whether its text goes back).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.conformance.essence_parts import arguments_of, chosen, joined, numbered, without_nothing

JsonObject = Mapping[str, Any]


def responses(body: JsonObject) -> Any:
    """The part of a request's body that matters."""
    ids: dict[str, int] = {}
    given = body["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else list(given)
    if body.get("instructions"):
        items.insert(0, {"role": "system", "content": body["instructions"]})
    system = [item for item in items if item.get("role") in {"system", "developer"}]
    if len(system) == 1 and system[0] is items[0]:
        items[0] = {**items[0], "role": "system"}
    tools = [_tool(tool) for tool in body.get("tools") or ()]
    choice = body.get("tool_choice")
    found = {
        "input": joined([_item(item, ids) for item in items if not _is_open_reasoning(item)]),
        "max_tokens": body.get("max_output_tokens"),
        "tools": tools,
        "tool_choice": chosen(choice.get("name") if isinstance(choice, Mapping) else choice, tools),
        "parallel_tool_calls": body.get("parallel_tool_calls") if tools else None,
        "response_format": _format((body.get("text") or {}).get("format")),
        "reasoning_effort": (body.get("reasoning") or {}).get("effort"),
        "logprobs": "message.output_text.logprobs" in (body.get("include") or ()),
        **{name: body.get(name) for name in ("temperature", "top_p", "top_logprobs")},
    }
    return without_nothing(found)


def _is_open_reasoning(item: JsonObject) -> bool:
    return item.get("type") == "reasoning" and not item.get("encrypted_content")


def _item(item: JsonObject, ids: dict[str, int]) -> Any:
    kind = item.get("type") or "message"
    if kind == "message":
        return without_nothing({"role": item["role"], "content": _parts(item.get("content"))})
    if kind == "reasoning":
        texts = [part["text"] for part in (*(item.get("summary") or ()), *(item.get("content") or ()))]
        return {"role": "reasoning", "texts": texts, "encrypted": item["encrypted_content"]}
    call = numbered(ids, item["call_id"])
    if kind == "function_call":
        return {"role": "call", "id": call, "name": item["name"], "arguments": arguments_of(item["arguments"])}
    return {"role": "result", "id": call, "content": _parts(item["output"])}


def _parts(content: Any) -> Any:
    parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content or ()
    return [_part(part) for part in parts if part.get("text") != ""]


def _part(part: JsonObject) -> Any:
    detail = None if part.get("detail") == "auto" else part.get("detail")
    kept = {name: part.get(name) for name in ("text", "refusal", "image_url", "file_url", "file_data", "filename")}
    return without_nothing({**kept, "detail": detail})


def _tool(tool: JsonObject) -> Any:
    found = {name: tool.get(name) for name in ("name", "description", "parameters", "strict")}
    schema = tool.get("parameters") or {"properties": {}}
    return without_nothing({**found, "parameters": {"type": "object", **schema}})


def _format(form: Any) -> Any:
    if not form or form["type"] == "text":
        return None
    return (
        "json"
        if form["type"] == "json_object"
        else without_nothing({"schema": form["schema"], "strict": form.get("strict")})
    )
