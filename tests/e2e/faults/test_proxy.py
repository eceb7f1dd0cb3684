"""A faulty network between each of our programs and the broker, while jobs flow: every job has its one result.

The faults come in an order that a seed decides. A failing run prints it: ``PENSTOCK_SEED=n`` plays the same again.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from job_contracts.jobs import JobState
from producer_sdk import Producer, Unreachable
from producer_sdk.handle import JobHandle
from tests.support.eventually import eventually
from tests.support.plant import BASE, MESSAGES, plant
from tests.support.proxy import FaultProxy, lose_nothing, publish_acks

# nats-py leaves the socket of a reconnect that failed midway to the garbage collector, which says so.
pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.usefixtures("collected")]

SEED = int(os.environ.get("PENSTOCK_SEED") or random.randrange(10**6))  # noqa: TID251 - to play a run again
SLOTS = 16
JOBS = 200
"""Jobs that flow in each run."""
SUBMITTERS = 8
PACE = 0.1
"""Seconds between two submissions of one of them."""
QUICK: Mapping[str, Any] = {
    "publish_timeout": 0.6,
    "api_timeout": 0.6,
    "flush_timeout": 0.5,
    "watchdog": 0.4,
    "heartbeat": 0.2,
}
"""A service that gives up sooner, so that what is held back here is late."""
ROUTES: dict[str, Any] = {
    "plain": {"deployments": ["alpha/plain+ttft=0.05"]},
    "failing": {"deployments": ["alpha/failing+fault=503@0.05+p=0.5", "beta/well"]},
}


# -- the faults


async def replies_lost(proxy: FaultProxy, dice: random.Random) -> None:
    """What is written is stored, and its writer hears nothing of it."""
    proxy.lose_down = publish_acks
    wanted = dice.randint(1, 20)
    await at_most(1.5, lambda: len(proxy.lost) >= wanted)


async def some_replies_lost(proxy: FaultProxy, dice: random.Random) -> None:
    """Of the writer's answers one in three is lost."""
    proxy.lose_down = lambda frame: publish_acks(frame) and dice.random() < 1 / 3
    await at_most(1.5, lambda: len(proxy.lost) >= 10)


async def delayed(proxy: FaultProxy, dice: random.Random) -> None:
    """Everything takes 200 ms longer, each way."""
    proxy.delay = 0.2
    await pause(dice.uniform(0.5, 1.5))


async def cut(proxy: FaultProxy, dice: random.Random) -> None:
    """Every connection is reset, perhaps again as soon as it is back."""
    for _ in range(dice.randint(1, 3)):
        proxy.cut()
        await pause(dice.uniform(0.05, 0.4))


async def frozen(proxy: FaultProxy, dice: random.Random) -> None:
    """Connections stay open and silent: half-open, until their owners notice."""
    proxy.freeze()
    await pause(dice.uniform(0.5, 1.0))


async def late(proxy: FaultProxy, dice: random.Random) -> None:
    """What was sent arrives long after its sender has given up waiting."""
    proxy.hold_up()
    await pause(dice.uniform(0.8, 1.6))
    proxy.release_up()


async def late_and_cut(proxy: FaultProxy, _: random.Random) -> None:
    """What was sent arrives late, and nobody is there any more to hear what became of it."""
    proxy.hold_up()
    await pause(0.8)
    proxy.lose_down = publish_acks
    proxy.release_up()
    await pause(0.1)
    proxy.cut()


async def turned_away(proxy: FaultProxy, dice: random.Random) -> None:
    """No connection, and no new one for a while."""
    proxy.refusing = True
    proxy.cut()
    await pause(dice.uniform(0.3, 1.2))


Fault = Callable[[FaultProxy, random.Random], Awaitable[None]]
FAULTS: tuple[Fault, ...] = (
    replies_lost,
    some_replies_lost,
    delayed,
    cut,
    frozen,
    late,
    late_and_cut,
    turned_away,
)


async def pause(seconds: float) -> None:
    """How long a fault lasts is part of the fault."""
    await asyncio.sleep(seconds)


async def at_most(seconds: float, enough: Callable[[], bool]) -> None:
    """A fault that lasts until it has struck often enough, and not for ever."""
    with contextlib.suppress(AssertionError):
        await eventually(enough, within=seconds)


def well(proxy: FaultProxy) -> None:
    """The network as it should be."""
    proxy.lose_down = proxy.lose_up = lose_nothing
    proxy.delay, proxy.refusing = 0.0, False
    proxy.release_up()
    proxy.lost.clear()


# -- the runs


@pytest.fixture
def collected() -> Iterator[None]:
    """Collect what a test left behind while that is still its own matter."""
    yield
    gc.collect()


@pytest.mark.parametrize("program", ["scheduler", "workers", "producers"])
async def test_whatever_the_network_does_every_accepted_job_has_one_result(program: str, tmp_path: Path) -> None:
    dice = random.Random(f"{SEED} {program}")
    plan = dice.sample(FAULTS, len(FAULTS))
    print(f"PENSTOCK_SEED={SEED}: {program}: {', '.join(fault.__name__ for fault in plan)}")
    pool: dict[str, Any] = {"slots": SLOTS, "limits": {"rpm": 1_000_000}}
    patient = {**BASE["scheduler"], "max_worker_deaths": 100}
    async with (
        plant(tmp_path, pools={"alpha": pool, "beta": pool}, routes=ROUTES, scheduler=patient) as site,
        FaultProxy(site.broker) as proxy,
    ):
        urls = {name: proxy.url if name == program else site.broker.url for name in ("scheduler", "workers")}
        first = await site.scheduler("s1", bus=await site.connection("s1", url=urls["scheduler"], **QUICK))
        await site.scheduler("s2", bus=await site.connection("s2", **QUICK), leads=False)
        assert first.leads
        for name in ("alpha", "beta"):
            await site.worker(name, bus=await site.connection(name, url=urls["workers"], **QUICK))
        async with site.producer(proxy.url if program == "producers" else None) as producer:
            flow = Flow(producer)
            flowing = asyncio.create_task(flow.run())
            for fault in plan:
                await eventually(flow.flows, within=30.0, says="no job is accepted any more")
                await fault(proxy, dice)
                well(proxy)
            await eventually(lambda: len(flow.jobs) >= JOBS, within=30.0)
            flow.stop()
            await flowing
            records = await asyncio.gather(*(handle.record() for handle in flow.jobs))
        await site.settled()
        account = await site.account()
        lost = Counter(event.fields["job_id"] for event in site.events if event.name == "attempt.lost")
    ids = [handle.id for handle in flow.jobs]
    wrong = account.wrong(ids)
    wrong += [f"{record.job} is {record.state}" for record in records if record.state is not JobState.SUCCEEDED]
    for job in ids:
        if len(account.extra([job])) > lost[job]:
            wrong.append(f"{sorted(account.extra([job]))} beyond those that count, {lost[job]} were taken for lost")
    wrong += [f"the ledger was not told of {name}" for name in account.untold(ids)]
    if program != "workers" and account.extra(ids):
        wrong.append(f"calls beyond those that count: {account.extra(ids)}")
    assert not wrong, "\n".join(wrong[:20])
    print(f"{program}: {len(ids)} jobs, {flow.refused} not accepted, {len(account.extra(ids))} calls beyond")


class Flow:
    """A few programs that submit job after job, each waiting for its last one to be accepted."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._stopped = False
        self.jobs: list[JobHandle] = []
        self.refused = 0
        self._seen = 0

    async def run(self) -> None:
        await asyncio.gather(*(self._submit(number) for number in range(SUBMITTERS)))

    async def _submit(self, number: int) -> None:
        while not self._stopped:
            model = "failing" if number % 4 == 0 else "plain"
            try:
                handle = await self._producer.submit(model=model, messages=MESSAGES)
            except Unreachable:
                self.refused += 1  # it says so: the caller decides whether to submit again
            else:
                self.jobs.append(handle)
            await asyncio.sleep(PACE)

    def flows(self) -> bool:
        """Whether further jobs were accepted since the last fault."""
        if len(self.jobs) < self._seen + SUBMITTERS:
            return False
        self._seen = len(self.jobs)
        return True

    def stop(self) -> None:
        self._stopped = True
