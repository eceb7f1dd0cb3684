"""Programs of version 1.0 beside those of today, under load: every job has its one result, nothing is set aside."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from job_contracts import subjects
from job_contracts.codec import VERSION
from job_contracts.jobs import JobState
from producer_sdk import Producer, Unreachable
from producer_sdk.handle import JobHandle
from scheduler.service import Scheduler
from tests.support import older
from tests.support.eventually import eventually
from tests.support.older import OlderPeer
from tests.support.plant import MESSAGES, Plant, plant

ROUTES: dict[str, Any] = {
    "plain": {"deployments": ["alpha/plain"]},
    "failing": {"deployments": ["alpha/failing+fault=503@0.05", "beta/well"]},
    "refused": {"deployments": ["alpha/refused+fault=bad_request"]},
    "large": {"deployments": ["alpha/large+tokens=30000"]},
    "slow": {"deployments": ["alpha/slow+ttft=15"]},
}
KINDS: dict[str, JobState] = {
    "plain": JobState.SUCCEEDED,
    "streamed": JobState.SUCCEEDED,
    "failing": JobState.SUCCEEDED,
    "large": JobState.SUCCEEDED,
    "large body": JobState.SUCCEEDED,
    "refused": JobState.FAILED,
    "cancelled": JobState.CANCELLED,
    "aborted": JobState.CANCELLED,
}
"""Jobs that between them need every message there is, and how they end."""
ROUNDS = 8
PAYLOAD = {"max_payload": 65_536}
"""What the broker takes: a long answer and a long question are stored in pieces."""

WRITTEN = {
    "scheduler": {"assignment", "lease", "result", "settlement", "heartbeat_reply", "abort", "statuses"},
    "workers": {"result", "settlement", "outcome", "facts", "heartbeat", "chunk"},
    "producers": {"job", "ticket", "cancel", "ask_jobs"},
}
"""What must have passed between an older program and the broker for the test to say anything."""

NEWER = {"workers": {"facts.facts[].told_by"}}
"""Fields of today that must have been taken out on their way, for the program to have been one of 1.0."""


@pytest.mark.parametrize("program", WRITTEN)
async def test_a_program_of_1_0_works_beside_those_of_today(program: str, tmp_path: Path) -> None:
    async with site_of(tmp_path) as site, OlderPeer(site.broker) as peer:
        urls = {name: peer.url if name == program else site.broker.url for name in WRITTEN}
        await site.scheduler(bus=await site.connection("s1", url=urls["scheduler"]))
        for pool in ("alpha", "beta"):
            await site.worker(pool, bus=await site.connection(pool, url=urls["workers"]))
        async with site.producer(urls["producers"]) as producer:
            jobs = [job for _ in range(ROUNDS) for job in await one_of_each(site, producer)]
            await all_ended(site, jobs)
    assert not peer.refused
    assert peer.messages.keys() >= WRITTEN[program]
    assert peer.dropped >= NEWER.get(program, set())


async def test_the_lease_goes_from_a_leader_of_1_0_to_one_of_today_and_back_under_load(tmp_path: Path) -> None:
    async with site_of(tmp_path) as site, OlderPeer(site.broker) as peer:
        old = await site.scheduler("old", bus=await site.connection("old", url=peer.url))
        for pool in ("alpha", "beta"):
            await site.worker(pool)
        async with site.producer() as producer:
            flow = Flow(site, producer)
            flowing = asyncio.create_task(flow.run())
            await flow.more(10)
            new = await handed_over(site, old, await site.scheduler("new", leads=False))
            await flow.more(10)
            again = await site.connection("again", url=peer.url)
            last = await handed_over(site, new, await site.scheduler("again", bus=again, leads=False))
            await flow.more(10)
            flow.stop()
            await flowing
            await all_ended(site, flow.jobs)
            assert last.leads
    assert not peer.refused
    assert peer.messages["lease"] > 2


async def handed_over(site: Plant, leader: Scheduler, successor: Scheduler) -> Scheduler:
    """Stop the leader as an upgrade does; whoever stands by leads at once."""
    assert leader.leads
    assert not successor.leads
    await leader.stop()
    await eventually(lambda: successor.leads, within=15.0, says="nobody took over")
    record = await site.bus.last(subjects.stream_name(subjects.WORK), subjects.lease(0))
    assert json.loads(record.data)["owner"] is not None
    return successor


# -- the parts


def site_of(directory: Path) -> Any:
    pool: dict[str, Any] = {"slots": 32, "limits": {"rpm": 1_000_000}}
    return plant(directory, pools={"alpha": pool, "beta": pool}, routes=ROUTES, broker=PAYLOAD)


Job = tuple[str, JobHandle]


async def one_of_each(site: Plant, producer: Producer) -> list[Job]:
    """Submit a job of each kind."""
    made = {kind: await submit(producer, kind) for kind in KINDS}
    await made["cancelled"].cancel()
    await eventually(lambda: calls_of(site, made["aborted"]), within=20.0, says="the slow job was not called")
    with contextlib.suppress(Unreachable):  # a question may find nobody who leads
        assert (await made["aborted"].status()).job == made["aborted"].id
    await made["aborted"].cancel()
    return list(made.items())


async def submit(producer: Producer, kind: str) -> JobHandle:
    match kind:
        case "streamed":
            return await producer.submit(model="plain", messages=MESSAGES, stream=True)
        case "large body":
            return await producer.submit(model="plain", messages=[{"role": "user", "content": "word " * 30_000}])
        case "cancelled":
            return await producer.submit(model="plain", messages=MESSAGES, not_before=600.0)
        case "aborted":
            return await producer.submit(model="slow", messages=MESSAGES)
        case _:
            return await producer.submit(model=kind, messages=MESSAGES, idempotency_key=None)


def calls_of(site: Plant, handle: JobHandle) -> bool:
    """Whether a job is with a worker (the simulator writes a call down when it has ended)."""
    return any(event.name == "attempt.fetched" and handle.id in event.fields["attempt"] for event in site.events)


class Flow:
    """Rounds of jobs, until it is told to stop."""

    def __init__(self, site: Plant, producer: Producer) -> None:
        self._site, self._producer = site, producer
        self._stopped = False
        self.jobs: list[Job] = []

    async def run(self) -> None:
        while not self._stopped:
            self.jobs += await one_of_each(self._site, self._producer)

    async def more(self, count: int) -> None:
        """Until so many further jobs have been accepted."""
        wanted = len(self.jobs) + count
        await eventually(lambda: len(self.jobs) >= wanted, within=30.0)

    def stop(self) -> None:
        self._stopped = True


async def all_ended(site: Plant, jobs: list[Job]) -> None:
    """Each job as its kind does, with one result; nothing is left, nothing was set aside."""
    records = await asyncio.gather(*(handle.record() for _, handle in jobs))
    wrong = [
        f"{kind}: {record.state}, {record.failure}"
        for (kind, _), record in zip(jobs, records, strict=True)
        if record.state is not KINDS[kind]
    ]
    for kind, handle in jobs:
        if kind == "streamed":
            async with handle.stream() as stream:
                assert [event async for event in stream]
    await site.settled()
    account = await site.account()
    ids = [handle.id for _, handle in jobs]
    wrong += account.wrong(ids) + [f"the ledger was not told of {name}" for name in account.untold(ids)]
    wrong += [f"{event.name}: {event.fields}" for event in site.events if event.name in SET_ASIDE]
    if (await site.bus.stream_state(subjects.DEAD)).messages:
        wrong.append("something was set aside")
    assert not wrong, "\n".join(wrong[:20])


SET_ASIDE = {"intake.unreadable", "outcomes.unreadable", "settling.unreadable", "recovery.unreadable_work"} | {
    "pool.unreadable",
    "lifeline.unreadable_beat",
    "abort.unreadable",
}


def test_today_is_a_version_later_than_the_one_that_is_played() -> None:
    assert VERSION != older.VERSION
