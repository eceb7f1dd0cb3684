"""A scheduler that stands by knows what its leader knows, does nothing, and goes on at once when the lease is free."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from job_contracts import subjects
from job_contracts.attempts import Abort, Heartbeat
from job_contracts.codec import decode, encode
from job_contracts.jobs import JobState
from job_contracts.operating import ToldStandby
from runtime.agreed import configured
from runtime.broker import Broker
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Bus, Message, Unreachable
from runtime.connection import declared
from runtime.settings import Config
from tests.support.eventually import eventually
from tests.support.world import World, config, scheduler_on

NEVER = {"lease": 600.0, "renew": 0.5}
"""A lease that nobody's silence ends within a test: what takes over here was handed the lease."""

Connect = Callable[[], Any]


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


@pytest.fixture
async def made(connected: Connect) -> Config:
    """The streams, and what every scheduler of a test is configured with."""
    one = config(scheduler=NEVER)
    await (await connected()).ensure(declared(one))
    return one


@pytest.fixture
async def pair(connected: Connect, made: Config) -> AsyncIterator[tuple[World, World]]:
    """A leader and one that stands by."""
    async with (
        scheduler_on(await connected(), made, owner="s1") as leader,
        scheduler_on(await connected(), made, owner="s2", wait=False) as other,
    ):
        yield leader, other


def known(world: World) -> set[str]:
    """The unfinished jobs that a scheduler's board knows of, whether it leads or not."""
    board = world.scheduler.board
    assert board is not None
    counts = board.counts(world.clock.monotonic()).unfinished
    return {f"{project}: {jobs}" for project, jobs in counts.items()}


async def test_a_standby_knows_what_is_queued_and_forgets_what_has_ended(pair: tuple[World, World]) -> None:
    leader, other = pair
    for number in range(20):
        await leader.submit(f"a-{number}")
    await eventually(lambda: known(other) == {"demo: 20"}, says="the standby does not know the queue")
    assert not other.scheduler.leads
    await leader.pool("alpha")
    for number in range(20):
        await leader.result(f"a-{number}")
    await eventually(lambda: not known(other), says="the standby still holds what has ended")
    await leader.settled()
    assert not other.events["job.settled"], "what only the leader may count"
    assert not other.events["dispatch.stored"]


async def test_whoever_stands_by_says_so_and_says_it_no_more_once_it_leads(
    pair: tuple[World, World], connected: Connect
) -> None:
    leader, other = pair
    asking: Bus = await connected()

    async def said() -> str:
        try:
            return (await asking.request(subjects.standing_by(0), b"", timeout=10)).data.decode()
        except Unreachable:
            return ""

    async def is_told(owner: str) -> bool:
        return await said() == owner

    await eventually(lambda: is_told("s2"), says="the standby does not answer")
    await leader.scheduler.stop()
    await eventually(lambda: other.scheduler.leads, says="the standby does not lead")
    await eventually(lambda: is_told(""), says="who leads says that it stands by")


async def test_one_that_stands_by_says_what_it_has_of_the_configuration_to_whoever_asks_for_more(
    pair: tuple[World, World], connected: Connect
) -> None:
    asking: Bus = await connected()

    async def told() -> ToldStandby | None:
        try:
            return decode(ToldStandby, (await asking.request(subjects.standing_by(0), b"{}", timeout=10)).data)
        except Unreachable:
            return None

    said = await eventually(told, says="the standby does not answer")
    assert isinstance(said, ToldStandby)
    assert said.owner == "s2"
    assert said.configured is not None
    assert said.configured.parts == configured(pair[1].config).parts


async def test_a_leader_that_ends_in_order_is_followed_without_waiting_for_its_silence(
    pair: tuple[World, World],
) -> None:
    leader, other = pair
    pool = await other.pool("alpha", lambda _: None)
    await leader.submit("a-1")
    await eventually(lambda: pool.seen)
    await leader.submit("a-2", not_before=leader.clock.wall() + 600)
    await leader.scheduler.stop()
    await eventually(lambda: other.scheduler.leads, says="the standby does not lead")
    assert known(other) == {"demo: 2"}
    await pool.succeed(pool.seen[0], "kept over the hand-over")
    assert (await other.result("a-1")).state is JobState.SUCCEEDED
    await other.submit("a-3")
    await eventually(lambda: len(pool.seen) == 2, says="the new leader dispatches nothing")
    assert [order.attempt for order in pool.seen] == [1, 1]


async def test_a_job_cancelled_under_the_old_leader_is_not_called_under_the_new_one(
    pair: tuple[World, World], connected: Connect
) -> None:
    leader, other = pair
    del connected
    ticket = await leader.submit("a-1")
    await eventually(lambda: known(other) == {"demo: 1"})
    stopping = asyncio.create_task(leader.scheduler.stop())
    await leader.cancel("a-1", ticket.token)
    await stopping
    pool = await other.pool("alpha")
    assert (await other.result("a-1")).state is JobState.CANCELLED
    assert not pool.seen


async def test_what_ended_while_nobody_led_is_not_run_again(connected: Connect, made: Config) -> None:
    async with scheduler_on(await connected(), made, owner="s1") as first:
        pool = await first.pool("alpha", lambda _: None)
        await first.submit("a-1")
        await eventually(lambda: pool.seen)
        await first.scheduler.stop()
        await pool.succeed(pool.seen[0], "while nobody led")
        await pool.die()
        async with scheduler_on(await connected(), made, owner="s2") as second:
            again = await second.pool("alpha")
            await second.submit("a-2")
            await second.result("a-2")
            assert [order.job_id for order in again.seen] == ["a-2"]
            await second.settled()


async def test_hand_overs_again_and_again_lose_nothing_and_call_nothing_twice(connected: Connect, made: Config) -> None:
    bus = await connected()
    async with scheduler_on(await connected(), made, owner="s0") as first:
        pool = await first.pool("alpha", slots=8)
        worlds = [first]
        for turn in range(1, 5):
            async with asyncio.timeout(20):
                other = scheduler_on(bus if turn % 2 else await connected(), made, owner=f"s{turn}", wait=False)
                world = await other.__aenter__()
                for number in range(25):
                    await first.submit(f"a{turn}-{number}")
                await worlds[-1].scheduler.stop()
                await eventually(partial(getattr, world.scheduler, "leads"))
                worlds.append(world)
        for turn in range(1, 5):
            for number in range(25):
                assert (await first.result(f"a{turn}-{number}")).state is JobState.SUCCEEDED
        await first.settled()
        called = [order.attempt_id for order in pool.seen]
        assert len(called) == len(set(called)) == 100
        for world in worlds[1:]:
            await world.scheduler.stop()


async def test_a_submission_nobody_can_read_is_answered_by_whoever_leads_next() -> None:
    """Its leader was cut off before it could: the standby has read the submission and kept it for later."""
    shared = MemoryBroker()
    bus = shared.bus(inbox_prefix="_INBOX_demo")
    quick = config(scheduler={"lease": 1.5, "renew": 0.3})
    await bus.ensure(declared(quick))
    async with (
        scheduler_on(bus, quick, owner="s1"),
        scheduler_on(shared.bus(inbox_prefix="_INBOX_demo"), quick, owner="s2", wait=False) as other,
    ):
        bus.disconnect()
        headers = {subjects.H_TICKET: "{not json"}
        await other.bus.append(subjects.submit("demo", "a-1"), World.body("a-1"), headers=headers)
        await other.bus.append(f"{subjects.PUBLIC}.submit.demo.!.!", b"x")
        result = await other.result("a-1")
        assert result.failure is not None
        assert "Ticket" in result.failure.message
        await other.settled()

        async def letters() -> bool:
            return await other.messages(subjects.DEAD) == 2

        await eventually(letters, says="an unreadable submission left without a letter")
        bus.reconnect()


async def test_whoever_begins_to_stand_by_calls_the_workers_of_all_pools(connected: Connect, made: Config) -> None:
    """It may lead a moment later, and would send on what it could have sent at once to a worker it has not heard."""
    listening, called = await connected(), set[str]()

    def hear(message: Message) -> None:
        if not decode(Abort, message.data).attempts:
            called.add(message.subject)

    for pool in made.providers:
        await listening.subscribe(subjects.abort(pool), hear)
    async with scheduler_on(await connected(), made, owner="s1", wait=False):
        await eventually(lambda: called == {subjects.abort(pool) for pool in made.providers})


async def test_a_beat_that_comes_while_the_next_leader_recovers_is_heard() -> None:
    """It called the workers as it began to stand by; a moment ago, where the lease was free at once."""
    shared = MemoryBroker()
    made = config(scheduler=NEVER)
    await shared.bus().ensure(declared(made))
    beat = Message(subjects.heartbeat("alpha", "w1"), encode(Heartbeat(pool="alpha", worker="w1", slots=4)))

    def say(_: object) -> None:
        shared.interest.route(beat)

    async with (
        scheduler_on(shared.bus(), made, owner="s1") as leader,
        scheduler_on(shared.bus(), made, owner="s2", wait=False) as other,
    ):
        other.telemetry.on("recovery.submissions_read", say)
        await leader.scheduler.stop()
        await eventually(lambda: other.scheduler.leads)
        assert other.scheduler.leading is not None
        assert list(other.scheduler.leading.lifeline.workers) == [("alpha", "w1")]
