"""The gateway in memory as users meet it in their own tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from job_contracts.failures import FailureKind
from job_contracts.jobs import Job
from producer_sdk import Closed, Forbidden, JobExpired, JobFailed, Producer, UnknownRoute, Unreachable
from producer_sdk.testing import FakeGateway, Reply, calls, fails, says, silence
from tests.support.eventually import eventually


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with FakeGateway() as fake:
        yield fake


async def test_without_a_script_it_says_what_the_user_said(gateway: FakeGateway) -> None:
    assert (await gateway.producer().complete(model="any", messages="Hello")).text == "Hello"


async def test_replies_are_given_in_the_order_of_the_script_and_then_the_usual_one(gateway: FakeGateway) -> None:
    gateway.script(says("one"), calls("f", {"a": 1}))
    gateway.always(says("ever"))
    producer = gateway.producer()
    answers = [await producer.complete(model="m", messages="x") for _ in range(4)]
    assert [answer.text for answer in answers] == ["one", "", "ever", "ever"]
    assert answers[1].tool_calls[0].arguments == '{"a": 1}'


async def test_a_reply_may_depend_on_the_job(gateway: FakeGateway) -> None:
    def by_route(job: Job) -> Reply:
        return fails("overloaded") if job.route == "busy" else says(f"by {job.route}")

    gateway.always(by_route)
    producer = gateway.producer()
    assert (await producer.complete(model="calm", messages="x")).text == "by calm"
    with pytest.raises(JobFailed):
        await producer.complete(model="busy", messages="x")


async def test_it_shows_what_arrived(gateway: FakeGateway) -> None:
    await gateway.producer().complete(model="m", messages="x", tags={"a": "b"}, lane="rt")
    (received,) = gateway.jobs
    assert (received.job.tags, received.ticket.lane, received.state) == ({"a": "b"}, "rt", "succeeded")
    assert "hello" in gateway.questions


async def test_it_may_know_some_routes_and_lanes_alone() -> None:
    async with FakeGateway(routes=("fast",), lanes=("std",)) as gateway:
        producer = gateway.producer()
        with pytest.raises(UnknownRoute):
            await producer.complete(model="slow", messages="x")
        with pytest.raises(Forbidden, match="use one of: std"):
            await producer.complete(model="fast", messages="x", lane="rt")
        assert gateway.jobs == []


async def test_projects_are_apart(gateway: FakeGateway) -> None:
    gateway.script(says("for test"))
    assert (await gateway.producer(project="other").complete(model="m", messages="x")).text == "x"
    assert (await gateway.producer().complete(model="m", messages="x")).text == "for test"


async def test_a_job_may_never_end_until_its_deadline(gateway: FakeGateway) -> None:
    gateway.script(silence())
    with pytest.raises(JobExpired):
        await gateway.producer().complete(model="m", messages="x", deadline=0.1)


async def test_not_before_is_kept(gateway: FakeGateway) -> None:
    job = await gateway.producer().submit(model="m", messages="x", not_before=0.1)
    assert gateway.jobs[0].attempts == []
    assert (await job).times.finished - gateway.jobs[0].ticket.submitted >= 0.1


async def test_a_cut_connection_can_be_rehearsed(gateway: FakeGateway) -> None:
    gateway.hold()
    producer: Producer = gateway.producer(submit_timeout=0.1, desk_timeout=0.1)
    job = await producer.submit(model="m", messages="x")
    gateway.disconnect()
    with pytest.raises(Unreachable):
        _ = await producer.submit(model="m", messages="y")
    gateway.release()
    await eventually(lambda: gateway.jobs[0].state == "succeeded")
    gateway.reconnect()
    assert (await job.result(5)).text == "x"


async def test_failures_before_the_answer_are_in_its_story(gateway: FakeGateway) -> None:
    gateway.script(
        says("at last", after=(fails("overloaded", provider="a"), fails("stalled", said="wel", provider="b")))
    )
    answer = await gateway.producer().complete(model="m", messages="x")
    kinds = [attempt.failure.kind if attempt.failure else None for attempt in answer.attempts]
    assert kinds == [FailureKind.OVERLOADED, FailureKind.STALLED, None]
    assert [attempt.provider for attempt in answer.attempts] == ["a", "b", "fake"]


async def test_everything_stops_with_it() -> None:
    async with FakeGateway() as gateway:
        producer = gateway.producer()
        gateway.script(says("x", delay=60))
        job = await producer.submit(model="m", messages="x")
    with pytest.raises(Exception, match="closed"):
        await job.result(1)


async def test_a_desk_that_forbids_the_project_stops_the_job_before_it_is_sent(gateway: FakeGateway) -> None:
    gateway.stage().forbids = True
    producer = gateway.producer()
    with pytest.raises(Forbidden):
        await producer.complete(model="m", messages="x")
    assert gateway.jobs == []


def test_a_producer_of_another_loop_says_so() -> None:
    with FakeGateway() as gateway:
        producer = gateway.producer()

        async def use() -> str:
            return (await producer.complete(model="m", messages="x")).text

        assert asyncio.run(use()) == "x"
        with pytest.raises(Closed, match="another event loop"):
            asyncio.run(use())
