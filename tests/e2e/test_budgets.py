"""Processes against the simulator, a cent, and a leader that is killed twice: what was billed fits the cent."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from catalogue.load import providers
from catalogue.prices import cost_of
from job_contracts.chat import Usage
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from simulator.reports import BillLine
from simulator.settings import Pace
from tests.support.eventually import eventually
from tests.support.plant import MESSAGES, SIMULATED, Plant, plant
from tests.support.stand_in import PROJECT

pytestmark = pytest.mark.timeout(240)

BUDGET = Decimal("0.01")
JOBS = 500
MODEL = "gpt-5-mini"


def billed(lines: tuple[BillLine, ...]) -> Decimal:
    """What the simulator metered, at the catalogue's prices."""
    prices = providers()["openai"].prices(MODEL)
    total = Decimal(0)
    for line in lines:
        usage = Usage(
            input=line.input_tokens,
            output=line.output_tokens,
            cache_read=line.cached_read_tokens,
            cache_write=line.cache_write_tokens,
            reasoning=line.reasoning_tokens,
        )
        cost = cost_of(usage, prices, at=datetime.fromtimestamp(line.at, UTC))
        assert cost is not None
        total += cost
    return total


def enough(site: Plant, least: int) -> bool:
    return len(site.simulator.control.bills().lines) >= least


async def test_500_jobs_on_a_cent_are_billed_no_more_though_the_scheduler_is_killed_in_the_middle(
    tmp_path: Path,
) -> None:
    async with plant(
        tmp_path,
        pools={"alpha": {"catalogue": "openai", "slots": 12}},
        routes={"plain": {"deployments": [f"alpha/{MODEL}"], "expected_output": 20}},
        projects={PROJECT: {"retry_share": 1.0, "budget": {"total": str(BUDGET)}}},
    ) as site:
        await site.worker("alpha")
        leader = await site.process("scheduler", "--name", "first")
        await leader.began("term.began")
        producer = await site.stack.enter_async_context(site.producer())
        site.simulator.control.set_pace(SIMULATED, Pace(latency=0.15))
        handles = await asyncio.gather(
            *(producer.submit(model="plain", messages=MESSAGES, max_tokens=40) for _ in range(JOBS))
        )
        for turn in range(1, 3):
            await eventually(partial(enough, site, 20 * turn), within=40.0, says="nothing is called")
            follower = await site.process("scheduler", "--name", f"follower {turn}")
            await follower.began("service.started")
            leader.child.kill()
            await follower.began("term.began")
            leader = follower
        records = await asyncio.gather(*(handle.record() for handle in handles))
        await site.settled()
        leader.child.terminate()
        assert await leader.ended() == 0
        bills = site.simulator.control.bills()
    told = Counter(record.state for record in records)
    assert not bills.forgotten
    assert told[JobState.SUCCEEDED] + told[JobState.FAILED] == JOBS
    assert told[JobState.SUCCEEDED] == len(bills.lines) > 40
    total = billed(bills.lines)
    assert BUDGET / 2 < total <= BUDGET
    assert sum((record.cost or Decimal(0) for record in records), Decimal(0)) == total
    failures = {record.failure.kind for record in records if record.failure is not None}
    assert failures == {FailureKind.BUDGET}


async def test_what_was_under_way_when_the_scheduler_was_killed_counts_for_its_successor(tmp_path: Path) -> None:
    """Calls outlast the lease: whoever takes over finds the budget reserved to the last job, and nothing in LEDGER."""
    async with plant(
        tmp_path,
        pools={"alpha": {"catalogue": "openai", "slots": 24}},
        routes={"plain": {"deployments": [f"alpha/{MODEL}"], "expected_output": 20}},
        projects={PROJECT: {"retry_share": 1.0, "budget": {"total": str(BUDGET / 8)}}},
    ) as site:
        await site.worker("alpha")
        leader = await site.process("scheduler", "--name", "first")
        await leader.began("term.began")
        producer = await site.stack.enter_async_context(site.producer())
        follower = await site.process("scheduler", "--name", "follower")
        await follower.began("service.started")
        site.simulator.control.set_pace(SIMULATED, Pace(latency=12.0))
        handles = await asyncio.gather(
            *(producer.submit(model="plain", messages=MESSAGES, max_tokens=40) for _ in range(40))
        )
        seen = [0] * 10
        await eventually(partial(steady, site, seen), within=20.0, every=0.1, says="nothing is called")
        assert 3 <= seen[-1] < 20, "the budget has room for some of them and not for all"
        leader.child.kill()
        await follower.began("term.began")
        assert not site.simulator.control.bills().lines, "they were to be under way still"
        records = await asyncio.gather(*(handle.record() for handle in handles))
        await site.settled()
        follower.child.terminate()
        assert await follower.ended() == 0
        bills = site.simulator.control.bills()
        (audit,) = site.simulator.control.audit().domains
    assert audit.most_in_progress == seen[-1], "as many as the budget has room for, whoever leads"
    total = billed(bills.lines)
    assert BUDGET / 16 < total <= BUDGET / 8
    assert sum((record.cost or Decimal(0) for record in records), Decimal(0)) == total


def steady(site: Plant, seen: list[int]) -> bool:
    """Whether as many calls are under way as ten looks before, and some are."""
    seen.append(sum(one.in_progress for one in site.simulator.control.providers()))
    return seen[-1] > 0 and len(set(seen[-10:])) == 1
