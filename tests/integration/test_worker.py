"""A worker's own process between a real broker and simulated providers."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from job_contracts import subjects
from job_contracts.attempts import Abort, Assignment, Timeouts
from job_contracts.codec import encode
from job_contracts.failures import FailureKind as Kind
from job_contracts.jobs import JobState
from job_contracts.stream import Chunk, EndDelta, StartDelta, TextDelta
from runtime.broker import Broker, BrokerConfig
from simulator import Settings, Simulator
from tests.support.broker import open_bus, own_broker
from tests.support.eventually import eventually
from tests.support.worker_process import Floor, Process, worker_process, write_config

__all__ = ["open_bus", "own_broker"]

POOLS = ("openai", "anthropic", "gemini")
PATHS = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}
KEYS = {"OPENAI_KEY": "sk-openai-key", "ANTHROPIC_KEY": "sk-anthropic-key", "GEMINI_KEY": "sk-gemini-key"}
QUICK = Timeouts(connect=5.0, first_token=5.0, stall=5.0, total=12.0)
"""A plain answer that is slow takes the total, so what ends before costs nothing; longer than anybody stands still."""


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(Settings(longest_hold=20.0)) as one:
        yield one


@pytest.fixture
async def floor(own_broker: Broker, open_bus: Callable[..., Any]) -> Floor:
    return Floor(await open_bus(own_broker.url))


@pytest.fixture
async def config(floor: Floor, own_broker: Broker, simulator: Simulator, tmp_path: Path) -> Path:
    path = tmp_path / "penstock.yaml"
    bases = {pool: simulator.base_url(pool) + PATHS[pool] for pool in POOLS}
    await floor.ensure(write_config(path, own_broker.url, bases, drain=8.0, beat_every=0.5, max_response=4 * 1024**2))
    return path


@pytest.fixture
async def worker(config: Path) -> AsyncIterator[Process]:
    async with worker_process("openai", config, environ={"OPENAI_KEY": KEYS["OPENAI_KEY"]}) as process:
        await process.ready()
        yield process


@pytest.mark.parametrize("pool", POOLS)
async def test_jobs_end_in_results_and_the_books_say_what_the_provider_billed(
    pool: str, config: Path, floor: Floor, simulator: Simulator
) -> None:
    async with worker_process(pool, config, environ={f"{pool.upper()}_KEY": KEYS[f"{pool.upper()}_KEY"]}) as process:
        port = await process.ready()
        plain = [await floor.hand(floor.assignment(f"{pool}/m")) for _ in range(10)]
        streamed = [await floor.hand(floor.assignment(f"{pool}/m+tokens=60", stream=True)) for _ in range(10)]
        for given in (*plain, *streamed):
            result = await floor.result(given)
            assert result.state is JobState.SUCCEEDED
            assert result.answer is not None
            assert result.answer.text
            assert result.usage.reported
            if not given.stream:
                assert await floor.chunks(given) == []
                continue
            chunks = await eventually(lambda given=given: _told_to_the_end(floor, given))  # type: ignore[misc]
            deltas = [delta for chunk in chunks for delta in chunk.deltas]
            assert [chunk.sequence for chunk in chunks] == list(range(1, len(chunks) + 1))
            assert isinstance(deltas[0], StartDelta)
            assert isinstance(deltas[-1], EndDelta)
            text = "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))
            assert text == result.answer.text
        await eventually(lambda: _is(floor.work_left(), 0))
        facts = await floor.facts(20)
        total = simulator.control.meter().total
        assert total.ok == len(facts) == 20
        assert all(fact.won for fact in facts.values())
        assert sum(fact.usage.output for fact in facts.values()) == total.output_tokens + total.reasoning_tokens
        billed = total.input_tokens + total.cached_read_tokens + total.cache_write_tokens
        assert sum(fact.usage.input for fact in facts.values()) == billed
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            assert (await client.get("/readyz")).status_code == 200
            metrics = (await client.get("/metrics")).text
        assert f'penstock_attempts_total{{model="m",outcome="succeeded",provider="{pool}"}} 10.0' in metrics


async def _is(what: Any, value: object) -> bool:
    return bool(await what == value)


async def _told_to_the_end(floor: Floor, given: Assignment) -> list[Chunk]:
    """Its chunks, once the end is among them: nobody waits until TOK has stored what is published into it."""
    chunks = await floor.chunks(given)
    return chunks if chunks and isinstance(chunks[-1].deltas[-1], EndDelta) else []


FAULTS: dict[str, set[Kind]] = {
    "rate_limit": {Kind.RATE_LIMIT},
    "overloaded": {Kind.OVERLOADED},
    "server_error": {Kind.SERVER_ERROR},
    "auth": {Kind.AUTH},
    "permission": {Kind.PERMISSION},
    "quota": {Kind.QUOTA_EXHAUSTED},
    "model_gone": {Kind.MODEL_NOT_FOUND},
    "context": {Kind.CONTEXT_OVERFLOW},
    "prompt_blocked": {Kind.CONTENT_POLICY},
    "bad_request": {Kind.BAD_REQUEST},
    "reset": {Kind.RESET},
    "hang": {Kind.FIRST_TOKEN_TIMEOUT, Kind.TOTAL_TIMEOUT},
    "empty_body": {Kind.MALFORMED_RESPONSE},
    "html": {Kind.SERVER_ERROR},
    "html@200": {Kind.MALFORMED_RESPONSE},
    "slow": {Kind.FIRST_TOKEN_TIMEOUT, Kind.TOTAL_TIMEOUT},
    "stall": {Kind.STALLED, Kind.TOTAL_TIMEOUT},
    "cut": {Kind.STREAM_TRUNCATED, Kind.MALFORMED_RESPONSE},
    "reset_within": {Kind.RESET},
    "malformed_chunk": {Kind.MALFORMED_RESPONSE, Kind.STREAM_TRUNCATED},
    "malformed_json": {Kind.MALFORMED_RESPONSE, Kind.STREAM_TRUNCATED},
    "bad_framing": {Kind.STREAM_TRUNCATED, Kind.MALFORMED_RESPONSE, Kind.RESET},
    "no_terminator": {Kind.STREAM_TRUNCATED, Kind.MALFORMED_RESPONSE},
    "gigantic_line": {Kind.RESPONSE_TOO_LARGE},
}
"""Faults of the simulator, and what an attempt may call them; plain answers and streams differ in places."""


@pytest.mark.parametrize("pool", POOLS)
async def test_every_fault_has_its_outcome_and_none_a_result(pool: str, config: Path, floor: Floor) -> None:
    async with worker_process(pool, config, environ=KEYS) as process:
        await process.ready()
        wrong: list[str] = []
        given = {
            (fault, streamed): await floor.hand(
                floor.assignment(f"{pool}/m+tokens=100+fault={fault}", stream=streamed, timeouts=QUICK)
            )
            for fault in FAULTS
            for streamed in (True, False)
        }
        for (fault, streamed), one in given.items():
            try:
                outcome = await floor.outcome(one, within=30.0)
            except AssertionError:
                wrong.append(f"{fault} ({streamed=}): no outcome; result: {await floor.has_result(one)}")
                continue
            if outcome.failure.kind not in FAULTS[fault]:
                wrong.append(f"{fault} ({streamed=}): {outcome.failure.kind} {outcome.failure.message}")
        assert not wrong, "\n".join(wrong)
        assert not [one.deployment for one in given.values() if await floor.has_result(one)]
        await eventually(lambda: _is(floor.work_left(), 0))
        assert len(await floor.facts(len(given))) == len(given)
        assert process.child.returncode is None


async def test_a_cancel_ends_the_call_at_the_provider(worker: Process, floor: Floor, simulator: Simulator) -> None:
    given = await floor.hand(floor.assignment("openai/m+tps=20+tokens=400", stream=True))
    await eventually(lambda: floor.chunks(given))
    await floor.bus.publish(subjects.abort("openai"), encode(Abort(attempts=(given.attempt_id,))))
    outcome = await floor.outcome(given)
    assert (outcome.failure.kind, outcome.failure.produced) == (Kind.CANCELLED, True)
    await eventually(lambda: simulator.control.meter().total.aborted == 1)
    fact = (await floor.facts(1))[given.attempt_id]
    assert (fact.reason, fact.usage.output > 0, fact.usage.reported) == ("cancelled", True, False)


async def test_a_worker_that_is_told_to_end_finishes_its_calls_first(worker: Process, floor: Floor) -> None:
    given = [await floor.hand(floor.assignment("openai/m+latency=1")) for _ in range(5)]
    await eventually(lambda: _taken(floor, 5))
    worker.child.send_signal(signal.SIGTERM)
    assert await worker.ended() == 0
    for one in given:
        assert (await floor.result(one)).state is JobState.SUCCEEDED
    assert await floor.work_left() == 0
    assert len(await floor.facts(5)) == 5


async def _taken(floor: Floor, count: int) -> bool:
    """Whether the worker was handed so many; some may have been answered and acknowledged since."""
    puller = await floor.bus.pull("WORK_0", "openai")
    return (await puller.state()).delivered_seq == count


async def test_what_outlasts_the_drain_is_handed_back(
    config: Path, floor: Floor, own_broker: Broker, simulator: Simulator
) -> None:
    bases = {pool: simulator.base_url(pool) + PATHS[pool] for pool in POOLS}
    write_config(config, own_broker.url, bases, drain=0.2)
    async with worker_process("openai", config, environ=KEYS) as process:
        await process.ready()
        given = await floor.hand(floor.assignment("openai/m+tps=10+tokens=400", stream=True))
        await eventually(lambda: floor.chunks(given))
        process.child.send_signal(signal.SIGTERM)
        assert await process.ended() == 0
        outcome = await floor.outcome(given)
        assert (outcome.failure.kind, outcome.called) == (Kind.HANDED_BACK, True)
        assert await floor.work_left() == 0
        assert len(await floor.facts(1)) == 1


async def test_a_second_signal_ends_it_at_once(worker: Process, floor: Floor) -> None:
    given = await floor.hand(floor.assignment("openai/m+latency=15"))
    await eventually(lambda: _taken(floor, 1))
    worker.child.send_signal(signal.SIGTERM)
    await eventually(lambda: worker.said("service.signalled"))
    worker.child.send_signal(signal.SIGTERM)
    assert await worker.ended(within=5) != 0
    assert not await floor.has_result(given)


async def test_a_killed_worker_leaves_its_assignments_to_the_leader(worker: Process, floor: Floor) -> None:
    given = [await floor.hand(floor.assignment("openai/m+latency=15")) for _ in range(3)]
    await eventually(lambda: _taken(floor, 3))
    worker.child.kill()
    await worker.ended()
    assert await floor.work_left() == 3
    assert not any([await floor.has_result(one) for one in given])


async def test_the_pool_goes_on_after_the_broker_was_away(worker: Process, floor: Floor, own_broker: Broker) -> None:
    before = await floor.hand(floor.assignment("openai/m+latency=1"))
    await eventually(lambda: _taken(floor, 1))
    own_broker.freeze()
    asyncio.get_running_loop().call_later(2.0, own_broker.thaw)
    assert (await floor.result(before)).state is JobState.SUCCEEDED
    after = await floor.hand(floor.assignment("openai/m"))
    assert (await floor.result(after)).state is JobState.SUCCEEDED
    assert len(await floor.facts(2)) == 2


async def test_a_pool_that_is_not_configured_is_refused(config: Path) -> None:
    async with worker_process("nobody", config, environ=KEYS) as process:
        assert await process.ended() == 78
    assert any("there is no provider 'nobody'" in line for line in process.other)


async def test_a_missing_key_is_told_with_its_place_and_others_are_not_needed(config: Path) -> None:
    async with worker_process("gemini", config, environ={"OPENAI_KEY": "k"}) as process:
        assert await process.ended() == 78
    said = "".join(process.other)
    assert "providers.gemini.key" in said
    assert "GEMINI_KEY" in said
    assert "ANTHROPIC_KEY" not in said


async def test_a_broker_that_is_not_there_is_told(config: Path) -> None:
    async with worker_process("openai", config, "--nats", "nats://user:hush@127.0.0.1:1", environ=KEYS) as process:
        assert await process.ended() == 69
    said = "".join(process.other)
    assert "the broker at nats://127.0.0.1:1 cannot be reached" in said
    assert "hush" not in said


async def test_a_broker_without_room_for_the_streams_is_told_with_what_to_change(config: Path, tmp_path: Path) -> None:
    small = Broker(BrokerConfig(sync="default", max_file_store=1024**3), tmp_path / "small")
    await small.start()
    try:
        async with worker_process("openai", config, "--nats", small.url, environ=KEYS) as process:
            assert await process.ended() == 78
        said = "".join(process.other)
        assert "has no room on its disk" in said
        assert "raise jetstream.max_file_store" in said
        assert "Traceback" not in said
    finally:
        await small.stop()
