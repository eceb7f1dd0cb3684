"""Operators' orders at the leader, on the memory bus and on a real broker: kept, audited, and taken over."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest

from job_contracts import subjects
from job_contracts.attempts import Assignment
from job_contracts.codec import Wire, decode, encode
from job_contracts.desk import Refusal
from job_contracts.operating import (
    AskAudit,
    AskNote,
    AskOrder,
    Audited,
    AuditPage,
    Ordered,
    Overview,
    Rates,
    Standing,
)
from runtime.broker import Broker
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Bus
from runtime.connection import declared
from runtime.settings import Config
from runtime.telemetry import Event, Telemetry
from scheduler.leadership import Lease
from scheduler.orders import Standings
from scheduler.policy.board import Board
from scheduler.policy.resolving import rules_from
from scheduler.term import Term
from tests.support.budgets import LaterClock, cut_off
from tests.support.eventually import eventually
from tests.support.world import CATALOGUE, World, config, scheduler_on

Connect = Callable[[str], Any]


def settings(**over: Any) -> Config:
    """Two routes of one deployment each; alpha's requests are limited."""
    routes = {"fast": {"deployments": ["alpha/m"]}, "cheap": {"deployments": ["beta/m.5"]}}
    base = {"dialect": "openai_chat", "base_url": "http://127.0.0.1:1", "key": "k"}
    return config(**{"routes": routes, "providers": {"alpha": {**base, "limits": {"rpm": 6000}}}, **over})


@pytest.fixture(params=["memory", "nats"])
async def connected(request: pytest.FixtureRequest, own_broker: Broker, open_bus: Callable[..., Any]) -> Connect:
    """Opens one more connection to one broker, as the project of that name."""
    shared = MemoryBroker()

    async def one(project: str = "demo") -> Bus:
        if request.param == "memory":
            return shared.bus(inbox_prefix=f"_INBOX_{project}")
        bus: Bus = await open_bus(own_broker.url, inbox_prefix=f"_INBOX_{project}")
        return bus

    return one


async def leading(stack: AsyncExitStack, connected: Connect, **over: Any) -> World:
    bus = await connected("demo")
    made = settings()
    await bus.ensure(declared(made))
    return await stack.enter_async_context(scheduler_on(bus, made, **over))


async def asked(connected: Connect, operation: str, question: Wire | None, project: str = "-") -> bytes:
    bus: Bus = await connected(project)
    data = b"{}" if question is None else encode(question)
    answer: bytes = (await bus.request(subjects.api(project, operation), data, timeout=10.0)).data
    return answer


async def ordered(connected: Connect, do: Any, aim: Any, name: str, **over: Any) -> Ordered:
    order = AskOrder(do=do, aim=aim, name=name, by="ann", **over)
    return decode(Ordered, await asked(connected, "order", order))


async def overview(connected: Connect) -> Overview:
    return decode(Overview, await asked(connected, "overview", None))


def holding(_: Assignment) -> None:
    """Takes work and never answers."""


async def waits(world: World, job: str, why: str) -> None:
    def said() -> bool:
        told = world.status(job)
        return told is not None and why in (told.waiting_for or "")

    await eventually(said, within=8.0, says=lambda: f"{job} waits for {world.status(job)}")


async def test_an_order_outlives_its_leader_and_the_next_one_and_is_audited(connected: Connect) -> None:
    async with AsyncExitStack() as stack:
        first = await leading(stack, connected)
        bus = await connected("demo")
        second = await stack.enter_async_context(scheduler_on(bus, first.config, owner="s2", wait=False))
        done = await ordered(connected, "pause", "pool", "alpha", why="a strange bill")
        assert done.changed
        await first.submit("a-1")
        await waits(first, "a-1", "pool alpha is paused by ann: a strange bill")
        await cut_off(first.bus)
        await eventually(lambda: second.scheduler.leads, within=8.0, says="no takeover")
        pool = await second.pool("alpha")
        await waits(second, "a-1", "pool alpha is paused by ann: a strange bill")
        await second.scheduler.stop()
        third = await stack.enter_async_context(scheduler_on(await connected("demo"), first.config, owner="s3"))
        await eventually(lambda: bool(third.scheduler.leading and third.scheduler.leading.lifeline.workers))
        await waits(third, "a-1", "pool alpha is paused by ann: a strange bill")
        told = await overview(connected)
        alpha = told.pools[0]
        assert (told.leader.owner, alpha.state, alpha.slots, alpha.queued) == ("s3", "paused", 64, {"std": 1})
        assert alpha.order is not None
        assert (alpha.order.by, alpha.order.why, alpha.order.seq) == (
            "ann",
            "a strange bill",
            done.line and done.line.seq,
        )
        assert not pool.seen
        again = await ordered(connected, "pause", "pool", "alpha", why="once more")
        assert (again.changed, again.line) == (False, done.line)
        assert (await ordered(connected, "resume", "pool", "alpha")).changed
        await third.result("a-1")
        page = decode(AuditPage, await asked(connected, "audit", AskAudit()))
        assert [(line.entry.did, line.entry.before, line.entry.after) for line in page.lines] == [
            ("resume", Standing(state="paused"), Standing()),
            ("pause", Standing(), Standing(state="paused")),
        ]
        assert page.below is None


async def test_what_an_overview_says_is_what_lies_in_the_broker(connected: Connect) -> None:
    async with AsyncExitStack() as stack:
        world = await leading(stack, connected)
        await world.pool("alpha", holding, slots=3)
        for number in range(7):
            await world.submit(f"a-{number}", lane="rt" if number % 2 else "bg")
        await world.submit("a-b", route="cheap")
        await eventually(
            lambda: world.scheduler.leading is not None and len(world.scheduler.leading.lifeline.flights) == 3
        )
        told = await overview(connected)
        assert told.in_flight == await world.messages("WORK_0") - 1 == 3
        assert told.known == await world.messages("SUBMIT_0") == 8
        assert [(pool.name, pool.slots, pool.in_flight, sum(pool.queued.values())) for pool in told.pools] == [
            ("alpha", 3, 3, 4),
            ("beta", 0, 0, 1),
        ]
        assert sum(lane.queued for lane in told.lanes) == 5
        worker = told.pools[0].workers[0]
        assert (worker.name, worker.slots) == ("w1", 3)
        metered = told.limits[0].units[0]
        assert (metered.unit, metered.limit, metered.configured, metered.reserved) == ("requests", 6000, 6000, 3)
        assert told.leader.term > 0


async def test_an_override_and_a_pause_of_one_deployment_are_seen_and_taken_back(connected: Connect) -> None:
    async with AsyncExitStack() as stack:
        world = await leading(stack, connected)
        await world.pool("beta")
        rates = Rates(rpm=120, concurrency=2)
        assert (await ordered(connected, "override", "limit", "alpha", limits=rates, lasts=3600)).changed
        assert (await ordered(connected, "drain", "deployment", "beta/m.5", lasts=60)).changed
        await world.submit("a-1", route="cheap")
        await waits(world, "a-1", "beta/m.5 is being emptied by ann")
        told = await overview(connected)
        units = {unit.unit: (unit.limit, unit.configured) for unit in told.limits[0].units}
        assert units == {"requests": (120.0, 6000.0), "concurrency": (2.0, None)}
        assert told.limits[0].order is not None
        assert told.limits[0].order.standing.limits == rates
        assert told.pools[1].deployments[0].order is not None
        await ordered(connected, "resume", "deployment", "beta/m.5")
        await world.result("a-1")
        assert (await ordered(connected, "restore", "limit", "alpha")).changed
        assert [unit.limit for unit in (await overview(connected)).limits[0].units] == [6000.0]
        assert not (await ordered(connected, "restore", "limit", "alpha")).changed


async def test_a_weight_and_a_projects_limit_are_ordered_taken_over_and_end_by_themselves(connected: Connect) -> None:
    """What crash there may be is the same for all orders: one message, and who takes over has read it."""
    routes = {
        "fast": {"strategy": "weighted", "deployments": ["alpha/m", "beta/m"], "weights": {"alpha/m": 3}},
        "cheap": {"deployments": ["beta/m.5"]},
    }
    made = settings(routes=routes, projects={"demo": {"limits": {"rpm": 6000}}})
    async with AsyncExitStack() as stack:
        bus = await connected("demo")
        await bus.ensure(declared(made))
        first = await stack.enter_async_context(scheduler_on(bus, made))
        second = await stack.enter_async_context(scheduler_on(await connected("demo"), made, owner="s2", wait=False))
        assert (await ordered(connected, "weigh", "weight", "alpha/m", factor=0.5, lasts=3600)).changed
        assert (await ordered(connected, "weigh", "weight", "beta/m", factor=0.0, lasts=0.5)).changed
        rates = Rates(rpm=60, concurrency=1)
        assert (await ordered(connected, "override", "limit", "project:demo", limits=rates, lasts=3600)).changed
        again = await ordered(connected, "weigh", "weight", "alpha/m", factor=0.5, lasts=7200)
        assert again.changed, "it lasts longer now"
        await cut_off(first.bus)
        await eventually(lambda: second.scheduler.leads, within=8.0, says="no takeover")

        async def ended() -> bool:
            told = await overview(connected)
            weights = {each.name: each.weights for pool in told.pools for each in pool.deployments}
            assert weights["alpha/m"] == {"fast": 1.5}
            return weights["beta/m"] == {"fast": 1.0}

        await eventually(ended, within=8.0)
        told = await overview(connected)
        assert [(unit.unit, unit.limit) for unit in told.projects[0].units] == [("requests", 60), ("concurrency", 1)]
        await second.pool("alpha", holding)
        for number in range(2):
            await second.submit(f"a-{number}")
        await waits(second, "a-1", "project 'demo'")
        assert (await ordered(connected, "restore", "weight", "alpha/m")).changed
        assert (await ordered(connected, "restore", "limit", "project:demo")).changed
        page = decode(AuditPage, await asked(connected, "audit", AskAudit(on="weight", name="alpha/m")))
        assert [line.entry.did for line in page.lines] == ["restore", "weigh", "weigh"]


async def test_a_leader_that_dies_when_an_order_is_stored_leaves_it_in_force(connected: Connect) -> None:
    async with AsyncExitStack() as stack:
        first = await leading(stack, connected)
        deaths: list[asyncio.Task[None]] = []

        def die(event: Event) -> None:
            if event.name == "order.stored":
                deaths.append(asyncio.get_running_loop().create_task(cut_off(first.bus)))

        first.telemetry.subscribe(die, lowest=0)
        bus = await connected("demo")
        second = await stack.enter_async_context(scheduler_on(bus, first.config, owner="s2", wait=False))
        order = AskOrder(do="pause", aim="pool", name="alpha", by="ann", why="w")
        asking = asyncio.create_task(asked(connected, "order", order))
        await eventually(lambda: second.scheduler.leads, within=8.0, says="no takeover")
        await asyncio.gather(asking, *deaths, return_exceptions=True)
        await second.pool("alpha")
        await second.submit("a-1")
        await waits(second, "a-1", "pool alpha is paused by ann: w")
        again = decode(Ordered, await asked(connected, "order", order))
        assert not again.changed
        page = decode(AuditPage, await asked(connected, "audit", AskAudit()))
        assert len(page.lines) == 1, "it was ordered once"


async def standings(bus: Bus, made: Config, clock: LaterClock) -> Standings:
    telemetry = Telemetry()
    lease = Lease(bus, clock, telemetry, shard=0, owner="s", lease=2.5)
    board = Board(rules_from(made, CATALOGUE), now=clock.monotonic(), wall=clock.wall())
    found = Standings(Term(bus, clock, telemetry, made, lease, board))
    await found.begin()
    return found


def knows(of: Standings, seq: int) -> bool:
    return [order.seq for order in of.in_force().values()] == [seq]


async def test_of_two_leaders_orders_the_second_one_knows_the_first(connected: Connect) -> None:
    bus = await connected("demo")
    made = settings()
    await bus.ensure(declared(made))
    both = [await standings(await connected("demo"), made, LaterClock()) for _ in range(2)]
    pause = AskOrder(do="pause", aim="pool", name="alpha", by="ann")
    drain = AskOrder(do="drain", aim="pool", name="alpha", by="bob")
    done = await asyncio.gather(both[0].order(pause), both[1].order(drain))
    entries = sorted((one.line for one in done if one.line is not None), key=lambda line: line.seq)
    assert [line.entry.before for line in entries] == [Standing(), entries[0].entry.after]
    for each in both:
        await eventually(partial(knows, each, entries[1].seq))
        await each.close()


async def test_an_order_ends_by_itself_for_whoever_leads_then(connected: Connect) -> None:
    bus = await connected("demo")
    made, clock = settings(), LaterClock()
    await bus.ensure(declared(made))
    one = await standings(bus, made, clock)
    await one.order(AskOrder(do="override", aim="limit", name="alpha", by="ann", lasts=60, limits=Rates(rpm=5)))
    await one.order(AskOrder(do="pause", aim="pool", name="beta", by="ann"))
    assert set(one.in_force()) == {("limit", "alpha"), ("pool", "beta")}
    clock.ahead = 59.0
    assert one.look() <= 1.0
    assert len(one.in_force()) == 2
    clock.ahead = 61.0
    assert set(one.in_force()) == {("pool", "beta")}
    other = await standings(await connected("demo"), made, clock)
    assert set(other.in_force()) == {("pool", "beta")}
    again = await other.order(
        AskOrder(do="override", aim="limit", name="alpha", by="bob", lasts=60, limits=Rates(rpm=5))
    )
    assert again.line is not None
    assert again.line.entry.before == Standing(), "what had ended by itself is not what was before"
    await one.close()
    await other.close()


async def test_the_audit_is_read_page_by_page_and_holds_what_others_note(connected: Connect) -> None:
    async with AsyncExitStack() as stack:
        await leading(stack, connected)
        for number in range(6):
            note = AskNote(by="ann", did="replay", on="letters", name=f"l{number}", detail={"count": str(number)})
            assert decode(Ordered, await asked(connected, "note", note)).changed
            await ordered(connected, ("pause", "resume")[number % 2], "pool", "alpha")
        seen: list[int] = []
        below: int | None = None
        while True:
            page = decode(AuditPage, await asked(connected, "audit", AskAudit(below=below, limit=5)))
            seen += [line.seq for line in page.lines]
            below = page.below
            if below is None:
                break
        assert len(seen) == 12
        assert seen == sorted(set(seen), reverse=True)
        page = decode(AuditPage, await asked(connected, "audit", AskAudit(on="letters", name="l3")))
        assert [line.entry.detail for line in page.lines] == [{"count": "3"}]
        refused = decode(Refusal, await asked(connected, "note", AskNote(by="ann", did="x", on="pool")))
        assert refused.refused.field == "on"


@pytest.mark.parametrize("operation", ["overview", "order", "note", "audit"])
async def test_a_project_may_ask_nothing_of_it(connected: Connect, operation: str) -> None:
    async with AsyncExitStack() as stack:
        await leading(stack, connected)
        question: dict[str, Wire] = {"order": AskOrder(do="pause", aim="pool", name="alpha", by="demo")}
        refused = decode(Refusal, await asked(connected, operation, question.get(operation), "demo"))
        assert refused.refused.field == "project"
        assert (await overview(connected)).pools[0].state == "running"


async def test_an_unreadable_order_changes_nothing(connected: Connect) -> None:
    async with AsyncExitStack() as stack:
        world = await leading(stack, connected)
        await ordered(connected, "pause", "pool", "alpha")
        await world.bus.append(subjects.order(0, "pool", "alpha"), b"{")
        strange = Audited(at=1.0, by="x", did="pause", on="planet", name="mars", after=Standing(state="paused"))
        await world.bus.append(subjects.order(0, "planet", "mars"), encode(strange))
        await eventually(lambda: "orders.unreadable" in world.events)
        assert (await overview(connected)).pools[0].state == "paused"
        assert (await ordered(connected, "resume", "pool", "alpha")).changed


async def test_the_commands_say_what_the_leader_says(own_broker: Broker, open_bus: Callable[..., Any]) -> None:
    async def one(project: str) -> Bus:
        bus: Bus = await open_bus(own_broker.url, inbox_prefix=f"_INBOX_{project}")
        return bus

    async def penstock(*words: str) -> tuple[int, str]:
        command = (sys.executable, "-m", "producer_sdk.cli", *words, "--url", own_broker.url)
        done = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
        said, _ = await done.communicate()
        return done.returncode or 0, said.decode()

    async with AsyncExitStack() as stack:
        world = await leading(stack, one)
        await world.pool("alpha", slots=5)
        code, said = await penstock("pools", "pause", "alpha", "--why", "a strange bill", "--by", "ann", "--for", "10m")
        assert code == 0, said
        assert "ann: pause pool alpha (as configured -> paused until" in said
        override = ("limits", "override", "alpha", "--rpm", "30", "--for", "1h", "--by", "bob", "--json")
        code, said = await penstock(*override)
        assert code == 0, said
        assert json.loads(said)["line"]["entry"]["after"]["limits"] == {"rpm": 30.0}
        (code, plain), (_, tabled), (_, limits), (_, audit), (wrong, words) = await asyncio.gather(
            penstock("top", "--json"),
            penstock("pools", "--json"),
            penstock("limits", "--json"),
            penstock("audit"),
            penstock("pools", "pause", "nowhere"),
        )
        told = json.loads(plain)
        assert code == 0
        assert [json.loads(line)["state"] for line in tabled.splitlines()] == ["paused", "running"]
        assert [pool["state"] for pool in told["pools"]] == ["paused", "running"]
        assert json.loads(limits.splitlines()[0])["units"][0]["limit"] == told["limits"][0]["units"][0]["limit"] == 30.0
        assert [line.split()[2] for line in audit.splitlines()] == ["bob:", "ann:"]
        assert wrong == 4
        assert "use one of: alpha, beta" in words
