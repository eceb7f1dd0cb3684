"""More is queued than the index may hold: everything ends, once, whoever leads, and can be asked for and cancelled."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from job_contracts import subjects
from job_contracts.attempts import Assignment
from job_contracts.desk import Statuses
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState, JobStatus
from runtime.broker import Broker
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Bus
from runtime.connection import declared
from scheduler.readings import PATIENCE
from tests.support.eventually import eventually
from tests.support.world import World, config, scheduler_on, world

FEW: dict[str, Any] = {"scheduler": {"max_indexed": 20, "reconcile_every": 0.3}}
"""Ten places for whoever comes, ten for the one project."""
INDEXED = 10


@pytest.fixture(params=["memory", "nats"])
async def bus(request: pytest.FixtureRequest, own_broker: Broker, open_bus: Callable[..., Any]) -> Bus:
    if request.param == "memory":
        return MemoryBroker().bus(inbox_prefix="_INBOX_demo")
    connected: Bus = await open_bus(own_broker.url, inbox_prefix="_INBOX_demo")
    return connected


async def filled(demo: World, count: int) -> list[str]:
    """That many jobs, of which the first ones are indexed."""
    jobs = [f"a-{number}" for number in range(count)]
    for job in jobs:
        await demo.submit(job)
    await eventually(lambda: unread(demo) == count - INDEXED, says="not all were read or counted")
    return jobs


def unread(demo: World) -> float:
    """How many the leader has lately said are queued beyond its index."""
    leading = demo.scheduler.leading
    return 0 if leading is None else leading.unread("demo")


async def status(demo: World, job: str) -> JobStatus:
    told = await demo.ask("status", job)
    assert isinstance(told, Statuses)
    return told.statuses[0]


async def all_ended(demo: World, jobs: list[str], *, within: float = 20.0) -> None:
    for job in jobs:
        assert (await demo.result(job, within=within)).state is JobState.SUCCEEDED
    await demo.settled()


async def test_everything_that_is_queued_beyond_the_index_ends_once(bus: Bus) -> None:
    async with world(bus, **FEW) as demo:
        jobs = await filled(demo, 60)
        pool = await demo.pool("alpha")
        await all_ended(demo, jobs)
        assert Counter(order.job_id for order in pool.seen) == Counter(jobs)
        assert unread(demo) == 0
        await demo.submit("b-1")
        await demo.result("b-1")


async def test_a_project_beyond_its_places_does_not_shut_out_another(bus: Bus) -> None:
    async with world(bus, **FEW, projects={"demo": {}, "small": {}}) as demo:
        await filled(demo, 60)
        await demo.submit("b-1", project="small")
        await eventually(lambda: demo.status("b-1", project="small"), says="the other project's job is not known")


async def test_a_job_that_is_not_indexed_is_queued_and_says_so(bus: Bus) -> None:
    async with world(bus, **FEW) as demo:
        await filled(demo, 30)
        told = await status(demo, "a-29")
        assert told.state is JobState.QUEUED
        assert told.token == "token-a-29"
        assert told.waiting_for is not None
        assert "20 jobs of its project" in told.waiting_for


async def test_a_job_that_is_not_indexed_can_be_cancelled_at_once(bus: Bus) -> None:
    async with world(bus, **FEW) as demo:
        jobs = await filled(demo, 60)
        await demo.cancel("a-59", "token-a-59")
        assert (await demo.result("a-59")).state is JobState.CANCELLED
        await demo.cancel("a-58", "a token of another submission")
        pool = await demo.pool("alpha")
        await all_ended(demo, jobs[:-1])
        assert "a-59" not in {order.job_id for order in pool.seen}


async def test_a_job_whose_deadline_passes_unread_expires_without_a_call(bus: Bus) -> None:
    async with world(bus, **FEW) as demo:
        jobs = await filled(demo, 30)
        deadline = time.time() + 0.2
        await demo.submit("late-1", deadline=deadline)
        await eventually(lambda: unread(demo) == 21, says="it was not left unread")
        await eventually(lambda: time.time() > deadline, says="the clock stands still")
        pool = await demo.pool("alpha")
        await all_ended(demo, jobs)
        assert (await demo.result("late-1")).state is JobState.EXPIRED
        assert "late-1" not in {order.job_id for order in pool.seen}


async def test_what_a_project_may_not_have_is_refused_unread_or_not(bus: Bus) -> None:
    async with world(bus, **FEW, projects={"demo": {"max_queued": 25}}) as demo:
        jobs = await filled(demo, 25)
        await demo.submit("b-1")
        refused = await demo.result("b-1")
        assert refused.failure is not None
        assert refused.failure.kind is FailureKind.QUEUE_FULL
        await demo.pool("alpha")
        await all_ended(demo, jobs)


async def test_what_is_unread_is_nothing_to_repair(bus: Bus) -> None:
    async with world(bus, **FEW) as demo:
        jobs = await filled(demo, 60)
        later = demo.clock.monotonic() + PATIENCE + 1.0  # several looks, and one that would be certain
        await eventually(lambda: demo.clock.monotonic() > later, within=10.0, says="the clock stands still")
        assert unread(demo) == len(jobs) - INDEXED
        assert not demo.events["reconciler.repaired"]
        await demo.pool("alpha")
        await all_ended(demo, jobs)
        assert not demo.events["reconciler.repaired"]


async def test_whoever_takes_over_runs_what_was_unread_and_nothing_twice(bus: Bus) -> None:
    def failing_first(order: Assignment) -> Failure | str | None:
        if order.job_id in {"a-3", "a-4"}:
            return None if order.attempt == 1 else "at last"
        if order.attempt == 1 and order.job_id in {"a-5", "a-6"}:
            return Failure(kind=FailureKind.OVERLOADED, message="too busy")
        return "done"

    made = config(**FEW)
    await bus.ensure(declared(made))
    async with scheduler_on(bus, made, owner="s1") as first:
        jobs = await filled(first, 60)
        pools = [await first.pool(name, failing_first, slots=4) for name in ("alpha", "beta")]
        await first.result("a-20")
        first.pools.clear()  # they stay when it goes
    async with scheduler_on(bus, made, owner="s2") as second:
        for pool in pools:
            for held in [order for order in pool.seen if order.attempt_id in pool.held]:
                await pool.succeed(held, "at last")
        await all_ended(second, jobs)
        assert (await second.bus.stream_state(subjects.RES)).messages == len(jobs)
        for pool in pools:
            await pool.die()
