"""The scheduler's process with scripted pools, on the memory bus and on a real broker: what happens to jobs."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from job_contracts import subjects
from job_contracts.attempts import Assignment
from job_contracts.chat import Conversation, UserTurn
from job_contracts.codec import encode
from job_contracts.desk import Results, Statuses
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import Job, JobState
from runtime.broker import Broker
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Bus, Outgoing
from runtime.connection import declared
from scheduler.leadership import Written
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.world import World, config, scheduler_on, world


@pytest.fixture(params=["memory", "nats"])
async def bus(request: pytest.FixtureRequest, own_broker: Broker, open_bus: Callable[..., Any]) -> Bus:
    if request.param == "memory":
        return MemoryBroker().bus(inbox_prefix="_INBOX_demo")
    connected: Bus = await open_bus(own_broker.url, inbox_prefix="_INBOX_demo")
    return connected


@pytest.fixture
async def demo(bus: Bus) -> AsyncIterator[World]:
    async with world(bus) as running:
        yield running


def overloaded(order: Assignment) -> Failure | str:
    """The first pool fails, the second answers."""
    if order.provider == "alpha":
        return Failure(kind=FailureKind.OVERLOADED, message="too busy")
    return "from beta"


async def test_a_job_goes_to_the_first_deployment_and_leaves_nothing_behind(demo: World) -> None:
    await demo.pool("alpha")
    await demo.submit("a-1")
    result = await demo.result("a-1")
    assert result.state is JobState.SUCCEEDED
    assert result.deployment == "alpha/m"
    assert result.answer is not None
    assert result.answer.text == "from alpha/m"
    await demo.settled()


async def test_a_failed_attempt_is_requeued_to_the_next_deployment_with_its_history(demo: World) -> None:
    await demo.pool("alpha", overloaded)
    beta = await demo.pool("beta", overloaded)
    await demo.submit("a-1")
    result = await demo.result("a-1")
    assert result.deployment == "beta/m"
    assert [record.deployment for record in result.attempts] == ["alpha/m", "beta/m"]
    assert result.attempts[0].failure is not None
    assert beta.seen[0].switched_from == "alpha/m"
    assert beta.seen[0].switch_reason == FailureKind.OVERLOADED
    assert beta.seen[0].attempt == 2
    await demo.settled()


async def test_the_outcomes_of_many_failures_at_once_are_all_removed(demo: World) -> None:
    await demo.pool("alpha", lambda _: Failure(kind=FailureKind.BAD_REQUEST, message="no"))
    for number in range(100):
        await demo.submit(f"a-{number}")
    for number in range(100):
        assert (await demo.result(f"a-{number}")).state is JobState.FAILED
    await demo.settled()


async def test_an_outcome_that_comes_after_its_jobs_result_is_removed(demo: World) -> None:
    pool = await demo.pool("alpha", lambda _: None)
    await demo.submit("a-1")
    await eventually(lambda: pool.seen)
    await pool.succeed(pool.seen[0], "done")
    await demo.result("a-1")
    await demo.settled()
    await pool.fail(pool.seen[0], Failure(kind=FailureKind.CANCELLED, message="stopped"))
    await demo.settled()


async def test_a_failure_that_is_the_jobs_own_is_reported_at_once(demo: World) -> None:
    pool = await demo.pool("alpha", lambda _: Failure(kind=FailureKind.BAD_REQUEST, message="no", field="x"))
    await demo.pool("beta")
    await demo.submit("a-1")
    result = await demo.result("a-1")
    assert result.state is JobState.FAILED
    assert result.failure is not None
    assert result.failure.kind is FailureKind.BAD_REQUEST
    assert len(pool.seen) == 1
    await demo.settled()


async def test_an_unknown_route_is_answered_with_the_field_and_the_remedy_before_anything_is_spent(demo: World) -> None:
    pool = await demo.pool("alpha")
    await demo.submit("a-1", route="nope")
    result = await demo.result("a-1")
    assert result.failure is not None
    assert result.failure.kind is FailureKind.UNKNOWN_ROUTE
    assert result.failure.field
    assert result.failure.remedy
    assert not pool.seen
    await demo.settled()


async def test_a_project_that_is_not_configured_is_forbidden(demo: World) -> None:
    await demo.pool("alpha")
    await demo.submit("a-1", project="stranger")
    result = await demo.result("a-1", project="stranger")
    assert result.failure is not None
    assert result.failure.kind is FailureKind.FORBIDDEN


async def test_an_unreadable_ticket_is_set_aside_answered_and_stops_nobody(demo: World) -> None:
    await demo.pool("alpha")
    headers = {subjects.H_TICKET: "{not json"}
    await demo.bus.append(subjects.submit("demo", "a-1"), demo.body("a-1"), headers=headers)
    await demo.bus.append(subjects.submit("demo", "a-2"), b"\xff\xfe", headers={})
    await demo.submit("a-3")
    assert (await demo.result("a-3")).state is JobState.SUCCEEDED
    for job in ("a-1", "a-2"):
        refused = await demo.result(job)
        assert refused.failure is not None
        assert refused.failure.kind is FailureKind.INVALID_JOB
    await demo.settled()
    assert await demo.messages(subjects.DEAD) == 2


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"id":"a-1"}', b'{"id":"other-1","route":"fast","conversation":{"messages":[]}}', b"\x00"]
)
async def test_a_body_that_is_no_job_is_answered_before_anything_is_spent(demo: World, body: bytes) -> None:
    pool = await demo.pool("alpha")
    await demo.submit("a-1", body=body)
    result = await demo.result("a-1")
    assert result.failure is not None
    assert result.failure.kind is FailureKind.INVALID_JOB
    assert not pool.seen


async def test_a_body_cannot_smuggle_fields_into_its_assignment(demo: World) -> None:
    pool = await demo.pool("alpha")
    body = demo.body("a-1")[:-1] + b'},"deployment":"beta/stolen","project":"other"'
    await demo.submit("a-1", body=body)
    result = await demo.result("a-1")
    assert result.failure is not None
    assert result.failure.kind is FailureKind.INVALID_JOB
    assert not pool.seen


async def test_a_deadline_in_the_past_expires_without_a_call(demo: World) -> None:
    pool = await demo.pool("alpha")
    await demo.submit("a-1", deadline=demo.clock.wall() - 1)
    assert (await demo.result("a-1")).state is JobState.EXPIRED
    assert not pool.seen


async def test_a_job_that_cannot_be_served_expires_at_its_deadline_and_says_what_it_waited_for(demo: World) -> None:
    await demo.submit("a-1", deadline=demo.clock.wall() + 0.5)
    result = await demo.result("a-1")
    assert result.state is JobState.EXPIRED
    assert result.failure is not None
    assert "worker" in result.failure.message


async def test_not_before_holds_a_job_back_and_nobody_else(demo: World) -> None:
    pool = await demo.pool("alpha")
    await demo.submit("a-1", not_before=demo.clock.wall() + 600)
    await demo.submit("a-2")
    await demo.result("a-2")
    begin = demo.clock.wall() + 0.8
    await demo.submit("a-3", not_before=begin)
    await demo.result("a-3")
    assert demo.clock.wall() >= begin
    assert [order.job_id for order in pool.seen] == ["a-2", "a-3"]


async def test_a_cancel_acknowledged_before_dispatch_means_no_call(demo: World) -> None:
    ticket = await demo.submit("a-1")
    await demo.cancel("a-1", ticket.token)
    pool = await demo.pool("alpha")
    assert (await demo.result("a-1")).state is JobState.CANCELLED
    assert not pool.seen
    await demo.settled()


async def test_a_cancel_with_another_submissions_token_is_ignored(demo: World) -> None:
    await demo.submit("a-1")
    await demo.cancel("a-1", "another token")
    await demo.pool("alpha")
    assert (await demo.result("a-1")).state is JobState.SUCCEEDED


async def test_a_running_attempt_is_aborted_when_its_job_is_cancelled(demo: World) -> None:
    pool = await demo.pool("alpha", lambda _: None)
    ticket = await demo.submit("a-1")
    await eventually(lambda: pool.held)
    await demo.cancel("a-1", ticket.token)
    result = await demo.result("a-1")
    assert result.state is JobState.CANCELLED
    assert pool.aborted == {"demo.a-1.1"}
    assert len(result.attempts) == 1
    await demo.settled()


async def test_a_lost_workers_attempt_is_dispatched_again_and_finishes(demo: World) -> None:
    first = await demo.pool("alpha", lambda _: None)
    await demo.submit("a-1")
    await eventually(lambda: first.held)
    await first.die()
    second = await demo.pool("alpha", worker="w2")
    result = await demo.result("a-1")
    assert result.state is JobState.SUCCEEDED
    assert second.seen[0].attempt == 2
    assert result.attempts[0].failure is not None
    assert result.attempts[0].failure.kind is FailureKind.WORKER_LOST
    await demo.settled()


async def test_a_job_that_takes_two_workers_down_is_dead_and_kept(demo: World) -> None:
    await demo.submit("a-1")
    for worker in ("w1", "w2"):
        pool = await demo.pool("alpha", lambda _: None, worker=worker)
        await eventually(lambda pool=pool: pool.held, within=8.0)  # type: ignore[misc]
        await pool.die()
    result = await demo.result("a-1", within=10.0)
    assert result.state is JobState.DEAD
    assert result.failure is not None
    assert result.failure.kind is FailureKind.POISON
    letters = (await demo.bus.stream_state(subjects.DEAD, subjects=subjects.letters_of("demo"))).subjects
    assert letters == {subjects.dead("demo", "a-1"): 1}
    await demo.settled()


async def test_a_silent_worker_that_comes_back_late_does_not_make_a_second_result(demo: World) -> None:
    zombie = await demo.pool("alpha", lambda _: None)
    await demo.submit("a-1")
    await eventually(lambda: zombie.held)
    zombie.beating = False
    await demo.pool("beta", worker="w2")
    order = zombie.seen[0]
    await demo.result("a-1", within=10.0)
    assert not await zombie.succeed(order, "too late")
    result = await demo.result("a-1")
    assert result.answer is not None
    assert result.answer.text != "too late"


async def test_a_lost_acknowledgement_leaves_a_remnant_that_is_removed(demo: World) -> None:
    await demo.pool("alpha", acking=False)
    await demo.submit("a-1")
    await demo.result("a-1")
    await demo.settled()
    await eventually(lambda: demo.events["reconciler.repaired"])


async def test_a_resubmission_of_a_finished_job_is_not_run_again(demo: World) -> None:
    pool = await demo.pool("alpha")
    await demo.submit("key-1")
    await demo.result("key-1")
    await demo.settled()
    heard: list[bytes] = []
    await demo.bus.subscribe(subjects.live_result("demo", "key-1"), lambda message: heard.append(message.data))
    assert await demo.submit_again("key-1")
    await demo.settled()
    await eventually(lambda: heard, says="the finished result was not shown again")
    assert len(pool.seen) == 1


async def test_a_resubmission_that_would_be_refused_today_still_shows_the_result_of_the_first(demo: World) -> None:
    await demo.pool("alpha")
    await demo.submit("key-1")
    first = await demo.result("key-1")
    await demo.settled()
    demo.scheduler.leading._term.submissions._recent.clear()  # type: ignore[union-attr]  # as after a long time
    assert await demo.submit_again("key-1", deadline=demo.clock.wall() - 5)
    await demo.settled()
    assert await demo.result("key-1") == first


async def test_the_body_of_a_resubmission_that_is_not_run_again_is_not_kept(demo: World) -> None:
    pool = await demo.pool("alpha")
    await demo.submit("key-1")
    await demo.result("key-1")
    await demo.settled()
    leading = demo.scheduler.leading
    assert leading is not None
    leading._term.submissions._recent.clear()  # as after a long time
    assert await demo.submit_again("key-1")
    await demo.settled()
    assert len(pool.seen) == 1
    assert not leading._term.bodies._held
    assert not leading._term.bodies._size


async def test_a_large_body_is_fetched_by_its_worker_and_removed_with_its_job(demo: World) -> None:
    body = demo.body("a-1")
    ref = await demo.bus.put_blob("demo.a-1", body, of="job")
    pool = await demo.pool("alpha")
    await demo.submit("a-1", body=b"", blob=ref, body_hash="h", tags={"team": "search"})
    await demo.result("a-1")
    assert pool.seen[0].blob == ref
    assert pool.seen[0].job is None
    assert pool.seen[0].tagged == {"team": "search"}, "who pays is known without the body"

    async def gone() -> bool:
        return not await demo.messages(subjects.BLOB)

    await eventually(gone)


async def test_the_desk_tells_of_queued_and_finished_jobs(demo: World) -> None:
    await demo.submit("a-1")
    await demo.submit("a-2")

    async def both() -> bool:
        told = await demo.ask("status", "a-1", "a-2", "a-9")
        assert isinstance(told, Statuses)
        return {status.job for status in told.statuses} == {"a-1", "a-2"}

    await eventually(both)
    told = await demo.ask("status", "a-1", "a-2")
    assert isinstance(told, Statuses)
    assert sorted(status.position or 0 for status in told.statuses) == [0, 1]
    assert told.statuses[0].waiting_for
    await demo.pool("alpha")
    await demo.result("a-2")
    found = await demo.ask("results", "a-2", "a-9")
    assert isinstance(found, Results)
    assert len(found.records) == 1


async def test_a_new_leader_takes_over_queued_running_and_failed_jobs(bus: Bus) -> None:
    async with world(bus) as first:
        held = await first.pool("alpha", lambda _: None)
        await first.submit("a-1")
        await eventually(lambda: held.held)
        await first.submit("a-2", not_before=first.clock.wall() + 2)
        await first.submit("a-3", deadline=first.clock.wall() + 60)
    async with scheduler_on(bus, first.config, owner="s2") as second:
        second.pools.append(held)
        await held.start()
        held.answering = lambda order: f"from {order.deployment}"
        await held.succeed(held.seen[0], "begun under the first leader")
        for job in ("a-1", "a-2", "a-3"):
            assert (await second.result(job)).state is JobState.SUCCEEDED
        assert [order.job_id for order in held.seen].count("a-1") == 1
        await second.settled()


async def test_outcomes_written_while_nobody_led_are_acted_on(bus: Bus) -> None:
    async with world(bus) as first:
        held = await first.pool("alpha", lambda _: None)
        await first.submit("a-1")
        await eventually(lambda: held.held)
    await held.fail(held.seen[0], Failure(kind=FailureKind.OVERLOADED, message="too busy"))
    async with scheduler_on(bus, first.config, owner="s2") as second:
        beta = await second.pool("beta")
        result = await second.result("a-1")
        assert [record.deployment for record in result.attempts] == ["alpha/m", "beta/m"]
        assert beta.seen[0].attempt == 2
        await second.settled()


async def test_results_written_while_nobody_led_are_settled_and_not_run_again(bus: Bus) -> None:
    async with world(bus) as first:
        held = await first.pool("alpha", lambda _: None)
        await first.submit("a-1")
        await eventually(lambda: held.held)
    await held.succeed(held.seen[0], "meanwhile")
    async with scheduler_on(bus, first.config, owner="s2") as second:
        pool = await second.pool("alpha", worker="w2")
        await second.settled()
        assert not pool.seen


async def test_many_jobs_each_have_one_result_and_no_more_calls_than_jobs(demo: World) -> None:
    alpha, beta = await demo.pool("alpha"), await demo.pool("beta")
    jobs = [f"a-{number}" for number in range(300)]
    await asyncio.gather(*(demo.submit(job) for job in jobs))
    for job in jobs:
        assert (await demo.result(job, within=20.0)).state is JobState.SUCCEEDED
    assert len(alpha.seen) + len(beta.seen) == len(jobs)
    await demo.settled()


async def test_jobs_of_two_projects_with_the_same_id_keep_their_bodies_apart(bus: Bus) -> None:
    async with world(bus, projects={"demo": {}, "other": {}}) as running:
        for project in ("demo", "other"):
            conversation = Conversation(messages=(UserTurn(role="user", content=f"of {project}"),))
            job = Job(id="key-1", route="fast", conversation=conversation)
            await running.submit("key-1", project=project, body=encode(job))
        await eventually(lambda: running.status("key-1") and running.status("key-1", project="other"))
        pool = await running.pool("alpha")
        for project in ("demo", "other"):
            assert (await running.result("key-1", project=project)).project == project
        assert sorted(order.project for order in pool.seen) == ["demo", "other"]
        for order in pool.seen:
            assert order.job is not None
            assert order.job.chat.messages[0].content == f"of {order.project}"
        await running.settled()


async def test_a_job_whose_result_tells_the_scheduler_nothing_has_ended_all_the_same(demo: World) -> None:
    await demo.submit("a-1")
    await eventually(lambda: demo.status("a-1"))
    await demo.bus.append(subjects.result("demo", "a-1"), b"{}", expect_last=0)
    await eventually(lambda: demo.status("a-1") is None)
    pool = await demo.pool("alpha")
    await demo.submit("a-2")
    await demo.result("a-2")
    await demo.settled()
    assert [order.job_id for order in pool.seen] == ["a-2"]


async def test_a_resubmission_of_a_job_that_ended_in_an_earlier_term_is_not_run_again(bus: Bus) -> None:
    async with world(bus) as first:
        await first.pool("alpha")
        submitted = (await first.submit("a-1")).submitted
        await first.result("a-1")
        await first.settled()
    async with scheduler_on(bus, first.config, owner="s2") as second:
        pool = await second.pool("alpha")
        assert await second.submit_again("a-1", submitted=submitted)  # its acknowledgement was lost
        await second.submit("a-2")
        await second.result("a-2")
        await second.settled()
        assert [order.job_id for order in pool.seen] == ["a-2"]


async def test_a_leader_that_does_not_know_whether_it_leads_decides_nothing() -> None:
    bus, clock = MemoryBroker().bus(inbox_prefix="_INBOX_demo"), ManualClock()
    made = config()
    await bus.ensure(declared(made))
    async with scheduler_on(bus, made, clock=clock) as cut_off:
        leading = cut_off.scheduler.leading
        assert leading is not None
        lease, asked = leading._term.lease, list[float]()
        write = lease.write

        async def noting(messages: Sequence[Outgoing] = ()) -> Written:
            asked.append(asyncio.get_running_loop().time())
            return await write(messages)

        await cut_off.submit("a-1", deadline=clock.wall() + 3600)
        await eventually(lambda: cut_off.status("a-1"))
        bus.disconnect()
        lease.write = noting  # type: ignore[method-assign]
        clock.advance(4000)
        await eventually(lambda: len(asked) >= 5, says="it never asks whether it still leads")
        assert not leading._endings._writing, "an end was decided in the name of a term that may be over"
        assert all(later - earlier > 0.04 for earlier, later in itertools.pairwise(asked)), "it asks without a pause"
        bus.reconnect()
        assert (await cut_off.result("a-1")).state is JobState.EXPIRED


async def test_a_leader_that_always_has_something_to_dispatch_renews_its_lease_all_the_same(bus: Bus) -> None:
    async with world(bus, scheduler={"batch": 1, "linger": 0, "renew": 0.02}) as busy:
        leading = busy.scheduler.leading
        assert leading is not None
        renewals: set[float] = set()

        def note(order: Assignment) -> None:
            del order
            renewals.add(leading._term.lease.last_write)

        await asyncio.gather(*(busy.submit(f"a-{number}") for number in range(600)))
        pool = await busy.pool("alpha", note, slots=1_000)
        await eventually(lambda: len(pool.seen) == 600, within=20.0)
        assert len(renewals) >= 3


async def test_subjects_that_are_no_text_stop_nobody(own_broker: Broker, open_bus: Callable[..., Any]) -> None:
    bus: Bus = await open_bus(own_broker.url, inbox_prefix="_INBOX_demo")
    async with world(bus) as running:
        await running.pool("alpha")
        _, writer = await asyncio.open_connection("127.0.0.1", int(own_broker.url.rpartition(":")[2]))
        odd = [b"\xff\xfe", b"\x0b", b"a\x85b"]
        told = [subject("demo", "a-b").encode() + one for subject in (subjects.submit, subjects.cancel) for one in odd]
        writer.write(b'CONNECT {"verbose":false}\r\n' + b"".join(b"PUB %b 2\r\n{}\r\n" % one for one in told))
        await writer.drain()
        stream = subjects.stream_name(subjects.SUBMIT, 0)

        async def stored() -> bool:
            return (await bus.stream_state(stream)).last_seq >= 3 and (
                await bus.stream_state(subjects.CTL)
            ).last_seq >= 3

        await eventually(stored)
        writer.close()
        await running.submit("a-1")
        assert (await running.result("a-1", within=20.0)).state is JobState.SUCCEEDED
        await running.settled()
