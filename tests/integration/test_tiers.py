"""Cheaper tiers through a whole gateway: who goes there, what it costs, and what happens when it goes wrong."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from catalogue.load import providers
from catalogue.pricing import PriceBook
from job_contracts import subjects
from producer_sdk import Answered, JobFailed
from simulator import BatchPace, FaultOrder, ProviderSettings, Settings, Simulator
from tests.support.eventually import eventually
from tests.support.plant import MESSAGES, SIMULATED, Plant, plant

pytestmark = pytest.mark.timeout(120)

MODEL = "gpt-5.4-mini"
QUICK = {"linger": 0.3, "poll": 0.1, "poll_most": 0.2, "silence": 1.5, "patience": 10.0}
CHEAP: dict[str, Any] = {
    "catalogue": "openai",
    "tier": "batch",
    "turnaround": 30.0,
    "spare": 5.0,
    "slots": 64,
    "batch": QUICK,
}
POOLS: dict[str, dict[str, Any]] = {"cheap": CHEAP, "usual": {"catalogue": "openai"}}


def together(count: int, **cheap: Any) -> dict[str, dict[str, Any]]:
    """Pools of which the batch tier makes a batch when so many jobs have come, however long the last one takes."""
    return {**POOLS, "cheap": {**CHEAP, **cheap, "batch": {**QUICK, "linger": 20.0, "requests": count}}}


ROUTES = {"chat": {"deployments": [f"cheap/{MODEL}", f"usual/{MODEL}"]}}
PATIENT: dict[str, Any] = {"lane": "batch", "deadline": 60}


async def results(site: Plant, count: int, **asked: Any) -> Sequence[Answered]:
    """So many jobs, and how they ended."""
    async with site.producer() as producer:
        jobs = [await producer.submit(model="chat", messages=MESSAGES, **{**PATIENT, **asked}) for _ in range(count)]
        return await asyncio.gather(*(job.result() for job in jobs))


async def started(site: Plant, *pools: str) -> None:
    await site.scheduler()
    for pool in pools or site.config.providers:
        await site.worker(pool, f"w-{pool}")


async def notes(site: Plant) -> int:
    stored = await site.bus.stream_state(subjects.BATCHES, subjects=f"{subjects.PREFIX}.batch_sent.>")
    return len(stored.subjects or {})


async def test_patient_jobs_go_in_one_batch_at_half_the_price_and_come_back_by_the_same_path(tmp_path: Path) -> None:
    async with plant(tmp_path, pools=together(6), routes=ROUTES) as site:
        await started(site)
        ends = await results(site, 6)
        assert {end.deployment for end in ends} == {f"cheap/{MODEL}"}
        [batch] = site.simulator.control.batches(SIMULATED)
        assert len(batch.lines) == len(ends)
        book = PriceBook(providers()["openai"])
        for end in ends:
            full = book.cost(MODEL, end.usage, end.times.finished or 0.0).cost
            assert full is not None
            assert end.cost == full / 2 > Decimal(0)
            assert end.answer is not None
        await site.settled()
        account = await site.account()
        assert len(account.facts) == len(ends)
        await eventually(lambda: _none(site), within=5.0, says="a note was left behind")


async def _none(site: Plant) -> bool:
    return not await notes(site)


async def test_jobs_in_a_hurry_and_jobs_of_other_lanes_go_the_usual_way(tmp_path: Path) -> None:
    async with plant(tmp_path, pools=POOLS, routes=ROUTES) as site:
        await started(site)
        hurried, other = await results(site, 2, deadline=20), await results(site, 2, lane="std")
        assert {end.deployment for end in (*hurried, *other)} == {f"usual/{MODEL}"}
        assert not site.simulator.control.batches(SIMULATED)


async def test_a_route_with_nothing_but_the_batch_api_says_why_a_hurried_job_cannot_go_there(tmp_path: Path) -> None:
    routes = {"chat": {"deployments": [f"cheap/{MODEL}"]}}
    async with plant(tmp_path, pools=POOLS, routes=routes) as site:
        await started(site)
        with pytest.raises(JobFailed, match=r"deadline leaves (20|1\d(\.\d)?) s, and the batch tier takes up to 30 s"):
            await results(site, 1, deadline=20)


async def test_requests_that_fail_or_expire_in_a_batch_go_on_elsewhere_and_the_others_are_kept(tmp_path: Path) -> None:
    async with plant(tmp_path, pools=together(8), routes=ROUTES) as site:
        await started(site)
        site.simulator.control.set_batches(SIMULATED, BatchPace(expiring=0.25))
        await site.simulator.control.add_fault(FaultOrder(fault="500", models=MODEL, times=2))
        ends = await results(site, 8)
        assert Counter(end.deployment for end in ends) == {f"cheap/{MODEL}": 4, f"usual/{MODEL}": 4}
        moved = [end for end in ends if len(end.attempts) == 2]
        assert len(moved) == 4
        assert all(end.attempts[0].cost == 0 for end in moved), "what was not answered was charged"
        assert len(site.simulator.control.batches(SIMULATED)) == 1


async def test_a_batch_for_which_there_is_no_room_goes_on_elsewhere(tmp_path: Path) -> None:
    async with plant(tmp_path, pools=POOLS, routes=ROUTES) as site:
        await started(site)
        site.simulator.control.set_batches(SIMULATED, BatchPace(queued=1))
        ends = await results(site, 3)
        assert {end.deployment for end in ends} == {f"usual/{MODEL}"}
        assert all(end.attempts[0].failure is not None for end in ends)


async def test_a_job_is_taken_back_from_a_slow_batch_when_its_time_runs_out(tmp_path: Path) -> None:
    async with plant(tmp_path, pools=together(2, turnaround=1.0, spare=4.0), routes=ROUTES) as site:
        await started(site)
        site.simulator.control.set_batches(SIMULATED, BatchPace(seconds=600))
        ends = await results(site, 2, deadline=8)
        assert {end.deployment for end in ends} == {f"usual/{MODEL}"}
        assert {str(end.attempts[0].failure and end.attempts[0].failure.kind) for end in ends} == {"total_timeout"}
        assert all(end.attempts[0].cost for end in ends), "it may cost there as well"
        [batch] = site.simulator.control.batches(SIMULATED)
        await eventually(lambda: batch.cancelled, within=5.0, says="the batch was not stopped")


async def test_a_cancelled_job_leaves_its_batch(tmp_path: Path) -> None:
    async with plant(tmp_path, pools=POOLS, routes=ROUTES) as site:
        await started(site)
        site.simulator.control.set_batches(SIMULATED, BatchPace(seconds=600))
        async with site.producer() as producer:
            job = await producer.submit(model="chat", messages=MESSAGES, **PATIENT)
            await eventually(lambda: bool(site.simulator.control.batches(SIMULATED)), within=10.0, says="no batch")
            await job.cancel()
            with pytest.raises(Exception, match="cancelled"):
                await job.result()
        [batch] = site.simulator.control.batches(SIMULATED)
        await eventually(lambda: batch.cancelled, within=5.0, says="the batch was not stopped")


async def test_anthropic_batches_are_taken_back_by_their_answers_and_found_again_without_a_key(tmp_path: Path) -> None:
    model = "claude-haiku-4-5"
    settings = Settings(providers=(ProviderSettings(name="anthropic", dialect="anthropic"),))
    async with Simulator(settings) as far:
        there = {"catalogue": "anthropic", "dialect": "anthropic", "base_url": f"{far.base_url('anthropic')}/v1"}
        pools = {**together(4, **there), "usual": there}
        routes = {"chat": {"deployments": [f"cheap/{model}", f"usual/{model}"]}}
        async with plant(tmp_path, pools=pools, routes=routes) as site:
            await started(site, "usual")
            far.control.set_batches("anthropic", BatchPace(seconds=3))
            await far.control.add_fault(FaultOrder(fault="529", models=model, times=1))
            victim = await site.process("workers", "--pool", "cheap", crash_at="batch.made")
            await victim.ready()
            waiting = asyncio.create_task(results(site, 4))
            await victim.killed()
            await site.worker("cheap", "heir")
            ends = await waiting
            assert Counter(end.deployment for end in ends) == {f"cheap/{model}": 3, f"usual/{model}": 1}
            assert [len(one.lines) for one in far.control.batches("anthropic")] == [4]
            for end in ends:
                share = 2 if end.deployment == f"cheap/{model}" else 1
                full = PriceBook(providers()["anthropic"]).cost(model, end.usage, end.times.finished or 0.0).cost
                assert full is not None
                assert end.cost == full / share


TIERS_DIE = ("batch.noted", "batch.made", "batch.sent")
"""Points at which a worker with a batch in its hands dies."""


@pytest.mark.parametrize("point", TIERS_DIE)
async def test_a_worker_that_dies_with_a_batch_is_followed_by_one_that_makes_no_second(
    tmp_path: Path, point: str
) -> None:
    routes = {"chat": {"deployments": [f"cheap/{MODEL}"]}}
    async with plant(tmp_path, pools=together(5), routes=routes) as site:
        await site.scheduler()
        site.simulator.control.set_batches(SIMULATED, BatchPace(seconds=3))
        victim = await site.process("workers", "--pool", "cheap", crash_at=point)
        await victim.ready()
        waiting = asyncio.create_task(results(site, 5))
        await victim.killed()
        await site.worker("cheap", "heir")
        ends = await waiting
        assert {end.deployment for end in ends} == {f"cheap/{MODEL}"}
        assert all(len(end.attempts) == 1 for end in ends), "an attempt was given up"
        assert [len(one.lines) for one in site.simulator.control.batches(SIMULATED)] == [5]
        await site.settled()
        account = await site.account()
        assert len(account.facts) == len(ends)


async def test_a_worker_that_is_stopped_hands_its_batch_to_the_next(tmp_path: Path) -> None:
    routes = {"chat": {"deployments": [f"cheap/{MODEL}"]}}
    async with plant(tmp_path, pools=together(3), routes=routes) as site:
        await site.scheduler()
        site.simulator.control.set_batches(SIMULATED, BatchPace(seconds=4))
        first = await site.process("workers", "--pool", "cheap")
        await first.ready()
        waiting = asyncio.create_task(results(site, 3))
        await first.began("batch.sent")
        first.child.terminate()
        assert await first.ended() == 0
        assert first.said("batch.released")
        await site.worker("cheap", "heir")
        ends = await waiting
        assert all(len(end.attempts) == 1 for end in ends)
        assert len(site.simulator.control.batches(SIMULATED)) == 1


async def test_flex_asks_for_the_cheaper_service_and_waits_longer(tmp_path: Path) -> None:
    flex = {"catalogue": "openai", "tier": "flex", "turnaround": 20.0, "spare": 5.0}
    routes = {"chat": {"deployments": [f"flex/{MODEL}", f"usual/{MODEL}"], "timeouts": {"total": 2.5}}}
    async with plant(tmp_path, pools={"flex": flex, "usual": {"catalogue": "openai"}}, routes=routes) as site:
        await started(site)
        await site.simulator.control.add_fault(FaultOrder(fault="slow@3", models=MODEL, times=1))
        [slow] = await results(site, 1)
        assert slow.deployment == f"flex/{MODEL}"
        full = PriceBook(providers()["openai"]).cost(MODEL, slow.usage, slow.times.finished or 0.0).cost
        assert full is not None
        assert slow.cost == full / 2
        await site.simulator.control.add_fault(FaultOrder(fault="429", models=MODEL, times=1))
        [refused] = await results(site, 1)
        assert refused.deployment == f"usual/{MODEL}", "there was no room, and it waited all the same"
