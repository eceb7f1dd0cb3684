"""Leaders that die between a job's letter and its result, and between the steps of a replay; on both buses."""

# ruff: noqa: F811 - fixtures are imported by name and asked for by the same

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from job_contracts import subjects
from job_contracts.jobs import JobState
from producer_sdk import Producer
from runtime.broker import Broker
from runtime.bus.port import Bus, NotFound
from runtime.connection import declared
from tests.support.eventually import eventually
from tests.support.letters import (
    BROKEN,
    OVER,
    Cutting,
    given_up,
    leader,
    letter_bus,  # noqa: F401  # a fixture
    letter_of,
    no_letters,
    page,
    replay,
    some_letters,
    stored,
)
from tests.support.world import config


@pytest.fixture
def bus(letter_bus: Bus) -> Bus:
    return letter_bus


async def test_a_leader_that_dies_between_letter_and_result_leaves_one_of_each(bus: Bus) -> None:
    cutting = Cutting(bus)
    cutting.cut = lambda subject, _: subject.startswith(f"{subjects.PREFIX}.res.")
    async with leader(cutting, "s1") as first:
        pool = await first.pool("alpha", lambda _: BROKEN)
        pool.bus = bus
        await first.submit("a-1")
        await eventually(lambda: some_letters(bus, "demo"))
        with pytest.raises(NotFound):
            await bus.last(subjects.RES, subjects.result("demo", "a-1"))
        before = await bus.last(subjects.DEAD, subjects.dead("demo", "a-1"))
    async with leader(bus, "s2") as second:
        assert (await second.result("a-1", within=15.0)).state is JobState.FAILED
        await second.settled()
        assert (await bus.last(subjects.DEAD, subjects.dead("demo", "a-1"))).seq == before.seq
        assert len((await page(second)).letters) == 1


async def test_a_late_answer_between_letter_and_result_counts_and_takes_the_letter_away(bus: Bus) -> None:
    cutting = Cutting(bus)
    cutting.cut = lambda subject, _: subject.startswith(f"{subjects.PREFIX}.res.")
    async with leader(cutting) as world:
        pool = await world.pool("alpha", lambda _: BROKEN)
        pool.bus = bus
        await world.submit("a-1")
        await eventually(lambda: some_letters(bus, "demo"))
        assert await pool.succeed(pool.seen[0], "after all")
        cutting.cut = lambda _subject, _headers: False
        await eventually(lambda: no_letters(bus), within=8.0, says="the letter of an answered job stays")


async def test_a_late_answer_is_found_when_the_letter_is_replayed(bus: Bus) -> None:
    cutting = Cutting(bus)
    cutting.cut = lambda subject, _: subject.startswith(f"{subjects.PREFIX}.res.")
    async with leader(cutting) as world:
        pool = await world.pool("alpha", lambda _: BROKEN)
        pool.bus = bus
        await world.submit("a-1")
        await eventually(lambda: some_letters(bus, "demo"))
        assert await pool.succeed(pool.seen[0], "after all")
        (done,) = await replay(world, "a-1")
        assert (done.done, done.became) == ("already", "a-1")
        assert await stored(bus) == {}
        assert len(pool.seen) == 1


async def test_a_replay_that_stopped_before_its_submission_is_finished_as_it_was_begun(bus: Bus) -> None:
    cutting = Cutting(bus)
    async with leader(cutting, "s1") as first:
        (await first.pool("alpha", lambda _: BROKEN)).bus = bus
        await given_up(first)
        cutting.cut = lambda subject, _: subject.startswith(f"{subjects.PUBLIC}.submit.")
        (stopped,) = await replay(first, "a-1", route="other")
        assert stopped.done == "refused"
        marked = await letter_of(first, "a-1")
        assert marked is not None
        assert marked.replay is not None
        assert (marked.state, marked.replay.route) == ("open", "other")
    async with leader(bus, "s2") as second:
        beta = await second.pool("beta")
        (done,) = await replay(second, "a-1", route="fast")
        assert (done.done, done.became) == ("replayed", marked.replay.job)
        assert (await second.result(str(done.became))).route == "other"
        assert len(beta.seen) == 1


async def test_a_replay_that_stopped_after_its_submission_does_not_run_again(bus: Bus) -> None:
    cutting = Cutting(bus)
    async with leader(cutting, "s1") as first:
        pool = await first.pool("alpha", lambda _: BROKEN)
        pool.bus = bus
        await given_up(first)
        pool.answering = lambda _: "once"
        replays = subjects.replay_job_id("a-1", "token-a-1")
        writes: list[str] = []

        def second_write_of_the_letter(subject: str, _: Mapping[str, str]) -> bool:
            if subject == subjects.dead("demo", "a-1"):
                writes.append(subject)
            return len(writes) > 1

        cutting.cut = second_write_of_the_letter
        (stopped,) = await replay(first, "a-1")
        assert stopped.done == "refused"
        cutting.cut = lambda _subject, _headers: False
        assert (await first.result(replays)).state is JobState.SUCCEEDED
        await first.settled()
        marked = await letter_of(first, "a-1")
        assert marked is not None
        assert marked.state == "open"
    async with leader(bus, "s2") as second:
        again = await second.pool("alpha")
        (done,) = await replay(second, "a-1")
        assert (done.done, done.became) == ("replayed", replays)
        assert (await letter_of(second, "a-1") or marked).state == "replayed"
        await second.settled()
        assert not again.seen
    assert len(pool.seen) == 2


async def test_a_replay_of_many_that_is_interrupted_is_finished_by_the_same_call_and_nothing_runs_twice(
    own_broker: Broker, open_bus: Callable[..., Any]
) -> None:
    bus = await open_bus(own_broker.url, inbox_prefix="_INBOX_demo")
    await bus.ensure(declared(config(**OVER)))
    async with leader(bus) as world, Producer(own_broker.url, project="demo") as producer:
        pool = await world.pool("alpha", lambda _: BROKEN)
        jobs = [f"a-{number}" for number in range(120)]
        for job in jobs:
            await world.submit(job)
        for job in jobs:
            await world.result(job)
        pool.answering = lambda _: "done"
        pool.seen.clear()
        begun = asyncio.Event()
        first = asyncio.create_task(producer.dead.replay_all(progress=lambda _: begun.set()))
        await asyncio.wait_for(begun.wait(), 10)
        first.cancel()
        tally = await producer.dead.replay_all(rate=None)
        assert (tally.failed, [*await producer.dead.groups()]) == (0, [])
        replayed = [str(letter.replayed_as) async for letter in producer.dead.list(state="replayed")]
        assert len(set(replayed)) == len(jobs)
        assert tally.done < len(jobs), "the interrupted call had done its part"
        for job in replayed:
            assert (await world.result(job)).state is JobState.SUCCEEDED
        assert sorted(order.job_id for order in pool.seen) == sorted(replayed)
