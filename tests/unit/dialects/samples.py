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
    "anthropic": ("anthropic", "claude-sonnet-4-5"),
    "gemini": ("gemini", "gemini-2.5-flash"),
    "bedrock": ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
}
WITHOUT_MODEL = {"bedrock"}
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


USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}

STREAMS: Mapping[str, bytes] = {
    "openai_chat": sse(
        openai_chunk({"role": "assistant", "content": ""}),
        openai_chunk({"content": "Hél"}),
        openai_chunk({"content": "lo 👋"}),
        openai_chunk(finish="stop"),
        {**openai_chunk(), "choices": [], "usage": USAGE},
        "[DONE]",
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
    "bedrock": json.dumps(
        {
            "output": {"message": {"role": "assistant", "content": [{"text": "Héllo 👋"}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 5, "outputTokens": 2, "totalTokens": 7},
        }
    ).encode(),
}
"""The same answer as one document."""
