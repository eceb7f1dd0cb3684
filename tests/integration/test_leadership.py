"""The lease against a real broker: one leader at a time, and nothing of a deposed one is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from job_contracts import subjects
from runtime.broker import Broker
from runtime.bus.manifest import StreamLimits, manifest
from runtime.bus.port import Bus, Outgoing
from runtime.clock import SystemClock
from runtime.telemetry import Telemetry
from scheduler.leadership import Lease, Verdict
from tests.support.broker import open_bus, own_broker

__all__ = ["open_bus", "own_broker"]

LEASE = 2.5
WORK = subjects.stream_name(subjects.WORK, 0)


@pytest.fixture(params=["single node", "replicated"])
def lease(request: pytest.FixtureRequest, bus: Bus) -> Callable[[str], Lease]:
    """Makes contenders; both forms of a fenced write keep the same promises."""

    def contender(owner: str) -> Lease:
        replicated = request.param == "replicated"
        return Lease(bus, SystemClock(), Telemetry(), shard=0, owner=owner, lease=LEASE, replicated=replicated)

    return contender


def order(job: str) -> Outgoing:
    return Outgoing(subjects.work(0, "openai", "p", job), b"{}")


@pytest.fixture
async def bus(own_broker: Broker, open_bus: Callable[..., Any]) -> Bus:
    connected: Bus = await open_bus(own_broker.url)
    await connected.ensure(manifest(StreamLimits(), ("openai",)))
    return connected


async def stored(bus: Bus) -> int:
    """Assignments in WORK, the lease record left out."""
    return (await bus.stream_state(WORK)).messages - 1


async def test_an_empty_shard_is_led_at_once_and_each_batch_is_stored_behind_the_record(
    bus: Bus, lease: Callable[[str], Lease]
) -> None:
    first = lease("a")
    assert await first.acquire(asyncio.Event()) is not None
    written = await first.write([order("a-1"), order("a-2")])
    assert written.verdict is Verdict.STORED
    assert (await bus.get(WORK, written.seqs[0])).subject == subjects.work(0, "openai", "p", "a-1")
    assert (await bus.get(WORK, written.seqs[1])).subject == subjects.work(0, "openai", "p", "a-2")
    assert (await first.write()).verdict is Verdict.STORED
    assert await stored(bus) == 2


async def test_a_silent_leader_is_succeeded_after_the_lease_and_whatever_it_then_sends_is_refused(
    bus: Bus, lease: Callable[[str], Lease]
) -> None:
    first, second = lease("a"), lease("b")
    await first.acquire(asyncio.Event())
    await first.write([order("a-1")])
    began = asyncio.get_running_loop().time()
    predecessor = await second.acquire(asyncio.Event())
    assert predecessor is not None
    assert predecessor.record.owner == "a"
    assert asyncio.get_running_loop().time() - began >= LEASE
    assert (await first.write([order("a-2"), order("a-3")])).verdict is Verdict.LOST
    assert first.epoch == 0
    assert await stored(bus) == 1
    assert (await second.write([order("a-4")])).verdict is Verdict.STORED


async def test_a_renewing_leader_is_not_succeeded(bus: Bus, lease: Callable[[str], Lease]) -> None:
    first, second = lease("a"), lease("b")
    await first.acquire(asyncio.Event())
    stopping = asyncio.Event()
    waiting = asyncio.create_task(second.acquire(stopping))
    for _ in range(8):
        assert (await first.write()).verdict is Verdict.STORED
        await asyncio.wait({waiting}, timeout=LEASE / 5)
    assert not waiting.done()
    stopping.set()
    assert await waiting is None


async def test_a_resigned_lease_is_taken_without_waiting_and_carries_the_state_over(
    bus: Bus, lease: Callable[[str], Lease]
) -> None:
    first, second = lease("a"), lease("b")
    await first.acquire(asyncio.Event())
    first.state = lambda: ({"openai": {"requests": 7.5}}, 42)
    waiting = asyncio.create_task(second.acquire(asyncio.Event()))
    await first.write()
    await first.resign()
    async with asyncio.timeout(1.0):
        predecessor = await waiting
    assert predecessor is not None
    assert predecessor.record.levels == {"openai": {"requests": 7.5}}
    assert predecessor.record.settled == 42


async def test_of_contenders_for_one_silent_lease_exactly_one_wins(bus: Bus, lease: Callable[[str], Lease]) -> None:
    stopping = asyncio.Event()
    contenders = [lease(name) for name in "abcd"]
    waiting = [asyncio.create_task(contender.acquire(stopping)) for contender in contenders]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    stopping.set()
    won = [predecessor for predecessor in await asyncio.gather(*waiting) if predecessor is not None]
    leaders = [contender for contender in contenders if contender.epoch]
    assert len(leaders) >= 1
    verdicts = [(await leader.write([order(f"x-{leader.epoch}")])).verdict for leader in leaders]
    assert verdicts.count(Verdict.STORED) == 1
    assert len(won) == len(leaders)
