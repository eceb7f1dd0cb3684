"""The power goes: what was acknowledged is on the disk, on one node and on three that lose it in the same instant."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import pytest

from job_contracts import subjects
from job_contracts.codec import decode
from job_contracts.results import Result
from runtime.broker import Broker, BrokerConfig
from runtime.bus import NatsBus, connect
from runtime.bus.port import AlreadyStored, BusError, Message, NotFound, Outgoing
from runtime.clock import SystemClock
from runtime.connection import declared
from runtime.settings import Config
from runtime.telemetry import Telemetry
from scheduler.leadership import Lease, Verdict
from tests.support.broker import settings
from tests.support.cluster import nodes_in
from tests.support.eventually import eventually
from tests.support.power import Disk, Disks, disks
from tests.support.world import World, config, scheduler_on

__all__ = ["disks"]

Sync = Literal["default", "always"]
WORK, RES = subjects.stream_name(subjects.WORK, 0), subjects.RES
RESULTS, BATCHES, IN_BATCH, JOBS = 500, 25, 20, 80
"""Acknowledged before the cut, at least (``IN_BATCH`` exactly)."""


@dataclass
class Site:
    """One or three nodes, each on a disk of its own."""

    brokers: list[Broker]
    on: list[Disk]
    disks: Disks

    @property
    def url(self) -> tuple[str, ...]:
        return tuple(broker.url for broker in self.brokers)

    @property
    def config(self) -> Config:
        return config(nats={"replicas": len(self.brokers)})

    async def start(self) -> NatsBus:
        """Start all nodes; a connection, once they accept the streams or know them from before."""
        await asyncio.gather(*(broker.start(within=20.0) for broker in self.brokers))
        bus = await connect(settings(self.url))

        async def made() -> bool:
            try:
                await bus.ensure(declared(self.config))
            except BusError:
                return False
            return True

        await eventually(made, within=30.0, every=0.1, says="the streams could not be made")
        return bus

    def lose_power(self) -> None:
        """Everything stands still in the same instant; the disks go on as copies of what is on them now."""
        for broker in self.brokers:
            broker.freeze()
        copies = self.disks.copies(self.on)
        for broker in self.brokers:
            broker.kill()
        for disk in copies:
            disk.power_on()
        self.brokers = [
            Broker(broker.config, disk.path / "nats") for broker, disk in zip(self.brokers, copies, strict=True)
        ]
        self.on = copies


@asynccontextmanager
async def site(disks: Disks, nodes: int, sync: Sync = "always") -> AsyncIterator[Site]:
    on = disks.new(nodes)
    directories = [disk.path / "nats" for disk in on]
    alone = [Broker(BrokerConfig(sync=sync), directories[0])]
    made = Site(alone if nodes == 1 else list(nodes_in(directories, sync=sync)), on, disks)
    try:
        yield made
    finally:
        for broker in made.brokers:
            await broker.stop()


@dataclass
class Acknowledged:
    """What the broker said it has: results by job, dispatches by batch with their sequences."""

    results: set[str] = field(default_factory=set)
    batches: dict[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def enough(self) -> bool:
        return len(self.results) >= RESULTS and len(self.batches) >= BATCHES

    async def collect(self, bus: NatsBus) -> None:
        """Write until cancelled."""
        lease = Lease(bus, SystemClock(), Telemetry(), shard=0, owner="a", lease=8.0, replicated=True)
        await lease.acquire(asyncio.Event())
        await asyncio.gather(self._batches(lease), *(self._results(bus, lane) for lane in range(16)))

    async def _results(self, bus: NatsBus, lane: int) -> None:
        for number in range(100_000):
            job = f"a{lane}x{number}-l"
            try:
                await bus.append(subjects.result("demo", job), b"r" * 1_000, expect_last=0)
            except BusError:
                return
            self.results.add(job)

    async def _batches(self, lease: Lease) -> None:
        for number in range(100_000):
            written = await lease.write([order(number, place) for place in range(IN_BATCH)])
            if written.verdict is Verdict.STORED:
                self.batches[number] = written.seqs


def order(batch: int, place: int) -> Outgoing:
    return Outgoing(subjects.work(0, "alpha", "demo", f"b{batch}-p{place}"), b"w" * 2_000)


async def stored(bus: NatsBus, stream: str, below: str) -> list[str]:
    """The jobs that a stream holds messages of; none if the stream itself is gone."""
    try:
        found = (await bus.stream_state(stream, subjects=f"{subjects.PREFIX}.{below}.>")).subjects or {}
    except NotFound:
        return []
    return [subjects.project_and_job(subject)[1] for subject in found]


async def acknowledged_then_cut(running: Site) -> tuple[Acknowledged, NatsBus]:
    """Let traffic flow, cut the power amid it, start again; the connection is to the new servers."""
    bus = await running.start()
    told = Acknowledged()
    flowing = asyncio.create_task(told.collect(bus))
    await eventually(lambda: told.enough, within=20.0, says=lambda: f"{len(told.results)}, {len(told.batches)}")
    running.lose_power()
    # What was answered before the cut may still lie in our sockets, and counts.
    await eventually(lambda: not bus.connected, within=5.0)
    flowing.cancel()
    await asyncio.gather(flowing, return_exceptions=True)
    await bus.close()
    return told, await running.start()


@pytest.mark.timeout(90)
@pytest.mark.parametrize("nodes", [1, 3])
async def test_what_was_acknowledged_outlives_a_power_cut_and_a_batch_is_whole_or_absent(
    disks: Disks, nodes: int
) -> None:
    async with site(disks, nodes) as running:
        told, bus = await acknowledged_then_cut(running)
        assert told.results - set(await stored(bus, RES, "res")) == set()
        batches = Counter(job.partition("-")[0] for job in await stored(bus, WORK, "work.0"))
        assert set(batches.values()) == {IN_BATCH}, "part of a batch was stored"
        assert {f"b{number}" for number in told.batches} - set(batches) == set()
        for number, seqs in told.batches.items():
            for place in (0, IN_BATCH - 1):
                assert (await bus.get(WORK, seqs[place])).subject == order(number, place).subject
        await bus.close()


@pytest.mark.timeout(90)
async def test_without_a_flush_for_each_write_the_same_cut_loses_what_was_acknowledged(disks: Disks) -> None:
    """The control: were nothing lost here, the cut would prove nothing elsewhere."""
    async with site(disks, 1, sync="default") as running:
        told, bus = await acknowledged_then_cut(running)
        assert len(told.results - set(await stored(bus, RES, "res"))) > len(told.results) / 2
        await bus.close()


@dataclass
class Visible:
    """What clients hear of results: by job, which attempts' results were shown."""

    nonces: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def __call__(self, message: Message) -> None:
        result = decode(Result, message.data)
        self.nonces[result.job].add(result.nonce)


async def submit_until(world: World, stopping: asyncio.Event, accepted: set[str]) -> None:
    """Submit jobs one after the other; those that the broker acknowledged are accepted."""
    while not stopping.is_set():
        job = f"j{len(accepted)}-std"
        try:
            await world.submit(job)
        except AlreadyStored:
            pass  # a try without an answer had been stored
        except BusError:
            await eventually(lambda: world.bus.connected, within=20.0)
            continue
        accepted.add(job)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("nodes", [1, 3])
async def test_every_accepted_job_gets_one_result_though_the_brokers_lost_power(disks: Disks, nodes: int) -> None:
    async with site(disks, nodes) as running:
        bus = await running.start()
        visible, accepted, stopping = Visible(), set[str](), asyncio.Event()
        await bus.subscribe(subjects.live_result("demo", "*-*"), visible)
        async with scheduler_on(bus, running.config) as world:
            pool = await world.pool("alpha")
            submitting = asyncio.create_task(submit_until(world, stopping, accepted))
            await eventually(lambda: len(accepted) >= JOBS and len(visible.nonces) >= JOBS / 2, within=20.0)
            running.lose_power()
            before = len(accepted)
            await pool.die()
            await (await running.start()).close()
            await world.pool("alpha", worker="w2")
            await eventually(lambda: len(accepted) >= before + 20, within=20.0, says="nothing is accepted any more")
            stopping.set()
            await submitting
            for job in accepted:
                await world.result(job, within=20.0)
            await world.settled()
            assert await world.messages(RES) == len(accepted)
            assert {job: seen for job, seen in visible.nonces.items() if len(seen) > 1} == {}
        await bus.close()
