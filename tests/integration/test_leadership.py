"""The lease against a real broker: one leader at a time, and nothing of a deposed one is stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from job_contracts import subjects
from runtime.broker import Broker
from runtime.bus.manifest import StreamLimits, manifest
from runtime.bus.port import Bus, Outgoing
from runtime.clock import SystemClock
from runtime.telemetry import Telemetry
from scheduler.leadership import UNSEEN, Lease, Verdict
from tests.support.proxy import FaultProxy, publish_acks

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
    predecessor = await first.acquire(asyncio.Event())
    assert predecessor is not None
    assert predecessor.record is None, "nobody led before"
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
    assert predecessor.record is not None
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
    predecessor = await waiting
    assert predecessor is not None
    assert predecessor.record is not None
    assert (predecessor.record.owner, predecessor.silence < LEASE) == (None, True), "it waited for silence"
    assert predecessor.record.levels == {"openai": {"requests": 7.5}}
    assert predecessor.record.settled == 42


async def test_the_levels_outlive_a_leader_that_ends_before_it_has_written_any(lease: Callable[[str], Lease]) -> None:
    first, second, third = lease("a"), lease("b"), lease("c")
    await first.acquire(asyncio.Event())
    first.state = lambda: ({"openai": {"input_tokens": 7.5, "input_tokens.size": 50.0}}, 42)
    await first.write()
    await second.acquire(asyncio.Event())
    predecessor = await third.acquire(asyncio.Event())
    assert predecessor is not None
    assert predecessor.record is not None
    assert predecessor.record.owner == "b"
    assert predecessor.record.levels == {"openai": {"input_tokens": 7.5, "input_tokens.size": 50.0}}


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


@pytest.fixture
async def proxied(own_broker: Broker, open_bus: Callable[..., Any], bus: Bus) -> AsyncIterator[tuple[FaultProxy, Bus]]:
    """A second connection, through a proxy that can lose what passes; the streams are made already."""
    del bus
    async with FaultProxy(own_broker) as proxy:
        yield proxy, await open_bus(proxy.url, publish_timeout=0.4)


def contender(bus: Bus, owner: str, *, replicated: bool) -> Lease:
    return Lease(bus, SystemClock(), Telemetry(), shard=0, owner=owner, lease=LEASE, replicated=replicated)


class Some:
    """Loses so many of the frames that match, then none."""

    def __init__(self, matches: Callable[[bytes], bool], count: int) -> None:
        self.matches = matches
        self.left = count

    def __call__(self, frame: bytes) -> bool:
        if self.left and self.matches(frame):
            self.left -= 1
            return True
        return False


def dispatches(frame: bytes) -> bool:
    """What a leader publishes into WORK, its lease left out."""
    return b"PUB penstock.work." in frame


@pytest.mark.parametrize("replicated", [False, True])
async def test_a_dispatch_whose_answer_is_lost_is_found_to_be_stored(
    proxied: tuple[FaultProxy, Bus], replicated: bool
) -> None:
    proxy, bus = proxied
    leader = contender(bus, "a", replicated=replicated)
    await leader.acquire(asyncio.Event())
    proxy.lose_down = Some(publish_acks, 1)
    written = await leader.write([order("a-1")])
    assert written.verdict is Verdict.STORED
    assert (await bus.get(WORK, written.seqs[0])).subject == subjects.work(0, "openai", "p", "a-1")
    assert (await leader.write([order("a-2")])).verdict is Verdict.STORED
    assert await stored(bus) == 2


@pytest.mark.parametrize("replicated", [False, True])
async def test_a_dispatch_that_is_lost_on_its_way_is_found_not_to_be_stored(
    proxied: tuple[FaultProxy, Bus], replicated: bool
) -> None:
    proxy, bus = proxied
    leader = contender(bus, "a", replicated=replicated)
    await leader.acquire(asyncio.Event())
    proxy.lose_up = Some(dispatches, 1)
    written = await leader.write([order("a-1")])
    assert written.verdict is not Verdict.LOST
    assert written.seqs[0] <= UNSEEN
    assert await stored(bus) == 0
    assert (await leader.write([order("a-1")])).verdict is Verdict.STORED
    assert await stored(bus) == 1


async def test_of_several_dispatches_each_is_resolved_for_itself(proxied: tuple[FaultProxy, Bus]) -> None:
    proxy, bus = proxied
    leader = contender(bus, "a", replicated=False)
    await leader.acquire(asyncio.Event())
    proxy.lose_up = Some(dispatches, 1)
    proxy.lose_down = Some(publish_acks, 1)
    written = await leader.write([order("a-1"), order("a-2"), order("a-3")])
    assert [seq > UNSEEN for seq in written.seqs] == [False, True, True]
    assert await stored(bus) == 2


@pytest.mark.parametrize("replicated", [False, True])
async def test_a_dispatch_that_arrives_after_it_was_given_up_is_refused(
    proxied: tuple[FaultProxy, Bus], bus: Bus, replicated: bool
) -> None:
    """The proxy holds everything back, so the outcome is unknown; a successor leads before it is let go."""
    proxy, slow = proxied
    leader, successor = contender(slow, "a", replicated=replicated), contender(bus, "b", replicated=replicated)
    await leader.acquire(asyncio.Event())
    await leader.write([order("a-1")])
    proxy.hold_up()
    writing = asyncio.create_task(leader.write([order("a-2"), order("a-3")]))
    assert await successor.acquire(asyncio.Event()) is not None
    proxy.release_up()
    async with asyncio.timeout(10.0):
        assert (await writing).verdict is Verdict.LOST
    assert await stored(bus) == 1
    assert (await successor.write([order("a-2")])).verdict is Verdict.STORED


@pytest.mark.parametrize("replicated", [False, True])
async def test_a_full_stream_refuses_and_loses_nothing(
    own_broker: Broker, open_bus: Callable[..., Any], replicated: bool
) -> None:
    bus = await open_bus(own_broker.url)
    await bus.ensure(manifest(StreamLimits(work_messages=3), ("openai",)))
    leader = contender(bus, "a", replicated=replicated)
    await leader.acquire(asyncio.Event())
    verdicts = [(await leader.write([order(f"a-{n}")])) for n in range(4)]
    said = [written.seqs[0] > UNSEEN for written in verdicts]
    assert said == sorted(said, reverse=True), "stored after it was full"
    assert 1 <= said.count(True) <= 2, "the record counts as well, a batch counts it twice"
    assert await stored(bus) == said.count(True)


async def test_a_record_that_nobody_can_read_ends_the_term_and_the_next_begins_at_once(
    bus: Bus, lease: Callable[[str], Lease]
) -> None:
    first = lease("a")
    await first.acquire(asyncio.Event())
    await bus.append(subjects.lease(0), b"not a record", headers={"Nats-Rollup": "sub"})
    assert (await first.write([order("a-1")])).verdict in (Verdict.LOST, Verdict.NOT_STORED)
    assert (await first.write()).verdict is Verdict.LOST
    predecessor = await lease("b").acquire(asyncio.Event())
    assert predecessor is not None
    assert predecessor.silence < LEASE, "it waited for silence"
    assert await stored(bus) == 0
