"""Which HTTP transport costs least: CPU per call of the calling process, for whole and for streamed answers.

    python -m benchmarks.transport [--calls 4000] [--flight 64]

Each candidate runs in a process of its own against a raw asyncio server in another process, over loopback. What the
worker does with the answer is left out: the figures are the transport's alone. A candidate whose library is not
installed is passed over (``pyreqwest`` is no dependency).
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import uvloop

ROOT = Path(__file__).parent.parent
PROMPT = json.dumps({"model": "m", "messages": [{"role": "user", "content": "word " * 200}]}).encode()
EVENTS = 30
PIECE = b'data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
END = (
    b'data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"x","object":"chat.completion.chunk","choices":[],'
    b'"usage":{"prompt_tokens":200,"completion_tokens":30}}\n\ndata: [DONE]\n\n'
)
ANSWER = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "word " * 80}, "finish_reason": "stop"},
        ],
        "usage": {"prompt_tokens": 200, "completion_tokens": 80, "total_tokens": 280},
    }
).encode()
HEADERS = {"content-type": "application/json", "authorization": "Bearer sk-0", "accept-encoding": "identity"}

Call = Callable[[str, bytes, dict[str, str]], Awaitable[int]]
"""Posts to a path and returns the number of body bytes."""


# -- the server


class Upstream(asyncio.Protocol):
    """Answers every request: a whole answer, or ``EVENTS`` pieces if the path or the body asks for a stream."""

    def __init__(self) -> None:
        self._buffer = b""
        self._streams: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where to write."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer as soon as a request is complete."""
        self._buffer += data
        while True:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            if b"/stream " in head[:200] or b'"stream":true' in rest[:length]:
                self._streams = asyncio.ensure_future(self._stream())
            else:
                self._transport.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
                    b"x-ratelimit-remaining-requests: 99\r\nx-request-id: r-1\r\n\r\n%b" % (len(ANSWER), ANSWER)
                )

    async def _stream(self) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for _ in range(EVENTS):
            self._transport.write(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
            await asyncio.sleep(0)
        self._transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(END), END))


async def serve() -> None:
    """Run the server until stdin closes; its port is the first line on stdout."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


# -- the candidates


def httpx_client() -> Call:
    """``httpx.AsyncClient`` as it comes."""
    httpx = import_module("httpx")
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return _through_client(httpx.AsyncClient(limits=limits))


def httpx_transport() -> Call:
    """The candidate: httpx's own transport, called with prepared requests."""
    httpx = import_module("httpx")
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return _through_transport(httpx.AsyncHTTPTransport(limits=limits))


def aiohttp_client() -> Call:
    """``httpx.AsyncClient`` over aiohttp."""
    httpx, ours = import_module("httpx"), import_module("workers.transport")
    return _through_client(httpx.AsyncClient(transport=ours.AiohttpTransport()))


def aiohttp_transport() -> Call:
    """The candidate: httpx over aiohttp, called with prepared requests."""
    return _through_transport(import_module("workers.transport").AiohttpTransport())


def aiohttp_directly() -> Call:
    """The candidate: aiohttp without httpx: what the adapter costs."""
    aiohttp = import_module("aiohttp")
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar())

    async def call(url: str, body: bytes, headers: dict[str, str]) -> int:
        size = 0
        async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            async for chunk in response.content.iter_any():
                size += len(chunk)
        return size

    return call


def pyreqwest_client() -> Call:
    """``httpx.AsyncClient`` over pyreqwest's own httpx transport."""
    httpx, compatible = import_module("httpx"), import_module("pyreqwest.compatibility.httpx")
    return _through_client(httpx.AsyncClient(transport=compatible.HttpxTransport(_pyreqwest())))


def pyreqwest_transport() -> Call:
    """The candidate: httpx over pyreqwest by an adapter of ours, called with prepared requests."""
    return _through_transport(_over_pyreqwest())


def pyreqwest_directly() -> Call:
    """The candidate: pyreqwest without httpx: what the adapter costs."""
    client = _pyreqwest()

    async def call(url: str, body: bytes, headers: dict[str, str]) -> int:
        size = 0
        async with (
            client.post(url)
            .headers(headers)
            .body_bytes(body)
            .streamed_read_buffer_limit(0)
            .build_streamed() as response
        ):
            reader = response.body_reader
            while (chunk := await reader.read_chunk()) is not None:
                size += len(chunk)
        return size

    return call


CANDIDATES: dict[str, Callable[[], Call]] = {
    "httpx.AsyncClient": httpx_client,
    "httpx transport": httpx_transport,
    "httpx.AsyncClient over aiohttp": aiohttp_client,
    "httpx transport over aiohttp": aiohttp_transport,
    "aiohttp directly": aiohttp_directly,
    "httpx.AsyncClient over pyreqwest": pyreqwest_client,
    "httpx transport over pyreqwest": pyreqwest_transport,
    "pyreqwest directly": pyreqwest_directly,
}


def _through_client(client: Any) -> Call:
    async def call(url: str, body: bytes, headers: dict[str, str]) -> int:
        size = 0
        async with client.stream("POST", url, content=body, headers=headers) as response:
            async for chunk in response.aiter_raw():
                size += len(chunk)
        return size

    return call


def _through_transport(transport: Any) -> Call:
    httpx = import_module("httpx")
    urls: dict[str, Any] = {}

    async def call(url: str, body: bytes, headers: dict[str, str]) -> int:
        if url not in urls:
            urls[url] = httpx.URL(url)
        request = httpx.Request("POST", urls[url], headers=headers, content=body)
        response = await transport.handle_async_request(request)
        size = 0
        try:
            async for chunk in response.stream:
                size += len(chunk)
        finally:
            await response.aclose()
        return size

    return call


def _pyreqwest() -> Any:
    return (
        import_module("pyreqwest.client")
        .ClientBuilder()
        .follow_redirects(False)
        .gzip(False)
        .connect_timeout(timedelta(seconds=5))
        .http1_only()
        .error_for_status(False)
        .build()
    )


def _over_pyreqwest() -> Any:
    httpx, client = import_module("httpx"), _pyreqwest()

    class Stream(httpx.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, reader: Any, request: Any) -> None:
            self._reader, self._request = reader, request

        async def __aiter__(self) -> AsyncIterator[bytes]:
            while (chunk := await self._reader.read_chunk()) is not None:
                yield bytes(chunk)

        async def aclose(self) -> None:
            await self._request.__aexit__(None, None, None)

    class Transport(httpx.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        async def handle_async_request(self, request: Any) -> Any:
            builder = client.post(str(request.url))
            sending = (
                builder.headers(request.headers.multi_items())
                .body_bytes(request.read())
                .streamed_read_buffer_limit(0)
                .build_streamed()
            )
            response = await sending.__aenter__()
            headers = list(response.headers.items())
            return httpx.Response(response.status, headers=headers, stream=Stream(response.body_reader, sending))

    return Transport()


# -- the measurement


async def measure(name: str, base: str, calls: int, flight: int) -> dict[str, float]:
    """CPU seconds a call and calls a second, whole and streamed; resident megabytes at the end."""
    call = CANDIDATES[name]()
    figures: dict[str, float] = {}
    expected = {"/whole": len(ANSWER), "/stream": EVENTS * len(PIECE) + len(END)}
    for path, count in (("/whole", calls), ("/stream", calls // 4)):
        left = iter(range(count))

        async def worker(path: str = path, left: Any = left) -> None:
            for number in left:
                size = await call(base + path, PROMPT, {**HEADERS, "x-penstock-attempt": str(number)})
                if size != expected[path]:
                    message = f"{name}: {size} bytes of {expected[path]}"
                    raise RuntimeError(message)

        await asyncio.gather(*(worker(path, iter(range(2))) for _ in range(flight)))  # warm: connections are open
        cpu, wall = time.process_time(), time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(flight)))
        figures[f"cpu{path}"] = (time.process_time() - cpu) / count
        figures[f"rate{path}"] = count / (time.perf_counter() - wall)
    figures["rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


def main() -> None:
    """Run every candidate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--flight", type=int, default=64)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--base", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        uvloop.run(serve())
        return
    if given.one:
        print(json.dumps(uvloop.run(measure(given.one, given.base, given.calls, given.flight))))
        sys.stdout.flush()
        return
    command = [sys.executable, "-m", "benchmarks.transport"]
    server = subprocess.Popen([*command, "--serve"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    base = f"http://127.0.0.1:{cast('Any', server.stdout).readline().strip()}"
    print(
        f"{given.calls} calls, {given.flight} in flight, CPU of the calling process only; streamed = {EVENTS} events\n"
    )
    print(f"| {'transport':34} | ms CPU a call | calls/s | ms CPU a stream | streams/s | MB |")
    print("|---|---:|---:|---:|---:|---:|")
    try:
        for name in CANDIDATES:
            if "pyreqwest" in name and importlib.util.find_spec("pyreqwest") is None:
                continue
            how = ["--one", name, "--base", base, "--calls", str(given.calls), "--flight", str(given.flight)]
            run = subprocess.run([*command, *how], cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=120)
            found = json.loads(run.stdout)
            print(
                f"| {name:34} | {found['cpu/whole'] * 1e3:.3f} | {found['rate/whole']:.0f} "
                f"| {found['cpu/stream'] * 1e3:.3f} | {found['rate/stream']:.0f} | {found['rss']:.0f} |",
                flush=True,
            )
    finally:
        server.communicate()


if __name__ == "__main__":
    main()
