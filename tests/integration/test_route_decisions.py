"""Routes that are not ordered, through the scheduler's process: what the desk says, what an assignment carries."""

from __future__ import annotations

from job_contracts.desk import Statuses
from job_contracts.jobs import JobState
from runtime.bus.memory import MemoryBroker
from tests.support.world import world


async def test_a_waiting_job_shows_its_decision_and_its_assignment_carries_it() -> None:
    bus = MemoryBroker().bus(inbox_prefix="_INBOX_demo")
    route = {"deployments": ["alpha/m", "beta/m"], "strategy": "weighted", "weights": {"beta/m": 3}}
    async with world(bus, routes={"fast": route}) as running:
        await running.submit("a-1")
        told = await running.ask("status", "a-1")
        while isinstance(told, Statuses) and not told.statuses:
            told = await running.ask("status", "a-1")
        assert isinstance(told, Statuses)
        waiting = told.statuses[0].decision
        assert waiting is not None
        assert (waiting.strategy, waiting.deployment) == ("weighted", None)
        assert {each.deployment: each.against for each in waiting.weighed} == {
            "alpha/m": "pool alpha has no live workers",
            "beta/m": "pool beta has no live workers",
        }
        beta = await running.pool("beta")
        assert (await running.result("a-1")).state is JobState.SUCCEEDED
        decision = beta.seen[0].decision
        assert decision is not None
        assert decision.deployment == "beta/m"
        assert decision.weighed[0].deployment == "beta/m"
        assert decision.weighed[0].in_flight == 0


async def test_an_ordered_route_sends_no_decision_along() -> None:
    bus = MemoryBroker().bus(inbox_prefix="_INBOX_demo")
    async with world(bus) as running:
        alpha = await running.pool("alpha")
        await running.submit("a-1")
        await running.result("a-1")
        assert alpha.seen[0].decision is None
