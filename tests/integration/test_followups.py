"""Copies that follow jobs, on both buses: what they carry, what they never do, and leaders that die meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import pytest
from pydantic import SecretStr

from job_contracts import subjects
from job_contracts.codec import decode, encode
from job_contracts.constraints import Constraints
from job_contracts.failures import Failure, FailureKind
from job_contracts.followups import MARK, OF_JOB, OF_ROUTE, follows
from job_contracts.jobs import Job, JobState
from job_contracts.subjects import FOLLOW_UP_STEMS, follow_up_job_id
from runtime.broker import Broker
from runtime.bus import BusSettings, connect
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Ack, Bus, BusError, NotFound, OutcomeUnknown
from runtime.connection import declared
from scheduler import service
from scheduler.leading import Leading
from scheduler.term import Term
from tests.support.eventually import eventually
from tests.support.letters import Cutting
from tests.support.stand_in import PROJECT, broker_config, key
from tests.support.world import World, config, scheduler_on

SHADOW: dict[str, Any] = {"to": "candidate", "share": 1.0, "budget": {"day": 5, "soft": True}}
OVER: dict[str, Any] = {
    "routes": {
        "fast": {"deployments": ["alpha/m"], "max_attempts": 1, "shadow": SHADOW},
        "candidate": {"deployments": ["beta/m"], "shadow": {**SHADOW, "to": "fast"}},
    },
    "projects": {"demo": {"routes": ["fast"], "lanes": ["std"], "max_in_flight": 1}, "other": {}},
}
BROKEN = Failure(kind=FailureKind.INTERNAL, message="something of ours is broken")


@pytest.fixture(params=["memory", "nats"])
async def bus(request: pytest.FixtureRequest, own_broker: Broker, open_bus: Callable[..., Any]) -> Bus:
    connected: Bus
    if request.param == "memory":
        connected = MemoryBroker().bus(inbox_prefix="_INBOX_demo")
    else:
        connected = await open_bus(own_broker.url, inbox_prefix="_INBOX_demo")
    await connected.ensure(declared(config(**OVER)))
    return connected


def leader(bus: Bus, owner: str = "s1", over: Mapping[str, Any] = OVER) -> AbstractAsyncContextManager[World]:
    return scheduler_on(bus, config(**over), owner=owner)


def shadow(job: str) -> str:
    return follow_up_job_id("shadow", job, f"token-{job}")


async def test_a_copy_follows_a_job_on_another_route_and_is_nobodys_business_but_its_own(bus: Bus) -> None:
    async with leader(bus) as world:
        await world.pool("alpha")
        beta = await world.pool("beta")
        body = encode(
            decode(Job, world.body("a-1")).model_copy(
                update={"tags": {"team": "a"}, "constraints": Constraints(deny_providers=("gamma",)), "session": "s"}
            )
        )
        await world.submit("a-1", body=body, constraints=Constraints(deny_providers=("gamma",)), session="s", key="k")
        assert (await world.result("a-1")).deployment == "alpha/m"
        result = await world.result(shadow("a-1"))
        assert (result.state, result.deployment, result.route) == (JobState.SUCCEEDED, "beta/m", "candidate")
        (order,) = beta.seen
        assert order.job is not None
        assert order.job.conversation == decode(Job, body).conversation
        assert order.tagged == {MARK: "shadow", OF_ROUTE: "fast", OF_JOB: "a-1"}
        assert (order.key, order.stream, order.job.session, order.job.lane) == (None, False, None, "bg")
        assert [asked.deny_providers for asked in order.constraints] == [("gamma",)]
        assert order.job.constraints == Constraints(deny_providers=("gamma",))
        await world.settled()
        assert len(world.events["followup.submitted"]) == 1, "a follow-up was followed"


async def test_a_job_without_an_answer_is_followed_by_nothing(bus: Bus) -> None:
    async with leader(bus) as world:
        await world.pool("alpha", lambda _: BROKEN)
        await world.submit("a-1")
        assert (await world.result("a-1")).state is JobState.FAILED
        await world.settled()
        assert not world.events["followup.submitted"]


async def test_a_copy_takes_no_place_of_its_projects_jobs(bus: Bus) -> None:
    """The project may have one attempt at once: while its copies hang, its jobs go on."""
    async with leader(bus) as world:
        await world.pool("alpha")
        beta = await world.pool("beta", lambda _: None)
        for number in range(3):
            await world.submit(f"a-{number}")
            await world.result(f"a-{number}")
        await eventually(lambda: len(beta.held) == 3)
        assert world.scheduler.board is not None
        assert world.scheduler.board.unfinished("demo") == 0
        assert world.scheduler.board.following("demo") == 3


async def test_a_large_body_is_copied_before_it_is_removed(bus: Bus) -> None:
    async with leader(bus) as world:
        await world.pool("alpha")
        beta = await world.pool("beta")
        body = world.body("a-1").replace(b"hello", b"x" * 700_000)
        ref = await bus.put_blob("demo.a-1", body, of="job")
        headers = await world.submit("a-2")  # any ticket, to take its form
        ticket = headers.model_copy(update={"blob": ref, "token": "token-a-1"})
        await bus.append(
            subjects.submit("demo", "a-1"), b"", headers={subjects.H_TICKET: encode(ticket).decode()}, expect_last=0
        )
        await world.result(shadow("a-1"))
        order = next(order for order in beta.seen if order.job_id == shadow("a-1"))
        assert order.blob is not None
        await world.settled()
        with pytest.raises(BusError):
            await bus.get_blob("demo.a-1", ref, of="job")


async def test_a_successor_submits_what_a_dead_leader_did_not(bus: Bus) -> None:
    cutting = Cutting(bus)
    cutting.cut = lambda subject, _: ".submit.demo.shadow." in subject
    async with leader(cutting, "s1") as first:
        pool = await first.pool("alpha")
        pool.bus = bus
        await first.submit("a-1")
        await first.result("a-1")
        await eventually(lambda: first.events["followup.retried"])
    async with leader(bus, "s2") as second:
        beta = await second.pool("beta")
        await second.result(shadow("a-1"), within=15.0)
        await second.settled()
        assert [order.job_id for order in beta.seen] == [shadow("a-1")]


async def test_a_standby_that_has_read_along_submits_it_as_well(bus: Bus) -> None:
    cutting = Cutting(bus)
    cutting.cut = lambda subject, _: ".submit.demo.shadow." in subject
    async with AsyncExitStack() as stack:
        async with leader(cutting, "s1") as first:
            second = await stack.enter_async_context(scheduler_on(bus, config(**OVER), owner="s2", wait=False))
            pool = await first.pool("alpha")
            pool.bus = bus
            await first.submit("a-1")
            await first.result("a-1")
        await second.pool("beta")
        await second.result(shadow("a-1"), within=15.0)
        await second.settled()


async def test_a_standby_keeps_nothing_of_what_its_leader_has_dealt_with_above_a_long_lived_job(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Follow-ups submitted, submissions refused: the beginning of the stream says nothing of them."""
    made = config(**OVER, scheduler={"lease": 600.0, "renew": 0.1})
    periods: list[Leading] = []

    def period(term: Term, version: str) -> Leading:
        periods.append(Leading(term, version))
        return periods[-1]

    monkeypatch.setattr(service, "Leading", period)
    async with scheduler_on(bus, made) as first, scheduler_on(bus, made, owner="s2", wait=False):
        await first.pool("alpha")
        await first.pool("beta")
        now = first.clock.wall()
        await first.submit("long-lived", not_before=now + 3600, deadline=now + 7200)
        for number in range(5):
            await first.submit(f"a-{number}")
            await bus.append(subjects.submit("demo", f"odd-{number}"), b"", headers={subjects.H_TICKET: "{not json"})
        for number in range(5):
            await first.result(f"odd-{number}")
            await first.result(shadow(f"a-{number}"))
        standby = periods[1]
        submissions = standby._term.submissions

        async def all_read() -> bool:
            submit, res = await bus.stream_state("SUBMIT_0"), await bus.stream_state(subjects.RES)
            return submissions.top >= submit.last_seq and submissions.last_result >= res.last_seq

        await eventually(all_read, within=15.0, says="the standby does not read along")
        assert set(submissions.entries) == {("demo", "long-lived")}
        pending, odd = standby._term.followups._pending, standby._intake._odd
        await eventually(lambda: not pending and not odd, within=15.0, says=lambda: f"{pending}, {odd} are kept")


class Answerless(Cutting):
    """Stores what it is given and never says so."""

    async def append(self, subject: str, data: bytes, *, headers: Mapping[str, str] | None = None, **over: Any) -> Ack:
        done = await self._bus.append(subject, data, headers=headers, **over)
        if self.cut(subject, headers or {}):
            raise OutcomeUnknown("cut")
        return done


@pytest.mark.parametrize("answered", [False, True])
async def test_a_copy_that_was_submitted_is_not_submitted_again_by_a_successor(bus: Bus, answered: bool) -> None:
    """Whether the copy still waits, or has its own result by then."""
    cut = Answerless(bus)
    cut.cut = lambda subject, _: ".submit.demo.shadow." in subject
    seen = []
    async with leader(cut, "s1") as first:
        pool = await first.pool("alpha")
        pool.bus = bus
        if answered:
            beta = await first.pool("beta")
            beta.bus = bus
            seen = beta.seen
        await first.submit("a-1")
        await first.result("a-1")
        if answered:
            await first.result(shadow("a-1"))
    async with leader(bus, "s2") as second:
        beta = await second.pool("beta")
        await second.result(shadow("a-1"), within=15.0)
        await second.settled()
        assert len([*seen, *beta.seen]) == 1


async def test_a_full_queue_costs_the_copy_and_not_the_job(bus: Bus) -> None:
    over = {**OVER, "routes": {**OVER["routes"], "fast": {**OVER["routes"]["fast"], "shadow": {**SHADOW, "most": 1}}}}
    async with leader(bus, over=over) as world:
        await world.pool("alpha")
        await world.pool("beta", lambda _: None)
        for number in range(3):
            await world.submit(f"a-{number}")
            await world.result(f"a-{number}")
            await eventually(
                lambda: len(world.events["followup.submitted"]) + len(world.events["followup.skipped"]) == number + 1  # noqa: B023
            )
            await eventually(lambda: world.scheduler.board is not None and world.scheduler.board.following("demo") == 1)
        assert [event.fields["reason"] for event in world.events["followup.skipped"]] == ["many", "many"]


async def test_a_failed_copy_leaves_no_letter(bus: Bus) -> None:
    async with leader(bus) as world:
        await world.pool("alpha")
        await world.pool("beta", lambda _: BROKEN)
        await world.submit("a-1")
        assert (await world.result(shadow("a-1"))).state is JobState.FAILED
        await world.settled()
        with pytest.raises(NotFound):
            await bus.last(subjects.DEAD, subjects.dead("demo", shadow("a-1")))


async def test_no_producer_may_submit_what_only_a_leader_submits(tmp_path: Any) -> None:
    server = Broker(broker_config(), tmp_path)
    await server.start()
    try:
        settings = BusSettings(url=server.url, user=PROJECT, password=SecretStr(key()), name="producer")
        producer = await connect(settings)
        try:
            for stem in FOLLOW_UP_STEMS:
                assert follows(f"{stem}-1")
                with pytest.raises(BusError):
                    await producer.append(subjects.submit(PROJECT, f"{stem}-1"), b"{}")
        finally:
            await producer.close()
    finally:
        await server.stop()
