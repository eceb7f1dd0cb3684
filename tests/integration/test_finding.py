"""Operators look for jobs at the leader, look at one, and have many cancelled: on the memory bus and a real broker."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import pytest

from job_contracts import subjects
from job_contracts.attempts import Assignment
from job_contracts.codec import Wire, decode, encode
from job_contracts.desk import Refusal
from job_contracts.failures import Failure, FailureKind
from job_contracts.finding import MAX_FOUND, AskCancels, AskFind, AskJob, Cancels, FoundJob, JobPage, Named
from job_contracts.jobs import JobState
from runtime.broker import Broker
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Bus
from runtime.connection import declared
from scheduler import finding_desk
from tests.support.eventually import eventually
from tests.support.world import World, config, scheduler_on

Connect = Callable[[str], Any]
W = TypeVar("W", bound=Wire)
PROJECTS: dict[str, Any] = {"demo": {}, "other": {}}


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


async def leading(stack: AsyncExitStack, connected: Connect) -> tuple[World, Bus]:
    """A leader, and the operator's connection."""
    bus = await connected("demo")
    made = config(projects=PROJECTS)
    await bus.ensure(declared(made))
    return await stack.enter_async_context(scheduler_on(bus, made)), await connected("-")


async def asked(bus: Bus, operation: str, question: Wire, kind: type[W], project: str = "-") -> W:
    answer = await bus.request(subjects.api(project, operation), encode(question), timeout=5.0)
    assert not answer.data.startswith(b'{"refused"'), answer.data
    return decode(kind, answer.data)


async def found(bus: Bus, **what: Any) -> list[str]:
    """Ids of all that match, page by page."""
    names: list[str] = []
    page = JobPage(at=0.0, more=True)
    while page.more:
        page = await asked(bus, "jobs", AskFind(**{"after": page.after, "limit": 2, **what}), JobPage)
        names += [row.job for row in page.jobs]
    return names


async def known(world: World, count: int) -> None:
    board = world.scheduler.board
    assert board is not None
    await eventually(lambda: board.known == count, within=8.0, says="not all submissions were read")


async def test_a_page_reaches_the_operator_whatever_producers_wrote_into_tags(connected: Connect) -> None:
    async with AsyncExitStack() as stack:
        world, operator = await leading(stack, connected)
        wide = {f"{number:02d}": "\N{WHITE SMILING FACE}" * 190 for number in range(16)}
        for number in range(MAX_FOUND):
            await world.submit(f"a-{number}", tags=wide if number else {"team": "x"})
        await known(world, MAX_FOUND)
        page = await asked(operator, "jobs", AskFind(limit=MAX_FOUND), JobPage)
        assert [row.job for row in page.jobs] == [f"a-{number}" for number in range(MAX_FOUND)]
        assert page.jobs[0].tags == {"team": "x"}
        assert page.jobs[1].tags == wide
        assert (page.jobs[-1].read, page.jobs[-1].tags) == (False, {})


def hold(_: Assignment) -> None:
    """Takes work and never answers."""


async def test_jobs_are_found_by_what_the_leader_knows_and_by_what_their_submissions_say(connected: Connect) -> None:
    async with AsyncExitStack() as stack:
        world, operator = await leading(stack, connected)
        for number in range(5):
            await world.submit(f"a-{number}", key="k1" if number % 2 else "k2", tags={"team": f"t{number}"})
        await world.submit("b-0", project="other", lane="batch", replay_of="a-9")
        await known(world, 6)
        assert await found(operator) == ["a-0", "a-1", "a-2", "a-3", "a-4", "b-0"]
        assert await found(operator, project="other") == ["b-0"]
        assert await found(operator, lane="batch") == ["b-0"]
        assert await found(operator, key="k1") == ["a-1", "a-3"]
        assert await found(operator, key="k2", limit=1) == ["a-0", "a-2", "a-4"]
        assert await found(operator, tag="team=t3") == ["a-3"]
        assert await found(operator, replay_of="a-9") == ["b-0"]
        assert await found(operator, pool="alpha", state="in_line", project="demo") == [f"a-{n}" for n in range(5)]
        assert await found(operator, pool="beta") == []
        page = await asked(operator, "jobs", AskFind(limit=0), JobPage)
        assert (page.matching, page.more, page.jobs) == (6, False, ())
        assert (await asked(operator, "jobs", AskFind(limit=0, key="k1"), JobPage)).matching == 2
        row = (await asked(operator, "jobs", AskFind(key="k1", limit=1), JobPage)).jobs[0]
        assert (row.job, row.key, row.tags, row.token, row.state) == ("a-1", "k1", {"team": "t1"}, "token-a-1", "held")
        assert "no live workers" in (row.waiting_for or "")
        back = await asked(operator, "jobs", AskFind(before=page.last, limit=2), JobPage)
        assert [one.job for one in back.jobs] == ["a-3", "a-4"]
        assert back.more


@pytest.mark.parametrize("wide", [0, finding_desk.WIDE])
async def test_tags_are_those_of_the_job_whether_its_submission_is_asked_for_or_read_among_others(
    connected: Connect, monkeypatch: pytest.MonkeyPatch, wide: int
) -> None:
    monkeypatch.setattr(finding_desk, "WIDE", wide)
    async with AsyncExitStack() as stack:
        world, operator = await leading(stack, connected)
        for number in range(9):
            project = "other" if number % 3 else "demo"
            await world.submit(f"a-{number}", project=project, tags={"team": f"t{number % 2}", "n": str(number)})
        await known(world, 9)
        for asked_for in ({}, {"project": "other"}, {"tag": "team=t1"}, {"tag": "team=t1", "project": "demo"}):
            page = await asked(operator, "jobs", AskFind.model_validate({"limit": 20, **asked_for}), JobPage)
            numbers = [
                number
                for number in range(9)
                if asked_for.get("project") in (None, "other" if number % 3 else "demo")
                and ("tag" not in asked_for or number % 2)
            ]
            told = [(row.job, row.tags) for row in page.jobs]
            assert told == [(f"a-{n}", {"team": f"t{n % 2}", "n": str(n)}) for n in numbers]


async def test_one_job_is_told_whole_but_for_what_was_asked_and_answered(connected: Connect) -> None:
    def answers(order: Assignment) -> Failure | str:
        if order.deployment == "alpha/m":
            return Failure(kind=FailureKind.OVERLOADED, message="busy")
        return "CANARY"

    async with AsyncExitStack() as stack:
        world, operator = await leading(stack, connected)
        await world.submit("a-1", key="k1", tags={"team": "x"})
        await known(world, 1)
        told = await asked(operator, "job", AskJob(project="demo", job="a-1"), FoundJob)
        assert told.status is not None
        assert (told.status.state, told.key, told.tags, told.result) == (JobState.HELD, "k1", {"team": "x"}, None)
        for pool in ("alpha", "beta"):
            stack.push_async_callback((await world.pool(pool, answers)).die)
        await world.result("a-1")
        answer = await operator.request(
            subjects.api("-", "job"), encode(AskJob(project="demo", job="a-1")), timeout=5.0
        )
        assert b"CANARY" not in answer.data
        done = decode(FoundJob, answer.data)
        assert done.result is not None
        assert [one.deployment for one in done.result.attempts] == ["alpha/m", "beta/m"]
        assert done.result.attempts[0].failure is not None
        assert done.letter is None


async def test_named_jobs_are_cancelled_and_a_later_one_of_the_same_id_is_not(connected: Connect) -> None:
    async with AsyncExitStack() as stack:
        world, operator = await leading(stack, connected)
        for name in ("a-1", "a-2", "a-3"):
            await world.submit(name)
        await known(world, 3)
        named = (
            Named(project="demo", job="a-1", token="token-a-1"),
            Named(project="demo", job="a-2", token="of-an-earlier-one"),
            Named(project="demo", job="z-9", token="t"),
        )
        done = await asked(operator, "cancel_jobs", AskCancels(by="ann", why="a mistake", jobs=named), Cancels)
        assert (done.told, done.gone) == (1, 2)
        ended = await world.result("a-1")
        assert ended.state == JobState.CANCELLED
        assert ended.failure is not None
        assert ended.failure.message == "cancelled by ann: a mistake"
        again = await asked(operator, "cancel_jobs", AskCancels(by="ann", jobs=named), Cancels)
        assert (again.told, again.gone) == (0, 3)
        assert await found(operator) == ["a-2", "a-3"]


async def test_all_of_it_is_the_operators_alone(connected: Connect) -> None:
    async with AsyncExitStack() as stack:
        world, _ = await leading(stack, connected)
        await world.submit("a-1")
        bus = await connected("demo")
        for operation, question in (
            ("jobs", AskFind()),
            ("job", AskJob(project="demo", job="a-1")),
            ("cancel_jobs", AskCancels(by="x", jobs=(Named(project="demo", job="a-1", token="token-a-1"),))),
        ):
            answer = await bus.request(subjects.api("demo", operation), encode(question), timeout=5.0)
            assert decode(Refusal, answer.data).refused.field == "project"
