"""Dead letters as a program sees them, the same over NATS and with the gateway in memory."""

# ruff: noqa: F811 - fixtures are imported by name and asked for by the same

from __future__ import annotations

import pytest

from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from producer_sdk import JobFailed, NotFound, Producer, Tally, UnknownRoute
from producer_sdk.testing import fails, says
from tests.support.houses import House
from tests.support.sdk import HELLO, house, producer, sdk_broker  # noqa: F401  # fixtures


async def given_up(house: House, producer: Producer, kind: FailureKind = FailureKind.SERVER_ERROR) -> str:
    house.stage.script.append(fails(kind, "no luck"))
    with pytest.raises(JobFailed) as told:
        await producer.complete(**HELLO, tags={"team": "a"})
    return str(told.value.job)


async def test_a_job_that_was_given_up_is_listed_shown_and_replayed(house: House, producer: Producer) -> None:
    job = await given_up(house, producer)
    (listed,) = [letter async for letter in producer.dead.list()]
    assert (listed.job, listed.kind, listed.route, listed.replayable) == (job, "server_error", "fast", True)
    shown = await producer.dead.show(job)
    assert (shown.fingerprint, shown.attempts) == (listed.fingerprint, 1)
    assert (await producer.dead.body(job)).tags == {"team": "a"}
    house.stage.script.append(says("better"))
    replayed = await producer.dead.replay(job)
    answer = await replayed.result()
    assert (answer.text, answer.result.replay_of, answer.tags) == ("better", job, {"team": "a"})
    assert (await producer.dead.replay(job)).id == replayed.id, "a second replay is the first one"
    assert [letter async for letter in producer.dead.list()] == []
    (closed,) = [letter async for letter in producer.dead.list(state="replayed")]
    assert closed.replayed_as == replayed.id


async def test_a_replay_may_go_to_another_route_that_there_is(house: House, producer: Producer) -> None:
    job = await given_up(house, producer)
    with pytest.raises(UnknownRoute):
        _ = await producer.dead.replay(job, model="nowhere")
    house.stage.script.append(says("smart"))
    assert (await (await producer.dead.replay(job, model="smart")).record()).route == "smart"


async def test_the_requests_own_fault_leaves_no_letter(house: House, producer: Producer) -> None:
    job = await given_up(house, producer, FailureKind.BAD_REQUEST)
    with pytest.raises(NotFound, match="there is no dead letter"):
        await producer.dead.show(job)
    with pytest.raises(NotFound):
        _ = await producer.dead.replay(job)
    with pytest.raises(NotFound):
        await producer.dead.discard(job)


async def test_letters_are_grouped_by_cause_and_a_group_is_replayed(house: House, producer: Producer) -> None:
    for kind in (FailureKind.SERVER_ERROR, FailureKind.AUTH, FailureKind.SERVER_ERROR):
        await given_up(house, producer, kind)
    broken, key = await producer.dead.groups()
    assert [(group.kind, group.count, group.replayable) for group in (broken, key)] == [
        ("server_error", 2, 2),
        ("auth", 1, 1),
    ]
    seen: list[int] = []
    house.stage.script.extend([says("a"), says("b")])
    tally = await producer.dead.replay_all(fingerprint=broken.fingerprint, progress=lambda now: seen.append(now.done))
    assert (tally.done, tally.already, tally.failed) == (2, 0, 0)
    assert seen[-1] == 2
    assert [group.kind for group in await producer.dead.groups()] == ["auth"]
    assert await producer.dead.replay_all(fingerprint=broken.fingerprint) == Tally()


async def test_what_fails_again_meanwhile_is_not_taken_up_by_the_same_call(house: House, producer: Producer) -> None:
    for _ in range(3):
        await given_up(house, producer)
    house.stage.otherwise = lambda _: fails(FailureKind.SERVER_ERROR, "still broken")
    tally = await producer.dead.replay_all()
    assert tally.done == 3


async def test_what_cannot_be_replayed_is_told_one_by_one(house: House, producer: Producer) -> None:
    job = await given_up(house, producer)
    tally = await producer.dead.replay_all(model="nowhere")
    assert (tally.done, tally.failed) == (0, 1)
    (told,) = tally.failures
    assert told.job == job
    assert told.failure is not None
    assert told.failure.kind is FailureKind.UNKNOWN_ROUTE


async def test_many_are_discarded_with_a_reason(house: House, producer: Producer) -> None:
    jobs = [await given_up(house, producer) for _ in range(2)]
    await producer.dead.discard(jobs[0], why="obsolete")
    await producer.dead.discard(jobs[0])
    tally = await producer.dead.discard_all(why="obsolete as well")
    assert (tally.done, tally.failed) == (1, 0)
    assert [(await producer.dead.show(job)).why for job in jobs] == ["obsolete", "obsolete as well"]
    with pytest.raises(NotFound, match="no body"):
        await producer.dead.body(jobs[0])


async def test_pages_have_a_size_and_an_end(house: House, producer: Producer) -> None:
    jobs = [await given_up(house, producer) for _ in range(3)]
    first = await producer.dead.page(limit=2)
    jobs.append(await given_up(house, producer))
    second = await producer.dead.page(after=first.after, until=first.last)
    told = [[letter.job for letter in page.letters] for page in (first, second)]
    assert (told, first.more, second.more) == ([jobs[:2], jobs[2:3]], True, False)
    assert [letter.job async for letter in producer.dead.list(model="smart")] == []


async def test_a_dead_job_is_set_aside_as_well(house: House, producer: Producer) -> None:
    job = await given_up(house, producer, FailureKind.POISON)
    shown = await producer.dead.show(job)
    assert (await producer.attach(job).record()).state in (JobState.DEAD, JobState.FAILED)
    assert shown.replayable
