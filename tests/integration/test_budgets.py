"""Budgets at the leader, on the memory bus and on a real broker, with a scripted pool that bills each call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from job_contracts import money, subjects
from job_contracts.attempts import Assignment, Outcome
from job_contracts.codec import decode, encode
from job_contracts.desk import AskEstimates, Estimates, Planned
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import Job, JobState
from runtime.broker import Broker
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Bus
from runtime.connection import declared
from runtime.settings import Config
from scheduler.spending import Spent
from tests.support.budgets import PRICED, LaterClock, Till, budgeted, cut_off, fact, till
from tests.support.eventually import eventually
from tests.support.world import World, scheduler_on

Connect = Callable[[], Any]
CENT = 10**10
"""Picodollars."""


@pytest.fixture(params=["memory", "nats"])
async def connected(request: pytest.FixtureRequest, own_broker: Broker, open_bus: Callable[..., Any]) -> Connect:
    """Opens one more connection to one broker."""
    shared = MemoryBroker()

    async def one() -> Bus:
        if request.param == "memory":
            return shared.bus(inbox_prefix="_INBOX_demo")
        bus: Bus = await open_bus(own_broker.url, inbox_prefix="_INBOX_demo")
        return bus

    return one


async def leading(stack: AsyncExitStack, connected: Connect, made: Config, **over: Any) -> World:
    """A scheduler with a connection of its own, on streams that are there."""
    bus = await connected()
    await bus.ensure(declared(made))
    return await stack.enter_async_context(scheduler_on(bus, made, catalogue=PRICED, **over))


def spent(world: World, payer: str = "project:demo", window: str = "total") -> int:
    """Picodollars, as this scheduler's board has them."""
    assert world.scheduler.board is not None
    return sum(amount for _, amount in world.scheduler.board.spending().payers.get(payer, {}).get(window, ()))


def reserved(world: World) -> int:
    assert world.scheduler.board is not None
    return sum(told[2] for (payer, _), told in world.scheduler.board.counts().budgets.items() if "demo" in payer)


def billed(pool: Till, least: int) -> bool:
    return len(pool.billed) >= least


async def test_500_jobs_on_a_cent_overshoot_nothing_while_leaders_die_and_facts_come_late_and_twice(
    connected: Connect,
) -> None:
    made = budgeted(budget={"total": "0.01"})
    async with AsyncExitStack() as stack:
        first = await leading(stack, connected, made, owner="s0")
        home = await leading(stack, connected, made, owner="outside", wait=False)  # whose connection the pool has
        await home.scheduler.stop()
        pool = await till(home, late=0.4, twice=0.5, slots=16)
        await asyncio.gather(*(home.submit(f"a-{number}") for number in range(500)))
        leader = first
        for turn in range(1, 4):
            await eventually(partial(billed, pool, turn * 12), within=20.0, says="nothing goes")
            follower = await leading(stack, connected, made, owner=f"s{turn}", wait=False)
            await asyncio.sleep(0.2 * turn)
            await cut_off(leader.bus)
            await eventually(partial(getattr, follower.scheduler, "leads"), within=20.0, says="nobody follows")
            leader = follower
        ends = [await home.result(f"a-{number}", within=40.0) for number in range(500)]
        await eventually(lambda: not pool.telling and not pool.held, within=10.0)
        await eventually(lambda: not reserved(leader), within=15.0, says="a reservation is left behind")
        total = sum(pool.billed.values())
        assert total <= CENT, f"overshot by {total - CENT}"
        assert spent(leader) == total, "the sums are not what was billed"
        assert total > CENT // 2
        done = [end for end in ends if end.state is JobState.SUCCEEDED]
        assert len(done) == len(pool.billed) >= 20
        for end in ends:
            if end.state is not JobState.SUCCEEDED:
                assert end.failure is not None
                assert end.failure.kind is FailureKind.BUDGET
                assert "0.01" in end.failure.message
                assert end.failure.remedy


async def test_a_successor_knows_what_was_spent_and_what_is_still_under_way(connected: Connect) -> None:
    made = budgeted(budget={"day": "0.01"}, tags={"team=blue": {"day": "0.02"}})
    async with AsyncExitStack() as stack:
        leader = await leading(stack, connected, made, owner="s1")
        answers: dict[str, str] = {"a-1": "done"}
        pool = await till(leader, lambda order: answers.get(order.job_id))
        tags = {"team": "blue"}
        for job in ("a-1", "a-2"):
            body = encode(decode(Job, World.body(job)).model_copy(update={"tags": tags}))
            await leader.submit(job, body=body, tags=tags)
        await leader.result("a-1")
        await eventually(lambda: len(pool.seen) == 2)
        await eventually(lambda: spent(leader, "tag:demo/team=blue", "day") == sum(pool.billed.values()))
        held = pool.seen[1].grant.cost
        assert held is not None
        assert pool.seen[1].grant.charged > 0
        follower = await leading(stack, connected, made, owner="s2", wait=False)
        await eventually(lambda: spent(follower) == sum(pool.billed.values()), says="a standby does not read along")
        pool.bus = follower.bus
        await leader.scheduler.stop()
        await eventually(lambda: follower.events["spending.read"])
        assert spent(follower) == sum(pool.billed.values())
        assert reserved(follower) == 2 * money.picodollars(held), "the project's day, and the tag's"
        kept = decode(Spent, (await follower.bus.last(subjects.SPENT, subjects.spent(0))).data)
        assert kept.read > 0
        assert kept.payers["project:demo"]["total"][0][1] == spent(follower)


async def test_checkpoints_follow_each_other_and_an_older_one_never_replaces_a_newer(connected: Connect) -> None:
    made = budgeted(budget={"day": "0.01"})
    async with AsyncExitStack() as stack:
        leader = await leading(stack, connected, made)
        await eventually(lambda: leader.events["spending.stored"])
        spending = leader.scheduler.leading.spending  # type: ignore[union-attr]  # it leads
        for _ in range(4):
            assert await spending._keep()
        assert await leader.messages(subjects.SPENT) <= 2
        newer = Spent(read=10_000, payers={"project:demo": {"total": ((0.0, 5),)}})
        await leader.bus.append(subjects.spent(0), encode(newer))
        assert not await spending._keep()
        kept = decode(Spent, (await leader.bus.last(subjects.SPENT, subjects.spent(0))).data)
        assert kept.read == 10_000


async def test_facts_before_and_behind_a_checkpoint_count_once(connected: Connect) -> None:
    made = budgeted(budget={"day": "0.01"})
    async with AsyncExitStack() as stack:
        one = await leading(stack, connected, made, owner="s1")
        pool = await till(one)
        await one.submit("a-1")
        await one.result("a-1")
        await eventually(lambda: spent(one) == sum(pool.billed.values()) and not pool.held)
        await one.scheduler.stop()
        again = pool.seen[0]
        cost = money.dollars(pool.billed[again.attempt_id])
        other = again.model_copy(update={"job_id": "a-9"})
        await pool.tell(fact(again, cost))
        await pool.tell(fact(again, again.grant.cost, leader=True))
        await pool.tell(fact(other, other.grant.cost))
        two = await leading(stack, connected, made, owner="s2")
        await eventually(lambda: two.events["spending.read"])
        assert other.grant.cost is not None
        assert spent(two) == pool.billed[again.attempt_id] + money.picodollars(other.grant.cost)


async def test_a_job_waits_for_the_next_window_or_fails_with_the_sums_if_its_deadline_does_not_allow(
    connected: Connect,
) -> None:
    clock = LaterClock()
    clock.ahead = 600.0 - clock.wall() % 3600  # ten past
    made = budgeted(budget={"hour": "0.0006"})
    async with AsyncExitStack() as stack:
        world = await leading(stack, connected, made, clock=clock)
        pool = await till(world, lambda order: None if order.job_id == "a-1" else "done")
        await world.submit("a-1")
        await eventually(lambda: pool.seen)
        grant = pool.seen[0].grant
        assert grant.cost is not None
        await pool.tell(fact(pool.seen[0], Decimal("0.0006")))
        await eventually(lambda: spent(world) == 600_000_000)
        await world.submit("a-2", deadline=clock.wall() + 7200)
        await world.submit("a-3", deadline=clock.wall() + 60)
        end = await world.result("a-3")
        assert end.failure is not None
        assert end.failure.kind is FailureKind.BUDGET
        assert "0.0006" in end.failure.message
        assert end.failure.remedy
        status = world.status("a-2")
        assert status is not None
        assert status.state is JobState.HELD
        assert "may spend $0.0006 an hour" in (status.waiting_for or "")
        await asyncio.sleep(0.3)
        assert len(pool.seen) == 1
        clock.ahead += 3600.0
        assert (await world.result("a-2", within=15.0)).state is JobState.SUCCEEDED


async def test_while_the_ledger_cannot_be_read_jobs_under_hard_budgets_wait_and_others_go(connected: Connect) -> None:
    values = budgeted(budget={"day": "1.00"}).model_dump(mode="json", exclude_unset=True)
    values["projects"]["free"] = {}
    made = Config.model_validate(values)
    async with AsyncExitStack() as stack:
        bus = await connected()
        await bus.ensure([asset for asset in declared(made) if asset["config"].get("name") != subjects.LEDGER])
        world = await stack.enter_async_context(scheduler_on(bus, made, catalogue=PRICED))
        pool = await till(world, lambda order: "done" if order.project == "free" else None, twice=0.0)
        pool.tell = _untold  # type: ignore[method-assign]  # there is no stream to tell it to
        await world.submit("a-1")
        await world.submit("b-1", project="free")
        assert (await world.result("b-1", project="free")).state is JobState.SUCCEEDED
        await asyncio.sleep(0.5)
        assert [order.project for order in pool.seen] == ["free"]
        status = world.status("a-1")
        assert status is not None
        assert status.state is JobState.HELD
        await bus.ensure(declared(made))
        await eventually(lambda: len(pool.seen) == 2, within=15.0, says="the ledger is there, and nothing goes")


async def _untold(*_: object) -> None:
    """Nothing."""


async def test_a_message_nobody_can_read_stops_nothing_and_gives_back_nothing(connected: Connect) -> None:
    made = budgeted(budget={"day": "0.0007"})
    async with AsyncExitStack() as stack:
        world = await leading(stack, connected, made)
        pool = await till(world, lambda _: None)
        await world.submit("a-1")
        await eventually(lambda: pool.seen)
        before = reserved(world)
        for data in (b"{not json", b'{"version":"1.0","facts":[{"attempt":"demo.a-1.1"}]}', b"\xff\xfe"):
            await world.bus.append(subjects.usage("alpha", "w1"), data)
        strange = fact(pool.seen[0], Decimal("0.0001")).model_copy(update={"attempt": "no such form"})
        await pool.tell(strange)
        await eventually(lambda: len(world.events["spending.unreadable"]) == 4)
        assert reserved(world) == before > 0
        await pool.tell(fact(pool.seen[0], Decimal("0.0001")))
        await eventually(lambda: reserved(world) == 0)
        assert spent(world) == 100_000_000
        assert not world.events["spending.distrusted"]


async def test_a_grant_that_nobody_used_gives_back_what_was_reserved(connected: Connect) -> None:
    made = budgeted(budget={"total": "0.0005"})  # for one at a time
    async with AsyncExitStack() as stack:
        world = await leading(stack, connected, made)
        idle = await till(world, lambda _: None)
        await world.submit("a-1")
        await eventually(lambda: idle.seen)
        await world.submit("a-2")
        await _hand_back(idle, idle.seen[0])
        await eventually(lambda: len(idle.seen) > 1, within=15.0, says="what was reserved is still held")
        assert spent(world) == 0


async def _hand_back(pool: Any, order: Assignment) -> None:
    """As a worker does that was told to end before it has called."""

    failure = Failure(kind=FailureKind.HANDED_BACK, message="the worker ends")
    outcome = Outcome(
        job_id=order.job_id,
        project=order.project,
        token=order.token,
        body_hash=order.body_hash,
        pool=pool.name,
        worker=pool.worker,
        record=pool.record(order, failure).model_copy(update={"cost": Decimal(0)}),
        history=order.history,
        failure=failure,
        called=False,
    )
    await pool.bus.append(subjects.outcome(0, order.project, order.job_id), encode(outcome))
    await pool.held.pop(order.attempt_id).ack()


async def test_the_desk_estimates_what_jobs_would_cost_and_says_why_one_would_be_refused(connected: Connect) -> None:
    made = budgeted(budget={"day": "1.00"})
    async with AsyncExitStack() as stack:
        world = await leading(stack, connected, made)
        await till(world)
        asked = AskEstimates(
            jobs=(
                Planned(route="fast", input_estimate=100, max_output=50, size=400),
                Planned(route="nope", input_estimate=1),
            )
        )
        answer = await world.bus.request(subjects.api("demo", "estimate"), encode(asked), timeout=2.0)
        known, unknown = decode(Estimates, answer.data).estimates
        assert known.deployment == "alpha/m"
        assert known.worst == Decimal("0.0005"), "400 bytes in, 50 tokens out"
        assert known.expected is not None
        assert 0 < known.expected <= known.worst
        assert unknown.refused is not None
        assert unknown.refused.kind is FailureKind.UNKNOWN_ROUTE


async def test_the_bytes_of_a_body_are_the_brokers_count_whatever_a_producer_writes(connected: Connect) -> None:
    """A standby reads headers alone: a producer that claims to be small would reserve less than it may cost."""
    made = budgeted(budget={"total": "0.01"})
    async with AsyncExitStack() as stack:
        leader = await leading(stack, connected, made, owner="s1")
        body = World.body("a-1")
        ticket = await leader.submit("x-1", not_before=time.time() + 600)
        headers = {subjects.H_TICKET: encode(ticket.model_copy(update={"not_before": None})).decode()}
        await leader.bus.append(subjects.submit("demo", "a-1"), body, headers={**headers, "Nats-Msg-Size": "1"})
        await leader.scheduler.stop()
        follower = await leading(stack, connected, made, owner="s2")
        pool = await till(follower, lambda _: None)
        await eventually(lambda: pool.seen)
        worst = money.dollars(len(body) * 10**6 + 100 * 2 * 10**6)
        assert pool.seen[0].grant.cost == worst
