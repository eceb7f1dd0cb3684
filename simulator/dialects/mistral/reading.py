"""Reading a request as Mistral does: unknown fields are an error, and a few things bear other names (pure).

What is the same at both is left to the reader of OpenAI's form.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import to_json

from simulator.conversation import Ask, Refusal
from simulator.dialects.dialect import EFFORTS, Rejected, parse_object
from simulator.dialects.openai import reading
from simulator.settings import ProviderSettings

_FIELDS = frozenset(
    (
        "model", "messages", "temperature", "top_p", "max_tokens", "stream", "stop", "random_seed", "metadata",
        "response_format", "tools", "tool_choice", "presence_penalty", "frequency_penalty", "n", "prediction",
        "parallel_tool_calls", "prompt_mode", "reasoning_effort", "guardrails", "safe_prompt", "prompt_cache_key",
        "min_tokens", "repetition_penalty", "top_k", "logprobs", "top_logprobs", "service_tier",
    )
)  # fmt: skip
_ID = re.compile(r"[A-Za-z0-9]{9}")


def read(body: bytes, settings: ProviderSettings) -> Ask:
    """The request in a body.

    Raises:
        Rejected: with the refusal that Mistral would give.
    """
    raw = parse_object(body)
    if settings.strict:
        for name in raw:
            if name not in _FIELDS:
                raise _invalid("extra_forbidden", [name], "Extra inputs are not permitted")
    shown = raw.pop("prompt_mode", None) == "reasoning" or raw.get("reasoning_effort") not in (None, "none")
    if raw.get("reasoning_effort") not in (None, "none", "high"):
        raise _invalid("enum", ["reasoning_effort"], "Input should be 'none' or 'high'")
    for name in ("guardrails", "safe_prompt", "prompt_cache_key", "prediction", "metadata"):
        raw.pop(name, None)
    if "random_seed" in raw:
        raw["seed"] = raw.pop("random_seed")
    if raw.get("tool_choice") == "any":
        raw["tool_choice"] = "required"
    raw["messages"] = [_message(message, index) for index, message in enumerate(_list(raw.get("messages"), "messages"))]
    if isinstance(raw.get("tools"), list):
        raw["tools"] = [_tool(tool) for tool in raw["tools"]]
    raw["stream_options"] = {"include_usage": True} if raw.get("stream") else None
    ask = reading.read(to_json(raw), settings.model_copy(update={"reasoning_models": ()}))
    ask.show_reasoning = shown
    if shown and not ask.reasoning:
        ask.reasoning = EFFORTS["high"] if ask.model.think is None else ask.model.think
    return ask


def _message(message: Any, index: int) -> Any:
    """A turn as OpenAI has it: thoughts are no part of the prompt, a prefix is a turn like another."""
    if not isinstance(message, dict):
        return message
    kept = {name: value for name, value in message.items() if name != "prefix"}
    for at, call in enumerate(kept.get("tool_calls") or ()):
        if isinstance(call, dict) and not _ID.fullmatch(str(call.get("id"))):
            raise _bad_id(call.get("id"), ["messages", index, "tool_calls", at, "id"])
    if kept.get("role") == "tool" and not _ID.fullmatch(str(kept.get("tool_call_id"))):
        raise _bad_id(kept.get("tool_call_id"), ["messages", index, "tool_call_id"])
    if isinstance(kept.get("content"), list):
        kept["content"] = [
            _part(part) for part in kept["content"] if not (isinstance(part, dict) and part.get("type") == "thinking")
        ]
    return kept


def _tool(tool: Any) -> Any:
    """A tool with what counts in it: Mistral's client adds fields, and their order is its own."""
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict):
        return tool
    kept = {name: function[name] for name in ("name", "description", "parameters") if name in function}
    return {"type": "function", "function": kept}


def _part(part: Any) -> Any:
    if isinstance(part, dict) and part.get("type") == "image_url" and isinstance(part.get("image_url"), str):
        return {**part, "image_url": {"url": part["image_url"]}}
    return part


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise _invalid("list_type", [name], "Input should be a valid list")
    return value


def _bad_id(given: Any, place: list[Any]) -> Rejected:
    words = f"Tool call id was {given} but must be a-z, A-Z, 0-9, with a length of 9."
    return Rejected(Refusal("bad_request", words, code="3280", param=".".join(map(str, place))))


def _invalid(kind: str, place: list[Any], words: str) -> Rejected:
    """What pydantic at their end says: status 422, with the place."""
    return Rejected(Refusal("bad_request", words, param=".".join(map(str, place)), code=kind, status=422))
