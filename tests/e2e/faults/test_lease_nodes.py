"""The lease on three real nodes: what holds on one holds there, and a batch is whole or absent whoever dies."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from typing import Any

import pytest

from job_contracts import subjects
from runtime.bus import NatsBus, connect
from runtime.bus.manifest import StreamLimits, manifest
from runtime.bus.port import Bus, BusError, Outgoing
from runtime.clock import SystemClock
from runtime.telemetry import Telemetry
from scheduler.leadership import Lease, Verdict
from tests.integration import test_leadership as single
from tests.support.broker import settings
from tests.support.cluster import SIZE, Cluster, started
from tests.support.eventually import eventually
from tests.support.proxy import FaultProxy

WORK = subjects.stream_name(subjects.WORK, 0)
LIMITS = StreamLimits(replicas=SIZE)
SEED = 20261128
"""Of the moments at which nodes die; a failure names it."""

PROMISES = [
    single.test_an_empty_shard_is_led_at_once_and_each_batch_is_stored_behind_the_record,
    single.test_a_silent_leader_is_succeeded_after_the_lease_and_whatever_it_then_sends_is_refused,
    single.test_a_resigned_lease_is_taken_without_waiting_and_carries_the_state_over,
    single.test_of_contenders_for_one_silent_lease_exactly_one_wins,
    single.test_a_dispatch_whose_answer_is_lost_is_found_to_be_stored,
    single.test_a_dispatch_that_is_lost_on_its_way_is_found_not_to_be_stored,
    single.test_a_dispatch_that_arrives_after_it_was_given_up_is_refused,
    single.test_a_record_that_nobody_can_read_ends_the_term_and_the_next_begins_at_once,
]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Shared by these tests, each of which leaves all three running."""
    folder = tmp_path_factory.mktemp("nodes")
    running = asyncio.run(started([folder / str(number) for number in range(SIZE)]))
    yield running
    asyncio.run(running.stop())


@pytest.fixture
async def bus(nodes: Cluster) -> AsyncIterator[NatsBus]:
    """On a WORK stream of its own making, empty."""
    made = await connect(settings(nodes.url, publish_timeout=1.0))
    await nodes.whole()

    async def anew() -> bool:
        with contextlib.suppress(BusError):
            await made.call(f"STREAM.DELETE.{WORK}", {})
        try:
            await made.ensure([asset for asset in manifest(LIMITS, ("openai",)) if concerns_work(asset)])
        except BusError:
            return False
        return (await made.stream_state(WORK)).messages == 0

    await eventually(anew, within=20.0, every=0.1)
    yield made
    await made.close()


def concerns_work(asset: dict[str, Any]) -> bool:
    return WORK in (asset["config"]["name"], asset.get("stream"))


def contender(bus: Bus, owner: str, *, lease: float = single.LEASE) -> Lease:
    return Lease(bus, SystemClock(), Telemetry(), shard=0, owner=owner, lease=lease, replicated=True)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__.removeprefix("test_"))
async def test_on_three_nodes_as_on_one(nodes: Cluster, bus: NatsBus, promise: Callable[..., Any]) -> None:
    needed = set(inspect.signature(promise).parameters)
    async with FaultProxy(nodes.brokers[0]) as proxy:
        # Not told of the other nodes, it would stay behind the proxy; told of them, it could go around it.
        through = await connect(settings(proxy.url, publish_timeout=0.4))
        given: dict[str, Any] = {
            "bus": bus,
            "lease": lambda owner: contender(bus, owner),
            "proxied": (proxy, through),
            "replicated": True,
        }
        try:
            await promise(**{name: value for name, value in given.items() if name in needed})
        finally:
            await through.close()


def order(job: str, size: int = 2) -> Outgoing:
    return Outgoing(subjects.work(0, "openai", "p", job), b"{}" * (size // 2))


async def stored(bus: Bus) -> Counter[str]:
    """How many messages of each batch there are."""
    state = await bus.stream_state(WORK, subjects=f"{subjects.PREFIX}.work.>")
    return Counter(subjects.project_and_job(subject)[1].partition("-")[0] for subject in (state.subjects or {}))


async def test_a_batch_that_waits_for_the_other_nodes_is_not_given_up_before_it_is_decided(
    nodes: Cluster, bus: NatsBus
) -> None:
    """Both followers stand still: the leader cannot say yes, and a read of it says no all the while."""
    leader = contender(bus, "a", lease=8.0)
    await leader.acquire(asyncio.Event())
    await leader.write([order("b0-0"), order("b0-1")])
    first = await nodes.leader_of(WORK)
    followers = [number for number in range(SIZE) if number != first]
    for number in followers:
        nodes.freeze(number)
    try:
        writing = asyncio.create_task(leader.write([order("b1-0"), order("b1-1")]))
        await asyncio.wait({writing}, timeout=4.0)
        decided = writing.done()
    finally:
        for number in followers:
            nodes.thaw(number)
    written = await asyncio.wait_for(writing, 30.0)
    assert not decided, f"it said {written.verdict} while nobody could know"
    assert written.verdict is not Verdict.LOST
    await nodes.current(WORK)
    assert await stored(bus) == Counter({"b0": 2} | ({"b1": 2} if written.verdict is Verdict.STORED else {}))
    assert (await leader.write([order("b2-0")])).verdict is Verdict.STORED


@pytest.mark.timeout(90)
async def test_a_batch_of_four_megabytes_is_whole_or_absent_as_it_was_told_though_nodes_die(
    nodes: Cluster, bus: NatsBus
) -> None:
    """Such a batch is several entries of the replicated log; the node that leads the stream dies amid them."""
    chance = random.Random(SEED)
    size, each = 200, 20_000
    leader = contender(bus, "a", lease=8.0)
    await leader.acquire(asyncio.Event())
    told: dict[str, Verdict] = {}
    batches = count()
    ending = asyncio.Event()

    async def write() -> None:
        while not ending.is_set():
            name = f"b{next(batches)}"
            told[name] = (await leader.write([order(f"{name}-{place}", each) for place in range(size)])).verdict

    writing = asyncio.create_task(write())
    for _ in range(2):
        seen = len(told)
        await eventually(lambda seen=seen: len(told) >= seen + 3, within=30.0)  # type: ignore[misc]  # bound at once
        first = await nodes.leader_of(WORK)
        await asyncio.wait({writing}, timeout=chance.uniform(0, 0.1))
        nodes.kill(first)
        await eventually(lambda seen=seen: len(told) >= seen + 6, within=40.0)  # type: ignore[misc]  # bound at once
        await nodes.start(first)
        await nodes.whole()
        await nodes.current(WORK)
    ending.set()
    await asyncio.wait_for(writing, 40.0)
    found = await stored(bus)
    assert {name for name, verdict in told.items() if verdict is Verdict.STORED} == set(found), f"seed {SEED}"
    assert set(found.values()) == {size}, f"seed {SEED}"
    assert Verdict.LOST not in told.values()


async def test_batches_that_were_begun_and_left_do_not_keep_the_leader_out_for_long(
    nodes: Cluster, bus: NatsBus
) -> None:
    """The broker holds fifty begun batches a stream; it forgets one that was idle for ten seconds."""
    leader = contender(bus, "a", lease=8.0)
    await leader.acquire(asyncio.Event())
    for number in range(60):
        headers = {"Nats-Batch-Id": f"left{number}", "Nats-Batch-Sequence": "1"}
        await bus.publish(subjects.work(0, "openai", "p", f"left-{number}"), b"{}", headers=headers)
    refused = await leader.write([order("b0-0"), order("b0-1")])
    assert refused.verdict is Verdict.NOT_STORED
    assert (await leader.write()).verdict is Verdict.STORED, "a renewal is no batch"

    async def let_in() -> bool:
        return (await leader.write([order("b0-0"), order("b0-1")])).verdict is Verdict.STORED

    await eventually(let_in, within=20.0)
    assert await stored(bus) == Counter({"b0": 2})
