"""What a leading scheduler's metrics say equals what its board and its streams hold, and ends with its term."""

from __future__ import annotations

from typing import Any

from job_contracts import subjects
from job_contracts.failures import Failure, FailureKind
from runtime.bus.memory import MemoryBroker
from runtime.connection import declared
from runtime.telemetry import Metrics
from scheduler.census import Census
from scheduler.instruments import INSTRUMENTS
from scheduler.storage import Storage, filled
from tests.support.eventually import eventually
from tests.support.world import World, config, scheduler_on

LIMITED: dict[str, Any] = {
    "providers": {
        "alpha": {
            "dialect": "openai_chat",
            "base_url": "http://127.0.0.1:1",
            "key": "k",
            "limits": {"rpm": 600, "concurrency": 4},
        },
        "beta": {"dialect": "openai_chat", "base_url": "http://127.0.0.1:1", "key": "k"},
    },
    "projects": {"demo": {"limits": {"rpm": 6000}}},
}


def read(metrics: Metrics, name: str, **labels: str) -> float | None:
    found: float | None = metrics.registry.get_sample_value(f"penstock_{name}", labels)
    return found


def measured(world: World) -> Metrics:
    metrics = Metrics("scheduler")
    metrics.listen(world.telemetry, INSTRUMENTS)
    metrics.forget_levels(world.telemetry, "term.ended")
    return metrics


async def test_metrics_tell_of_jobs_switches_limits_and_streams_and_levels_end_with_the_term() -> None:
    made = config(**LIMITED)
    bus = MemoryBroker().bus()
    await bus.ensure(declared(made))
    overloaded = Failure(kind=FailureKind.OVERLOADED, message="later")
    async with scheduler_on(bus, made) as world:
        metrics = measured(world)
        await world.pool("alpha", lambda _: overloaded)
        await world.pool("beta")
        await world.submit("a-1")
        await world.result("a-1")
        await world.settled()
        await eventually(lambda: read(metrics, "pool_workers", pool="beta") == 1)

        assert read(metrics, "jobs_submitted_total", project="demo", lane="std") == 1
        switch = {"from": "alpha/m", "to": "beta/m", "reason": "overloaded"}
        assert read(metrics, "failovers_total", **switch) == 1
        assert read(metrics, "failover_switch_seconds_count") == 1

        assert world.scheduler.leading is not None
        term = world.scheduler.leading._term
        Census(term, world.scheduler.leading.lifeline).take()
        room = term.board.room(world.clock.monotonic())
        assert {unit for domain, unit in room if domain == "alpha"} == {"requests", "concurrency"}
        for (domain, unit), (available, capacity, limit) in room.items():
            assert 0 <= available <= capacity <= limit
            assert read(metrics, "limiter_limit", domain=domain, unit=unit) == limit
            assert read(metrics, "limiter_capacity", domain=domain, unit=unit) == capacity

        await Storage(term).look()
        streams = {asset["config"]["name"] for asset in declared(made) if asset["kind"] == "stream"}
        assert {stream for stream in streams if read(metrics, "stream_messages", stream=stream) is None} == set()
        state = await bus.stream_state(subjects.RES)
        assert read(metrics, "stream_messages", stream=subjects.RES) == state.messages > 0
        assert read(metrics, "stream_filled", stream=subjects.RES) == filled(state) > 0
        assert len(world.events["stream.look_failed"]) == 0

        await world.scheduler.stop()
        world.telemetry.emit("term.ended")
        assert read(metrics, "pool_workers", pool="beta") is None
        assert read(metrics, "limiter_capacity", domain="alpha", unit="requests") is None
        assert read(metrics, "failovers_total", **switch) == 1


async def test_what_limits_do_to_jobs_is_measured_when_it_happens() -> None:
    made = config(routes={"fast": {"deployments": ["alpha/m"]}}, **LIMITED)
    bus = MemoryBroker().bus()
    await bus.ensure(declared(made))
    async with scheduler_on(bus, made) as world:
        metrics = measured(world)
        for number in range(6):
            await world.submit(f"a-{number}")
        await world.pool("alpha", lambda _: "yes")
        for number in range(6):
            await world.result(f"a-{number}")
        assert read(metrics, "limiter_throttled_total", pool="alpha", what="concurrency") == 1
        assert read(metrics, "limiter_wait_seconds_count", pool="alpha") == 2
