"""Answers that are verified before they are given: a draft from one route, a verdict from another, deaths between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from job_contracts import subjects
from job_contracts.attempts import Assignment, Draft
from job_contracts.codec import decode
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from job_contracts.results import Settlement
from runtime.broker import Broker
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Bus
from runtime.connection import declared
from tests.support.budgets import LaterClock
from tests.support.eventually import eventually
from tests.support.world import Pool, config, scheduler_on

VERIFY: dict[str, Any] = {"by": "premium", "mode": "before", "when": "all"}
BROKEN = Failure(kind=FailureKind.BAD_REQUEST, message="no")


def over(**verify: Any) -> dict[str, Any]:
    return {
        "routes": {
            "fast": {"deployments": ["alpha/m"], "verify": {**VERIFY, **verify}},
            "premium": {"deployments": ["beta/m"]},
        }
    }


@pytest.fixture(params=["memory", "nats"])
async def bus(request: pytest.FixtureRequest, own_broker: Broker, open_bus: Callable[..., Any]) -> Bus:
    connected: Bus
    if request.param == "memory":
        connected = MemoryBroker().bus(inbox_prefix="_INBOX_demo")
    else:
        connected = await open_bus(own_broker.url, inbox_prefix="_INBOX_demo")
    await connected.ensure(declared(config(**over())))
    return connected


async def test_a_draft_goes_to_a_verifier_and_its_verdict_is_the_result(bus: Bus) -> None:
    async with scheduler_on(bus, config(**over())) as world:
        alpha = await world.pool("alpha", lambda _: "the draft")
        beta = await world.pool("beta", lambda _: "the verdict")
        await world.submit("a-1", stream=True)
        result = await world.result("a-1")
        assert (result.state, result.deployment) == (JobState.SUCCEEDED, "beta/m")
        assert [record.deployment for record in result.attempts] == ["alpha/m", "beta/m"]
        (draft,), (check,) = alpha.seen, beta.seen
        assert (draft.checking is not None, draft.draft, draft.stream) == (True, None, False)
        assert (check.checking, check.switched_from, check.stream) == (None, None, False)
        assert check.draft is not None
        assert check.draft.deployment == "alpha/m"
        await world.settled()


async def test_what_is_not_in_the_sample_is_answered_at_once(bus: Bus) -> None:
    async with scheduler_on(bus, config(**over(when="sample", share=0.000001))) as world:
        await world.pool("alpha")
        beta = await world.pool("beta")
        await world.submit("a-1")
        assert (await world.result("a-1")).deployment == "alpha/m"
        assert not beta.seen


@pytest.mark.parametrize("unverified", ["return", "fail"])
async def test_a_draft_that_no_verifier_judges_is_given_or_fails_as_the_route_says(bus: Bus, unverified: str) -> None:
    async with scheduler_on(bus, config(**over(unverified=unverified))) as world:
        await world.pool("alpha", lambda _: "the draft")
        await world.pool("beta", lambda _: BROKEN)
        await world.submit("a-1")
        result = await world.result("a-1")
        assert len(result.attempts) == 2
        if unverified == "fail":
            assert result.state is JobState.FAILED
        else:
            assert (result.state, result.deployment) == (JobState.SUCCEEDED, "alpha/m")
            assert result.answer is not None
            assert result.answer.text == "the draft"
        await world.settled()


@pytest.mark.parametrize("score", [0.2, 0.9])
async def test_a_judge_decides_whether_a_draft_is_verified(bus: Bus, score: float) -> None:
    routes = over(when="low_confidence", share=1e-9, below=0.6, confidence="judge", judge="cheap")["routes"]

    def answer(order: Assignment) -> str | Draft:
        if order.draft is None:
            return "the draft"
        assert order.accept_from == 0.6
        return "the draft" if score >= 0.6 else order.draft.model_copy(update={"score": score})

    async with scheduler_on(bus, config(routes=routes | {"cheap": {"deployments": ["alpha/j"]}})) as world:
        await world.pool("alpha", answer)
        beta = await world.pool("beta", lambda _: "the verdict")
        await world.submit("a-1")
        result = await world.result("a-1")
        made_at = ["alpha/m", "alpha/j"] + ["beta/m"] * (score < 0.6)
        assert [record.deployment for record in result.attempts] == made_at
        assert [order.accept_from for order in beta.seen] == [None] * (score < 0.6)
        await world.settled()


async def test_a_draft_that_is_given_counts_for_its_arm_with_all_that_it_cost(bus: Bus) -> None:
    routes = over()["routes"] | {"other": {"deployments": ["alpha/n"], "verify": VERIFY}}
    experiment = {"route": "fast", "challengers": {"b": {"route": "other"}}, "ramp": {"steps": [1.0]}}
    async with scheduler_on(bus, config(routes=routes, experiments={"exp": experiment})) as world:
        await world.pool("alpha", lambda _: "the draft")
        await world.pool("beta", lambda _: BROKEN)
        await world.submit("a-1", session="one")
        result = await world.result("a-1")
        record = await bus.last(subjects.RES, subjects.result("demo", "a-1"))
        told = decode(Settlement, (record.headers or {})[subjects.H_SETTLEMENT])
        assert (result.state, told.state) == (JobState.SUCCEEDED, JobState.SUCCEEDED)
        assert told.trial is not None
        assert told.trial.began > 0
        assert (told.cost, told.finished) == (result.cost, result.times.finished)


async def test_a_job_whose_time_is_over_while_it_is_verified_gets_its_draft(bus: Bus) -> None:
    clock = LaterClock()
    async with scheduler_on(bus, config(**over(), scheduler={"lease": 90.0}), clock=clock) as world:
        await world.pool("alpha", lambda _: "the draft")
        await world.submit("a-1", deadline=clock.wall() + 30.0)
        await eventually(lambda: world.events["attempt.ended"])  # and nobody verifies
        clock.ahead += 31.0
        result = await world.result("a-1")
        assert (result.state, result.deployment) == (JobState.SUCCEEDED, "alpha/m")


@pytest.mark.parametrize("moment", ["waiting", "verifying", "failed once"])
async def test_a_successor_goes_on_with_the_draft(bus: Bus, moment: str) -> None:
    """The first leader is gone while the draft waits, is being verified, or has had a verifier that failed."""
    seen: list[Pool] = []
    wide = over()
    wide["routes"]["premium"]["deployments"] = ["beta/n", "beta/m"]

    def answering(order: Any) -> Any:
        if order.deployment == "beta/n":
            return Failure(kind=FailureKind.SERVER_ERROR, message="no") if moment == "failed once" else None
        return None

    async with scheduler_on(bus, config(**wide)) as first:
        alpha = await first.pool("alpha", lambda _: "the draft")
        await first.submit("a-1")
        if moment != "waiting":
            seen.append(await first.pool("beta", answering))
            await eventually(lambda: len(seen[0].seen) == (2 if moment == "failed once" else 1))
        else:
            await eventually(lambda: first.events["attempt.ended"])
    async with scheduler_on(bus, config(**wide), owner="s2") as second:
        again = await second.pool("alpha", lambda _: "another draft")
        beta = await second.pool("beta", lambda _: "the verdict", worker="w2")
        result = await second.result("a-1", within=20.0)
        assert result.deployment is not None
        assert result.deployment.startswith("beta/")
        assert (len(alpha.seen), again.seen) == (1, []), "a second draft was made"
        assert all(order.draft is not None for order in beta.seen)
        await second.settled()


async def test_a_verifier_that_is_lost_leaves_the_draft_to_the_next_one(bus: Bus) -> None:
    async with scheduler_on(bus, config(**over())) as world:
        alpha = await world.pool("alpha", lambda _: "the draft")
        lost = await world.pool("beta", lambda _: None)
        await world.submit("a-1")
        await eventually(lambda: lost.seen)
        await lost.die()
        await world.pool("beta", lambda _: "the verdict", worker="w2")
        assert (await world.result("a-1", within=15.0)).deployment == "beta/m"
        assert len(alpha.seen) == 1


async def test_a_cancelled_job_does_not_get_its_draft(bus: Bus) -> None:
    async with scheduler_on(bus, config(**over())) as world:
        await world.pool("alpha", lambda _: "the draft")
        await world.submit("a-1")
        await eventually(lambda: world.events["attempt.ended"])
        await world.cancel("a-1", "token-a-1")
        assert (await world.result("a-1")).state is JobState.CANCELLED
