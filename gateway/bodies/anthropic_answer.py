"""Anthropic's messages: the whole answer. After https://docs.anthropic.com/en/api/messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from gateway.bodies.anthropic_seals import sealed
from job_contracts.chat import Answer, Citation, FinishReason, ReasoningPart, RefusalPart, TextPart, ToolCallPart, Usage

if TYPE_CHECKING:
    from gateway.bodies.anthropic import Request, Thinking
    from job_contracts.chat import AssistantPart
    from job_contracts.results import Result

Block = dict[str, Any]

_STOPS = {
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "refusal",
}
_OWN_WORDS = {
    FinishReason.STOP: frozenset({"stop_sequence", "pause_turn"}),
    FinishReason.LENGTH: frozenset({"model_context_window_exceeded"}),
}
"""What the API says more exactly than we do, where the provider said so."""


def message(request: Request, result: Result) -> Block:
    """A ``message`` object."""
    return {
        **head(f"msg_{result.job}", result.model or request.asked.model),
        "content": content(result.answer or Answer(), request.thinking),
        **stop(request, result),
        "usage": {**usage(result.usage), **kept(result.usage), "service_tier": "standard"},
    }


def head(id: str, model: str) -> Block:
    """What stands at the top of every message."""
    return {"id": id, "type": "message", "role": "assistant", "model": model}


def content(answer: Answer, thinking: Thinking) -> list[Block]:
    """The blocks of an answer, in its order."""
    found: list[Block] = []
    at = 0
    for part in answer.parts:
        if isinstance(part, TextPart):
            sources = [one for one in answer.citations if one.start is None or at <= one.start < at + len(part.text)]
            found.append({"type": "text", "text": part.text, "citations": cited(sources, answer.text)})
            at += len(part.text)
        else:
            found += _blocks(part, thinking)
    return found


def _blocks(part: AssistantPart, thinking: Thinking) -> list[Block]:
    match part:
        case ToolCallPart():
            return [{"type": "tool_use", "id": part.id, "name": part.name, "input": _input(part.arguments)}]
        case RefusalPart() | TextPart():
            return [{"type": "text", "text": part.text, "citations": None}]
        case ReasoningPart() if thinking != "hidden":
            return _reasoning(part, shown=thinking == "shown")
    return []


def _reasoning(part: ReasoningPart, *, shown: bool) -> list[Block]:
    found: list[Block] = []
    signature = sealed(part.signature, part.origin)
    if signature or (part.text and shown):
        found.append({"type": "thinking", "thinking": part.text if shown else "", "signature": signature or ""})
    if data := sealed(part.redacted, part.origin):
        found.append({"type": "redacted_thinking", "data": data})
    return found


def _input(arguments: str) -> Any:
    """The arguments as an object. What a model wrote and no JSON holds stands in it as the text it is."""
    try:
        given = from_json(arguments or "{}")
    except ValueError:
        return {"arguments": arguments}
    return given if isinstance(given, dict) else {"arguments": given}


def cited(sources: Sequence[Citation], text: str) -> list[Block] | None:
    """The sources of a block of text, ``text`` being that of the whole answer."""
    return [_citation(one, text) for one in sources] or None


def _citation(source: Citation, text: str) -> Block:
    return {
        "type": "web_search_result_location",
        "url": source.url,
        "title": source.title,
        "cited_text": text[source.start or 0 : source.end or 0],
        "encrypted_index": "",
    }


def stop(request: Request, result: Result) -> Block:
    """Why the answer ended. Which of several stop sequences it was, providers do not say alike: then it is null."""
    reason, raw = result.finish_reason or FinishReason.STOP, (result.finish_raw or "").lower()
    word = raw if raw in _OWN_WORDS.get(reason, ()) else _STOPS.get(reason, "end_turn")
    sequence = request.stop[0] if word == "stop_sequence" and len(request.stop) == 1 else None
    return {"stop_reason": word, "stop_sequence": sequence}


def usage(used: Usage) -> Block:
    """Tokens, of which the API counts those that came from the cache, or went to it, apart."""
    return {
        "input_tokens": max(0, used.input - used.cache_read - used.cache_write),
        "cache_creation_input_tokens": used.cache_write,
        "cache_read_input_tokens": used.cache_read,
        "output_tokens": used.output,
        "output_tokens_details": {"thinking_tokens": used.reasoning},
    }


def kept(used: Usage) -> Block:
    """How long what went to the cache stays there."""
    hour = used.cache_write_1h
    kept = {"ephemeral_5m_input_tokens": used.cache_write - hour, "ephemeral_1h_input_tokens": hour}
    return {"cache_creation": kept}
