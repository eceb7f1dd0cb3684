"""A provider that costs next to nothing: OpenAI's chat streams, every event a write of its own, at an even pace.

    python -m benchmarks.edge_provider RATE TOKENS       (started by benchmarks.edge_systems)

The simulator paces every stream by itself, which for a thousand of them takes as much of a machine as the gateway that
is to be measured. Here one timer serves all: at each of ``RATE`` beats a second every open stream gets one event.
"""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _event(delta: dict[str, str], finish: str | None = None) -> bytes:
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-5-mini",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
    }
    return _chunk(b"data: %b\n\n" % json.dumps(body, separators=(",", ":")).encode())


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_FIRST = _event({"role": "assistant", "content": ""})
_WORDS = [_event({"content": f"w{index:03d} "}) for index in range(1_000)]
_LAST = _event({}, "stop") + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Stream(asyncio.Protocol):
    """One connection; one answer at a time."""

    def __init__(self, talking: set[Stream], tokens: int) -> None:
        self._talking = talking
        self._tokens = tokens
        self._asked = bytearray()
        self._said = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, _: Exception | None) -> None:
        self._talking.discard(self)

    def data_received(self, data: bytes) -> None:
        self._asked += data
        head, found, body = bytes(self._asked).partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        if found and len(body) >= length:
            self._asked.clear()
            self._said = 0
            self._talking.add(self)
            if self._transport is not None:
                self._transport.write(_HEAD + _FIRST)

    def beat(self) -> None:
        """One event more."""
        if self._transport is None:
            return
        if self._said == self._tokens:
            self._talking.discard(self)
            self._transport.write(_LAST)
        else:
            self._transport.write(_WORDS[self._said % len(_WORDS)])
            self._said += 1


async def serve(rate: float, tokens: int) -> None:
    """Listen on a free port, say on which, and go on for ever."""
    loop = asyncio.get_running_loop()
    talking: set[Stream] = set()
    server = await loop.create_server(lambda: Stream(talking, tokens), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    sys.stdout.write(json.dumps({"base_url": url}) + "\n")
    sys.stdout.flush()
    due = loop.time()
    while True:
        due = max(due + 1 / rate, loop.time() - 1 / rate)
        await asyncio.sleep(max(0.0, due - loop.time()))
        for stream in tuple(talking):
            stream.beat()


if __name__ == "__main__":
    uvloop.run(serve(float(sys.argv[1]), int(sys.argv[2])))
