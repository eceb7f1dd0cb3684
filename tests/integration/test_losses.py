"""Attempts lost with their workers: written down before anything follows, whoever stops in between, and paid for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from job_contracts import subjects
from job_contracts.attempts import Assignment, Outcome
from job_contracts.chat import Usage
from job_contracts.codec import decode, encode
from job_contracts.facts import AttemptFact, Facts
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from runtime.broker import Broker
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Ack, Bus, NotFound
from tests.support.damage import Damage
from tests.support.eventually import eventually
from tests.support.world import World, scheduler_on, world

OUT, WORK = "OUT_0", "WORK_0"


@pytest.fixture(params=["memory", "nats"])
async def buses(request: pytest.FixtureRequest, own_broker: Broker, open_bus: Callable[..., Any]) -> tuple[Bus, Bus]:
    """Two connections to one broker: the second leader must not inherit what is done to the first one's."""
    if request.param == "memory":
        broker = MemoryBroker()
        return broker.bus(inbox_prefix="_INBOX_demo"), broker.bus(inbox_prefix="_INBOX_demo")
    return (
        await open_bus(own_broker.url, inbox_prefix="_INBOX_demo"),
        await open_bus(own_broker.url, inbox_prefix="_INBOX_demo"),
    )


async def held_and_dead(running: World, job: str, worker: str) -> Assignment:
    """A worker takes the job into its hands and dies with it."""
    pool = await running.pool("alpha", lambda _: None, worker=worker)
    await eventually(lambda: any(order.job_id == job for order in pool.seen), within=15.0)
    await pool.die()
    return next(order for order in pool.seen if order.job_id == job)


async def facts_of(bus: Bus) -> list[AttemptFact]:
    found: list[AttemptFact] = []
    seq = 1
    while True:
        try:
            message = await bus.next(subjects.LEDGER, seq, "penstock.usage.>")
        except NotFound:
            return found
        found.extend(decode(Facts, message.data).facts)
        seq = message.seq + 1


async def outcome_of(bus: Bus, job: str) -> Outcome | None:
    try:
        return decode(Outcome, (await bus.last(OUT, subjects.outcome(0, "demo", job))).data)
    except NotFound:
        return None


async def test_a_lost_attempt_is_an_outcome_and_its_reservation_is_told_as_its_cost(buses: tuple[Bus, Bus]) -> None:
    async with world(buses[0]) as demo:
        await demo.submit("a-1")
        order = await held_and_dead(demo, "a-1", "w1")
        outcome = await eventually(lambda: outcome_of(buses[0], "a-1"), within=15.0)
        assert outcome is not None
        assert (outcome.failure.kind, outcome.record.number) == (FailureKind.WORKER_LOST, 1)
        assert (outcome.token, outcome.worker.startswith("leader.")) == (order.token, True)
        await demo.pool("alpha", worker="w2")
        result = await demo.result("a-1")
        assert [record.number for record in result.attempts] == [1, 2]
        await demo.settled()
        (fact,) = await facts_of(buses[0])  # scripted workers tell none
        assert (fact.attempt, fact.won, fact.told_by, fact.failure) == (
            "demo.a-1.1",
            False,
            "leader",
            FailureKind.WORKER_LOST,
        )
        assert (fact.usage.input, fact.usage.output, fact.usage.reported) == (
            order.grant.input_tokens,
            order.grant.output_tokens,
            False,
        )


STEPS = {
    "the outcome is stored": ("append", "penstock.out."),
    "the fact is stored": ("append", "penstock.usage."),
    "the assignment is to be removed": ("delete", WORK),
}


@pytest.mark.parametrize("step", STEPS)
async def test_a_leader_that_stops_within_a_loss_does_not_make_the_next_one_forget_it(
    buses: tuple[Bus, Bus], step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage = Damage(buses[0], monkeypatch)
    async with world(buses[0]) as first:
        await first.submit("a-1")
        await held_and_dead(first, "a-1", "w1")
        damage.stop_at(*STEPS[step])
        await eventually(lambda: damage.stopped, within=15.0)
    async with scheduler_on(buses[1], first.config, owner="s2") as second:
        order = await held_and_dead(second, "a-1", "w2")
        assert order.attempt == 2
        kinds = [record.failure.kind for record in order.history if record.failure is not None]
        assert kinds == [FailureKind.WORKER_LOST]
        result = await second.result("a-1", within=15.0)
        assert result.state is JobState.DEAD
        assert result.failure is not None
        assert result.failure.kind is FailureKind.POISON
        assert [record.number for record in result.attempts] == [1, 2]
        letter = subjects.dead("demo", "a-1")
        assert (await buses[1].stream_state(subjects.DEAD, subjects=letter)).subjects == {letter: 1}
        await second.settled()  # a remnant's cost is told before it goes
        assert {fact.attempt for fact in await facts_of(buses[1])} == {"demo.a-1.1", "demo.a-1.2"}


async def test_a_leader_that_stops_after_the_second_death_leaves_the_job_to_be_set_aside(
    buses: tuple[Bus, Bus], monkeypatch: pytest.MonkeyPatch
) -> None:
    damage = Damage(buses[0], monkeypatch)
    async with world(buses[0]) as first:
        await first.submit("a-1")
        for worker in ("w1", "w2"):
            await held_and_dead(first, "a-1", worker)
        damage.stop_at("append", "penstock.dead.")
        await eventually(lambda: damage.stopped, within=15.0)
    async with scheduler_on(buses[1], first.config, owner="s2") as second:
        assert (await second.result("a-1", within=15.0)).state is JobState.DEAD
        await second.settled()


async def test_an_outcome_of_a_later_attempt_is_not_misread_for_a_remnant_of_an_earlier_one(
    buses: tuple[Bus, Bus],
) -> None:
    """WORK still holds attempt 1 at alpha, attempt 2 failed at beta while nobody led: two deaths, not one."""

    def lost(number: int, deployment: str) -> Failure:
        return Failure(kind=FailureKind.WORKER_LOST, message=f"{number}", deployment=deployment)

    async with world(buses[0]) as first:
        alpha = await first.pool("alpha", lambda _: None)
        await first.submit("a-1")
        await eventually(lambda: alpha.seen)
        await alpha.die()
        order = alpha.seen[0]
    history = (alpha.record(order, lost(1, "alpha/m")),)
    beta = order.model_copy(update={"attempt": 2, "deployment": "beta/m", "provider": "beta", "history": history})
    await alpha.fail(beta, lost(2, "beta/m"))
    async with scheduler_on(buses[1], first.config, owner="s2") as second:
        result = await second.result("a-1", within=15.0)
        assert result.state is JobState.DEAD
        assert [record.number for record in result.attempts] == [1, 2]
        await second.settled()


async def test_a_zombies_result_of_the_lost_attempt_is_the_jobs_one_result_if_it_comes_first(
    buses: tuple[Bus, Bus],
) -> None:
    async with world(buses[0]) as demo:
        zombie = await demo.pool("alpha", lambda _: None)
        await demo.submit("a-1")
        await eventually(lambda: zombie.held)
        await zombie.die()
        second = await demo.pool("alpha", lambda _: None, worker="w2")
        await eventually(lambda: second.held, within=15.0)
        assert await zombie.succeed(zombie.seen[0], "late, and first")
        result = await demo.result("a-1")
        assert result.attempts[-1].number == 1
        await eventually(lambda: second.aborted)  # what the second attempt still does is for nothing
        await demo.settled()


async def test_a_loss_that_is_none_in_the_end_costs_nothing(
    buses: tuple[Bus, Bus], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that stood still hands back what it has not called, between the leader's look and what it writes."""
    async with world(buses[0]) as demo:
        await demo.submit("a-1")
        order = await held_and_dead(demo, "a-1", "w1")
        append = buses[0].append
        back: list[str] = []

        async def hand_back_first(subject: str, data: bytes, **how: Any) -> Ack:
            if subject.startswith(("penstock.usage.", "penstock.out.")) and not back:
                back.append(subject)
                await append(subjects.outcome(0, "demo", "a-1"), encode(uncalled(demo, order)))
            return await append(subject, data, **how)

        monkeypatch.setattr(buses[0], "append", hand_back_first)
        await eventually(lambda: back, within=15.0)
        await demo.pool("alpha", worker="w2")
        result = await demo.result("a-1", within=15.0)
        assert [record.number for record in result.attempts] == [1, 2]
        assert result.attempts[0].failure is not None
        assert (result.attempts[0].failure.kind, result.attempts[0].cost) == (FailureKind.GRANT_EXPIRED, Decimal(0))
        await demo.settled()
        assert await facts_of(buses[0]) == []


def uncalled(demo: World, order: Assignment) -> Outcome:
    """As a worker writes it that finds a grant too old to be used."""
    failure = Failure(kind=FailureKind.GRANT_EXPIRED, message="the grant was too old to be used")
    record = demo.pools[0].record(order, failure).model_copy(update={"usage": Usage(), "cost": Decimal(0)})
    return Outcome(
        job_id=order.job_id,
        project=order.project,
        token=order.token,
        body_hash=order.body_hash,
        pool="alpha",
        worker="w1",
        record=record,
        history=order.history,
        failure=failure,
        route=order.route,
        called=False,
    )


async def test_a_lost_attempt_that_has_its_result_after_all_is_not_made_again(
    buses: tuple[Bus, Bus], monkeypatch: pytest.MonkeyPatch
) -> None:
    damage = Damage(buses[0], monkeypatch)
    async with world(buses[0], scheduler={"reconcile_every": 60.0}) as demo:
        pool = await demo.pool("alpha", lambda _: None)
        await demo.submit("a-1")
        await eventually(lambda: pool.held)
        damage.pass_over("penstock.res.demo")
        pool.acking = False
        await pool.succeed(pool.seen[0], "answered, and killed before it was acknowledged")
        await pool.die()
        await demo.submit("a-2")
        other = await demo.pool("alpha", worker="w2")
        await demo.result("a-2", within=15.0)
        await eventually(lambda: demo.status("a-1") is None, within=15.0)
        assert [order.job_id for order in other.seen] == ["a-2"]


async def test_hundreds_of_attempts_lost_at_once_are_all_written_down_and_made_again(buses: tuple[Bus, Bus]) -> None:
    async with world(buses[0]) as demo:
        first = await demo.pool("alpha", lambda _: None, slots=400)
        jobs = [f"a-{number}" for number in range(400)]
        await asyncio.gather(*(demo.submit(job) for job in jobs))
        await eventually(lambda: len(first.seen) == 400, within=15.0)
        await first.die()
        await demo.pool("alpha", worker="w2", slots=400)
        for job in jobs:
            result = await demo.result(job, within=30.0)
            assert [record.number for record in result.attempts] == [1, 2]
        await demo.settled()
        lost = {fact.attempt for fact in await facts_of(buses[0]) if fact.attempt.endswith(".1")}
        assert len(lost) == 400
