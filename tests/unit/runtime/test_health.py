"""The health server, asked over a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from runtime.health import MAX_CONNECTIONS, Health
from runtime.telemetry import Metrics, Telemetry, count
from tests.support.eventually import eventually


@pytest.fixture
async def health() -> AsyncIterator[Health]:
    telemetry, metrics = Telemetry(), Metrics("test")
    metrics.listen(telemetry, [count("calls", "called", "Calls")])
    telemetry.emit("called")
    health = Health(telemetry, metrics)
    await health.start()
    yield health
    await health.stop()


async def ask(health: Health, request: str) -> tuple[int, dict[str, str], bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", health.port)
    try:
        writer.write(request.encode())
        answer = await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split(" ")[1]), headers, body


async def get(health: Health, path: str) -> tuple[int, bytes]:
    status, headers, body = await ask(health, f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")
    assert int(headers["content-length"]) == len(body)
    return status, body


async def test_a_turning_loop_is_alive(health: Health) -> None:
    assert (await get(health, "/livez"))[0] == 200


async def test_ready_while_every_check_passes_and_the_reasons_when_not(health: Health) -> None:
    missing: list[str] = []
    health.check("broker", lambda: missing[0] if missing else None)
    assert (await get(health, "/readyz"))[0] == 200
    missing.append("not connected")
    status, body = await get(health, "/readyz?verbose")
    assert status == 503
    assert json.loads(body)["missing"] == {"broker": "not connected"}


async def test_metrics_are_served(health: Health) -> None:
    status, body = await get(health, "/metrics")
    assert status == 200
    assert b"penstock_calls_total 1.0" in body
    assert b"process_resident_memory_bytes" in body


async def test_a_process_may_add_paths(health: Health) -> None:
    health.route("/autoscale", lambda: (200, "application/json", b"{}"))
    assert await get(health, "/autoscale") == (200, b"{}")


async def test_other_paths_are_not_found(health: Health) -> None:
    assert (await get(health, "/"))[0] == 404


async def test_only_get_and_head_are_answered(health: Health) -> None:
    assert (await ask(health, "POST /livez HTTP/1.1\r\n\r\n"))[0] == 405
    status, headers, body = await ask(health, "HEAD /livez HTTP/1.1\r\n\r\n")
    assert (status, headers["content-length"], body) == (200, "18", b"")


@pytest.mark.parametrize("noise", ["nonsense\r\n\r\n", "GET\r\n\r\n"])
async def test_nonsense_gets_a_refusal(health: Health, noise: str) -> None:
    assert (await ask(health, noise))[0] in {404, 405}


async def test_a_request_that_never_ends_is_dropped(health: Health) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", health.port)
    writer.write(b"GET /" + b"x" * 100_000)
    try:
        assert await asyncio.wait_for(reader.read(), 5) == b""
    except ConnectionResetError:
        pass
    finally:
        writer.close()


async def test_too_many_connections_are_turned_away_and_places_come_free(health: Health) -> None:
    held = [await asyncio.open_connection("127.0.0.1", health.port) for _ in range(MAX_CONNECTIONS)]
    await eventually(lambda: len(health._open) == MAX_CONNECTIONS)
    reader, writer = await asyncio.open_connection("127.0.0.1", health.port)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    for _, other in [*held, (reader, writer)]:
        other.close()
    await eventually(lambda: not health._open)
    assert (await get(health, "/livez"))[0] == 200


async def test_starting_and_stopping_twice_is_safe(health: Health) -> None:
    port = health.port
    await health.start()
    assert health.port == port
    await health.stop()
    await health.stop()
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)
