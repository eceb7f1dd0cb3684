"""Second attempts beside late ones: the scheduler's process with scripted pools, on the memory bus and a real broker.

Caught here: a hedge that is not made, or made without room for it; a loser that goes on; a job that is lost, or ended
twice, because its leader died with two attempts in flight; anything of the two that is left behind in a stream.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from job_contracts import subjects
from job_contracts.attempts import Assignment
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from runtime.broker import Broker
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Bus
from runtime.connection import declared
from tests.support.eventually import eventually
from tests.support.world import Pool, World, config, scheduler_on

HEDGED: dict[str, Any] = {
    "routes": {"fast": {"deployments": ["alpha/m", "beta/m"], "hedge": {"share": 0.5, "after": 0.1}}}
}


@pytest.fixture(params=["memory", "nats"])
async def bus(request: pytest.FixtureRequest, own_broker: Broker, open_bus: Callable[..., Any]) -> Bus:
    if request.param == "memory":
        return MemoryBroker().bus(inbox_prefix="_INBOX_demo")
    connected: Bus = await open_bus(own_broker.url, inbox_prefix="_INBOX_demo")
    return connected


@pytest.fixture
async def made(bus: Bus) -> Callable[..., AbstractAsyncContextManager[World]]:
    """Opens schedulers over the same streams."""
    told = config(**HEDGED)
    await bus.ensure(declared(told))
    return lambda **over: scheduler_on(bus, told, **over)


class Slow:
    """Holds the jobs whose name says so, and is late with them."""

    pool: Pool

    def __call__(self, order: Assignment) -> Failure | str | None:
        if not order.job_id.startswith("slow"):
            return f"from {order.deployment}"
        if not order.hedge:
            self.pool.overdue.add(order.attempt_id)
        return None


async def slow_pool(world: World, name: str) -> Pool:
    slow = Slow()
    slow.pool = await world.pool(name, slow)
    return slow.pool


async def paid_for(world: World, jobs: int = 4) -> None:
    """So much is spent that a second attempt is within its share."""
    for n in range(jobs):
        await world.submit(f"quick-{n}")
    for n in range(jobs):
        await world.result(f"quick-{n}")


async def held(pool: Pool, job: str) -> Assignment:
    await eventually(lambda: any(order.job_id == job for order in pool.seen), says=f"{pool.name} has no {job}")
    return next(order for order in pool.seen if order.job_id == job)


def repairs(world: World) -> list[str]:
    return [str(event.fields) for event in world.events["reconciler.repaired"]]


async def test_the_hedge_of_a_slow_attempt_answers_and_the_slow_one_is_stopped(made: Any) -> None:
    async with made() as world:
        alpha, beta = await slow_pool(world, "alpha"), await slow_pool(world, "beta")
        await paid_for(world)
        await world.submit("slow-1")
        first, second = await held(alpha, "slow-1"), await held(beta, "slow-1")
        assert (first.late_after, first.hedge) == (0.1, False)
        assert (second.attempt, second.hedge, second.switched_from) == (2, True, "alpha/m")
        assert second.job == first.job
        await beta.succeed(second, "from the hedge")
        result = await world.result("slow-1")
        assert result.answer is not None
        assert result.answer.text == "from the hedge"
        await eventually(lambda: alpha.aborted == {first.attempt_id}, says="the slow one goes on")
        await world.settled()
        assert repairs(world) == []


async def test_the_slow_one_that_is_shown_first_goes_on_and_its_hedge_is_stopped(made: Any) -> None:
    async with made() as world:
        alpha, beta = await slow_pool(world, "alpha"), await slow_pool(world, "beta")
        await paid_for(world)
        await world.submit("slow-1")
        first, second = await held(alpha, "slow-1"), await held(beta, "slow-1")
        alpha.begun.add(first.attempt_id)
        await eventually(lambda: beta.aborted == {second.attempt_id}, says="the hedge goes on")
        await alpha.succeed(first, "from the first")
        assert (await world.result("slow-1")).deployment == "alpha/m"
        await world.settled()
        assert repairs(world) == []


@pytest.mark.parametrize("order", ["first fails first", "hedge fails first"])
async def test_when_both_fail_the_job_is_tried_again_with_a_new_number(made: Any, order: str) -> None:
    async with made() as world:
        alpha, beta = await slow_pool(world, "alpha"), await slow_pool(world, "beta")
        await paid_for(world)
        await world.submit("slow-1")
        pair = [(alpha, await held(alpha, "slow-1")), (beta, await held(beta, "slow-1"))]
        for pool, failed in pair if order == "first fails first" else pair[::-1]:
            await pool.fail(failed, Failure(kind=FailureKind.OVERLOADED, message="too busy"))

        def third() -> list[tuple[Pool, Assignment]]:
            return [(pool, one) for pool in (alpha, beta) for one in pool.seen if one.attempt == 3]

        await eventually(third, says="not tried again")
        pool, again = third()[0]
        assert not again.hedge
        assert {record.number for record in again.history} == {1, 2}
        await pool.succeed(again, "at last")
        assert (await world.result("slow-1")).state is JobState.SUCCEEDED
        await world.settled()
        assert repairs(world) == []


async def test_a_cancel_stops_both(made: Any) -> None:
    async with made() as world:
        alpha, beta = await slow_pool(world, "alpha"), await slow_pool(world, "beta")
        await paid_for(world)
        ticket = await world.submit("slow-1")
        await held(beta, "slow-1")
        await world.cancel("slow-1", ticket.token)
        assert (await world.result("slow-1")).state is JobState.CANCELLED
        await eventually(lambda: len(alpha.aborted) == len(beta.aborted) == 1, says="one of the two goes on")
        await world.settled()


@pytest.mark.parametrize("then", ["hedge answers", "first answers", "hedge fails", "first fails", "both fail"])
async def test_a_leader_that_dies_with_two_in_flight_loses_nothing(made: Any, then: str) -> None:
    async with made(owner="s1") as world:
        alpha, beta = await slow_pool(world, "alpha"), await slow_pool(world, "beta")
        await paid_for(world)
        await world.submit("slow-1")
        first, second = await held(alpha, "slow-1"), await held(beta, "slow-1")
        await world.scheduler.stop()
        failure = Failure(kind=FailureKind.OVERLOADED, message="too busy")
        if then in {"hedge fails", "both fail"}:
            await beta.fail(second, failure)
        if then in {"first fails", "both fail"}:
            await alpha.fail(first, failure)
        async with made(owner="s2") as successor:
            if then in {"hedge answers", "first fails"}:
                await beta.succeed(second, "from the hedge")
            elif then in {"first answers", "hedge fails"}:
                await alpha.succeed(first, "from the first")
            else:
                await eventually(lambda: any(one.attempt == 3 for one in [*alpha.seen, *beta.seen]), within=8.0)
                pool = alpha if any(one.attempt == 3 for one in alpha.seen) else beta
                await pool.succeed(next(one for one in pool.seen if one.attempt == 3), "at last")
            assert (await successor.result("slow-1")).state is JobState.SUCCEEDED
            await successor.settled()
            numbers = [one.attempt for one in [*alpha.seen, *beta.seen] if one.job_id == "slow-1"]
            assert len(numbers) == len(set(numbers))
            assert max(numbers) == (3 if then == "both fail" else 2)


async def test_what_was_outrun_while_nobody_led_is_stopped_by_the_next_leader(made: Any) -> None:
    async with made(owner="s1") as world:
        alpha, beta = await slow_pool(world, "alpha"), await slow_pool(world, "beta")
        await paid_for(world)
        await world.submit("slow-1")
        first, second = await held(alpha, "slow-1"), await held(beta, "slow-1")
        await world.scheduler.stop()
        await beta.succeed(second, "from the hedge")
        async with made(owner="s2") as successor:
            await eventually(lambda: first.attempt_id in alpha.aborted, within=15.0, says="it calls on for nothing")
            await successor.settled()
            assert any("needless_call" in repair for repair in repairs(successor))
            assert (await successor.result("slow-1")).deployment == second.deployment


async def test_a_hedge_whose_worker_dies_is_missed_and_the_first_one_goes_on(made: Any) -> None:
    async with made() as world:
        alpha, beta = await slow_pool(world, "alpha"), await slow_pool(world, "beta")
        await paid_for(world)
        await world.submit("slow-1")
        first, second = await held(alpha, "slow-1"), await held(beta, "slow-1")
        await beta.die()
        await eventually(lambda: world.events["attempt.lost"], within=8.0, says="nobody misses it")
        board = world.scheduler.board
        assert board is not None
        # What was stored is acted on when it is read, a moment later.
        await eventually(lambda: [one[2] for one in board.in_flight()] == [1], within=8.0, says="its loss is not read")
        await alpha.succeed(first, "from the first")
        assert (await world.result("slow-1")).deployment == "alpha/m"
        await world.settled()
        assert second.attempt == 2


async def test_the_share_holds_under_two_hundred_slow_jobs(made: Any) -> None:
    async with made() as world:
        alpha, beta = await slow_pool(world, "alpha"), await slow_pool(world, "beta")
        alpha.slots = beta.slots = 512
        for n in range(200):
            await world.submit(f"slow-{n}")
        await eventually(lambda: len(alpha.held) + len(beta.held) >= 200, within=20.0)
        await eventually(lambda: any(one.hedge for one in [*alpha.seen, *beta.seen]), within=8.0)
        seen = [*alpha.seen, *beta.seen]
        spent = {hedge: sum(_tokens(one) for one in seen if one.hedge is hedge) for hedge in (True, False)}
        assert spent[True] <= 0.5 * (spent[True] + spent[False])
        assert await world.messages(subjects.stream_name(subjects.WORK, 0)) <= 401


def _tokens(order: Assignment) -> int:
    return order.grant.input_tokens + order.grant.output_tokens
