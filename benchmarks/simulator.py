"""How fast the simulator is: requests and chunks a second on one core, and the CPU time that each costs it.

    python -m benchmarks.simulator [--seconds 3] [--connections 64]

The simulator runs as a process of its own, bound to one core where the system can bind; the load comes from this
process over plain sockets that only count bytes, so that the client is never the slower side. Every response to the
same request has the same length, which is how bytes become responses.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import psutil
import uvloop

PROMPT = "What would you tell someone who has never seen a turbine about water, pipes, gates and patience? " * 11
WARM_UP = 0.5


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table: what is asked for, and how many events a response has."""

    name: str
    provider: str
    path: str
    headers: str
    body: dict[str, object]
    separator: bytes = b""


def scenarios() -> list[Scenario]:
    """A plain and a streamed completion of every dialect, about 1 KB of prompt each."""
    prompt = PROMPT[:1_024]
    messages = [{"role": "user", "content": prompt}]
    chat: dict[str, object] = {"model": "bench+tokens=32", "messages": messages}
    message: dict[str, object] = {**chat, "max_tokens": 1_024}
    content: dict[str, object] = {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}
    bearer, version, google = (
        "authorization: Bearer k",
        "x-api-key: k\r\nanthropic-version: 2023-06-01",
        "x-goog-api-key: k",
    )
    method = "/v1beta/models/bench+tokens=32:"
    events = method + "streamGenerateContent?alt=sse"
    return [
        Scenario("openai, whole", "openai", "/v1/chat/completions", bearer, chat),
        Scenario("openai, streamed", "openai", "/v1/chat/completions", bearer, {**chat, "stream": True}, b"data: "),
        Scenario("anthropic, whole", "anthropic", "/v1/messages", version, message),
        Scenario("anthropic, streamed", "anthropic", "/v1/messages", version, {**message, "stream": True}, b"data: "),
        Scenario("gemini, whole", "gemini", method + "generateContent", google, content),
        Scenario("gemini, streamed", "gemini", events, google, content, b"data: "),
    ]


class Client(asyncio.Protocol):
    """One connection that asks again as soon as it has its answer."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._transport: asyncio.Transport | None = None
        self.first = bytearray()
        self.expected = 0
        self.answers = 0
        self._received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def ask(self) -> None:
        if self._transport is not None:
            self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.expected:
            self.first += data
            return
        self._received += len(data)
        while self._received >= self.expected:
            self._received -= self.expected
            self.answers += 1
            self.ask()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def request_bytes(scenario: Scenario, host: str) -> bytes:
    """The whole request."""
    body = json.dumps(scenario.body).encode()
    lines = f"POST {scenario.path} HTTP/1.1\r\nhost: {host}\r\n{scenario.headers}\r\ncontent-type: application/json\r\n"
    return f"{lines}content-length: {len(body)}\r\n\r\n".encode() + body


async def measure_length(host: str, port: int, request: bytes) -> bytes:
    """One response, complete: the connection is closed by the server after it."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(request.replace(b"content-type", b"connection: close\r\ncontent-type", 1))
    response = await reader.read()
    writer.close()
    if b" 200 OK" not in response[:20]:
        raise SystemExit(f"the simulator answered {response[:200]!r}")
    return response


async def run(scenario: Scenario, url: str, process: psutil.Process, seconds: float, connections: int) -> list[str]:
    """Measure one scenario; returns its row of the table."""
    target = urlsplit(url)
    host, port = str(target.hostname), int(target.port or 80)
    request = request_bytes(scenario, f"{host}:{port}")
    response = await measure_length(host, port, request)
    loop = asyncio.get_running_loop()
    clients = [(await loop.create_connection(lambda: Client(request), host, port))[1] for _ in range(connections)]
    for client in clients:
        client.expected = len(response)
        client.ask()
    await asyncio.sleep(WARM_UP)
    answers, cpu, own, start = _answers(clients), _cpu(process), time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    elapsed = time.perf_counter() - start
    answers, cpu, own = _answers(clients) - answers, _cpu(process) - cpu, time.process_time() - own
    for client in clients:
        client.close()
    rate, events = answers / elapsed, max(1, response.count(scenario.separator)) if scenario.separator else 0
    return [
        scenario.name,
        f"{rate:,.0f}",
        f"{rate * events:,.0f}" if events else "-",
        f"{cpu / answers * 1e6:,.0f}",
        f"{answers / cpu:,.0f}",
        f"{cpu / elapsed:.0%}",
        f"{own / elapsed:.0%}",
    ]


def _answers(clients: list[Client]) -> int:
    return sum(client.answers for client in clients)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def bind(pid: int, core: int) -> None:
    """Bind a process to one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(pid, {allowed[core % len(allowed)]})


async def measure(seconds: float, connections: int, only: str) -> None:
    """Start a simulator, measure every scenario, print the table."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulator", "--json", stdout=asyncio.subprocess.PIPE
    )
    try:
        urls = json.loads(await child.stdout.readline() if child.stdout else "")["base_urls"]
        bind(child.pid, 0)
        process = psutil.Process(child.pid)
        rows = [["scenario", "requests/s", "events/s", "CPU µs/request", "requests/CPU s", "server CPU", "load CPU"]]
        chosen = [one for one in scenarios() if only in one.name]
        rows += [await run(one, urls[one.provider], process, seconds, connections) for one in chosen]
        print_table(rows)
        print(f"\n1,024 bytes of prompt, 32 tokens of answer, {connections} connections, server bound to one core")
    finally:
        child.terminate()
        await child.wait()


def print_table(rows: list[list[str]]) -> None:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells))


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each scenario is measured")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--only", default="", help="only scenarios whose name contains this")
    options = parser.parse_args()
    bind(0, 1)
    uvloop.run(measure(options.seconds, options.connections, options.only))


if __name__ == "__main__":
    main()
