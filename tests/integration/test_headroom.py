"""WORK never fills: dispatch waits for room, the lease renews all the while, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from job_contracts.jobs import JobState
from runtime.broker import Broker
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Bus
from tests.support.eventually import eventually
from tests.support.world import Pool, World, world

JOBS, ROOM = 200, 80
SMALL = {"nats": {"max_work_messages": 100}, "routes": {"fast": {"deployments": ["alpha/m"]}}}


@pytest.fixture(params=["memory", "nats"])
async def bus(request: pytest.FixtureRequest, own_broker: Broker, open_bus: Callable[..., Any]) -> Bus:
    if request.param == "memory":
        return MemoryBroker().bus(inbox_prefix="_INBOX_demo")
    connected: Bus = await open_bus(own_broker.url, inbox_prefix="_INBOX_demo")
    return connected


async def submit_all(demo: World) -> list[str]:
    jobs = [f"a-{number}" for number in range(JOBS)]
    await asyncio.gather(*(demo.submit(job) for job in jobs))
    return jobs


async def renewed(demo: World, times: int) -> None:
    """The lease is renewed so often more, and WORK never holds more than it may."""
    leading = demo.scheduler.leading
    assert leading is not None
    lease, seen = leading._term.lease, set[float]()

    async def look() -> bool:
        seen.add(lease.last_write)
        assert await demo.messages("WORK_0") <= ROOM + 1, "more than dispatch may fill"
        return len(seen) > times

    await eventually(look, within=15.0)


async def test_a_pool_that_never_fetches_holds_dispatch_and_not_the_lease(bus: Bus) -> None:
    async with world(bus, **SMALL, scheduler={"grant_valid": 60.0}) as demo:
        idle = Pool(demo.bus, "alpha", lambda _: None, slots=400)
        beating = asyncio.create_task(idle._beat())
        jobs = await submit_all(demo)
        await eventually(lambda: demo.events["work.held"], within=10.0)
        await renewed(demo, 4)
        assert await demo.messages("WORK_0") == ROOM + 1
        await eventually(lambda: demo.events["work.filling"], within=5.0)
        beating.cancel()
        await demo.pool("alpha", slots=400, worker="w2")
        for job in jobs:
            assert (await demo.result(job, within=20.0)).state is JobState.SUCCEEDED
        await demo.settled()
        assert [event.fields["value"] for event in demo.events["work.holding"]][-1] == 0.0
        assert not demo.events["term.ended"]
        await eventually(lambda: demo.events["work.relieved"], within=5.0)


async def test_a_pool_that_never_acknowledges_is_cleaned_up_behind_and_dispatch_goes_on(bus: Bus) -> None:
    async with world(bus, **SMALL, scheduler={"beat_missed": 20.0}) as demo:
        pool = await demo.pool("alpha", slots=400, acking=False)
        jobs = await submit_all(demo)
        watching = asyncio.create_task(renewed(demo, 6))
        for job in jobs:
            assert (await demo.result(job, within=40.0)).state is JobState.SUCCEEDED
        await watching
        assert len(pool.seen) == JOBS
        await demo.settled()
        kinds = [event.fields["kind"] for event in demo.events["reconciler.repaired"]]
        assert kinds == ["remnant"] * JOBS
        assert not demo.events["term.ended"]
