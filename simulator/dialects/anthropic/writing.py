"""Writing messages: one body, or the events of a stream (pure)."""

from __future__ import annotations

import base64
from typing import Any

from pydantic_core import from_json, to_json

from simulator.conversation import Answer, Ask, Finish, Frame, Script, Stamp, ToolCall
from simulator.meter import Usage
from simulator.words import digest

_STOP: dict[Finish, str] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}

_WHOLE = (
    b'{"model":%b,"id":"msg_01%b","type":"message","role":"assistant","content":%b,"stop_reason":"%b",'
    b'"stop_sequence":%b,"stop_details":null,"usage":%b}'
)
_USAGE = (
    b'{"input_tokens":%d,"cache_creation_input_tokens":%d,"cache_read_input_tokens":%d,"cache_creation":'
    b'{"ephemeral_5m_input_tokens":%d,"ephemeral_1h_input_tokens":0},"output_tokens":%d,%b"service_tier":"standard",'
    b'"inference_geo":"not_available"}'
)
_FINAL_USAGE = b'{"input_tokens":%d,"cache_creation_input_tokens":%d,"cache_read_input_tokens":%d,"output_tokens":%d%b}'
_START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"model":%b,"id":"msg_01%b","type":"message",'
    b'"role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"stop_details":null,"usage":%b}}\n\n'
)
_PING = b'event: ping\ndata: {"type": "ping"}\n\n'
_BLOCK_START = b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
_BLOCK_DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b}\n\n'
_BLOCK_STOP = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
_MESSAGE_DELTA = (
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"%b","stop_sequence":%b,'
    b'"stop_details":null},"usage":%b}\n\n'
)
_MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_TEXT_DELTA = b'{"type":"text_delta","text":%b}'
_THINKING_DELTA = b'{"type":"thinking_delta","thinking":%b}'
_JSON_DELTA = b'{"type":"input_json_delta","partial_json":%b}'


def signature(thinking: str) -> str:
    """What vouches for a thinking block when the caller sends it back."""
    return base64.b64encode(digest("signature", thinking)).decode()


def whole(ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> bytes:
    """The body of an answer that is not streamed."""
    return _WHOLE % (
        to_json(ask.model.base),
        stamp.serial.encode(),
        to_json(_blocks(ask, answer)),
        _STOP[answer.finish].encode(),
        to_json(answer.stopped_by),
        _usage(usage),
    )


def script(ask: Ask, answer: Answer, usage: Usage, stamp: Stamp) -> Script:
    """The events of an answer that is streamed."""
    opening = _START % (to_json(ask.model.base), stamp.serial.encode(), _first_usage(usage))
    blocks: list[list[Frame]] = []
    if answer.thoughts:
        blocks.append(_thinking_frames(ask, answer))
    if answer.pieces:
        start = _BLOCK_START % (len(blocks), b'{"type":"text","text":""}')
        deltas = [Frame(_BLOCK_DELTA % (len(blocks), _TEXT_DELTA % to_json(piece)), 1) for piece in answer.pieces]
        blocks.append([Frame(start), *deltas])
    for call in answer.calls:
        blocks.append(_call_frames(len(blocks), call))
    content: list[Frame] = []
    for index, frames in enumerate(blocks):
        content.extend(frames)
        content.append(Frame(_BLOCK_STOP % index))
    closing = _MESSAGE_DELTA % (
        _STOP[answer.finish].encode(),
        to_json(answer.stopped_by),
        _final_usage(usage),
    )
    return Script(opening + _PING, content, closing, _MESSAGE_STOP)


def text_event(text: str) -> bytes:
    """A delta of the first block with any text."""
    return _BLOCK_DELTA % (0, _TEXT_DELTA % to_json(text))


def _blocks(ask: Ask, answer: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.thoughts:
        thinking = "".join(answer.thoughts) if ask.show_reasoning else ""
        blocks.append({"type": "thinking", "thinking": thinking, "signature": signature(thinking)})
    if answer.pieces:
        blocks.append({"type": "text", "text": answer.text})
    for call in answer.calls:
        arguments = from_json(call.arguments) if call.complete else {}
        blocks.append({"type": "tool_use", "id": f"toolu_01{call.id}", "name": call.name, "input": arguments})
    return blocks


def _thinking_frames(ask: Ask, answer: Answer) -> list[Frame]:
    thinking = "".join(answer.thoughts) if ask.show_reasoning else ""
    frames = [Frame(_BLOCK_START % (0, b'{"type":"thinking","thinking":"","signature":""}'))]
    for thought in answer.thoughts:
        shown = _BLOCK_DELTA % (0, _THINKING_DELTA % to_json(thought)) if ask.show_reasoning else b""
        frames.append(Frame(shown, 1))
    signed = to_json({"type": "signature_delta", "signature": signature(thinking)})
    frames.append(Frame(_BLOCK_DELTA % (0, signed)))
    return frames


def _call_frames(index: int, call: ToolCall) -> list[Frame]:
    block = {"type": "tool_use", "id": f"toolu_01{call.id}", "name": call.name, "input": {}}
    frames = [
        Frame(_BLOCK_START % (index, to_json(block)), 1),
        Frame(_BLOCK_DELTA % (index, _JSON_DELTA % b'""')),
    ]
    parts = (call.arguments[at : at + 4] for at in range(0, len(call.arguments), 4))
    frames.extend(Frame(_BLOCK_DELTA % (index, _JSON_DELTA % to_json(part)), 1) for part in parts)
    return frames


def _usage(usage: Usage) -> bytes:
    details = _details(usage) + b"," if usage.reasoning else b""
    return _USAGE % (usage.input, usage.cache_write, usage.cached_read, usage.cache_write, usage.all_output, details)


def _first_usage(usage: Usage) -> bytes:
    """The usage at the start of a stream has the input, and not yet the output."""
    output = min(1, usage.all_output)
    return _USAGE % (usage.input, usage.cache_write, usage.cached_read, usage.cache_write, output, b"")


def _final_usage(usage: Usage) -> bytes:
    """The usage at the end of a stream has fewer fields than that of a whole message."""
    details = b"," + _details(usage) if usage.reasoning else b""
    return _FINAL_USAGE % (usage.input, usage.cache_write, usage.cached_read, usage.all_output, details)


def _details(usage: Usage) -> bytes:
    return b'"output_tokens_details":{"thinking_tokens":%d}' % usage.reasoning
