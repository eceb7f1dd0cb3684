"""Judges of experiments, on both buses: what they are asked, what counts, and leaders that die before a score is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest

from job_contracts import subjects
from job_contracts.attempts import Assignment
from job_contracts.codec import decode
from job_contracts.experiments import Metric
from job_contracts.failures import Failure, FailureKind
from job_contracts.followups import MARK, OF_DRAFT, OF_JOB, OF_ROUTE, reason_of
from job_contracts.jobs import JobState
from job_contracts.subjects import follow_up_job_id
from job_contracts.trials import GivenScore
from runtime.broker import Broker
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Bus, NotFound
from runtime.connection import declared
from runtime.settings import Config
from scheduler.trials import Trials
from tests.support.eventually import eventually
from tests.support.letters import Cutting
from tests.support.world import World, config, scheduler_on

JUDGE: dict[str, Any] = {"route": "premium", "share": 1.0, "budget": {"day": 5, "soft": True}}
WHOLE: dict[str, Any] = {
    "route": "fast",
    "challengers": {"b": {"route": "cheap"}},
    "ramp": {"steps": [1.0]},
    "metrics": ["judge"],
    "guardrails": [],
    "judge": JUDGE,
}
PLAIN = {**WHOLE, "metrics": ["cost"], "judge": None}


def trying(experiment: Mapping[str, Any] | None = WHOLE, **over: Any) -> Config:
    """Two arms of two models on one provider, and a judge on the other."""
    routes: dict[str, Any] = {
        "fast": {"deployments": ["alpha/m"]},
        "cheap": {"deployments": ["alpha/s"]},
        "premium": {"deployments": ["beta/m"], "max_attempts": 1},
    }
    experiments = {} if experiment is None else {"exp": dict(experiment)}
    return config(routes=routes, experiments=experiments, projects={"demo": {"routes": ["fast"]}}, **over)


@pytest.fixture(params=["memory", "nats"])
async def bus(request: pytest.FixtureRequest, own_broker: Broker, open_bus: Callable[..., Any]) -> Bus:
    connected: Bus
    if request.param == "memory":
        connected = MemoryBroker().bus(inbox_prefix="_INBOX_demo")
    else:
        connected = await open_bus(own_broker.url, inbox_prefix="_INBOX_demo")
    await connected.ensure(declared(trying()))
    return connected


def judge_of(job: str) -> str:
    return follow_up_job_id("judge", job, f"token-{job}")


def trials(world: World) -> Trials:
    assert world.scheduler.leading is not None
    return world.scheduler.leading.trials


def scoring(order: Assignment) -> str:
    """The challenger's answers are worse."""
    assert order.job is not None
    worse = "alpha/s" in str(order.job.chat.messages[-1].content)
    return f'Well: {{"reason": "so it is", "score": {0.25 if worse else 0.75}}}'


async def score(bus: Bus, job: str, *, within: float = 15.0) -> GivenScore:
    async def there() -> GivenScore | None:
        try:
            found = await bus.last(subjects.RES, subjects.score("demo", job, "judge"))
        except NotFound:
            return None
        return decode(GivenScore, (found.headers or {})[subjects.H_SCORE])

    found = await eventually(there, within=within, says=f"no score of {job}")
    assert isinstance(found, GivenScore)
    return found


async def unscored(bus: Bus, job: str) -> bool:
    try:
        await bus.last(subjects.RES, subjects.score("demo", job, "judge"))
    except NotFound:
        return True
    return False


async def test_answers_of_both_arms_are_scored_and_counted_for_them(bus: Bus) -> None:
    async with scheduler_on(bus, trying()) as world:
        alpha, beta = await world.pool("alpha"), await world.pool("beta", scoring)
        for number in range(12):
            await world.submit(f"a-{number}", session=f"s{number}")
        await world.submit("a-none")
        for number in range(12):
            await score(bus, f"a-{number}")
        await world.settled()
        await trials(world).look()
        sums = trials(world).book.accounts["exp"]
        served = [order.trial.arm for order in alpha.seen if order.trial is not None]
        assert {"control", "b"} == set(served)
        for arm, worth in (("control", 750_000), ("b", 250_000)):
            moments = sums.of(arm).by[Metric.JUDGE]
            assert (moments.count, moments.total) == (served.count(arm), worth * served.count(arm))
        assert len(beta.seen) == 12, "a job that takes no part was judged, or a judge was"
        assert len(world.events["followup.scored"]) == 12


async def test_a_judge_is_asked_about_the_answer_as_a_job_apart(bus: Bus) -> None:
    async with scheduler_on(bus, trying()) as world:
        await world.pool("alpha", lambda _: "the answer")
        beta = await world.pool("beta", scoring)
        await world.submit("a-1", session="s")
        served = (await world.result("a-1")).deployment
        await score(bus, "a-1")
        (order,) = beta.seen
        assert order.job is not None
        assert (order.job_id, order.route) == (judge_of("a-1"), "premium")
        assert order.job.chat.messages[0].content == "hello"
        assert '"the answer"' in str(order.job.chat.messages[-1].content)
        assert order.tagged == {MARK: "judge", OF_ROUTE: "fast", OF_JOB: "a-1", OF_DRAFT: served}
        assert (order.trial, order.job.lane, order.stream) == (None, "bg", False)
        assert reason_of(order.job_id, None) == "verify"


@pytest.mark.parametrize("standing_by", [False, True])
async def test_a_successor_stores_the_score_that_a_dead_leader_did_not(bus: Bus, standing_by: bool) -> None:
    """The judge has answered, and the leader is gone before it stored what was said."""
    cutting = Cutting(bus)
    cutting.cut = lambda subject, _: ".score." in subject
    async with AsyncExitStack() as stack:
        second: World | None = None
        async with scheduler_on(cutting, trying(), owner="s1") as first:
            if standing_by:
                second = await stack.enter_async_context(scheduler_on(bus, trying(), owner="s2", wait=False))
            for pool in (await first.pool("alpha"), await first.pool("beta", scoring)):
                pool.bus = bus
            await first.submit("a-1", session="s")
            await first.result(judge_of("a-1"))
            await eventually(lambda: first.events["followup.retried"])
            assert await unscored(bus, "a-1")
        if second is None:
            second = await stack.enter_async_context(scheduler_on(bus, trying(), owner="s2"))
        beta = await second.pool("beta", scoring)
        given = await score(bus, "a-1")
        await second.settled()
        await trials(second).look()
        assert given.trial is not None
        assert trials(second).book.accounts["exp"].of(given.trial.arm).by[Metric.JUDGE].count == 1
        assert not beta.seen, "the judge was asked again"


async def test_a_score_that_is_stored_is_not_stored_or_counted_again_by_a_successor(bus: Bus) -> None:
    """The leader is gone before it knows that the score is stored: its submission is still there."""
    cutting = Cutting(bus)
    cutting.cut = lambda subject, _: ".score." in subject
    async with AsyncExitStack() as stack:
        async with scheduler_on(cutting, trying(), owner="s1") as first:
            for pool in (await first.pool("alpha"), await first.pool("beta", scoring)):
                pool.bus = bus
            await first.submit("a-1", session="s")
            await first.result(judge_of("a-1"))
            await eventually(lambda: first.events["followup.retried"])
            trial = first.pools[0].seen[0].trial
            given = GivenScore(metric=Metric.JUDGE, score=0.5, trial=trial)
            headers = {subjects.H_SCORE: given.model_dump_json()}
            await bus.append(subjects.score("demo", "a-1", "judge"), b"", headers=headers, expect_last=0)
        second = await stack.enter_async_context(scheduler_on(bus, trying(), owner="s2"))
        await second.settled()
        assert await score(bus, "a-1") == given
        await trials(second).look()
        assert given.trial is not None
        moments = trials(second).book.accounts["exp"].of(given.trial.arm).by[Metric.JUDGE]
        assert (moments.count, moments.total) == (1, 500_000)


async def test_a_judge_that_dies_with_its_leader_before_it_was_asked_is_asked_by_the_successor(bus: Bus) -> None:
    """The experiment came while leaders ran: who stands by has read the file as well."""
    cutting = Cutting(bus)
    cutting.cut = lambda subject, _: ".submit.demo.judge." in subject
    live = trying().experiments
    async with AsyncExitStack() as stack:
        async with scheduler_on(cutting, trying(None), owner="s1", experiments=lambda: live) as first:
            second = await stack.enter_async_context(
                scheduler_on(bus, trying(None), owner="s2", wait=False, experiments=lambda: live)
            )
            pool = await first.pool("alpha")
            pool.bus = bus
            await trials(first).look()
            await first.submit("a-1", session="s")
            await first.result("a-1")
            await eventually(lambda: first.events["followup.retried"])
        await second.pool("beta", scoring)
        await score(bus, "a-1")
        await second.settled()


@pytest.mark.parametrize(
    "said", ['{"score": 7}', "it is good", Failure(kind=FailureKind.INTERNAL, message="something of ours is broken")]
)
async def test_a_judge_that_says_nothing_of_use_scores_nothing_and_holds_nothing(bus: Bus, said: Any) -> None:
    async with scheduler_on(bus, trying()) as world:
        await world.pool("alpha")
        await world.pool("beta", lambda _: said)
        await world.submit("a-1", session="s")
        await world.result(judge_of("a-1"))
        await world.settled()
        assert await unscored(bus, "a-1")
        skipped = [event.fields["reason"] for event in world.events["followup.skipped"]]
        assert skipped == ([] if isinstance(said, Failure) else ["unread"])


async def test_a_job_that_failed_is_not_judged(bus: Bus) -> None:
    async with scheduler_on(bus, trying()) as world:
        await world.pool("alpha", lambda _: Failure(kind=FailureKind.BAD_REQUEST, message="no"))
        await world.submit("a-1", session="s")
        assert (await world.result("a-1")).state is JobState.FAILED
        await world.settled()
        assert not world.events["followup.submitted"]


async def test_a_judge_is_changed_while_the_experiment_runs(bus: Bus) -> None:
    written = [trying({**WHOLE, "judge": {**JUDGE, "share": 1e-9}}).experiments]
    async with scheduler_on(bus, trying(), experiments=lambda: written[0]) as world:
        await world.pool("alpha")
        beta = await world.pool("beta", scoring)
        await world.submit("a-1", session="s")
        await world.result("a-1")
        await world.settled()
        assert not beta.seen
        written[0] = trying().experiments
        await trials(world).look()
        await world.submit("a-2", session="s")
        await score(bus, "a-2")
        written[0] = trying(PLAIN).experiments  # refused, because the figures were promised: what is judged may end
        await trials(world).look()
        assert trials(world).book.accounts["exp"].refused
        await world.submit("a-3", session="s")
        await world.result("a-3")
        await world.settled()
        assert [order.job_id for order in beta.seen] == [judge_of("a-2")]
