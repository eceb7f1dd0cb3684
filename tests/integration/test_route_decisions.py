"""Routes that are not ordered, through the scheduler's process: what the desk says, what an assignment carries."""

from __future__ import annotations

from job_contracts import subjects
from job_contracts.attempts import Assignment
from job_contracts.codec import decode, encode
from job_contracts.desk import AskEstimates, AskJobs, Estimates, Planned, Statuses
from job_contracts.failures import Failure, FailureKind
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


async def test_a_job_under_way_tells_its_attempts_so_far_and_why_it_went_where_it_is() -> None:
    bus = MemoryBroker().bus(inbox_prefix="_INBOX_demo")
    route = {"deployments": ["alpha/m", "beta/m"], "strategy": "weighted"}

    def failing(_: Assignment) -> Failure:
        return Failure(kind=FailureKind.SERVER_ERROR, message="no luck")

    async with world(bus, routes={"fast": route}) as running:
        await running.pool("alpha", failing)
        beta = await running.pool("beta", lambda _: None)
        await running.submit("a-1")
        await running.submit("a-2")
        asked = AskJobs(jobs=("a-1", "a-2"), attempts=True)
        told: Statuses | None = None
        while told is None or len(beta.seen) < 2:
            answer = await bus.request(subjects.api("demo", "status"), encode(asked), timeout=10.0)
            told = decode(Statuses, answer.data)
        answer = await bus.request(subjects.api("demo", "status"), encode(asked), timeout=10.0)
        told = decode(Statuses, answer.data)
        (moved,) = told.attempts
        assert [(each.deployment, each.failure and each.failure.kind) for each in moved.attempts] == [
            ("alpha/m", FailureKind.SERVER_ERROR)
        ]
        for status in told.statuses:
            assert status.decision is not None
            assert (status.deployment, status.decision.deployment) == ("beta/m", "beta/m")
        plain = await running.ask("status", "a-1", "a-2")
        assert isinstance(plain, Statuses)
        assert plain.attempts == ()


async def test_the_leader_says_where_a_job_would_go_that_is_not_submitted() -> None:
    bus = MemoryBroker().bus(inbox_prefix="_INBOX_demo")
    async with world(bus) as running:
        await running.pool("beta")
        planned = Planned(route="fast", input_estimate=10, explain=True)
        asked = AskEstimates(jobs=(planned, planned.model_copy(update={"explain": False})))
        decision, plain = None, None
        while decision is None or decision.deployment is None:  # until the pool has been heard of
            answer = await bus.request(subjects.api("demo", "estimate"), encode(asked), timeout=10.0)
            why, plain = decode(Estimates, answer.data).estimates
            decision = why.decision
        assert (decision.strategy, decision.deployment) == ("ordered", "beta/m")
        assert {each.deployment: each.against for each in decision.weighed} == {
            "alpha/m": "pool alpha has no live workers",
            "beta/m": "",
        }
        assert plain is not None
        assert plain.decision is None
