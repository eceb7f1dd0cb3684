"""What a lost message or a bug of ours leaves behind is repaired, counted by its kind, and never silently parked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import scheduler.readings
import scheduler.reconciler
from job_contracts import subjects
from job_contracts.attempts import Assignment
from job_contracts.codec import decode
from job_contracts.facts import AttemptFact, Facts
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from runtime.broker import Broker
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Bus, NotFound
from scheduler.policy.facts import AttemptEnded, CancelAsked, Settled
from tests.support.damage import Damage, kinds, raising
from tests.support.eventually import eventually
from tests.support.world import World, world

QUICK = {"reconcile_every": 0.2}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler.readings, "PATIENCE", 0.5)
    monkeypatch.setattr(scheduler.reconciler, "PATIENCE", 0.5)


@pytest.fixture(params=["memory", "nats"])
async def bus(request: pytest.FixtureRequest, own_broker: Broker, open_bus: Callable[..., Any]) -> Bus:
    if request.param == "memory":
        return MemoryBroker().bus(inbox_prefix="_INBOX_demo")
    connected: Bus = await open_bus(own_broker.url, inbox_prefix="_INBOX_demo")
    return connected


@pytest.fixture
def damage(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> Damage:
    return Damage(bus, monkeypatch)


@pytest.fixture
async def demo(bus: Bus, damage: Damage) -> AsyncIterator[World]:
    async with world(bus, scheduler=QUICK) as running:
        yield running


async def repaired(demo: World, *expected: str) -> None:
    """Wait until these repairs, and no others, were counted, and everything is in order again."""
    await demo.settled()
    await eventually(lambda: kinds(demo.events["reconciler.repaired"]) == list(expected), within=8.0)


async def facts_of(demo: World) -> list[AttemptFact]:
    found: list[AttemptFact] = []
    seq = 1
    while True:
        try:
            message = await demo.bus.next(subjects.LEDGER, seq, "penstock.usage.>")
        except NotFound:
            return found
        found.extend(decode(Facts, message.data).facts)
        seq = message.seq + 1


async def test_a_submission_that_was_passed_over_between_others_is_run(demo: World, damage: Damage) -> None:
    await demo.pool("alpha")
    await demo.submit("a-1")
    await demo.result("a-1")
    damage.pass_over("penstock.q.0.demo.a.2")
    for number in (2, 3):
        await demo.submit(f"a-{number}")
    for number in (3, 2):
        assert (await demo.result(f"a-{number}")).state is JobState.SUCCEEDED
    await repaired(demo, "unread_submission")


async def test_a_submission_that_was_passed_over_and_is_the_last_is_run(demo: World, damage: Damage) -> None:
    await demo.pool("alpha")
    await demo.submit("a-1")
    await demo.result("a-1")
    damage.pass_over("penstock.q.0.demo.a.2")
    await demo.submit("a-2")
    assert (await demo.result("a-2")).state is JobState.SUCCEEDED
    await repaired(demo, "unread_submission")


async def test_a_result_that_was_passed_over_settles_its_job_and_it_is_not_run_again(
    demo: World, damage: Damage
) -> None:
    pool = await demo.pool("alpha")
    damage.pass_over("penstock.res.demo")
    await demo.submit("a-1")
    await demo.result("a-1")
    await repaired(demo, "unread_result")
    assert len(pool.seen) == 1
    assert demo.status("a-1") is None


async def test_an_outcome_that_was_passed_over_is_acted_on(demo: World, damage: Damage) -> None:
    await demo.pool("alpha", lambda _: Failure(kind=FailureKind.OVERLOADED, message="too busy"))
    await demo.pool("beta")
    damage.pass_over("penstock.out.0.demo")
    await demo.submit("a-1")
    result = await demo.result("a-1")
    assert [record.deployment for record in result.attempts] == ["alpha/m", "beta/m"]
    assert result.attempts[0].failure is not None
    assert result.attempts[0].failure.kind is FailureKind.OVERLOADED
    await demo.settled()
    assert set(kinds(demo.events["reconciler.repaired"])) <= {"unread_outcome"}


async def test_a_cancel_that_was_passed_over_is_heard(demo: World, damage: Damage) -> None:
    ticket = await demo.submit("a-1")
    await eventually(lambda: demo.status("a-1"))
    damage.pass_over("penstock.v1.cancel.demo")
    await demo.cancel("a-1", ticket.token)
    assert (await demo.result("a-1")).state is JobState.CANCELLED
    await repaired(demo, "unread_cancel")


async def test_a_remnant_goes_after_the_cost_of_its_attempt_was_told_from_the_result(demo: World) -> None:
    await demo.pool("alpha", acking=False)
    await demo.submit("a-1")
    result = await demo.result("a-1")
    await repaired(demo, "remnant")
    (fact,) = await facts_of(demo)
    assert (fact.attempt, fact.won, fact.told_by) == ("demo.a-1.1", True, "leader")
    assert (fact.usage, fact.reason) == (result.attempts[0].usage, "user")


async def test_a_remnant_of_a_failed_attempt_goes_after_its_cost_was_told(demo: World) -> None:
    def answer(order: Assignment) -> Failure | str:
        return Failure(kind=FailureKind.RESET, message="broke") if order.attempt == 1 else "done"

    await demo.pool("alpha", answer, acking=False)
    await demo.pool("beta", answer)
    await demo.submit("a-1")
    result = await demo.result("a-1")
    await repaired(demo, "remnant")
    (fact,) = await facts_of(demo)
    assert (fact.attempt, fact.won, fact.failure) == ("demo.a-1.1", False, FailureKind.RESET)
    assert fact.usage == result.attempts[0].usage


async def test_an_attempt_that_another_result_has_overtaken_is_estimated(demo: World) -> None:
    pool = await demo.pool("alpha", lambda _: None)
    await demo.submit("a-1")
    await eventually(lambda: pool.held)
    held = pool.seen[0]
    foreign = held.model_copy(update={"attempt": 7})
    await pool.succeed(foreign, "from a zombie")
    pool.aborted.add(held.attempt_id)  # it is dead: it hears no abort
    await pool.die()
    await repaired(demo, "remnant")
    (fact,) = await facts_of(demo)
    assert (fact.attempt, fact.won, fact.usage.reported) == ("demo.a-1.1", False, False)
    assert (fact.usage.input, fact.usage.output) == (held.grant.input_tokens, held.grant.output_tokens)


async def test_an_outcome_whose_removal_failed_is_removed(demo: World, damage: Damage) -> None:
    pool = await demo.pool("alpha", lambda _: None)
    await demo.submit("a-1")
    await eventually(lambda: pool.seen)
    await pool.succeed(pool.seen[0], "done")
    await demo.settled()
    damage.pretend("delete", "OUT_0")
    await pool.fail(pool.seen[0], Failure(kind=FailureKind.CANCELLED, message="stopped"))
    await repaired(demo, "left_outcome")


async def test_a_job_whose_submission_is_gone_ends_and_its_producer_hears_why(demo: World) -> None:
    await demo.submit("a-1")
    await demo.submit("a-2", not_before=demo.clock.wall() + 60)
    await eventually(lambda: demo.status("a-2"))
    await demo.bus.delete("SUBMIT_0", (await demo.bus.last("SUBMIT_0", "penstock.q.0.demo.a.2")).seq)
    result = await demo.result("a-2")
    assert result.state is JobState.FAILED
    assert result.failure is not None
    assert (result.failure.kind, result.failure.message) == (
        FailureKind.INTERNAL,
        "its submission is no longer stored",
    )
    await demo.pool("alpha")
    assert (await demo.result("a-1")).state is JobState.SUCCEEDED
    await repaired(demo, "lost_submission")


async def test_a_submission_whose_removal_did_nothing_is_removed_and_not_run_again(demo: World, damage: Damage) -> None:
    pool = await demo.pool("alpha")
    damage.pretend("purge", "SUBMIT_0")
    await demo.submit("a-1")
    await demo.result("a-1")
    await repaired(demo, "left_submission")
    assert len(pool.seen) == 1


async def test_an_attempt_that_was_acknowledged_without_an_answer_is_made_again(demo: World) -> None:
    pool = await demo.pool("alpha", lambda _: None)
    await demo.submit("a-1")
    await eventually(lambda: pool.held)
    delivery = pool.held.pop(pool.seen[0].attempt_id)
    pool.answering = lambda _: "the second time"
    await delivery.ack()
    result = await demo.result("a-1")
    assert [record.number for record in result.attempts] == [1, 2]
    await repaired(demo, "lost_report")


async def test_a_busy_run_in_health_repairs_nothing(demo: World) -> None:
    def answer(order: Assignment) -> Failure | str:
        return Failure(kind=FailureKind.OVERLOADED, message="busy") if order.job_id.endswith("7") else "done"

    await demo.pool("alpha", answer)
    await demo.pool("beta")
    cancelled = 0
    for wave in range(10):
        jobs = [f"w{wave}-{number}" for number in range(60)]
        tickets = await asyncio.gather(*(demo.submit(job) for job in jobs))
        for job, ticket in list(zip(jobs, tickets, strict=True))[::20]:
            await demo.cancel(job, ticket.token)
            cancelled += 1
        for job in jobs[::7]:
            await demo.result(job, within=20.0)
    await demo.settled()
    assert cancelled == 30
    assert demo.events["reconciler.repaired"] == []
    assert demo.events["reconciler.look_failed"] == []


# -- bugs of ours


async def test_a_bug_in_reading_an_outcome_ends_its_job_with_an_internal_failure_and_stops_nobody(
    demo: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = demo.scheduler.board
    assert board is not None
    hit = raising(board.apply, lambda fact, _: isinstance(fact, AttemptEnded) and fact.job == "a-1")
    monkeypatch.setattr(board, "apply", hit)
    await demo.pool("alpha", lambda _: Failure(kind=FailureKind.OVERLOADED, message="too busy"))
    await demo.pool("beta")
    await demo.submit("a-1")
    await demo.submit("a-2")
    result = await demo.result("a-1")
    assert (await demo.result("a-2")).state is JobState.SUCCEEDED
    assert result.failure is not None
    assert (result.state, result.failure.kind) == (JobState.FAILED, FailureKind.INTERNAL)
    assert [record.deployment for record in result.attempts] == ["alpha/m"]
    assert [event.fields["reading"] for event in demo.events["reading.failed"]] == ["outcome"]
    await demo.settled()
    assert demo.status("a-1") is None


async def test_a_bug_in_settling_a_result_keeps_neither_the_job_nor_its_reservation(
    demo: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = demo.scheduler.board
    assert board is not None
    hit = raising(board.apply, lambda fact, _: isinstance(fact, Settled) and fact.job == "a-1")
    monkeypatch.setattr(board, "apply", hit)
    await demo.pool("alpha")
    await demo.submit("a-1")
    assert (await demo.result("a-1")).state is JobState.SUCCEEDED
    await eventually(lambda: demo.events["reading.failed"])
    await demo.settled()
    await eventually(lambda: demo.status("a-1") is None)
    assert not list(board.in_flight())


async def test_a_bug_in_reading_a_cancel_ends_its_job(demo: World, monkeypatch: pytest.MonkeyPatch) -> None:
    board = demo.scheduler.board
    assert board is not None
    monkeypatch.setattr(board, "apply", raising(board.apply, lambda fact, _: isinstance(fact, CancelAsked)))
    ticket = await demo.submit("a-1")
    await eventually(lambda: demo.status("a-1"))
    await demo.cancel("a-1", ticket.token)
    result = await demo.result("a-1")
    assert result.failure is not None
    assert (result.state, result.failure.kind) == (JobState.FAILED, FailureKind.INTERNAL)
    await demo.settled()
