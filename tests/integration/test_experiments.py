"""Experiments at the leader, on the memory bus and on a real broker: arms, sums, stops, and leaders that die."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from job_contracts import subjects
from job_contracts.attempts import Assignment
from job_contracts.codec import Wire, decode, encode
from job_contracts.desk import Refusal
from job_contracts.experiments import Metric
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from job_contracts.trials import AskExperiments, AskFeedback, AskStop, TakenFeedback, ToldExperiments
from runtime.broker import Broker
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Bus
from runtime.config import load
from runtime.connection import declared
from runtime.settings import Config
from runtime.telemetry import Telemetry
from scheduler.rereading import Rereading
from scheduler.trials import Trials
from tests.support.budgets import cut_off
from tests.support.eventually import eventually
from tests.support.world import World, config, scheduler_on

Connect = Callable[[str], Any]
WHOLE: dict[str, Any] = {"route": "fast", "challengers": {"b": {"route": "cheap"}}, "ramp": {"steps": [1.0]}}
JOBS = 120


def trying(experiment: Mapping[str, Any] = WHOLE, **over: Any) -> Config:
    """Two routes of one deployment each, and an experiment of one beside the other."""
    routes = {"fast": {"deployments": ["alpha/m"]}, "cheap": {"deployments": ["beta/m"]}}
    return config(routes=routes, experiments={"exp": dict(experiment)}, **over)


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


async def leading(stack: AsyncExitStack, connected: Connect, made: Config, **over: Any) -> World:
    bus = await connected("demo")
    await bus.ensure(declared(made))
    return await stack.enter_async_context(scheduler_on(bus, made, **over))


def trials(world: World) -> Trials:
    assert world.scheduler.leading is not None
    return world.scheduler.leading.trials


def jobs(world: World, name: str = "exp") -> dict[str, int]:
    return trials(world).book.accounts[name].jobs


def failing(order: Assignment) -> Failure | str:
    return Failure(kind=FailureKind.BAD_REQUEST, message=f"no {order.deployment}")


async def submitted(world: World, numbers: range) -> None:
    await asyncio.gather(*(world.submit(f"a-{number}", session=f"s{number}") for number in numbers))
    for number in numbers:
        await world.result(f"a-{number}", within=20.0)


async def asked(connected: Connect, operation: str, question: Wire, project: str = "-") -> bytes:
    bus: Bus = await connected(project)
    data: bytes = (await bus.request(subjects.api(project, operation), encode(question), timeout=2.0)).data
    return data


async def test_sessions_stay_in_their_arm_and_results_are_counted_for_it(connected: Connect) -> None:
    async with AsyncExitStack() as stack:
        world = await leading(stack, connected, trying())
        alpha, beta = await world.pool("alpha"), await world.pool("beta")
        for turn in range(2):
            await asyncio.gather(*(world.submit(f"a-{turn}x{each}", session=f"s{each}") for each in range(40)))
        await world.submit("a-none")
        ends = [await world.result(f"a-{turn}x{each}") for turn in range(2) for each in range(40)]
        assert [end.route for end in ends[:40]] == [end.route for end in ends[40:]]
        assert {end.route for end in ends} == {"fast", "cheap"}
        await world.result("a-none")
        await trials(world).look()
        assert jobs(world) == {
            "control": sum(end.route == "fast" for end in ends),
            "b": sum(end.route == "cheap" for end in ends),
        }
        for order in (*alpha.seen, *beta.seen):
            assert (order.trial is None) == (order.job_id == "a-none")
            assert order.trial is None or (order.trial.arm, order.route) in {("control", "fast"), ("b", "cheap")}
            assert order.trial is None or order.trial.began == pytest.approx(order.grant.granted, abs=0.5)
        sums = trials(world).book.accounts["exp"].of("b").by
        assert sums[Metric.COST].mean == 10**9
        assert sums[Metric.LATENCY].count == sums[Metric.COST].count == jobs(world)["b"]


async def test_a_challenger_that_fails_is_stopped_and_its_sessions_go_to_the_control(connected: Connect) -> None:
    async with AsyncExitStack() as stack:
        world = await leading(stack, connected, trying())
        alpha, beta = await world.pool("alpha"), await world.pool("beta", failing)
        await submitted(world, range(JOBS))
        before = len(beta.seen)
        assert 30 < before < 90
        await trials(world).look()
        account = trials(world).book.accounts["exp"]
        assert "error rate is worse" in account.progress.halted["b"]
        await submitted(world, range(JOBS, JOBS + 40))
        assert len(beta.seen) == before
        stopped = [order for order in alpha.seen if int(order.job_id[2:]) >= JOBS]
        assert len(stopped) == 40
        assert 0 < sum(order.trial is None for order in stopped) < 40, "who was in the other arm is counted nowhere"
        told = decode(ToldExperiments, await asked(connected, "experiments", AskExperiments()))
        arm = told.experiments[0].arms[1]
        assert arm.stopped is not None
        assert "it was stopped" in (arm.verdict or "")
        assert [line.what for line in told.experiments[0].audit] == ["began", "stopped"]


async def test_leaders_that_die_lose_no_result_and_count_none_twice(connected: Connect) -> None:
    made = trying()
    async with AsyncExitStack() as stack:
        home = await leading(stack, connected, made, owner="outside")
        await home.scheduler.stop()  # its connection is the pools' own
        await home.pool("alpha")
        await home.pool("beta", failing)
        leader = await leading(stack, connected, made, owner="s0")
        for turn in range(3):
            numbers = range(turn * 40, turn * 40 + 40)
            await asyncio.gather(*(home.submit(f"a-{number}", session=f"s{number}") for number in numbers))
            for number in numbers[:20]:
                await home.result(f"a-{number}", within=20.0)
            await trials(leader).look()  # some of it is counted, and nothing of that is stored
            follower = await leading(stack, connected, made, owner=f"s{turn + 1}", wait=False)
            await cut_off(leader.bus)
            await eventually(partial(getattr, follower.scheduler, "leads"), within=20.0, says="nobody follows")
            leader = follower
        ends = [await home.result(f"a-{number}", within=20.0) for number in range(120)]
        await trials(leader).look()
        counted = jobs(leader)
        halted = trials(leader).book.accounts["exp"].progress.halted
        failed = sum(end.state is JobState.FAILED for end in ends)
        assert counted["b"] == failed
        sums = trials(leader).book.accounts["exp"].of("b").by[Metric.ERROR_RATE]
        assert (sums.total, sums.count) == (failed, failed)
        assert "b" in halted or failed < 30


async def test_a_stop_is_stored_before_it_takes_effect_and_holds_under_a_successor(connected: Connect) -> None:
    made = trying()
    async with AsyncExitStack() as stack:
        leader = await leading(stack, connected, made, owner="s1")
        beta = await leader.pool("beta")
        await leader.pool("alpha")
        stop = AskStop(experiment="exp", arm="b", why="it is rude")
        told = decode(ToldExperiments, await asked(connected, "stop_arm", stop))
        assert told.experiments[0].arms[1].stopped == "it is rude"
        follower = await leading(stack, connected, made, owner="s2", wait=False)
        await leader.scheduler.stop()
        await eventually(partial(getattr, follower.scheduler, "leads"), within=20.0, says="nobody follows")
        await submitted(follower, range(20))
        assert not beta.seen
        assert trials(follower).book.accounts["exp"].progress.halted == {"b": "it is rude"}


async def test_jobs_that_wait_for_a_stopped_arm_are_served_by_the_control(connected: Connect) -> None:
    async with AsyncExitStack() as stack:
        world = await leading(stack, connected, trying())
        await world.pool("alpha")
        await asyncio.gather(*(world.submit(f"a-{number}", session=f"s{number}") for number in range(20)))
        await eventually(lambda: world.scheduler.board is not None and 0 < world.scheduler.board.known < 20)
        await asked(connected, "stop_arm", AskStop(experiment="exp", arm="b"))
        ends = [await world.result(f"a-{number}") for number in range(20)]
        assert {end.route for end in ends} == {"fast"}


async def test_a_live_change_is_in_force_at_once_or_refused_by_name(connected: Connect) -> None:
    written = [trying().experiments]
    async with AsyncExitStack() as stack:
        world = await leading(stack, connected, trying(), experiments=lambda: written[0])
        await world.pool("alpha")
        beta = await world.pool("beta")
        written[0] = trying({**WHOLE, "control_weight": 9, "unit": "user"}).experiments
        await trials(world).look()
        account = trials(world).book.accounts["exp"]
        assert [each.partition(":")[0] for each in account.refused] == ["unit", "control_weight"]
        assert account.settings.unit == "session"
        written[0] = trying({**WHOLE, "ramp": {"steps": [0.0001, 1.0]}}).experiments
        await trials(world).look()
        await submitted(world, range(20))
        assert not beta.seen
        written[0] = trying({**WHOLE, "adopted": "b"}).experiments
        await trials(world).look()
        await submitted(world, range(20, 30))
        assert len(beta.seen) == 10
        assert {order.trial for order in beta.seen} == {None}
        written[0] = {}
        await trials(world).look()
        await submitted(world, range(30, 40))
        assert len(beta.seen) == 10
        assert [line.what for line in account.audit] == ["began", "refused", "changed", "changed", "ended"]
        assert account.audit[2].who == "configuration"
        assert "ramp" in account.audit[2].why


async def test_a_score_is_taken_once_and_counted_for_the_arm(connected: Connect) -> None:
    async with AsyncExitStack() as stack:
        world = await leading(stack, connected, trying({**WHOLE, "metrics": ["feedback"], "guardrails": []}))
        await world.pool("alpha")
        await world.pool("beta")
        await submitted(world, range(10))
        for number in range(10):
            question = AskFeedback(job=f"a-{number}", score=0.5)
            taken = decode(TakenFeedback, await asked(connected, "feedback", question, "demo"))
            assert (taken.first, taken.experiment) == (True, "exp")
        again = await asked(connected, "feedback", AskFeedback(job="a-1", score=0.0), "demo")
        assert not decode(TakenFeedback, again).first
        unknown = await asked(connected, "feedback", AskFeedback(job="a-77", score=0.0), "demo")
        assert decode(Refusal, unknown).refused.kind is FailureKind.BAD_REQUEST
        await trials(world).look()
        sums = trials(world).book.accounts["exp"].sums
        seen = [sums[arm].by[Metric.FEEDBACK] for arm in ("control", "b")]
        assert [each.total for each in seen] == [500_000 * each.count for each in seen]
        assert sum(each.count for each in seen) == 10


async def test_a_project_may_not_stop_an_arm(connected: Connect) -> None:
    async with AsyncExitStack() as stack:
        await leading(stack, connected, trying())
        refused = await asked(connected, "stop_arm", AskStop(experiment="exp", arm="b"), "demo")
        assert decode(Refusal, refused).refused.field == "project"


async def test_the_command_shows_how_arms_stand_and_stops_one(own_broker: Broker, open_bus: Callable[..., Any]) -> None:
    async def one(project: str) -> Bus:
        bus: Bus = await open_bus(own_broker.url, inbox_prefix=f"_INBOX_{project}")
        return bus

    async def penstock(*words: str) -> tuple[int, str]:
        command = (sys.executable, "-m", "producer_sdk.cli", *words, "--url", own_broker.url)
        done = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
        said, _ = await done.communicate()
        return done.returncode or 0, said.decode()

    async with AsyncExitStack() as stack:
        world = await leading(stack, one, trying())
        await world.pool("alpha")
        await world.pool("beta")
        await submitted(world, range(10))
        await trials(world).look()
        code, said = await penstock("experiments", "list")
        assert code == 0, said
        assert "exp  fast  100 %  10 jobs" in said
        code, said = await penstock("experiments", "stop", "exp", "b", "--why", "rude", "--yes")
        assert code == 0, said
        code, said = await penstock("experiments", "show", "exp")
        assert "b (stopped)" in said
        assert "operator: stopped: b: rude" in said
        code, said = await penstock("experiments", "show", "nothing")
        assert code != 0
        assert "use one of: exp" in said


async def test_the_section_is_read_again_and_a_file_that_is_wrong_changes_nothing(tmp_path: Path) -> None:
    def written(route: str) -> str:
        return json.dumps(
            {
                "providers": {"openai": {"key": "k"}},
                "routes": {"fast": {"deployments": ["openai/a"]}, "cheap": {"deployments": ["openai/b"]}},
                "experiments": {"exp": {"route": "fast", "challengers": {"b": {"route": route}}}},
            }
        )

    telemetry, told = Telemetry(), list[str]()
    telemetry.subscribe(lambda event: told.append(event.name), lowest=0)
    file = tmp_path / "penstock.yaml"
    file.write_text(json.dumps({**json.loads(written("cheap")), "experiments": {}}))
    rereading = Rereading(file, load(file), telemetry)
    file.write_text(written("nowhere"))
    await rereading.look()
    await rereading.look()
    assert rereading.wanted() == {}
    file.write_text(written("cheap"))
    await rereading.look()
    assert list(rereading.wanted()) == ["exp"]
    assert told == ["configuration.unusable", "configuration.reread"]
