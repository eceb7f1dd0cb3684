"""A provider that fails in the way its model's name says, and notes when: ``/first`` fails, ``/second`` answers.

    python -m benchmarks.failover_provider TTFT STALL      (started by benchmarks.failover)

What is asked for is ``FAULT-NUMBER``, in the last message. ``GET /log`` tells of each number how many milliseconds lay
between the moment from which a caller could know that ``/first`` has failed and the arrival at ``/second``: the last
byte of an answer, a reset, or the end of the time that a caller waits (``TTFT`` from the request, ``STALL`` from the
last token, seconds).
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import time
from typing import Any

import uvloop

NO_LINGER = struct.pack("ii", 1, 0)
WORDS = 5


def _event(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    frame = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: %b\n\n" % json.dumps(frame).encode()


def _words(count: int) -> bytes:
    return b"".join(_event({"role": "assistant", "content": f"w{number} "}) for number in range(count))


def _head(status: str, kind: str, *more: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", f"content-type: {kind}", *more, "", ""]).encode()


def _whole(status: str, said: Any, *more: str) -> bytes:
    body = json.dumps(said).encode()
    return _head(status, "application/json", f"content-length: {len(body)}", *more) + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM = _head("200 OK", "text/event-stream", "transfer-encoding: chunked")
ANSWER = STREAM + _chunk(_words(WORDS) + _event({}, "stop") + b"data: [DONE]\n\n") + b"0\r\n\r\n"
ERRORS = {
    "500": _whole("500 Internal Server Error", {"error": {"message": "no", "type": "server_error"}}),
    "429": _whole("429 Too Many Requests", {"error": {"message": "no", "type": "rate_limit"}}, "retry-after: 30"),
}


class Log:
    """When each number's first place had failed, and when its second was asked."""

    def __init__(self, ttft: float, stall: float) -> None:
        self.ttft = ttft
        self.stall = stall
        self._failed: dict[str, float] = {}
        self.gaps: dict[str, float] = {}

    def failed(self, name: str, at: float) -> None:
        self._failed.setdefault(name, at)

    def asked(self, name: str, at: float) -> None:
        if name in self._failed and name not in self.gaps:
            self.gaps[name] = 1_000 * (at - self._failed[name])


class Connection(asyncio.Protocol):
    """One connection, one request after the other."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._data = bytearray()
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        at = time.perf_counter()
        self._data += data
        head, found, body = bytes(self._data).partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        if found and len(body) >= length:
            self._data.clear()
            self._answer(head.split(b" ")[1].decode(), body, at)

    def _answer(self, path: str, body: bytes, at: float) -> None:
        if path == "/log":
            self._transport.write(_whole("200 OK", self._log.gaps))
            return
        name = json.loads(body)["messages"][-1]["content"]
        if path.startswith("/second"):
            self._log.asked(name, at)
            self._transport.write(ANSWER)
            return
        self._fail(name, at, self._transport)

    def _fail(self, name: str, at: float, transport: asyncio.Transport) -> None:
        match name.partition("-")[0]:
            case "hang":
                at += self._log.ttft
            case "stall":
                transport.write(STREAM + _chunk(_words(WORDS - 2)))
                at = time.perf_counter() + self._log.stall
            case "reset":
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
                transport.abort()
                at = time.perf_counter()
            case fault:
                transport.write(ERRORS[fault])
                at = time.perf_counter()
        self._log.failed(name, at)


async def main(ttft: float, stall: float) -> None:
    """Serve until the end, after a line that says where."""
    log = Log(ttft, stall)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(log), "127.0.0.1", 0)
    print(json.dumps({"base_url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(float(sys.argv[1]), float(sys.argv[2])))
