"""Writing chat completions: one body, or the chunks of a stream (pure).

The bodies are put together from prepared bytes, because this is the hot path of every benchmark.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from simulator.conversation import Answer, Ask, Finish, Frame, Script, Stamp, ToolCall
from simulator.meter import Usage
from simulator.words import Chooser, digest

_FINISH: dict[Finish, bytes] = {
    "stop": b"stop",
    "stop_sequence": b"stop",
    "length": b"length",
    "tool_calls": b"tool_calls",
    "content_filter": b"content_filter",
}

_WHOLE = (
    b'{"id":"chatcmpl-%b","object":"chat.completion","created":%d,"model":%b,"choices":[{"index":0,"message":'
    b'{"role":"assistant","content":%b,"refusal":null,"annotations":[]%b},"logprobs":%b,"finish_reason":"%b"}],'
    b'"usage":%b,"service_tier":"default","system_fingerprint":"fp_simulated"}'
)
_USAGE = (
    b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
    b'"prompt_tokens_details":{"cached_tokens":%d,"audio_tokens":0},'
    b'"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":0,"accepted_prediction_tokens":0,'
    b'"rejected_prediction_tokens":0}}'
)
_CHUNK = (
    b'data: {"id":"chatcmpl-%b","object":"chat.completion.chunk","created":%d,"model":%b,"service_tier":"default",'
    b'"system_fingerprint":"fp_simulated","choices":%%b%b}\n\n'
)
_DELTA = b'[{"index":0,"delta":%b,"logprobs":null,"finish_reason":null}]'
_DELTA_LOGPROBS = b'[{"index":0,"delta":%b,"logprobs":%b,"finish_reason":null}]'
_FINISHED = b'[{"index":0,"delta":{},"logprobs":null,"finish_reason":"%b"}]'
_DONE = b"data: [DONE]\n\n"


def whole(ask: Ask, answer: Answer, usage: Usage, stamp: Stamp, reasoning_field: str) -> bytes:
    """The body of an answer that is not streamed."""
    calls = _calls(answer.calls) if answer.calls else b""
    if reasoning_field and answer.thoughts:
        calls += b',"%b":%b' % (reasoning_field.encode(), to_json("".join(answer.thoughts)))
    return _WHOLE % (
        stamp.serial.encode(),
        stamp.created,
        to_json(ask.model.base),
        b"null" if answer.calls else to_json(answer.text),
        calls,
        b"null" if ask.logprobs is None else to_json(_logprobs(answer.pieces, ask.logprobs)),
        _finish(ask, answer),
        _usage(usage),
    )


def script(ask: Ask, answer: Answer, usage: Usage, stamp: Stamp, reasoning_field: str) -> Script:
    """The chunks of an answer that is streamed."""
    chunk = _chunk_template(ask, stamp)
    first = b'{"role":"assistant","content":%b,"refusal":null}' % (b"null" if answer.calls else b'""')
    content: list[Frame] = []
    field = reasoning_field.encode()
    for thought in answer.thoughts:
        # A provider that hides its reasoning takes the time for it and sends nothing.
        shown = chunk % (_DELTA % (b'{"%b":%b}' % (field, to_json(thought)))) if field else b""
        content.append(Frame(shown, 1))
    for piece in answer.pieces:
        delta = b'{"content":%b}' % to_json(piece)
        if ask.logprobs is None:
            content.append(Frame(chunk % (_DELTA % delta), 1))
        else:
            logprobs = to_json(_logprobs([piece], ask.logprobs))
            content.append(Frame(chunk % (_DELTA_LOGPROBS % (delta, logprobs)), 1))
    for index, call in enumerate(answer.calls):
        content.extend(Frame(chunk % (_DELTA % delta), tokens) for delta, tokens in _call_deltas(index, call))
    closing = chunk % (_FINISHED % _finish(ask, answer))
    if ask.stream_usage:
        closing += _chunk(ask, stamp, b',"usage":%b' % _usage(usage)) % b"[]"
    return Script(chunk % (_DELTA % first), content, closing, _DONE)


def text_event(ask: Ask, stamp: Stamp, text: str) -> bytes:
    """A chunk with any text."""
    return _chunk_template(ask, stamp) % (_DELTA % (b'{"content":%b}' % to_json(text)))


def _chunk_template(ask: Ask, stamp: Stamp) -> bytes:
    return _chunk(ask, stamp, b',"usage":null' if ask.stream_usage else b"")


def _chunk(ask: Ask, stamp: Stamp, usage: bytes) -> bytes:
    """A chunk with a place for its choices; a percent sign of the model's name is doubled to survive that."""
    model = to_json(ask.model.base).replace(b"%", b"%%")
    return _CHUNK % (stamp.serial.encode(), stamp.created, model, usage)


def _finish(ask: Ask, answer: Answer) -> bytes:
    """A call that was forced by name ends in ``stop``, as OpenAI does it."""
    if answer.finish == "tool_calls" and ask.choice not in ("auto", "required"):
        return b"stop"
    return _FINISH[answer.finish]


def _usage(usage: Usage) -> bytes:
    prompt, completion = usage.all_input, usage.all_output
    return _USAGE % (prompt, completion, prompt + completion, usage.cached_read, usage.reasoning)


def _calls(calls: list[ToolCall]) -> bytes:
    rows = [
        {"id": f"call_{call.id}", "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in calls
    ]
    return b',"tool_calls":%b' % to_json(rows)


def _call_deltas(index: int, call: ToolCall) -> list[tuple[bytes, int]]:
    """A call's deltas with their tokens: first the name, then the arguments piece by piece."""
    head = {"id": f"call_{call.id}", "type": "function", "function": {"name": call.name, "arguments": ""}}
    deltas = [(to_json({"tool_calls": [{"index": index, **head}]}), 1)]
    for at in range(0, len(call.arguments), 4):
        part = {"index": index, "function": {"arguments": call.arguments[at : at + 4]}}
        deltas.append((to_json({"tool_calls": [part]}), 1))
    return deltas


def _logprobs(pieces: list[str], top: int) -> dict[str, Any]:
    return {"content": logprob_rows(pieces, top), "refusal": None}


def logprob_rows(pieces: list[str], top: int) -> list[dict[str, Any]]:
    """Log probabilities of tokens, made of nothing but the tokens, each with its ``top`` alternatives."""
    rows = []
    for piece in pieces:
        chooser = Chooser(digest(piece))
        row = _logprob(piece, -chooser.fraction())
        others = [_logprob(f"{piece}{rank}", row["logprob"] - rank) for rank in range(1, top)]
        rows.append({**row, "top_logprobs": [row, *others][:top]})
    return rows


def _logprob(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}
