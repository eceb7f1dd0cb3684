"""Assignments that come to no call: too old, unreadable, not ours, wrongly written, twice."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from job_contracts import subjects
from job_contracts.codec import encode
from job_contracts.failures import FailureKind
from tests.support import builders
from tests.support.eventually import eventually
from tests.support.upstream import Do, Upstream, completion, response, upstream
from tests.support.worker import Bench, bench


@pytest.fixture
async def provider() -> AsyncIterator[Upstream]:
    async with upstream([response(completion())]) as server:
        yield server


@pytest.fixture
async def worker(provider: Upstream) -> AsyncIterator[Bench]:
    async with bench(provider.url) as made:
        yield made


async def test_a_grant_that_is_too_old_is_handed_back_uncalled(worker: Bench, provider: Upstream) -> None:
    old = {"granted": worker.clock.wall() - 10, "valid_for": 5.0}
    given = await worker.hand(worker.assignment(grant=old))
    outcome = await worker.outcome(given)
    assert (outcome.failure.kind, outcome.called) == (FailureKind.GRANT_EXPIRED, False)
    assert provider.asked == []
    assert worker.facts() == {}


async def test_a_job_past_its_deadline_is_not_sent(worker: Bench, provider: Upstream) -> None:
    outcome = await worker.outcome(await worker.hand(worker.assignment(deadline=worker.clock.wall() - 1)))
    assert (outcome.failure.kind, outcome.called) == (FailureKind.EXPIRED, False)
    assert provider.asked == []


@pytest.mark.parametrize(
    "data",
    [b"", b"nonsense", b"[]", b'{"attempt": "x"}', b"\xff\xfe", b'{"version": "2.0", "job_id": "stem-1"}'],
    ids=["empty", "text", "list", "wrong", "bytes", "version"],
)
async def test_an_assignment_nobody_can_read_is_set_aside_and_the_pool_goes_on(worker: Bench, data: bytes) -> None:
    await worker.put("default", "stem-0", data)
    await worker.result(await worker.hand(worker.assignment()))
    await eventually(lambda: worker.letters() and worker.work_left() == 0)
    (letter,) = worker.letters()
    assert (letter.reason, letter.project, letter.job, letter.stream) == ("unreadable", "default", "stem-0", "WORK_0")
    assert worker.outcomes() == {}


async def test_an_assignment_of_another_pool_is_told_to_the_leader(worker: Bench, provider: Upstream) -> None:
    given = worker.assignment(deployment="beta/m", provider="beta")
    await worker.hand(given)
    outcome = await worker.outcome(given)
    assert (outcome.failure.kind, outcome.called) == (FailureKind.INTERNAL, False)
    assert outcome.record.number == 1
    assert provider.asked == []
    assert len(worker.letters()) == 1


async def test_a_job_its_producer_wrote_wrongly_is_told_with_the_field(worker: Bench, provider: Upstream) -> None:
    given = worker.assignment()
    wrong = encode(given).replace(b'"role":"user"', b'"role":"usher"')
    await worker.put(given.project, given.job_id, wrong)
    outcome = await worker.outcome(given)
    assert (outcome.failure.kind, outcome.called) == (FailureKind.INVALID_JOB, False)
    assert outcome.failure.field == "conversation.messages[0].role"
    assert worker.letters() == []
    assert provider.asked == []


async def test_a_body_that_names_another_job_is_refused(worker: Bench, provider: Upstream) -> None:
    given = worker.assignment()
    wrong = encode(given).replace(b'"id":"stem-1"', b'"id":"stem-7"')
    await worker.put(given.project, given.job_id, wrong)
    outcome = await worker.outcome(given)
    assert (outcome.failure.kind, outcome.failure.field) == (FailureKind.INVALID_JOB, "id")
    assert provider.asked == []


async def test_an_assignment_that_comes_twice_is_worked_on_once(worker: Bench, provider: Upstream) -> None:
    provider.play([Do.WAIT, response(completion())])
    given = await worker.hand(worker.assignment())
    await eventually(lambda: provider.asked)
    await worker.hand(given)
    await eventually(lambda: worker.said("pool.twice") and worker.work_left() == 1)
    provider.proceed()
    await worker.result(given)
    assert len(provider.asked) == 1
    assert list(worker.facts()) == [given.attempt_id]


async def test_an_assignment_that_comes_again_after_its_answer_is_acknowledged_without_a_call(
    worker: Bench, provider: Upstream
) -> None:
    provider.play([response(completion())])
    given = await worker.hand(worker.assignment())
    await worker.result(given)
    await worker.hand(given)
    await eventually(lambda: worker.said("pool.twice") and worker.work_left() == 0)
    assert len(provider.asked) == 1
    assert list(worker.facts()) == [given.attempt_id]


async def test_jobs_of_two_projects_with_the_same_id_are_both_worked_on(worker: Bench, provider: Upstream) -> None:
    provider.play([Do.WAIT, response(completion())], [Do.WAIT, response(completion())])
    job = builders.job("key-1")
    given = [await worker.hand(worker.assignment(job=job, project=name)) for name in ("one", "two")]
    await eventually(lambda: len(provider.asked) == 2)
    provider.proceed()
    provider.proceed()
    await eventually(lambda: worker.work_left() == 0 and len(worker.messages(subjects.RES)) == 2)
    assert worker.facts().keys() == {one.attempt_id for one in given}


async def test_a_job_that_is_submitted_anew_long_after_its_end_is_worked_on(worker: Bench, provider: Upstream) -> None:
    job = builders.job("key-1")
    given = await worker.hand(worker.assignment(job=job))
    await worker.result(given)
    (record,) = worker.messages(subjects.RES)
    await worker.mine.delete(subjects.RES, record.seq)  # as when its time to live is over
    await worker.result(await worker.hand(worker.assignment(job=job)))
    assert len(provider.asked) == 2
