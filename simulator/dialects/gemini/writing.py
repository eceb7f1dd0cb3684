"""Writing generateContent responses: one body, the events of a stream, or the elements of a JSON array (pure)."""

from __future__ import annotations

import base64
from typing import Any

from pydantic_core import from_json, to_json

from simulator.conversation import Answer, Ask, Finish, Frame, Script, Stamp, ToolCall
from simulator.meter import Usage
from simulator.words import Chooser, digest

_FINISH: dict[Finish, str] = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
}


def whole(ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> bytes:
    """The body of an answer that is not streamed."""
    parts: list[dict[str, Any]] = []
    if answer.thoughts and ask.show_reasoning:
        parts.append({"text": "".join(answer.thoughts), "thought": True})
    if answer.pieces:
        parts.append({"text": answer.text})
    parts.extend(_call_parts(answer))
    _sign(parts, answer)
    return to_json(_response(ask, stamp, parts, usage, answer))


def script(ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> Script:
    """The events of an answer that is streamed; without ``sse`` they are the elements of an array."""
    contents: list[tuple[list[dict[str, Any]], int, int, int]] = []
    for at, thought in enumerate(answer.thoughts, 1):
        contents.append(([{"text": thought, "thought": True}] if ask.show_reasoning else [], 1, at, 0))
    for at, piece in enumerate(answer.pieces, 1):
        contents.append(([{"text": piece}], 1, len(answer.thoughts), at))
    sent = len(answer.pieces)
    for part, call in zip(_call_parts(answer), _complete(answer), strict=True):
        sent += call.tokens
        contents.append(([part], call.tokens, len(answer.thoughts), sent))
    last: list[dict[str, Any]] = [{"text": ""}]
    _sign(last, answer)
    events = [
        (_event(_response(ask, stamp, parts, _partial(usage, thoughts, output), None)) if parts else b"", tokens)
        for parts, tokens, thoughts, output in contents
    ]
    end = _event(_response(ask, stamp, last, usage, answer))
    if ask.sse:
        frames = [Frame(b"data: %b\r\n\r\n" % event if event else b"", tokens) for event, tokens in events]
        return Script(b"", frames, b"data: %b\r\n\r\n" % end, b"")
    frames = [Frame(event + b",\r\n" if event else b"", tokens) for event, tokens in events]
    return Script(b"[", frames, end, b"]")


def text_event(ask: Ask, stamp: Stamp, text: str) -> bytes:
    """An event with any text."""
    event = _event(_response(ask, stamp, [{"text": text}], Usage(), None))
    return b"data: %b\r\n\r\n" % event if ask.sse else event + b",\r\n"


def _event(response: dict[str, Any]) -> bytes:
    return to_json(response)


def _partial(usage: Usage, thoughts: int, output: int) -> Usage:
    return Usage(usage.input, usage.cached_read, usage.cache_write, output, thoughts)


def _complete(answer: Answer) -> list[ToolCall]:
    """A call that was cut short is not sent at all: its arguments would be no object."""
    return [call for call in answer.calls if call.complete]


def _call_parts(answer: Answer) -> list[dict[str, Any]]:
    return [
        {"functionCall": {"name": call.name, "args": from_json(call.arguments), "id": f"call_{call.id[:8]}"}}
        for call in _complete(answer)
    ]


def _sign(parts: list[dict[str, Any]], answer: Answer) -> None:
    """A model that thought signs the first call, or else its last part."""
    if answer.thoughts and parts:
        signature = base64.b64encode(digest("thought", *answer.thoughts)).decode()
        signed = next((part for part in parts if "functionCall" in part), parts[-1])
        signed["thoughtSignature"] = signature


def _response(
    ask: Ask, stamp: Stamp, parts: list[dict[str, Any]], usage: Usage, finished: Answer | None
) -> dict[str, Any]:
    content = {"parts": parts, "role": "model"} if parts else {"role": "model"}
    candidate: dict[str, Any] = {"content": content}
    if finished is not None:
        candidate["finishReason"] = _FINISH[finished.finish]
        if ask.logprobs is not None:
            candidate |= _logprobs(finished.pieces, ask.logprobs)
    candidate["index"] = 0
    return {
        "candidates": [candidate],
        "usageMetadata": _usage(usage),
        "modelVersion": ask.model.base,
        "responseId": stamp.serial,
    }


def _usage(usage: Usage) -> dict[str, Any]:
    prompt = usage.all_input
    counts: dict[str, Any] = {
        "promptTokenCount": prompt,
        "totalTokenCount": prompt + usage.all_output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
    }
    if usage.output:
        counts["candidatesTokenCount"] = usage.output
    if usage.reasoning:
        counts["thoughtsTokenCount"] = usage.reasoning
    if usage.cached_read:
        counts["cachedContentTokenCount"] = usage.cached_read
        counts["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": usage.cached_read}]
    return counts


def _logprobs(pieces: list[str], top: int) -> dict[str, Any]:
    values = [-Chooser(digest(piece)).fraction() for piece in pieces]
    chosen = [{"token": piece, "logProbability": value} for piece, value in zip(pieces, values, strict=True)]
    mean = sum(values) / len(values) if values else 0.0
    result: dict[str, Any] = {"chosenCandidates": chosen}
    if top:
        result["topCandidates"] = [{"candidates": [row]} for row in chosen]
    return {"avgLogprobs": mean, "logprobsResult": result}
