"""Writing Mistral's answers: reasoning is a part of the content, a call comes whole, usage comes last (pure)."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from simulator.conversation import Answer, Ask, Finish, Frame, Script, Stamp, ToolCall
from simulator.meter import Usage

_FINISH: dict[Finish, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "error",
}
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def whole(ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> dict[str, Any]:
    """The body of an answer that is not streamed."""
    content: Any = answer.text
    if ask.show_reasoning and answer.thoughts:
        content = [_thinking("".join(answer.thoughts)), {"type": "text", "text": answer.text}]
    calls = [_call(call, at) for at, call in enumerate(answer.calls)]
    message = {"role": "assistant", "tool_calls": calls or None, "content": content}
    return {
        "id": stamp.serial,
        "created": stamp.created,
        "model": ask.model.base,
        "usage": _usage(usage),
        "object": "chat.completion",
        "choices": [{"index": 0, "finish_reason": _FINISH[answer.finish], "message": message}],
    }


def script(ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> Script:
    """The chunks of an answer that is streamed."""
    content = [
        Frame(event(chunk(ask, stamp, {"content": [_thinking(word)]})) if ask.show_reasoning else b"", 1)
        for word in answer.thoughts
    ]
    content += [Frame(event(chunk(ask, stamp, {"content": piece})), 1) for piece in answer.pieces]
    content += [
        Frame(event(chunk(ask, stamp, {"content": "", "tool_calls": [_call(call, at)]})), call.tokens)
        for at, call in enumerate(answer.calls)
    ]
    last = chunk(ask, stamp, {"content": ""}, finish=_FINISH[answer.finish])
    closing = event({**last, "usage": _usage(usage)})
    opening = event(chunk(ask, stamp, {"role": "assistant", "content": ""}))
    return Script(opening, content, closing, b"data: [DONE]\n\n")


def chunk(ask: Ask, stamp: Stamp, delta: dict[str, Any], *, finish: str | None = None) -> dict[str, Any]:
    """One chunk of a stream."""
    return {
        "id": stamp.serial,
        "object": "chat.completion.chunk",
        "created": stamp.created,
        "model": ask.model.base,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def event(body: dict[str, Any]) -> bytes:
    """A chunk on the wire."""
    return b"data: " + to_json(body) + b"\n\n"


def _thinking(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


def _call(call: ToolCall, index: int) -> dict[str, Any]:
    return {
        "id": short_id(call.id),
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
        "index": index,
    }


def short_id(id: str) -> str:
    """Nine letters and digits made of the simulator's own id, which is hexadecimal."""
    number = int(id, 16)
    letters = []
    for _ in range(9):
        number, place = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[place])
    return "".join(letters)


def _usage(usage: Usage) -> dict[str, Any]:
    prompt, completion = usage.all_input, usage.all_output
    told: dict[str, Any] = {
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "completion_tokens": completion,
    }
    return {**told, "prompt_tokens_details": {"cached_tokens": usage.cached_read}} if usage.cached_read else told
