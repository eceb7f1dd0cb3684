"""The control interface over HTTP, the main port, and HTTP itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from decimal import Decimal

import httpx
import pytest

from simulator import FaultOrder, Limits, Pace, Price, Settings, Simulator, UnknownFault, UnknownProvider
from tests.integration.simulator.raw import HEADERS, PROVIDERS, ask, connect, exchange, http, receive, request
from tests.support.eventually import eventually
from tests.support.simulated import SimulatorControl


@pytest.fixture
async def control(simulator: Simulator) -> AsyncIterator[SimulatorControl]:
    async with SimulatorControl(simulator.url) as one:
        yield one


async def test_everything_there_is_can_be_found(simulator: Simulator, control: SimulatorControl) -> None:
    overview = await control.overview()
    assert overview.url == simulator.url
    assert {one.name: one.base_url for one in overview.providers} == simulator.base_urls
    assert all(one.listening for one in overview.providers)


async def test_the_books_are_the_same_over_http(simulator: Simulator, control: SimulatorControl) -> None:
    await ask(simulator, "openai", "gpt-4o")
    await ask(simulator, "gemini", "gemini+fault=503")
    assert await control.meter() == simulator.control.meter()
    assert await control.audit() == simulator.control.audit()
    assert await control.log() == simulator.control.log()
    assert [line.provider for line in await control.log(1)] == ["gemini"]
    await control.reset_meter()
    await control.reset_audit()
    await control.reset_log()
    assert (await control.meter()).rows == ()
    assert (await control.audit()).domains[0].admitted == 0
    assert await control.log() == ()


async def test_faults_are_laid_and_removed_over_http(simulator: Simulator, control: SimulatorControl) -> None:
    (first,) = await control.add_fault(FaultOrder(fault="503@2", provider="openai"))
    everywhere = await control.add_fault(FaultOrder(fault="refused"))
    assert len(everywhere) == 3
    assert not any(one.listening for one in (await control.overview()).providers)
    await control.remove_fault(everywhere[0])
    assert [one.listening for one in (await control.overview()).providers] == [True, False, False]
    received = await ask(simulator, "openai", "m")
    assert (received.status, received.headers["retry-after"]) == (503, "2")
    seen = (await control.faults())[0]
    assert (seen.id, seen.fault, seen.struck) == (first, "overloaded", 1)
    await control.clear_faults("openai")
    assert {one.provider for one in await control.faults()} == {"anthropic", "gemini"}
    await control.reset()
    assert await control.faults() == ()
    assert [(await ask(simulator, provider, "m")).status for provider in PROVIDERS] == [200] * 3


async def test_limits_pace_prices_and_keys_are_set_over_http(simulator: Simulator, control: SimulatorControl) -> None:
    await control.set_limits("openai", Limits(requests=5), model="m")
    await control.set_pace("openai", Pace(ttft=0.01))
    await control.set_price("openai", Price(input=Decimal(1_000), output=Decimal(0)))
    assert (await ask(simulator, "openai", "m")).headers["x-ratelimit-limit-requests"] == "5"
    assert "x-ratelimit-limit-requests" not in (await ask(simulator, "openai", "other")).headers
    assert (await control.meter()).total.cost_usd == Decimal(2 * 9 * 1_000) / 1_000_000
    await control.set_keys("openai", ("sk-other",))
    assert (await ask(simulator, "openai", "m")).status == 401
    settings = simulator.control.settings("openai")
    assert (settings.pace, settings.keys) == (Pace(ttft=0.01), ("sk-other",))


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/faults", {"fault": "nonsense"}, 422, "no fault is called `nonsense`"),
        ("POST", "/faults", {"fault": "503", "provider": "nobody"}, 404, "no provider is called `nobody`"),
        ("POST", "/faults", {"fault": "503", "odds": 1}, 422, "odds"),
        ("POST", "/faults", {"fault": "503", "probability": 2}, 422, "probability"),
        ("PUT", "/limits", {"provider": "openai", "limits": {"requests": 0}}, 422, "limits.requests"),
        ("PUT", "/pace", {"provider": "nobody", "pace": {}}, 404, "nobody"),
        ("DELETE", "/faults/77", None, 404, "there is no fault 77"),
        ("GET", "/nonsense", None, 404, "no control"),
        ("GET", "/log?last=many", None, 422, "many"),
    ],
)
async def test_a_wrong_order_is_refused_with_the_reason(
    simulator: Simulator, *, method: str, path: str, body: object, status: int, words: str
) -> None:
    async with httpx.AsyncClient(base_url=f"{simulator.url}/_control", trust_env=False) as client:
        response = await client.request(method, path, json=body)
    assert response.status_code == status
    assert words in response.json()["error"]["message"]


async def test_a_wrong_order_in_the_process_is_an_exception(simulator: Simulator) -> None:
    with pytest.raises(UnknownFault, match="nonsense"):
        await simulator.control.add_fault(FaultOrder(fault="nonsense"))
    with pytest.raises(UnknownProvider, match="there are openai, anthropic, gemini"):
        simulator.control.set_limits("nobody", Limits())
    with pytest.raises(UnknownProvider, match="nobody"):
        simulator.base_url("nobody")


async def test_the_log_shows_no_secret_and_keeps_what_marks_an_attempt(simulator: Simulator) -> None:
    marked = request("openai", "m").replace(b"host:", b"x-penstock-attempt: job-1/2\r\nhost:", 1)
    await exchange(simulator.base_url("openai"), marked.replace(b"Bearer k", b"Bearer sk-very-secret"))
    await exchange(simulator.base_url("gemini"), http("POST", "/v1beta/models/m:generateContent?key=sk-very-secret"))
    lines = simulator.control.log()
    assert lines[0].headers["x-penstock-attempt"] == "job-1/2"
    assert "secret" not in "".join(line.model_dump_json() for line in lines)


async def test_the_main_port_is_alive_and_measured(simulator: Simulator) -> None:
    await ask(simulator, "openai", 'a "model"')
    for path in ("/livez", "/readyz"):
        assert (await exchange(simulator.url, http("GET", path))).status == 200
    metrics = (await exchange(simulator.url, http("GET", "/metrics"))).body.decode()
    assert 'simulator_requests_total{provider="openai",model="a \\"model\\"",outcome="ok"} 1' in metrics
    assert (await exchange(simulator.url, http("GET", "/nothing"))).status == 404


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_the_main_port_speaks_for_every_provider(simulator: Simulator, provider: str) -> None:
    assert (await exchange(simulator.url, request(provider, "m"))).status == 200
    assert simulator.control.log(1)[0].provider == provider
    listed = http("GET", "/v1beta/models" if provider == "gemini" else "/v1/models", HEADERS[provider])
    assert (await exchange(simulator.url, listed)).status == 200
    assert simulator.control.log(1)[0].provider == provider
    named = request("openai", "m").replace(b"POST /v1", b"POST /x/openai/v1")
    assert (await exchange(simulator.url, named)).status == 200
    assert (await exchange(simulator.url, named.replace(b"/x/openai", b"/x/nobody"))).status == 404


async def test_requests_on_one_connection_are_answered_in_order(simulator: Simulator) -> None:
    reader, writer = await connect(simulator.base_url("openai"))
    paces = ("slow+ttft=0.03+tokens=3", "quick+tokens=4", "slower+ttft=0.01+tokens=5")
    writer.write(b"".join(request("openai", model) for model in paces * 20))
    answers = [json.loads((await receive(reader)).body) for _ in range(60)]
    assert [one["usage"]["completion_tokens"] for one in answers] == [3, 4, 5] * 20
    writer.close()


async def test_a_body_may_come_in_pieces_and_after_a_pause(simulator: Simulator) -> None:
    reader, writer = await connect(simulator.base_url("openai"))
    head, body = request("openai", "m").split(b"\r\n\r\n", 1)
    length = f"content-length: {len(body)}".encode()
    writer.write(head.replace(length, b"transfer-encoding: chunked\r\nexpect: 100-continue") + b"\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    for byte in range(0, len(body), 7):
        part = body[byte : byte + 7]
        writer.write(b"%x\r\n%b\r\n" % (len(part), part))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    assert (await receive(reader)).status == 200
    writer.close()


async def test_a_connection_is_closed_when_the_client_asks_for_it(simulator: Simulator) -> None:
    reader, writer = await connect(simulator.base_url("openai"))
    writer.write(request("openai", "m").replace(b"host:", b"connection: close\r\nhost:", 1))
    assert (await receive(reader)).ended == "complete"
    assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"this is not http\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nlong: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2000\r\n\r\n" + b"x" * 2_000, 413),
    ],
)
async def test_what_is_no_proper_request_is_refused(data: bytes, status: int) -> None:
    async with Simulator(Settings(max_body=1_000)) as simulator:
        received = await exchange(simulator.base_url("openai"), data)
        assert received.status == status
        assert (await ask(simulator, "openai", "m")).status == 200


async def test_an_unknown_path_and_a_wrong_method_are_refused_in_the_providers_shape(simulator: Simulator) -> None:
    for provider in PROVIDERS:
        received = await exchange(simulator.base_url(provider), http("POST", "/v1/nothing", HEADERS[provider]))
        assert received.status == 404
        assert "error" in json.loads(received.body)
    received = await exchange(simulator.base_url("openai"), http("GET", "/v1/chat/completions", HEADERS["openai"]))
    assert received.status == 405


async def test_a_missing_key_is_refused_in_the_providers_shape(simulator: Simulator) -> None:
    statuses = {}
    for provider in PROVIDERS:
        name = HEADERS[provider].split(":")[0].encode()
        received = await exchange(simulator.base_url(provider), request(provider, "m").replace(name, b"x-nothing"))
        statuses[provider] = received.status
    assert statuses == {"openai": 401, "anthropic": 401, "gemini": 403}


async def test_a_simulator_starts_and_stops_more_than_once() -> None:
    simulator = Simulator()
    await simulator.stop()
    for _ in range(2):
        await simulator.start()
        await simulator.start()
        url = simulator.base_url("openai")
        assert (await ask(simulator, "openai", "m")).status == 200
        await simulator.stop()
        await simulator.stop()
        with pytest.raises(ConnectionRefusedError):
            await connect(url)


async def test_stopping_ends_what_is_in_progress(simulator: Simulator) -> None:
    reader, writer = await connect(simulator.base_url("openai"))
    writer.write(request("openai", "m+fault=stall@0.5", stream=True))
    await eventually(lambda: simulator.control.providers()[0].in_progress == 1)
    await simulator.stop()
    assert (await receive(reader)).ended == "closed"
    assert simulator.control.meter().total.broken == 1
    writer.close()


async def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_listening(simulator: Simulator) -> None:
    taken = int(simulator.url.rsplit(":", 1)[1])
    other = Simulator(Settings(port=taken))
    with pytest.raises(OSError, match="in use"):
        await other.start()
    with pytest.raises(ConnectionRefusedError):
        await connect(other.base_url("openai"))
