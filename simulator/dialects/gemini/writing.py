"""Writing generateContent responses: one body, the events of a stream, or the elements of a JSON array (pure)."""

from __future__ import annotations

import base64
from typing import Any

from pydantic_core import from_json, to_json

from simulator.conversation import Answer, Ask, Finish, Frame, Script, Stamp, ToolCall
from simulator.meter import Usage
from simulator.words import Chooser, digest

WITHOUT_CALL_IDS = ("gemini-1", "gemini-2")
"""Families of models whose calls have no id."""

_FINISH: dict[Finish, str] = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
}

_EVENT = (
    b'{"candidates":[{"content":{"parts":[%%b],"role":"model"},"index":0}],"usageMetadata":{%%b},"modelVersion":%b,'
    b'"responseId":"%b"}'
)
_TEXT = b'{"text":%b}'
_THOUGHT = b'{"text":%b,"thought":true}'
_COUNTS = b'"promptTokenCount":%d,"totalTokenCount":%d,"promptTokensDetails":[{"modality":"TEXT","tokenCount":%d}]'


def whole(ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> bytes:
    """The body of an answer that is not streamed."""
    parts: list[dict[str, Any]] = []
    if answer.thoughts and ask.show_reasoning:
        parts.append({"text": "".join(answer.thoughts), "thought": True})
    if answer.pieces:
        parts.append({"text": answer.text})
    parts.extend(_call_parts(ask, answer))
    _sign(parts, answer)
    return to_json(_response(ask, stamp, parts, usage, answer))


def script(ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> Script:
    """The events of an answer that is streamed; without ``sse`` they are the elements of an array."""
    event = _event_template(ask, stamp)
    prompt = usage.all_input
    frames: list[Frame] = []
    thoughts = sent = 0
    for thought in answer.thoughts:
        thoughts += 1
        part = _THOUGHT % to_json(thought)
        frames.append(Frame(event % (part, _counts(prompt, 0, thoughts)) if ask.show_reasoning else b"", 1))
    for piece in answer.pieces:
        sent += 1
        frames.append(Frame(event % (_TEXT % to_json(piece), _counts(prompt, sent, thoughts)), 1))
    for made, call in zip(_call_parts(ask, answer), _complete(answer), strict=True):
        sent += call.tokens
        frames.append(Frame(event % (to_json(made), _counts(prompt, sent, thoughts)), call.tokens))
    last: list[dict[str, Any]] = [{"text": ""}]
    _sign(last, answer)
    end = to_json(_response(ask, stamp, last, usage, answer))
    if ask.sse:
        return Script(b"", frames, b"data: %b\r\n\r\n" % end, b"")
    return Script(b"[", frames, end, b"]")


def text_event(ask: Ask, stamp: Stamp, text: str) -> bytes:
    """An event with any text."""
    return _event_template(ask, stamp) % (_TEXT % to_json(text), _counts(0, 0, 0))


def _event_template(ask: Ask, stamp: Stamp) -> bytes:
    """An event with places for its part and its usage; a percent sign of the model's name survives that doubled."""
    model = to_json(ask.model.base).replace(b"%", b"%%")
    event = _EVENT % (model, stamp.serial.encode())
    return b"data: %b\r\n\r\n" % event if ask.sse else event + b",\r\n"


def _counts(prompt: int, output: int, thoughts: int) -> bytes:
    """The usage of an event in the middle."""
    counts = _COUNTS % (prompt, prompt + output + thoughts, prompt)
    if output:
        counts += b',"candidatesTokenCount":%d' % output
    if thoughts:
        counts += b',"thoughtsTokenCount":%d' % thoughts
    return counts


def _complete(answer: Answer) -> list[ToolCall]:
    """A call that was cut short is not sent at all: its arguments would be no object."""
    return [call for call in answer.calls if call.complete]


def _call_parts(ask: Ask, answer: Answer) -> list[dict[str, Any]]:
    calls = [{"name": call.name, "args": from_json(call.arguments)} for call in _complete(answer)]
    if not ask.model.base.startswith(WITHOUT_CALL_IDS):
        for made, call in zip(calls, _complete(answer), strict=True):
            made["id"] = f"call_{call.id[:8]}"
    return [{"functionCall": made} for made in calls]


def _sign(parts: list[dict[str, Any]], answer: Answer) -> None:
    """A model that thought signs the first call, or else its last part."""
    if answer.thoughts and parts:
        signature = base64.b64encode(digest("thought", *answer.thoughts)).decode()
        signed = next((part for part in parts if "functionCall" in part), parts[-1])
        signed["thoughtSignature"] = signature


def _response(ask: Ask, stamp: Stamp, parts: list[dict[str, Any]], usage: Usage, answer: Answer) -> dict[str, Any]:
    """A response that ends the answer."""
    content = {"parts": parts, "role": "model"} if parts else {"role": "model"}
    candidate: dict[str, Any] = {"content": content, "finishReason": _FINISH[answer.finish]}
    if ask.logprobs is not None:
        candidate |= _logprobs(answer.pieces, ask.logprobs)
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
