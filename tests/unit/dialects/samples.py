"""Small answers of each dialect, as the providers write them, and the targets they are read for."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from catalogue.load import providers
from catalogue.rows import ProviderRow
from workers.dialects import DIALECTS
from workers.dialects.port import Decoder, Target

MODELS: Mapping[str, tuple[str, str]] = {
    "openai_chat": ("openai", "gpt-4o-mini"),
    "openai_responses": ("openai", "gpt-5.2"),
    "anthropic": ("anthropic", "claude-sonnet-4-5"),
    "gemini": ("gemini", "gemini-2.5-flash"),
    "cohere": ("cohere", "command-a-03-2025"),
    "ollama": ("ollama", "qwen3"),
    "bedrock": ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
}
WITHOUT_MODEL = {"bedrock", "cohere"}
"""Dialects whose answers do not say which model answered."""


@cache
def packaged() -> Mapping[str, ProviderRow]:
    """The rows of the catalogue."""
    return providers()


def target(dialect: str, model: str = "", *, stream: bool = False, **quirks: Any) -> Target:
    """The packaged row of the dialect's own provider; with ``quirks``, a plain row that has these."""
    provider, usual = MODELS[dialect]
    row = packaged()[provider]
    if quirks:
        row = ProviderRow.model_validate(
            {"name": "accented", "dialect": dialect, "base_url": "https://accented.invalid", "quirks": quirks}
        )
    return Target(provider=row, model=row.model(model or usual), stream=stream)


def decoder(dialect: str, *, content_type: str = "", of: Target | None = None, **options: Any) -> Decoder:
    """A reader of the dialect."""
    return DIALECTS[dialect].decoder(of or target(dialect), content_type=content_type, **options)


def sse(*events: Any, names: bool = False) -> bytes:
    """Events as a stream; with ``names``, each under its type as Anthropic has it."""
    lines = []
    for event in events:
        if names:
            lines.append(f"event: {event['type']}\n")
        lines.append(f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n")
    return "".join(lines).encode()


def frame(name: str, payload: Any, *, kind: str = "event", **headers: str) -> bytes:
    """One frame of AWS's event stream: an event of this name, or an exception."""
    told = {f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind, **headers}
    block = b"".join(
        bytes([len(key)]) + key.encode() + b"\x07" + len(value.encode()).to_bytes(2, "big") + value.encode()
        for key, value in told.items()
    )
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    lengths = (len(block) + len(body) + 16).to_bytes(4, "big") + len(block).to_bytes(4, "big")
    head = lengths + zlib.crc32(lengths).to_bytes(4, "big") + block + body
    return head + zlib.crc32(head).to_bytes(4, "big")


def openai_chunk(delta: Any = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-4o-mini", "choices": [choice], **more}


def lines(*pieces: Any) -> bytes:
    """Pieces of an answer, one a line."""
    return "".join(f"{json.dumps(piece)}\n" for piece in pieces).encode()


def cohere_text(piece: str) -> dict[str, Any]:
    return {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": piece}}}}


def ollama_piece(text: str, **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {"model": "qwen3", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": False, **more}


COHERE_USAGE = {
    "billed_units": {"input_tokens": 1, "output_tokens": 2},
    "tokens": {"input_tokens": 5, "output_tokens": 2},
}
OLLAMA_END = {"done": True, "done_reason": "stop", "prompt_eval_count": 5, "eval_count": 2}

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}

SAID = {"type": "output_text", "annotations": [], "logprobs": [], "text": "Héllo 👋"}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "model": "gpt-5.2",
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "output": [{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [SAID]}],
    "usage": {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7},
}
"""The answer ``Héllo 👋`` as the Responses API has it."""


def response_events(*items: Any, **more: Any) -> list[dict[str, Any]]:
    """A response's events: created, then each item done at once, then the response as it ends."""
    ended = {**RESPONSE, "output": list(items), **more}
    done = [{"type": "response.output_item.done", "output_index": at, "item": one} for at, one in enumerate(items)]
    begun = {"type": "response.created", "response": {**ended, "status": "in_progress", "output": [], "usage": None}}
    return [begun, *done, {"type": f"response.{ended['status']}", "response": ended}]


STREAMS: Mapping[str, bytes] = {
    "openai_chat": sse(
        openai_chunk({"role": "assistant", "content": ""}),
        openai_chunk({"content": "Hél"}),
        openai_chunk({"content": "lo 👋"}),
        openai_chunk(finish="stop"),
        {**openai_chunk(), "choices": [], "usage": USAGE},
        "[DONE]",
    ),
    "openai_responses": sse(
        {"type": "response.created", "response": {**RESPONSE, "status": "in_progress", "output": [], "usage": None}},
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "content": []}},
        {"type": "response.content_part.added", "output_index": 0, "content_index": 0, "part": {**SAID, "text": ""}},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hél"},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "lo 👋"},
        {"type": "response.output_item.done", "output_index": 0, "item": {"type": "message", "content": [SAID]}},
        {"type": "response.completed", "response": RESPONSE},
        names=True,
    ),
    "anthropic": sse(
        {
            "type": "message_start",
            "message": {
                "id": "msg_1",
                "model": "claude-sonnet-4-5",
                "content": [],
                "stop_reason": None,
                "usage": {"input_tokens": 5, "output_tokens": 1},
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hél"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo 👋"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
        names=True,
    ),
    "gemini": sse(
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hél"}]}}], "responseId": "r"},
        {
            "candidates": [{"content": {"role": "model", "parts": [{"text": "lo 👋"}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7},
            "modelVersion": "gemini-2.5-flash",
        },
    ),
    "cohere": sse(
        {"id": "c1", "type": "message-start", "delta": {"message": {"role": "assistant", "content": []}}},
        {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
        cohere_text("Hél"),
        cohere_text("lo 👋"),
        {"type": "content-end", "index": 0},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": COHERE_USAGE}},
        names=True,
    ),
    "ollama": lines(ollama_piece("Hél"), ollama_piece("lo 👋"), ollama_piece("", **OLLAMA_END)),
    "bedrock": b"".join(
        [
            frame("messageStart", {"role": "assistant"}),
            frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hél"}}),
            frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "lo 👋"}}),
            frame("contentBlockStop", {"contentBlockIndex": 0}),
            frame("messageStop", {"stopReason": "end_turn"}),
            frame("metadata", {"usage": {"inputTokens": 5, "outputTokens": 2, "totalTokens": 7}}),
        ]
    ),
}
"""The answer ``Héllo 👋`` (5 tokens in, 2 out) as a stream."""

DOCUMENTS: Mapping[str, bytes] = {
    "openai_chat": json.dumps(
        {
            "id": "chatcmpl-1",
            "model": "gpt-4o-mini",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "Héllo 👋"}, "finish_reason": "stop"},
            ],
            "usage": USAGE,
        }
    ).encode(),
    "openai_responses": json.dumps(RESPONSE).encode(),
    "anthropic": json.dumps(
        {
            "type": "message",
            "id": "msg_1",
            "model": "claude-sonnet-4-5",
            "content": [{"type": "text", "text": "Héllo 👋"}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 5, "output_tokens": 2},
        },
        ensure_ascii=False,
    ).encode(),
    "gemini": json.dumps(
        {
            "candidates": [{"content": {"parts": [{"text": "Héllo 👋"}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2},
            "modelVersion": "gemini-2.5-flash",
            "responseId": "r",
        }
    ).encode(),
    "cohere": json.dumps(
        {
            "id": "c1",
            "message": {"role": "assistant", "content": [{"type": "text", "text": "Héllo 👋"}]},
            "finish_reason": "COMPLETE",
            "usage": COHERE_USAGE,
        }
    ).encode(),
    "ollama": json.dumps(ollama_piece("Héllo 👋", **OLLAMA_END)).encode(),
    "bedrock": json.dumps(
        {
            "output": {"message": {"role": "assistant", "content": [{"text": "Héllo 👋"}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 5, "outputTokens": 2, "totalTokens": 7},
        }
    ).encode(),
}
"""The same answer as one document."""
