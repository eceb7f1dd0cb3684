"""Limits as the providers announce and enforce them, and the audit that proves how they were used."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime

import pytest

from simulator import Limits, ModelSettings, ProviderSettings, Settings, Simulator
from simulator.connection import Exchange
from simulator.meter import key_id
from simulator.settings import WindowKind
from tests.integration.simulator.raw import PROVIDERS, ask, connect, exchange, receive, request
from tests.support.clock import ManualClock
from tests.support.eventually import eventually

every_provider = pytest.mark.parametrize("provider", PROVIDERS)


@every_provider
@pytest.mark.parametrize("window", ["fixed", "sliding", "bucket"])
async def test_a_spent_limit_is_a_429_until_its_window_lets_go(provider: str, window: WindowKind) -> None:
    clock = ManualClock()
    async with Simulator(Settings(), clock=clock) as simulator:
        simulator.control.set_limits(provider, Limits(requests=3, window=window))
        assert [(await ask(simulator, provider, "m")).status for _ in range(5)] == [200, 200, 200, 429, 429]
        clock.advance(61.0)
        assert (await ask(simulator, provider, "m")).status == 200
        assert simulator.control.meter().total.rate_limited == 2
        assert simulator.control.audit().violations == 2


async def test_openai_announces_its_limits_in_headers(simulator: Simulator) -> None:
    simulator.control.set_limits("openai", Limits(requests=2, tokens=10_000, window="bucket"))
    first = await ask(simulator, "openai", "m+tokens=91")
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert re.fullmatch(r"30s|29\.\d+s", first.headers["x-ratelimit-reset-requests"])
    assert first.headers["x-ratelimit-limit-tokens"] == "10000"
    assert first.headers["x-ratelimit-remaining-tokens"] == "9900"
    await ask(simulator, "openai", "m")
    third = await ask(simulator, "openai", "m")
    assert third.status == 429
    assert third.headers["x-ratelimit-remaining-requests"] == "0"
    wait = int(third.headers["retry-after-ms"])
    assert 29_000 < wait <= 30_000
    assert int(third.headers["retry-after"]) == -(-wait // 1_000)
    error = json.loads(third.body)["error"]
    assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    assert re.search(
        r"on requests per min \(RPM\): Limit 2, Used 2, Requested 1\. Please try again in", error["message"]
    )


async def test_anthropic_announces_its_limits_in_headers(simulator: Simulator) -> None:
    simulator.control.set_limits("anthropic", Limits(requests=9, input_tokens=10, output_tokens=500))
    first = await ask(simulator, "anthropic", "m+tokens=100")
    names = ("requests", "input-tokens", "output-tokens")
    assert [first.headers[f"anthropic-ratelimit-{name}-limit"] for name in names] == ["9", "10", "500"]
    assert [first.headers[f"anthropic-ratelimit-{name}-remaining"] for name in names] == ["8", "4", "400"]
    reset = datetime.fromisoformat(first.headers["anthropic-ratelimit-requests-reset"].upper())
    assert 55 < (reset - datetime.now(UTC)).total_seconds() < 65  # noqa: TID251
    assert "retry-after" not in first.headers
    second = await ask(simulator, "anthropic", "m")
    assert second.status == 429
    assert 55 < int(second.headers["retry-after"]) <= 60
    assert second.headers["x-should-retry"] == "true"
    error = json.loads(second.body)["error"]
    assert error["type"] == "rate_limit_error"
    assert "rate limit of 10 input tokens per minute" in error["message"]


async def test_gemini_announces_nothing_on_success(simulator: Simulator) -> None:
    simulator.control.set_limits("gemini", Limits(requests=9))
    first = await ask(simulator, "gemini", "m")
    assert not [name for name in first.headers if "ratelimit" in name]


@every_provider
async def test_no_limit_means_no_headers_about_limits(simulator: Simulator, provider: str) -> None:
    received = await ask(simulator, provider, "m")
    assert not [name for name in received.headers if "ratelimit" in name]


async def test_a_request_larger_than_the_limit_is_told_so_without_a_time_to_wait(simulator: Simulator) -> None:
    simulator.control.set_limits("openai", Limits(tokens=10))
    received = await ask(simulator, "openai", "m+tokens=50")
    assert received.status == 429
    assert "Request too large for m" in json.loads(received.body)["error"]["message"]
    assert "retry-after" not in received.headers


@every_provider
async def test_answers_in_progress_are_limited(simulator: Simulator, provider: str) -> None:
    simulator.control.set_limits(provider, Limits(concurrency=2))
    held = [await connect(simulator.base_url(provider)) for _ in range(2)]
    for _, writer in held:
        writer.write(request(provider, "m+fault=stall", stream=True))
    await eventually(lambda: sum(one.in_progress for one in simulator.control.audit().domains) == 2)
    assert (await ask(simulator, provider, "m")).status == 429
    held[0][1].close()
    await eventually(lambda: sum(one.in_progress for one in simulator.control.audit().domains) == 1)
    assert (await ask(simulator, provider, "m")).status == 200
    assert simulator.control.audit().domains[0].most_in_progress == 2
    held[1][1].close()


async def test_limits_are_kept_for_each_key_and_each_model_or_group() -> None:
    models = {"a": ModelSettings(group="small"), "b": ModelSettings(group="small")}
    provider = ProviderSettings(name="p", dialect="openai", limits=Limits(requests=1), models=models)
    async with Simulator(Settings(providers=(provider,))) as simulator:
        url = simulator.base_url("p")

        async def status(model: str, key: str = "k") -> int:
            data = request("openai", model).replace(b"Bearer k", f"Bearer {key}".encode())
            return (await exchange(url, data)).status

        assert [await status("a"), await status("b"), await status("c"), await status("c")] == [200, 429, 200, 429]
        assert [await status("a", "other"), await status("a+tokens=3", "other")] == [200, 429]
        domains = {(one.key, one.group): one.refused for one in simulator.control.audit().domains}
        assert domains == {(key_id("k"), "small"): 1, (key_id("k"), "c"): 1, (key_id("other"), "small"): 1}


async def test_a_reservation_by_max_tokens_is_settled_with_what_the_answer_had(simulator: Simulator) -> None:
    simulator.control.set_limits("anthropic", Limits(output_tokens=1_000, reserve_output="max_tokens"))
    received = await ask(simulator, "anthropic", "m+tokens=10", max_tokens=900)
    assert received.headers["anthropic-ratelimit-output-tokens-remaining"] == "100"
    received = await ask(simulator, "anthropic", "m+tokens=10", max_tokens=900)
    assert received.headers["anthropic-ratelimit-output-tokens-remaining"] == "90"


async def test_cached_reads_count_at_openai_and_not_at_anthropic(simulator: Simulator) -> None:
    long = "All of this is said again and again. " * 150
    for provider in ("openai", "anthropic"):
        simulator.control.set_limits(provider, Limits(input_tokens=4_000))
    system = [{"type": "text", "text": long, "cache_control": {"type": "ephemeral"}}]
    assert [(await ask(simulator, "openai", "m", text=long)).status for _ in range(4)] == [200, 200, 429, 429]
    assert [(await ask(simulator, "anthropic", "m", system=system)).status for _ in range(9)] == [200] * 9


async def test_the_audit_knows_the_most_in_any_window_and_the_burst() -> None:
    clock = ManualClock()
    async with Simulator(Settings(), clock=clock) as simulator:
        simulator.control.set_limits("openai", Limits(requests=6, period=60.0))
        for gap in (0, 0, 10, 30, 30):
            clock.advance(gap)
            await ask(simulator, "openai", "m")
        domain = simulator.control.audit().domains[0]
        limit = domain.limits[0]
        assert (limit.dimension, limit.limit, limit.total, limit.most, limit.refused) == ("requests", 6, 5, 4, 0)
        assert limit.burst == pytest.approx(2.0)
        assert (domain.admitted, domain.refused, simulator.control.audit().violations) == (5, 0, 0)
        simulator.control.reset_audit()
        assert simulator.control.audit().domains[0].admitted == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_to_the_log_a_call_is_over_when_its_place_is_free(stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever counts the calls at once from the log must not count one more than the limit let in."""
    clock = ManualClock()
    came = clock.wall()

    def busy_for_long(exchange: Exchange) -> None:
        """A machine that has no time for the simulator once the last bytes have left."""
        clock.advance(5.0)
        finish(exchange)

    finish = Exchange.finish
    monkeypatch.setattr(Exchange, "finish", busy_for_long)
    async with Simulator(Settings(), clock=clock) as simulator:
        reader, writer = await connect(simulator.base_url("openai"))
        writer.write(request("openai", "m+tokens=2+ttft=0.001", stream=stream))
        assert (await receive(reader)).status == 200
        await eventually(lambda: simulator.control.log(1))
        line = simulator.control.log(1)[0]
        writer.close()
    assert (line.at, line.seconds) == (came, 0.0)
    assert clock.wall() == came + 5.0


async def test_a_client_that_comes_back_too_early_is_noticed() -> None:
    clock = ManualClock()
    async with Simulator(Settings(), clock=clock) as simulator:
        simulator.control.set_limits("openai", Limits(requests=1))
        for gap in (0, 10, 10, 50):
            clock.advance(gap)
            await ask(simulator, "openai", "m")
        domain = simulator.control.audit().domains[0]
        assert (domain.admitted, domain.refused, domain.early_retries) == (2, 2, 1)


async def test_a_storm_gets_exactly_what_the_limit_allows(simulator: Simulator) -> None:
    simulator.control.set_limits("openai", Limits(requests=20))

    async def twice() -> list[int]:
        reader, writer = await connect(simulator.base_url("openai"))
        try:
            writer.write(request("openai", "m") + request("openai", "m"))
            return [(await receive(reader)).status for _ in range(2)]
        finally:
            writer.close()

    statuses = [status for pair in await asyncio.gather(*(twice() for _ in range(30))) for status in pair]
    assert statuses.count(200) == 20
    assert statuses.count(429) == 40
    limit = simulator.control.audit().domains[0].limits[0]
    assert (limit.most, limit.refused) == (20, 40)
    assert limit.burst <= 20
