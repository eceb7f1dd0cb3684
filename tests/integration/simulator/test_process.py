"""The simulator as a process of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from simulator import FaultOrder
from tests.integration.simulator.raw import PROVIDERS, connect, exchange, request
from tests.support.eventually import eventually
from tests.support.simulated import simulator_process, start_simulator


async def test_it_says_where_it_listens_answers_and_stops_when_told_to() -> None:
    async with simulator_process() as simulator:
        assert set(simulator.base_urls) == set(PROVIDERS)
        for provider, url in simulator.base_urls.items():
            assert (await exchange(url, request(provider, "m"))).status == 200
            assert (await exchange(url, request(provider, "m", stream=True))).ended == "complete"
        assert (await simulator.control.meter()).total.ok == 6
        _, writer = await connect(simulator.base_urls["openai"])
        writer.write(request("openai", "m+fault=hang"))
        await eventually(lambda: _in_progress(simulator.control.overview()))
        assert await simulator.terminate() == 0
        writer.close()


async def _in_progress(overview: object) -> bool:
    seen = await overview  # type: ignore[misc]
    return bool(seen.providers[0].in_progress)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_faults_are_as_real_on_the_loop_of_the_process(provider: str) -> None:
    async with simulator_process() as simulator:
        url = simulator.base_urls[provider]
        assert (await exchange(url, request(provider, "m+fault=reset"))).ended == "reset"
        assert (await exchange(url, request(provider, "m+fault=cut", stream=True))).ended == "closed"
        for _ in range(2):
            await simulator.control.add_fault(FaultOrder(fault="refused", provider=provider))
            with pytest.raises(ConnectionRefusedError):
                await connect(url)
            await simulator.control.clear_faults()
            assert (await exchange(url, request(provider, "m"))).status == 200


async def test_a_file_and_the_command_line_say_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "simulator.yaml"
    path.write_text("providers: [{name: onprem, dialect: openai, limits: {requests: 1}}]")
    async with simulator_process("--config", str(path), "--host", "127.0.0.1", "--ports", "onprem=0") as simulator:
        assert list(simulator.base_urls) == ["onprem"]
        url = simulator.base_urls["onprem"]
        assert [(await exchange(url, request("openai", "m"))).status for _ in range(2)] == [200, 429]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--config", "nowhere.yaml"), 2, "nowhere.yaml: No such file"),
        (("--ports", "nobody=1"), 2, "no provider is called `nobody`"),
        (("--ports", "openai"), 2, "is not of the form"),
        (("--port", "70000"), 2, "less than or equal to 65535"),
    ],
)
async def test_a_wrong_start_is_refused_with_the_reason(arguments: tuple[str, ...], code: int, words: str) -> None:
    process = await start_simulator(arguments)
    _, error = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == code
    assert words in error.decode()


async def test_a_taken_port_is_refused_with_the_reason() -> None:
    async with simulator_process() as simulator:
        process = await start_simulator(("--port", simulator.url.rsplit(":", 1)[1]))
        _, error = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 3
    assert "cannot listen" in error.decode()
