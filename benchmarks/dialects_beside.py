"""The dialects beside the vendors' own clients and LiteLLM, on the same bytes from a server on the loopback interface.

    python -m benchmarks.dialects --beside [--litellm PYTHON]

Each reader runs in a process of its own; the server is here. Every reader must have read the same characters, else the
table says so instead of a figure. LiteLLM is no dependency: ``PYTHON`` is an interpreter that has it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READERS = Path(__file__).parent / "dialects_readers.py"
BOUND = 300.0
"""Seconds one reader may take."""


def words(count: int) -> list[str]:
    """Five characters each, none like the one before: LiteLLM gives a stream up that repeats itself."""
    return [f"w{at % 1000:03d} " for at in range(count)]


@dataclass(frozen=True, slots=True)
class Bodies:
    """A whole answer and a stream, with the path by which a request asks for them."""

    path: str
    whole: bytes
    stream: bytes


def _events(events: list[tuple[str, Any]]) -> bytes:
    lines = []
    for name, data in events:
        head = f"event: {name}\n" if name else ""
        lines.append(f"{head}data: {json.dumps(data, separators=(',', ':'))}\n\n")
    return "".join(lines).encode()


def _chat(pieces: list[str]) -> Bodies:
    text, chunks = "".join(pieces), len(pieces)
    common = {"id": "chatcmpl-1", "created": 1, "model": "gpt-4o-mini", "system_fingerprint": "fp_1"}
    usage = {"prompt_tokens": 30, "completion_tokens": chunks, "total_tokens": 30 + chunks}
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    whole = {
        **common,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage,
    }
    chunk = {**common, "object": "chat.completion.chunk", "service_tier": "default"}

    def piece(delta: dict[str, Any], finish: str | None = None) -> tuple[str, Any]:
        return "", {**chunk, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}

    events = [
        piece({"role": "assistant", "content": ""}),
        *[piece({"content": word}) for word in pieces],
        piece({}, "stop"),
    ]
    stream = _events([*events, ("", {**chunk, "choices": [], "usage": usage})]) + b"data: [DONE]\n\n"
    return Bodies("/chat/completions", json.dumps(whole).encode(), stream)


def _responses(pieces: list[str]) -> Bodies:
    text, chunks = "".join(pieces), len(pieces)
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    item = {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [part]}
    usage = {
        "input_tokens": 30,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": chunks,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 30 + chunks,
    }
    done = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": "gpt-4o-mini",
        "output": [item],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "temperature": 1.0,
        "top_p": 1.0,
        "text": {"format": {"type": "text"}},
        "usage": usage,
    }
    begun = {**done, "status": "in_progress", "output": [], "usage": None}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    empty = {**part, "text": ""}
    bodies: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **place, "part": empty},
        *[{"type": "response.output_text.delta", **place, "delta": word, "logprobs": []} for word in pieces],
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": done},
    ]
    numbered = [(body["type"], {**body, "sequence_number": at}) for at, body in enumerate(bodies)]
    return Bodies("/responses", json.dumps(done).encode(), _events(numbered))


def _anthropic(pieces: list[str]) -> Bodies:
    text, chunks = "".join(pieces), len(pieces)
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5"}
    usage = {"input_tokens": 30, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1}
    ends = {"stop_reason": "end_turn", "stop_sequence": None}
    whole = {
        **message,
        "content": [{"type": "text", "text": text}],
        **ends,
        "usage": {**usage, "output_tokens": chunks},
    }
    begun: dict[str, Any] = {**message, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    deltas = [{"type": "text_delta", "text": word} for word in pieces]
    bodies: list[dict[str, Any]] = [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *[{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas],
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ends, "usage": {"output_tokens": chunks}},
        {"type": "message_stop"},
    ]
    return Bodies("/messages", json.dumps(whole).encode(), _events([(body["type"], body) for body in bodies]))


def _gemini(pieces: list[str]) -> Bodies:
    text, chunks = "".join(pieces), len(pieces)

    def body(said: str, *, last: bool) -> dict[str, Any]:
        candidate = {"content": {"role": "model", "parts": [{"text": said}]}, "index": 0}
        usage = {"promptTokenCount": 30, "candidatesTokenCount": chunks, "totalTokenCount": 30 + chunks}
        ends = {"finishReason": "STOP"} if last else {}
        told = {"modelVersion": "gemini-2.5-flash", "responseId": "r"}
        return {"candidates": [{**candidate, **ends}], "usageMetadata": usage, **told}

    events = [("", body(word, last=at == chunks)) for at, word in enumerate(pieces, 1)]
    return Bodies("generateContent", json.dumps(body(text, last=True)).encode(), _events(events))


class _Server:
    """Answers every POST with the bytes that its path asks for."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                size = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
                )
                body = await reader.readexactly(size)
                streamed = b"streamGenerateContent" in head or b'"stream":true' in body.replace(b" ", b"")
                data = self._bodies.stream if streamed else self._bodies.whole
                kind = b"text/event-stream" if streamed else b"application/json"
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (kind, len(data)) + data
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def _run(python: str, reader: str, dialect: str, url: str, calls: int) -> dict[str, float] | str:
    process = await asyncio.create_subprocess_exec(
        python,
        str(READERS),
        reader,
        dialect,
        url,
        str(calls),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=READERS.parent.parent,
        env={"PYTHONPATH": str(READERS.parent.parent) if reader == "ours" else "", "PATH": "/usr/bin:/bin"},
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), BOUND)
    except TimeoutError:
        process.kill()
        return "too slow"
    if process.returncode:
        return err.decode("utf-8", "replace").strip().rpartition("\n")[2][:100] or "failed"
    found: dict[str, float] = json.loads(out.decode().strip().rpartition("\n")[2])
    return found


async def beside(litellm: str | None, *, calls: int, chunks: int) -> None:
    """Measure every reader of every dialect and print the table."""
    pieces = words(chunks)
    size = sum(len(word) for word in pieces)
    makers = {"openai_chat": _chat, "openai_responses": _responses, "anthropic": _anthropic, "gemini": _gemini}
    readers = [("ours", sys.executable), ("sdk", sys.executable), *([("litellm", litellm)] if litellm else [])]
    print(f"\nmicroseconds of CPU, {calls} calls over loopback, answers of {chunks} chunks, {size} characters")
    print(f"{'':<18}{'reader':<9}{'a response':>12}{'ratio':>8}{'a chunk':>10}{'ratio':>8}")
    for dialect, make in makers.items():
        server = await asyncio.start_server(_Server(make(pieces)).answer, "127.0.0.1", 0, limit=2**20)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        first: dict[str, float] = {}
        async with server:
            for reader, python in readers:
                found = await _run(python, reader, dialect, url, calls)
                if isinstance(found, str):
                    print(f"{dialect:<18}{reader:<9}  {found}")
                    continue
                wrong = {name: n for name, n in found.items() if name.endswith("characters") and n != size}
                if wrong:
                    print(f"{dialect:<18}{reader:<9}  read {wrong} instead of {size}")
                    continue
                whole, chunk = found["whole"] / calls * 1e6, found["stream"] / calls / chunks * 1e6
                if reader == "ours":
                    first = {"whole": whole, "chunk": chunk}
                ratios = [f"{n / first[of]:>8.1f}" if first else "" for of, n in (("whole", whole), ("chunk", chunk))]
                print(f"{dialect:<18}{reader:<9}{whole:>12.1f}{ratios[0]}{chunk:>10.2f}{ratios[1]}")
