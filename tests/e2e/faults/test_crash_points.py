"""Every row of the table in ARCHITECTURE.md: a process dies right there, and each accepted job has its one result."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from job_contracts.jobs import JobState
from producer_sdk import Producer
from producer_sdk.handle import JobHandle
from runtime.crash import POINTS
from tests.support.eventually import eventually
from tests.support.plant import MESSAGES, Plant, Victim, plant

SLOTS = 4
JOBS = 10
"""Jobs of each pool whose worker dies."""


# -- workers


@dataclass(frozen=True)
class Death:
    """A worker that dies at the n-th time it passes a point, and the model that its pool calls."""

    point: str
    nth: int = 3
    first: str = ""
    """Suffix of the first deployment of the route, which the second one is without."""

    @property
    def pool(self) -> str:
        return self.point.replace(".", "-")

    @property
    def route(self) -> dict[str, Any]:
        well = f"{self.pool}/{self.pool}+ttft=0.05"
        return {"deployments": [f"{well}{self.first}", well] if self.first else [well]}


WORKERS_DIE = (
    Death("attempt.fetched"),
    Death("attempt.answering"),
    Death("attempt.made"),
    Death("result.blob_stored", first="+tokens=30000"),
    Death("result.stored"),
    Death("outcome.stored", first="+fault=503@0.1"),
    Death("books.stored", nth=2),
    Death("books.acknowledged"),
)


async def test_a_worker_that_dies_at_any_point_costs_at_most_the_calls_it_had_in_hand(tmp_path: Path) -> None:
    pools = {death.pool: {"slots": SLOTS} for death in WORKERS_DIE}
    routes = {death.pool: death.route for death in WORKERS_DIE}
    async with plant(tmp_path, pools=pools, routes=routes, broker={"max_payload": 65_536}) as site:
        await site.scheduler()
        victims = {
            death: await site.process("workers", "--pool", death.pool, crash_at=f"{death.point}:{death.nth}")
            for death in WORKERS_DIE
        }
        producer = await site.stack.enter_async_context(site.producer())
        await asyncio.gather(*(victim.began("service.started", 60) for victim in victims.values()))
        jobs = {death: await submitted(producer, death.pool, JOBS) for death in WORKERS_DIE}
        await asyncio.gather(*(replaced(site, death, victim) for death, victim in victims.items()))
        records = {death: await asyncio.gather(*(one.record() for one in jobs[death])) for death in WORKERS_DIE}
        await site.settled()
        account = await site.account()
    wrong = []
    for death in WORKERS_DIE:
        ids = [handle.id for handle in jobs[death]]
        wrong += [f"{death.point}: {word}" for word in account.wrong(ids)]
        wrong += [f"{death.point}: {one.state}" for one in records[death] if one.state is not JobState.SUCCEEDED]
        if len(account.extra(ids)) > SLOTS:
            wrong.append(f"{death.point}: calls beyond those that count: {sorted(account.extra(ids))}")
        if len(account.untold(ids)) > SLOTS:
            wrong.append(f"{death.point}: the ledger was not told of {sorted(account.untold(ids))}")
    assert not wrong, "\n".join(wrong)


async def replaced(site: Plant, death: Death, victim: Victim) -> None:
    """As a supervisor would: when the worker is dead, another one takes its place."""
    await victim.killed()
    assert victim.point == death.point
    await site.worker(death.pool, f"after-{death.pool}")


async def submitted(producer: Producer, route: str, count: int) -> list[JobHandle]:
    return list(await asyncio.gather(*(producer.submit(model=route, messages=MESSAGES) for _ in range(count))))
