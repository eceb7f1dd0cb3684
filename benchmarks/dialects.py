"""CPU of the dialects per request, answer and chunk, as a table: ``python -m benchmarks.dialects [--beside]``.

A prompt of 1 KB, a plain answer of 1 KB, and one chunk of a stream that brings one word. ``--beside`` goes on with the
vendors' own clients and LiteLLM on the same bytes (``benchmarks.dialects_beside``); LiteLLM is no dependency, so
``--litellm`` names a Python interpreter that has it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable

from benchmarks.dialects_beside import beside
from catalogue.load import providers
from job_contracts.chat import Conversation
from workers.dialects import DIALECTS, tokens
from workers.dialects.port import Target

TEXT = ("The quick brown fox jumps over the lazy dog. " * 30)[:1024]
ASKED = Conversation.model_validate(
    {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": TEXT}],
        "settings": {"max_tokens": 500, "temperature": 0.2},
    }
)
MODELS = {
    "openai_chat": ("openai", "gpt-4o-mini"),
    "anthropic": ("anthropic", "claude-sonnet-4-5"),
    "gemini": ("gemini", "gemini-2.5-flash"),
}
ANSWERS = {
    "openai_chat": {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": TEXT, "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 230,
            "completion_tokens": 228,
            "total_tokens": 458,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "system_fingerprint": "fp_1",
    },
    "anthropic": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [{"type": "text", "text": TEXT}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 230, "cache_read_input_tokens": 0, "output_tokens": 228, "service_tier": "standard"},
    },
    "gemini": {
        "candidates": [{"content": {"role": "model", "parts": [{"text": TEXT}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 230, "candidatesTokenCount": 228, "totalTokenCount": 458},
        "modelVersion": "gemini-2.5-flash",
        "responseId": "r",
    },
}
CHUNKS = {
    "openai_chat": {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-mini",
        "service_tier": "default",
        "system_fingerprint": "fp_1",
        "choices": [{"index": 0, "delta": {"content": " word"}, "logprobs": None, "finish_reason": None}],
        "usage": None,
    },
    "anthropic": {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " word"}},
    "gemini": {
        "candidates": [{"content": {"role": "model", "parts": [{"text": " word"}]}, "index": 0}],
        "usageMetadata": {"promptTokenCount": 230, "candidatesTokenCount": 2, "totalTokenCount": 232},
        "modelVersion": "gemini-2.5-flash",
        "responseId": "r",
    },
}


def microseconds(work: Callable[[], object], count: int) -> float:
    """CPU of one run, the best of five rounds."""
    rounds = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(count):
            work()
        rounds.append(time.process_time() - start)
    return min(rounds) / count * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2_000, help="runs a round")
    parser.add_argument("--beside", action="store_true", help="other readers of the same bytes as well")
    parser.add_argument("--litellm", metavar="PYTHON", help="an interpreter that has LiteLLM")
    parser.add_argument("--calls", type=int, default=200, help="calls a reader, with --beside")
    given = parser.parse_args()
    count = given.count
    rows = providers()
    print(f"{'microseconds of CPU':<22}{'encode 1 KB':>13}{'decode 1 KB':>13}{'together':>10}{'chunk':>8}")
    for name, (provider, model) in MODELS.items():
        dialect = DIALECTS[name]
        target = Target(rows[provider], rows[provider].model(model))
        document = json.dumps(ANSWERS[name]).encode()

        def whole(target: Target = target, document: bytes = document, name: str = name) -> object:
            reader = DIALECTS[name].decoder(target, content_type="application/json")
            reader.feed(document)
            return reader.finish()

        encode = microseconds(lambda target=target, dialect=dialect: dialect.encode(ASKED, target), count)  # type: ignore[misc]
        decode = microseconds(whole, count)
        reader = dialect.decoder(target, content_type="text/event-stream")
        chunk = f"data: {json.dumps(CHUNKS[name], separators=(',', ':'))}\n\n".encode()
        piece = microseconds(lambda reader=reader, chunk=chunk: reader.feed(chunk), count)  # type: ignore[misc]
        print(f"{name:<22}{encode:>13.1f}{decode:>13.1f}{encode + decode:>10.1f}{piece:>8.1f}")
    print(f"{'estimate of a prompt':<22}{microseconds(lambda: tokens.estimate(ASKED), count):>13.1f}")
    if given.beside:
        asyncio.run(beside(given.litellm, calls=given.calls, chunks=500))


if __name__ == "__main__":
    main()
