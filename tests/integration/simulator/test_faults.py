"""Faults, as they come over the wire."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from itertools import pairwise

import pytest

from simulator import FaultOrder, Limits, Pace, Simulator
from simulator.reports import LogLine
from tests.integration.simulator.raw import PROVIDERS, Received, ask, connect, exchange, receive, request
from tests.support.eventually import eventually
from tests.support.own_time import own_time

every_provider = pytest.mark.parametrize("provider", PROVIDERS)
both_ways = pytest.mark.parametrize("stream", [False, True])

FINISHED = {"openai": b'"finish_reason":"stop"', "anthropic": b'"stop_reason":"end_turn"', "gemini": b'"STOP"'}


async def last_line(simulator: Simulator) -> LogLine:
    await eventually(lambda: simulator.control.log(1))
    return simulator.control.log(1)[0]


def parses(received: Received) -> bool:
    """Whether every event, or the body, is JSON."""
    try:
        for data in received.events or [received.body]:
            if data != b"[DONE]":
                json.loads(data)
    except ValueError:
        return False
    return True


@every_provider
@both_ways
async def test_without_a_fault_an_answer_is_complete(simulator: Simulator, provider: str, stream: bool) -> None:
    received = await ask(simulator, provider, "m", stream=stream)
    assert (received.status, received.ended) == (200, "complete")
    assert parses(received)
    assert FINISHED[provider] in received.body
    assert received.headers["content-type"].startswith("text/event-stream" if stream else "application/json")
    line = await last_line(simulator)
    assert (line.outcome, line.status, line.fault, line.stream) == ("ok", 200, "", stream)


@every_provider
@both_ways
async def test_a_reset_comes_before_any_byte(simulator: Simulator, provider: str, stream: bool) -> None:
    received = await ask(simulator, provider, "m+fault=reset", stream=stream)
    assert (received.status, received.ended) == (0, "reset")
    line = await last_line(simulator)
    assert (line.outcome, line.status, line.cost_usd) == ("failed", 0, Decimal(0))


@every_provider
@both_ways
async def test_a_cut_answer_ends_in_the_middle(simulator: Simulator, provider: str, stream: bool) -> None:
    received = await ask(simulator, provider, "m+tokens=40+fault=cut@0.25", stream=stream)
    assert (received.status, received.ended) == (200, "closed")
    assert FINISHED[provider] not in received.body
    line = await last_line(simulator)
    assert (line.outcome, line.fault) == ("broken", "cut")
    assert 8 <= line.output_tokens <= 10 if stream else line.output_tokens == 40


@every_provider
async def test_a_stream_reset_in_the_middle_has_begun(simulator: Simulator, provider: str) -> None:
    reader, writer = await connect(simulator.base_url(provider))
    writer.write(request(provider, "m+tokens=40+tps=400+fault=reset@0.5", stream=True))
    received = await receive(reader)
    writer.close()
    assert (received.status, received.ended) == (200, "reset")
    assert (await last_line(simulator)).outcome == "broken"


@every_provider
@both_ways
async def test_a_stalled_answer_goes_silent_and_is_billed_for_what_it_had(
    simulator: Simulator, provider: str, stream: bool
) -> None:
    reader, writer = await connect(simulator.base_url(provider))
    writer.write(request(provider, "m+tokens=40+fault=stall@0.5", stream=stream))
    seen, silent = b"", False
    while not (silent and seen):  # what is late to begin is not silent yet
        try:
            more = await asyncio.wait_for(reader.read(65_536), 0.1)
        except TimeoutError:
            silent = True
        else:
            assert more, "the connection must stay open"
            seen, silent = seen + more, False
    assert b" 200 OK" in seen
    assert FINISHED[provider] not in seen
    assert simulator.control.log() == ()
    writer.close()
    line = await last_line(simulator)
    assert (line.outcome, line.fault) == ("broken", "stall")
    assert line.output_tokens == pytest.approx(20, abs=2) if stream else line.output_tokens == 40


@every_provider
@both_ways
async def test_a_hung_request_never_has_an_answer_and_costs_nothing(
    simulator: Simulator, provider: str, stream: bool
) -> None:
    reader, writer = await connect(simulator.base_url(provider))
    writer.write(request(provider, "m+fault=hang", stream=stream))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.1)
    writer.close()
    line = await last_line(simulator)
    assert (line.outcome, line.status, line.cost_usd) == ("failed", 0, Decimal(0))


@every_provider
async def test_a_slow_first_token_comes_after_the_head(simulator: Simulator, provider: str) -> None:
    loop = asyncio.get_running_loop()
    reader, writer = await connect(simulator.base_url(provider))
    async with own_time() as now:
        start, began = loop.time(), now()
        writer.write(request(provider, "m+fault=slow@0.3", stream=True))
        await reader.readuntil(b"\r\n\r\n")
        assert now() - began < 0.25
    rest = await reader.readuntil(b"\r\n0\r\n\r\n")
    assert loop.time() - start >= 0.29
    assert FINISHED[provider] in rest
    writer.close()


@every_provider
async def test_a_malformed_chunk_stands_between_good_ones(simulator: Simulator, provider: str) -> None:
    received = await ask(simulator, provider, "m+fault=malformed_chunk", stream=True)
    broken = []
    for data in received.events:
        try:
            json.loads(data)
        except ValueError:
            broken.append(data)
    assert len([data for data in broken if data != b"[DONE]"]) == 1
    assert FINISHED[provider] in received.body
    assert (await last_line(simulator)).outcome == "broken"


@every_provider
async def test_a_malformed_body_has_the_right_length_and_the_wrong_end(simulator: Simulator, provider: str) -> None:
    received = await ask(simulator, provider, "m+fault=malformed_json")
    assert (received.status, received.ended) == (200, "complete")
    assert not parses(received)


@every_provider
async def test_a_stream_without_its_end_is_complete_http(simulator: Simulator, provider: str) -> None:
    received = await ask(simulator, provider, "m+tokens=9+fault=no_terminator", stream=True)
    assert (received.status, received.ended) == (200, "complete")
    assert parses(received)
    assert FINISHED[provider] not in received.body
    assert b"[DONE]" not in received.body
    line = await last_line(simulator)
    assert (line.outcome, line.output_tokens) == ("broken", 9)


async def test_a_stream_may_lack_its_last_event_alone(simulator: Simulator) -> None:
    received = await ask(simulator, "openai", "m+fault=no_done", stream=True)
    assert FINISHED["openai"] in received.body
    assert b"[DONE]" not in received.body
    assert (await last_line(simulator)).outcome == "ok"


@every_provider
@both_ways
async def test_bad_framing_is_no_http(simulator: Simulator, provider: str, stream: bool) -> None:
    received = await ask(simulator, provider, "m+fault=bad_framing", stream=stream)
    assert (received.status, received.ended) == (200, "closed")
    assert received.headers["transfer-encoding"] == "chunked"


@every_provider
@both_ways
async def test_a_gigantic_line_is_well_formed(simulator: Simulator, provider: str, stream: bool) -> None:
    received = await ask(simulator, provider, "m+fault=gigantic_line@2", stream=stream)
    assert received.ended == "complete"
    assert max(map(len, received.body.splitlines())) > 2_000_000
    assert parses(received)


@every_provider
@both_ways
async def test_an_error_page_and_an_empty_body_are_what_a_proxy_sends(
    simulator: Simulator, provider: str, stream: bool
) -> None:
    page = await ask(simulator, provider, "m+fault=html", stream=stream)
    assert (page.status, page.headers["content-type"]) == (502, "text/html; charset=utf-8")
    assert page.body.startswith(b"<!DOCTYPE html>")
    page = await ask(simulator, provider, "m+fault=html@200", stream=stream)
    assert page.status == 200
    empty = await ask(simulator, provider, "m+fault=empty_body", stream=stream)
    assert (empty.status, empty.body, empty.ended) == (200, b"", "complete")


@every_provider
@both_ways
async def test_a_wrong_content_type_comes_with_the_right_body(
    simulator: Simulator, provider: str, stream: bool
) -> None:
    received = await ask(simulator, provider, "m+fault=wrong_content_type", stream=stream)
    assert received.headers["content-type"] == "application/octet-stream"
    assert FINISHED[provider] in received.body


@every_provider
async def test_an_error_can_come_with_status_200(simulator: Simulator, provider: str) -> None:
    received = await ask(simulator, provider, "m+fault=error_within")
    assert received.status == 200
    assert "error" in json.loads(received.body)


async def test_an_array_of_gemini_is_an_array_and_so_are_its_errors(simulator: Simulator) -> None:
    plain = request("gemini", "m", stream=True).replace(b"?alt=sse", b"")
    received = await exchange(simulator.base_url("gemini"), plain)
    elements = json.loads(received.body)
    assert elements[-1]["candidates"][0]["finishReason"] == "STOP"
    assert len(elements) > 10
    received = await exchange(simulator.base_url("gemini"), plain.replace(b"models/m:", b"models/m+fault=503:"))
    assert received.status == 503
    assert json.loads(received.body)[0]["error"]["status"] == "UNAVAILABLE"


async def test_a_rule_strikes_what_it_applies_to_and_no_more(simulator: Simulator) -> None:
    control = simulator.control
    await control.add_fault(FaultOrder(fault="502", provider="openai", models="gpt-*", times=2, after=1))
    statuses = [(await ask(simulator, "openai", model)).status for model in ("gpt-5", "o3", "gpt-5", "gpt-4", "gpt-5")]
    assert statuses == [200, 200, 502, 502, 200]
    assert (await ask(simulator, "gemini", "gpt-5")).status == 200
    view = control.faults()[0]
    assert (view.fault, view.met, view.struck) == ("502", 4, 2)
    assert await control.remove_fault(view.id)
    assert control.faults() == ()


async def test_a_rule_with_a_probability_strikes_some(simulator: Simulator) -> None:
    await simulator.control.add_fault(FaultOrder(fault="503", provider="openai", probability=0.5))
    statuses = [(await ask(simulator, "openai", "m")).status for _ in range(60)]
    assert 10 < statuses.count(503) < 50
    assert set(statuses) == {200, 503}


@every_provider
async def test_a_provider_that_is_down_refuses_connections_and_comes_back_on_its_port(
    simulator: Simulator, provider: str
) -> None:
    url = simulator.base_url(provider)
    reader, writer = await connect(url)
    writer.write(request(provider, "m"))
    assert (await receive(reader)).status == 200
    for _ in range(3):
        await simulator.control.add_fault(FaultOrder(fault="refused", provider=provider))
        with pytest.raises(ConnectionRefusedError):
            await connect(url)
        assert (await ask(simulator, "openai" if provider != "openai" else "gemini", "m")).status == 200
        await simulator.control.clear_faults(provider)
        assert (await ask(simulator, provider, "m")).status == 200
    assert simulator.base_url(provider) == url
    writer.write(request(provider, "m"))
    assert (await receive(reader)).status == 0, "a connection from before the outage is gone"
    writer.close()


async def test_an_outage_ends_by_itself_when_its_time_is_over(simulator: Simulator) -> None:
    await simulator.control.add_fault(FaultOrder(fault="refused", provider="openai", seconds=0.2))
    with pytest.raises(ConnectionRefusedError):
        await connect(simulator.base_url("openai"))

    async def answers() -> bool:
        try:
            return (await ask(simulator, "openai", "m")).status == 200
        except ConnectionRefusedError:
            return False

    await eventually(answers)
    assert simulator.control.faults() == ()


async def test_an_outage_ends_what_is_in_progress(simulator: Simulator) -> None:
    reader, writer = await connect(simulator.base_url("openai"))
    writer.write(request("openai", "m+tokens=1000+tps=50", stream=True))
    await reader.readuntil(b"\r\n\r\n")
    await simulator.control.add_fault(FaultOrder(fault="refused", provider="openai"))
    assert (await receive(reader)).ended in ("closed", "reset")
    line = await last_line(simulator)
    assert line.outcome == "aborted"
    writer.close()


@every_provider
async def test_a_client_that_leaves_is_billed_for_what_was_produced(simulator: Simulator, provider: str) -> None:
    reader, writer = await connect(simulator.base_url(provider))
    writer.write(request(provider, "m+tokens=1000+tps=100", stream=True))
    seen = b""
    while len(seen) < 4_000:
        seen += await reader.read(1_000)
    writer.close()
    await eventually(lambda: simulator.control.meter().total.aborted == 1)
    total = simulator.control.meter().total
    assert 5 < total.output_tokens < 200
    assert total.input_tokens > 0
    assert total.cost_usd == Decimal(total.input_tokens * 1 + total.output_tokens * 4) / 1_000_000


async def test_a_whole_answer_that_nobody_waits_for_is_billed_by_the_time_it_had(simulator: Simulator) -> None:
    simulator.control.set_pace("openai", Pace(ttft=0.1, tokens_per_second=200))
    _, writer = await connect(simulator.base_url("openai"))
    writer.write(request("openai", "m+tokens=1000"))
    await eventually(lambda: simulator.control.providers()[0].in_progress == 1)
    start = asyncio.get_running_loop().time()
    await eventually(lambda: asyncio.get_running_loop().time() - start > 0.3)
    writer.close()
    await eventually(lambda: simulator.control.meter().total.aborted == 1)
    most = (simulator.control.log(1)[0].seconds - 0.1) * 200 + 1
    assert 20 < simulator.control.meter().total.output_tokens <= most < 1_000


async def test_tokens_come_at_the_pace_that_was_set(simulator: Simulator) -> None:
    loop = asyncio.get_running_loop()
    simulator.control.set_pace("openai", Pace(latency=0.05, ttft=0.1, tokens_per_second=100), model="slow")
    reader, writer = await connect(simulator.base_url("openai"))
    async with own_time() as now:
        start, began, times = loop.time(), now(), []
        writer.write(request("openai", "slow+tokens=20", stream=True))
        await reader.readuntil(b"\r\n\r\n")
        assert loop.time() - start >= 0.05
        while True:
            line = await reader.readline()
            if b'"content":"' in line and b'"content":""' not in line:
                times.append(loop.time() - start)
            if b"[DONE]" in line:
                break
        assert now() - began < 1.5
    writer.close()
    assert len(times) == 20
    assert all(later >= earlier for earlier, later in pairwise(times))
    assert times[0] >= 0.1
    assert times[-1] >= 0.28
    assert (await ask(simulator, "openai", "quick")).status == 200


async def test_a_pace_with_jitter_is_the_same_for_the_same_request(simulator: Simulator) -> None:
    simulator.control.set_pace("openai", Pace(latency=0.1, jitter=1.0))
    taken: dict[str, list[float]] = {}
    async with own_time() as now:
        for text in ("a", "b", "c", "a", "b", "c"):
            start = now()
            await ask(simulator, "openai", "m", text=text)
            taken.setdefault(text, []).append(now() - start)
    assert all(0 <= one < 0.4 for pair in taken.values() for one in pair)
    assert len({round(pair[0], 2) for pair in taken.values()}) > 1


async def test_an_answer_that_ends_early_gives_its_reservation_back(simulator: Simulator) -> None:
    simulator.control.set_limits("openai", Limits(output_tokens=1_000))
    reader, writer = await connect(simulator.base_url("openai"))
    writer.write(request("openai", "m+tokens=900+tps=50", stream=True))
    await reader.readuntil(b"data: ")
    assert (await ask(simulator, "openai", "m+tokens=900")).status == 429
    writer.close()
    await eventually(lambda: simulator.control.meter().total.aborted == 1)
    assert (await ask(simulator, "openai", "m+tokens=900")).status == 200
