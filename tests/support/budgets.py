"""Priced deployments and a scripted pool that bills: for tests of budgets, without a provider and without a worker."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from catalogue.prices import Price
from catalogue.rows import ModelRow, ProviderRow
from job_contracts import subjects
from job_contracts.attempts import Assignment
from job_contracts.chat import Usage
from job_contracts.codec import encode
from job_contracts.facts import AttemptFact, Facts
from job_contracts.money import dollars, picodollars
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Bus, BusError
from runtime.clock import SystemClock
from tests.support.world import Pool, World, config

PRICED = {
    "alpha": ProviderRow(
        name="alpha",
        dialect="openai_chat",
        base_url="http://127.0.0.1:1",
        models=(
            ModelRow(
                name="m", context_window=1_000, max_output=100, prices=(Price(input=Decimal(1), output=Decimal(2)),)
            ),
        ),
    )
}
"""A job of some 150 bytes costs at most about 0.035 cents."""


def budgeted(**project: Any) -> Any:
    """One provider, one route, one project with these budgets; a leader that is killed is followed soon."""
    return config(
        providers={"beta": {"dialect": "openai_chat", "base_url": "http://127.0.0.1:1", "key": "k"}},
        routes={"fast": {"deployments": ["alpha/m"]}},
        projects={"demo": project},
        scheduler={"lease": 1.2, "renew": 0.3, "beat_missed": 4.0, "grant_valid": 5.0},
    )


def fact(order: Assignment, cost: Decimal | None, *, leader: bool = False) -> AttemptFact:
    """What is told of an attempt; the leader's own words weigh less."""
    return AttemptFact(
        attempt=order.attempt_id,
        project=order.project,
        route=order.route,
        deployment=order.deployment,
        provider=order.provider,
        model=order.model,
        started=order.grant.granted,
        seconds=0.1,
        usage=Usage(input=10, output=5, reported=not leader),
        cost=cost,
        reserved=order.grant.cost,
        charged=order.grant.charged,
        key=order.key,
        reason="user",
        won=not leader,
        told_by="leader" if leader else "worker",
        tags=order.job.tags if order.job is not None else {},
    )


@dataclass
class Till(Pool):
    """Bills each call something up to its reservation, and tells it late, twice, or after the leader's guess."""

    late: float = 0.0
    """Seconds by which a fact may come after its result."""
    twice: float = 0.0
    """Share of facts told again, and of those that the leader's guess stands before or behind."""
    dice: random.Random = field(default_factory=lambda: random.Random(7))
    billed: dict[str, int] = field(default_factory=dict)
    """Picodollars by attempt: what the provider would say."""
    telling: set[asyncio.Task[None]] = field(default_factory=set)

    async def tell(self, *facts: AttemptFact) -> None:
        """Store facts, as often as that takes."""
        while True:
            try:
                await self.bus.append(subjects.usage(self.name, self.worker), encode(Facts(facts=facts)))
            except BusError:
                await asyncio.sleep(0.05)
            else:
                return

    async def _done(self, order: Assignment) -> None:
        assert order.grant.cost is not None
        cost = self.dice.randint(0, picodollars(order.grant.cost))
        self.billed[order.attempt_id] = cost
        if not self.late:
            await self._settle(order, cost)
            return
        task = asyncio.create_task(self._settle(order, cost))
        self.telling.add(task)
        task.add_done_callback(self.telling.discard)

    async def _settle(self, order: Assignment, cost: int) -> None:
        if self.late:
            await asyncio.sleep(self.dice.uniform(0, self.late))
        true, guess = fact(order, dollars(cost)), fact(order, order.grant.cost, leader=True)
        facts = [true]
        if self.dice.random() < self.twice:
            facts += [true, guess]
            self.dice.shuffle(facts)
        for one in facts:
            await self.tell(one)
        await super()._done(order)

    async def die(self) -> None:
        await super().die()
        for task in tuple(self.telling):
            task.cancel()
        await asyncio.gather(*self.telling, return_exceptions=True)


async def till(world: World, answering: Callable[[Assignment], Any] = lambda _: "done", **over: Any) -> Till:
    """Start one."""
    made = Till(world.bus, "alpha", answering, **over)
    await made.start()
    world.pools.append(made)
    return made


async def cut_off(bus: Bus) -> None:
    """Whoever uses this connection is as good as killed: nothing of theirs is stored from now on."""
    if isinstance(bus, MemoryBus):
        bus.disconnect()
    else:
        await bus.close()


class LaterClock(SystemClock):
    """The platform's clock, put forward by a test."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    def wall(self) -> float:
        return super().wall() + self.ahead
