"""Records a trace from schedulers on a real nats-server: ``python -m tests.e2e.faults.model.record FILE``.

Two pools answer, fail and fall silent, a worker is killed, the leader hands over, jobs are cancelled, delayed and
expire, and budgets hold some of them and turn others away. Some go by a blend of cost, speed and load, some are in an
experiment, and what is late gets a second attempt beside it. The trace holds what both leaders' boards were asked and
what they decided.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from random import Random

from job_contracts.attempts import Assignment
from job_contracts.experiments import Challenger, Experiment, Ramp
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import LANES, Bounds
from job_contracts.money import Budget
from runtime.broker import Broker, BrokerConfig
from runtime.bus import connect
from runtime.bus.port import Bus
from runtime.connection import declared
from runtime.settings import Config
from tests.e2e.faults.model.traces import Recorder, recording, save
from tests.support.broker import settings
from tests.support.budgets import PRICED, Till
from tests.support.world import Answering, World, config, scheduler_on

JOBS = 60
BAD = (FailureKind.SERVER_ERROR, FailureKind.RATE_LIMIT, FailureKind.STALLED, FailureKind.BAD_REQUEST)
BILLED = {name: PRICED["alpha"].model_copy(update={"name": name}) for name in ("alpha", "beta")}
"""The catalogue of a recorded run: both providers have prices, and a job costs at most some 0.035 cents."""
KEY = Bounds(tpm=40_000, budget=Budget(hour=Decimal("0.004")))
PROBE = {
    "probe": Experiment(
        route="fast", challengers={"b": Challenger(route="blend")}, ramp=Ramp(steps=(1.0,)), guardrails=()
    )
}


def laws() -> Config:
    """Limits that bind within seconds, and budgets: one that is used up, and one that jobs wait for."""
    limits = {"rpm": 600, "input_tpm": 60_000, "window": 10.0, "burst": 0.1, "skew": 1.0}
    provider = {"dialect": "openai_chat", "base_url": "http://127.0.0.1:1", "key": "k", "limits": limits}
    demo = {"tags": {"team=red": {"total": "0.002"}}}
    other = {"max_in_flight": 4, "budget": {"hour": "0.002"}}
    fast = {"deployments": ["alpha/m", "beta/m"], "hedge": {"share": 0.5, "after": 0.2}}
    providers, projects = {"alpha": provider, "beta": provider}, {"demo": demo, "other": other, "free": {}}
    return config(providers=providers, projects=projects, routes={"fast": fast, "blend": {**fast, "strategy": "blend"}})


async def jobs(world: World, random: Random, first: int) -> None:
    """Half of the jobs, some with times, some cancelled."""
    for number in range(first, first + JOBS // 2):
        project, wall = random.choice(["demo", "demo", "other", "free"]), world.clock.wall()
        tags = {"team": random.choice(["red", "blue"])}
        key = "k" if random.random() < 0.25 else None
        ticket = await world.submit(
            f"t-{number}",
            project=project,
            route=random.choice(["fast", "blend"]),
            session=random.choice([None, "s-1", "s-2", "s-3"]),
            tags=tags,
            key=key,
            bounds=None if key is None else KEY,
            lane=random.choice(LANES),
            priority=random.randint(0, 9),
            input_estimate=random.choice([10, 200, 800]),
            not_before=wall + 1.0 if random.random() < 0.15 else None,
            deadline=wall + random.uniform(0.3, 3.0) if random.random() < 0.15 else None,
        )
        if random.random() < 0.1:
            await world.cancel(f"t-{number}", ticket.token, project=project)
        await asyncio.sleep(0.03)


async def record(path: Path) -> None:
    """One run of about twelve seconds."""
    random, overdue = Random(42), set[str]()

    def answers(order: Assignment) -> Failure | str | None:
        chance = random.random()
        if chance < 0.1:
            overdue.add(order.attempt_id)
            return None  # held until its worker is killed, or another attempt wins
        return "yes" if chance < 0.7 else Failure(kind=random.choice(BAD), message="made up")

    with tempfile.TemporaryDirectory() as folder, recording() as boards:
        broker = Broker(BrokerConfig(sync="default"), Path(folder))
        await broker.start()
        first, second = await connect(settings(broker.url)), await connect(settings(broker.url))
        try:
            await _two_terms(first, second, answers, random, overdue)
        finally:
            await first.close()
            await second.close()
            await broker.stop()
        kept: list[Recorder] = list(boards)
    save(path, laws(), kept)


async def _pool(world: World, name: str, answers: Answering, overdue: set[str], worker: str = "w1") -> Till:
    """Its facts come after their results, and some of them twice."""
    pool = Till(world.bus, name, answers, worker=worker, late=0.3, twice=0.2, overdue=overdue)
    await pool.start()
    world.pools.append(pool)
    return pool


async def _two_terms(first: Bus, second: Bus, answers: Answering, random: Random, overdue: set[str]) -> None:
    made = laws()
    await first.ensure(declared(made))
    async with scheduler_on(first, made, catalogue=BILLED, experiments=lambda: PROBE) as world:
        alpha, beta = await _pool(world, "alpha", answers, overdue), await _pool(world, "beta", answers, overdue)
        spare = await _pool(world, "alpha", answers, overdue, "w2")
        await jobs(world, random, 0)
        await alpha.die()
        await asyncio.sleep(2.5)
        await spare.die()
        await beta.die()
    async with scheduler_on(second, made, owner="s2", catalogue=BILLED, experiments=lambda: PROBE) as world:
        await _pool(world, "alpha", answers, overdue, "w3")
        await _pool(world, "beta", answers, overdue, "w4")
        await jobs(world, random, JOBS // 2)
        await asyncio.sleep(4.0)


if __name__ == "__main__":
    asyncio.run(record(Path(sys.argv[1])))
