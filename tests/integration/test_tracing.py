"""One trace a job, through the queue and whatever happens to it: leaders that end, workers that die, what follows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from job_contracts import subjects
from job_contracts.attempts import Assignment
from job_contracts.codec import encode
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from job_contracts.letters import AskReplay
from job_contracts.subjects import follow_up_job_id
from job_contracts.tracing import Trace, of_attempt, of_job, read_trace
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Bus
from runtime.connection import declared
from runtime.telemetry import DEBUG, write_logs
from runtime.tracing.observations import ATTEMPT, JOB, AttemptSeen, JobSeen
from tests.support.eventually import eventually
from tests.support.upstream import Upstream, completion, error, response, upstream
from tests.support.worker import POOL, Bench, bench
from tests.support.world import Pool, World, config, scheduler_on

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PARENT = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", sampled=True)
SPAN = of_job(PARENT, "demo", "a-1", "token-a-1")
DOWN = Failure(kind=FailureKind.SERVER_ERROR, message="down")
WORK = subjects.stream_name(subjects.WORK)
EVERY: dict[str, Any] = {"telemetry": {"traces": {"ratio": 1.0}}}
NONE: dict[str, Any] = {"telemetry": {"traces": {"ratio": 0.0}}}


@pytest.fixture
async def bus() -> Bus:
    made = MemoryBroker().bus(inbox_prefix="_INBOX_demo")
    await made.ensure(declared(config()))
    return made


def told(world: World, event: str) -> list[Any]:
    return [each.fields["observation"] for each in world.events[event]]


async def jobs(world: World, count: int = 1) -> list[JobSeen]:
    await eventually(lambda: len(told(world, JOB)) >= count, within=8.0, says="no job was observed")
    return told(world, JOB)


async def handed(pool: Pool) -> None:
    await eventually(lambda: pool.held, says="nothing came to the pool")


async def at_work(world: World, job: str = "a-1", pool: str = "alpha") -> str | None:
    """The trace that a pool is handed with a job."""
    found = await world.bus.last(WORK, subjects.work(0, pool, "demo", job))
    return (found.headers or {}).get(subjects.H_TRACE)


async def test_a_job_goes_on_with_its_producers_trace_and_its_end_is_told_once(bus: Bus) -> None:
    async with scheduler_on(bus, config()) as world:
        alpha = await world.pool("alpha", lambda _: None)
        await world.submit("a-1", trace=GIVEN)
        await handed(alpha)
        assert await at_work(world) == SPAN.header
        await alpha.succeed(alpha.seen[0], "well")
        (seen,) = await jobs(world)
        assert (seen.span, seen.parent, seen.state, seen.attempts) == (SPAN, PARENT.span, JobState.SUCCEEDED, 1)
        assert (seen.project, seen.job, seen.deployment) == ("demo", "a-1", "alpha/m")
        assert seen.submitted <= seen.finished


async def test_attempts_at_two_places_are_siblings_and_the_leaders_own_record_names_the_trace(bus: Bus) -> None:
    traces: list[str | None] = []
    async with scheduler_on(
        bus, config(routes={"fast": {"deployments": ["alpha/m", "beta/m"], "max_attempts": 2}})
    ) as world:
        alpha, beta = [await world.pool(name, lambda _: None) for name in ("alpha", "beta")]
        await world.submit("a-1", trace=GIVEN)
        for pool in (alpha, beta):
            await handed(pool)
            traces.append(await at_work(world, pool=pool.name))
            await pool.fail(pool.seen[0], DOWN)
        (seen,) = await jobs(world)
        assert traces == [SPAN.header, SPAN.header]
        assert (seen.span, seen.state) == (SPAN, JobState.FAILED)
        record = await world.bus.last(subjects.RES, subjects.result("demo", "a-1"))
        assert (record.headers or {})[subjects.H_TRACE] == SPAN.header


@pytest.mark.parametrize("how", [{}, NONE], ids=["nothing configured", "none recorded"])
async def test_a_plain_job_has_no_trace_anywhere(bus: Bus, how: dict[str, Any]) -> None:
    async with scheduler_on(bus, config(**how)) as world:
        alpha = await world.pool("alpha", lambda _: None)
        await world.submit("a-1")
        await handed(alpha)
        assert await at_work(world) is None
        await alpha.succeed(alpha.seen[0], "well")
        await world.settled()
        assert (world.events[JOB], world.events[ATTEMPT]) == ([], [])


async def test_what_its_producer_does_not_record_is_not_told_but_named(bus: Bus) -> None:
    async with scheduler_on(bus, config(**EVERY)) as world:
        alpha = await world.pool("alpha", lambda _: None)
        await world.submit("a-1", trace=f"{GIVEN[:-2]}00")
        await handed(alpha)
        going = read_trace(await at_work(world))
        assert going is not None
        assert (going.id, going.sampled) == (PARENT.id, False)
        await alpha.succeed(alpha.seen[0], "well")
        await world.settled()
        assert world.events[JOB] == []


async def test_a_job_without_a_trace_begins_one_and_the_next_leader_tells_of_the_same(bus: Bus) -> None:
    async with scheduler_on(bus, config(**EVERY)) as first:
        alpha = await first.pool("alpha", lambda _: None)
        await first.submit("a-1")
        await handed(alpha)
        going = await at_work(first)
        order = alpha.seen[0]
    async with scheduler_on(bus, config(**EVERY), owner="s2") as second:
        await alpha.succeed(order, "well")
        (seen,) = await jobs(second)
        assert going == seen.span.header
        assert (seen.parent, seen.state) == ("", JobState.SUCCEEDED)
        assert first.events[JOB] == []


async def test_an_attempt_whose_worker_died_is_told_by_the_leader(bus: Bus) -> None:
    async with scheduler_on(bus, config()) as world:
        lost = await world.pool("alpha", lambda _: None)
        await world.submit("a-1", trace=GIVEN)
        await handed(lost)
        await lost.die()
        await world.pool("beta")
        (seen,) = await jobs(world)
        (attempt,) = told(world, ATTEMPT)
        assert isinstance(attempt, AttemptSeen)
        assert (attempt.span, attempt.job_span) == (of_attempt(SPAN, 1), SPAN.span)
        assert (attempt.failure, attempt.vendor, attempt.model) == (FailureKind.WORKER_LOST, "alpha", "m")
        assert (seen.span, seen.attempts) == (SPAN, 2)


async def test_what_follows_a_job_hangs_below_it_also_where_the_job_began_the_trace(bus: Bus) -> None:
    shadow = {"to": "candidate", "share": 1.0, "budget": {"day": 5, "soft": True}}
    routes = {
        "fast": {"deployments": ["alpha/m"], "shadow": shadow},
        "candidate": {"deployments": ["beta/m"]},
    }
    async with scheduler_on(bus, config(routes=routes, **EVERY)) as world:
        await world.pool("alpha")
        await world.pool("beta")
        await world.submit("a-1")
        seen = {each.job: each for each in await jobs(world, 2)}
        first, second = seen["a-1"], seen[follow_up_job_id("shadow", "a-1", "token-a-1")]
        assert (second.span.id, second.parent, second.follow_up) == (first.span.id, first.span.span, "shadow")


async def test_a_replay_of_a_dead_letter_hangs_below_the_job_that_was_given_up(bus: Bus) -> None:
    answers: list[Failure | str] = [DOWN, "well"]
    routes = {"fast": {"deployments": ["alpha/m"], "max_attempts": 1}}
    async with scheduler_on(bus, config(routes=routes)) as world:
        await world.pool("alpha", lambda _: answers.pop(0))
        await world.submit("a-1", trace=GIVEN)
        await jobs(world)
        ask = encode(AskReplay(jobs=("a-1",)))
        await world.bus.request(subjects.api("demo", "replay"), ask, timeout=5.0)
        replay = (await jobs(world, 2))[1]
        assert (replay.span.id, replay.parent, replay.state) == (PARENT.id, SPAN.span, JobState.SUCCEEDED)


# -- the worker


@pytest.fixture
async def provider() -> AsyncIterator[Upstream]:
    async with upstream([response(completion())]) as server:
        yield server


@pytest.fixture
async def worker(provider: Upstream) -> AsyncIterator[Bench]:
    async with bench(provider.url) as made:
        yield made


async def hand(worker: Bench, header: str | None, **over: Any) -> Assignment:
    given = worker.assignment(**over)
    headers = {} if header is None else {subjects.H_TRACE: header}
    subject = subjects.work(0, POOL, given.project, given.job_id)
    await worker.mine.append(subject, encode(given), headers=headers)
    return given


async def seen_by(worker: Bench) -> AttemptSeen:
    await eventually(lambda: worker.said(ATTEMPT), says="no attempt was observed")
    found = worker.said(ATTEMPT)[-1].fields["observation"]
    assert isinstance(found, AttemptSeen)
    return found


async def test_a_worker_tells_once_what_its_attempt_was(worker: Bench, provider: Upstream) -> None:
    given = await hand(worker, SPAN.header, attempt=2, switched_from="beta/m", switch_reason="overloaded")
    result = await worker.result(given)
    seen = await seen_by(worker)
    assert len(worker.said(ATTEMPT)) == 1
    assert (seen.span, seen.job_span) == (of_attempt(SPAN, 2), SPAN.span)
    assert (seen.operation, seen.finish, seen.failure, seen.answered_by) == ("chat", "stop", None, "m-1")
    assert (seen.usage, seen.cost, seen.worker) == (result.usage, result.attempts[-1].cost, "w1")
    assert (seen.switched_from, seen.switch_reason, seen.stored) == ("beta/m", "overloaded", "ours")
    assert seen.server == ("127.0.0.1", int(provider.url.rpartition(":")[2]))
    (record,) = worker.messages(subjects.RES)
    assert (record.headers or {})[subjects.H_TRACE] == SPAN.header


async def test_a_failed_attempt_is_told_with_the_kind_of_its_failure(worker: Bench, provider: Upstream) -> None:
    provider.play([error(503, "you asked for secrets")])
    given = await hand(worker, SPAN.header)
    await worker.outcome(given)
    seen = await seen_by(worker)
    assert seen.failure is not None
    assert (seen.usage.total, seen.called) == (0, True)
    assert "secrets" not in repr(seen)


@pytest.mark.parametrize("header", [None, "rubbish", f"{GIVEN[:-2]}00"], ids=["none", "no trace", "not recorded"])
async def test_nothing_is_told_of_an_attempt_that_nobody_records(worker: Bench, header: str | None) -> None:
    await worker.result(await hand(worker, header))
    assert worker.said(ATTEMPT) == []


async def test_log_lines_of_an_attempt_name_its_trace_and_those_of_others_do_not(worker: Bench) -> None:
    lines: list[str] = []
    stop = write_logs(worker.telemetry, "workers", lines.append, lowest=DEBUG)
    given = [await hand(worker, SPAN.header), await hand(worker, None)]
    for each in given:
        await worker.result(each)
    stop()
    ended = {line["attempt"]: line for line in map(json.loads, lines) if line["event"] == "attempt.ended"}
    assert [ended[each.attempt_id].get("trace_id") for each in given] == [PARENT.id, None]
