"""Dead letters: which jobs leave one, what a replay is, what a list shows, and whose they are; on both buses."""

# ruff: noqa: F811 - fixtures are imported by name and asked for by the same

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from job_contracts import subjects
from job_contracts.attempts import Assignment
from job_contracts.chat import Conversation, UserTurn
from job_contracts.codec import decode, encode
from job_contracts.desk import Refusal
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import Job, JobState, body_hash
from job_contracts.letters import (
    AskLetterBody,
    AskLetters,
    DeadLetter,
)
from runtime.broker import Broker
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Bus, OutcomeUnknown
from runtime.connection import declared
from scheduler.letter_desk import MAX_READ
from tests.support.budgets import LaterClock
from tests.support.eventually import eventually
from tests.support.letters import (
    BROKEN,
    OVER,
    discard,
    given_up,
    leader,
    letter_bus,  # noqa: F401  # a fixture
    letter_of,
    page,
    replay,
    some_letters,
    stored,
)
from tests.support.world import World, config


@pytest.fixture
def bus(letter_bus: Bus) -> Bus:
    return letter_bus


@pytest.fixture
async def demo(bus: Bus) -> AsyncIterator[World]:
    async with leader(bus) as running:
        yield running


# -- which jobs, and what is kept


async def test_a_job_that_was_given_up_leaves_a_letter_with_all_that_a_replay_needs(demo: World) -> None:
    refused = Failure(kind=FailureKind.MODEL_OUTPUT_INVALID, message="an answer without an end", status=200)
    await demo.pool("alpha", lambda _: refused)
    letter = await given_up(demo, lane="batch", priority=2, session="s", input_estimate=77, needs=())
    assert (letter.reason, letter.state, letter.attempts, letter.replayable) == ("exhausted", "open", 2, True)
    assert letter.failure is not None
    assert letter.failure.kind is FailureKind.RETRIES_EXHAUSTED
    assert letter.history[1].failure == refused
    assert letter.ticket is not None
    assert (letter.ticket.lane, letter.ticket.priority, letter.ticket.session) == ("batch", 2, "s")
    assert letter.ticket.input_estimate == 77
    assert letter.blob is not None
    piece = await demo.bus.request(
        subjects.api("demo", "letter_body"), encode(AskLetterBody(job="a-1", index=0)), timeout=2.0
    )
    assert piece.data == demo.body("a-1")
    assert body_hash(piece.data) == letter.ticket.body_hash
    await demo.settled()


@pytest.mark.parametrize("kind", [FailureKind.BAD_REQUEST, FailureKind.CONTENT_POLICY, FailureKind.CONTEXT_OVERFLOW])
async def test_a_failure_that_is_the_requests_own_leaves_none(demo: World, kind: FailureKind) -> None:
    await demo.pool("alpha", lambda _: Failure(kind=kind, message="no"))
    await demo.submit("a-1")
    failed = await demo.result("a-1")
    assert failed.attempts[0].failure is not None
    assert failed.attempts[0].failure.kind is kind
    await demo.submit("a-2", deadline=demo.clock.wall() - 1)
    assert (await demo.result("a-2")).state is JobState.EXPIRED
    await demo.submit("a-3", route="nope")
    await demo.result("a-3")
    assert await stored(demo.bus) == {}


async def test_a_poisoned_jobs_letter_can_be_replayed_elsewhere(demo: World) -> None:
    await demo.submit("a-1")
    for worker in ("w1", "w2"):
        pool = await demo.pool("alpha", lambda _: None, worker=worker)
        await eventually(lambda pool=pool: pool.held, within=8.0)  # type: ignore[misc]
        await pool.die()
    assert (await demo.result("a-1", within=10.0)).state is JobState.DEAD
    letter = await letter_of(demo, "a-1")
    assert letter is not None
    assert letter.reason == "poison"
    await demo.pool("beta")
    (done,) = await replay(demo, "a-1", route="other")
    assert done.became is not None
    result = await demo.result(done.became)
    assert (result.state, result.route, result.deployment) == (JobState.SUCCEEDED, "other", "beta/m")


async def test_letters_of_one_cause_have_one_fingerprint(demo: World) -> None:
    def by_number(order: Assignment) -> Failure:
        number = order.job_id.partition("-")[2]
        if number == "4":
            return Failure(kind=FailureKind.MODEL_OUTPUT_INVALID, message="an answer without an end")
        return Failure(kind=FailureKind.INTERNAL, message=f"no room left (request req_00{number}ab81f)")

    await demo.pool("alpha", by_number)
    letters = [await given_up(demo, f"a-{number}") for number in (1, 2, 3, 4)]
    assert len({letter.fingerprint for letter in letters}) == 2
    assert len({letter.fingerprint for letter in letters[:3]}) == 1
    listed = await page(demo, fingerprint=letters[0].fingerprint)
    assert [one.job for one in listed.letters] == ["a-1", "a-2", "a-3"]
    assert {one.deployment for one in listed.letters} == {"alpha/m"}


async def test_a_large_body_outlives_its_blob_and_is_replayed_whole(demo: World) -> None:
    await demo.pool("alpha", lambda _: BROKEN)
    words = "x" * (700 * 1024)
    conversation = Conversation(messages=(UserTurn(role="user", content=words),))
    body = encode(Job(id="a-1", route="fast", conversation=conversation, tags={"team": "a"}))
    ref = await demo.bus.put_blob("demo.a-1", body, of="job")
    await demo.submit("a-1", body=b"", blob=ref, body_hash=body_hash(body))
    await demo.result("a-1")
    await demo.settled()
    await eventually(lambda: _nothing_in(demo, subjects.BLOB), says="the submission's own blob goes")
    beta = await demo.pool("beta", lambda _: None)
    (done,) = await replay(demo, "a-1", route="other")
    await eventually(lambda: beta.seen)
    order = beta.seen[0]
    assert order.job_id == done.became
    assert order.blob is not None
    again = decode(Job, await demo.bus.get_blob(f"demo.{order.job_id}", order.blob, of="job"))
    assert (again.id, again.route, again.replay_of) == (order.job_id, "other", "a-1")
    assert (again.conversation, again.tags) == (conversation, {"team": "a"})


async def _nothing_in(world: World, stream: str) -> bool:
    return await world.messages(stream) == 0


async def test_a_stream_that_refuses_letters_costs_no_job_its_end() -> None:
    bus = MemoryBroker().bus(inbox_prefix="_INBOX_demo")
    assets = declared(config(**OVER))
    for asset in assets:
        if asset["config"].get("name") == subjects.DEAD:
            del asset["config"]["allow_rollup_hdrs"]
    await bus.ensure(assets)
    async with leader(bus) as world:
        await world.pool("alpha", lambda _: BROKEN)
        await world.submit("a-1")
        assert (await world.result("a-1")).state is JobState.FAILED
        assert len(world.events["letter.failed"]) == 1


# -- replay


async def test_a_replay_is_a_new_job_that_knows_where_it_comes_from_and_the_letter_what_became_of_it(
    demo: World,
) -> None:
    pool = await demo.pool("alpha", lambda _: BROKEN)
    past, future = demo.clock.wall() + 0.5, demo.clock.wall() + 3600
    await given_up(demo, lane="batch", deadline=future, not_before=past - 1, token="t-1")
    pool.answering = lambda _: "well now"
    (done,) = await replay(demo, "a-1")
    assert done.done == "replayed"
    assert done.became == subjects.replay_job_id("a-1", "t-1")
    result = await demo.result(done.became)
    assert (result.state, result.route, result.replay_of) == (JobState.SUCCEEDED, "fast", "a-1")
    letter = await letter_of(demo, "a-1")
    assert letter is not None
    assert letter.replay is not None
    assert (letter.state, letter.replay.job, letter.replayable) == ("replayed", done.became, False)
    assert [*await stored(demo.bus)] == [subjects.dead("demo", "a-1")], "its body has gone"
    assert pool.seen[-1].deadline == future
    assert pool.seen[-1].job is not None
    assert pool.seen[-1].job.replay_of == "a-1"
    assert (await page(demo)).letters == ()
    assert [one.replayed_as for one in (await page(demo, state="replayed")).letters] == [done.became]


async def test_a_deadline_that_has_passed_is_dropped(bus: Bus) -> None:
    clock = LaterClock()
    async with leader(bus, clock=clock, scheduler={"lease": 90.0}) as demo:
        pool = await demo.pool("alpha", lambda _: BROKEN)
        deadline = clock.wall() + 30.0
        await given_up(demo, deadline=deadline)
        clock.ahead += 31.0
        pool.answering = lambda _: "late, but there"
        (done,) = await replay(demo, "a-1")
        assert (await demo.result(str(done.became))).state is JobState.SUCCEEDED


async def test_a_letter_replayed_twice_runs_once(demo: World) -> None:
    pool = await demo.pool("alpha", lambda _: BROKEN)
    await given_up(demo)
    pool.answering = lambda _: "done"
    first, second = await replay(demo, "a-1"), await replay(demo, "a-1", route="other")
    assert (first[0].done, second[0].done) == ("replayed", "already")
    assert first[0].became == second[0].became
    await demo.result(str(first[0].became))
    assert len(pool.seen) == 2


async def test_a_replay_that_fails_again_leaves_a_letter_of_its_own(demo: World) -> None:
    await demo.pool("alpha", lambda _: BROKEN)
    await given_up(demo)
    (done,) = await replay(demo, "a-1")
    again = await demo.result(str(done.became))
    assert (again.state, again.replay_of) == (JobState.FAILED, "a-1")
    (listed,) = (await page(demo)).letters
    assert (listed.job, listed.replay_of) == (done.became, "a-1")
    (further,) = await replay(demo, str(done.became))
    assert further.became not in (None, done.became)


async def test_what_the_intake_would_refuse_is_refused_while_the_letter_is_open(demo: World) -> None:
    await demo.pool("alpha", lambda _: BROKEN)
    await given_up(demo)
    await demo.submit("a-1", project="small")
    await demo.result("a-1", project="small")
    (unknown,) = await replay(demo, "a-1", route="nope")
    assert unknown.failure is not None
    assert unknown.failure.kind is FailureKind.UNKNOWN_ROUTE
    assert "fast, other" in str(unknown.failure.remedy)
    assert (await page(demo)).letters[0].replayable


async def test_a_full_queue_is_told_and_the_letter_stays() -> None:
    bus = MemoryBroker().bus(inbox_prefix="_INBOX_small")
    await bus.ensure(declared(config(**OVER)))
    async with leader(bus) as world:
        await world.pool("alpha", lambda _: BROKEN)
        await world.submit("a-1", project="small")
        await world.result("a-1", project="small")
        later = world.clock.wall() + 600
        for number in range(5):
            await world.submit(f"b-{number}", project="small", not_before=later)
        await eventually(lambda: world.scheduler.board is not None and world.scheduler.board.unfinished("small") == 5)
        (done,) = await replay(world, "a-1", project="small")
        assert done.failure is not None
        assert (done.failure.kind, done.failure.retry_after) == (FailureKind.QUEUE_FULL, 1.0)
        assert (await page(world, "small")).letters[0].replayable
        await world.cancel("b-0", "token-b-0", project="small")
        await world.result("b-0", project="small")
        (done,) = await replay(world, "a-1", project="small")
        assert done.done == "replayed", "there is a place, and it is enough"


async def test_a_page_reads_no_more_than_its_bound_however_little_it_finds() -> None:
    bus = MemoryBroker().bus(inbox_prefix="_INBOX_demo")
    await bus.ensure(declared(config(**OVER)))
    async with leader(bus) as world:
        for number in range(MAX_READ + 5):
            other = DeadLetter(
                project="demo", job=f"a-{number}", reason="exhausted", detail="", fingerprint="theirs", at=1.0
            )
            await bus.append(subjects.dead("demo", f"a-{number}"), encode(other))
        first = await page(world, fingerprint="ours")
        assert (first.letters, first.more) == ((), True)
        rest = await page(world, fingerprint="ours", after=first.after, until=first.last)
        assert (rest.letters, rest.more) == ((), False)
        assert first.last == MAX_READ + 5


async def test_many_are_handled_by_one_question_and_what_is_missing_is_told(demo: World) -> None:
    pool = await demo.pool("alpha", lambda _: BROKEN)
    for number in range(5):
        await given_up(demo, f"a-{number}")
    pool.answering = lambda _: "done"
    handled = await replay(demo, *(f"a-{number}" for number in range(6)), "a-0")
    assert [one.done for one in handled] == ["replayed"] * 5 + ["missing"]
    for one in handled[:5]:
        assert (await demo.result(str(one.became))).state is JobState.SUCCEEDED
    await demo.settled()


# -- discard


async def test_a_discarded_letter_says_why_and_cannot_be_replayed(demo: World) -> None:
    await demo.pool("alpha", lambda _: BROKEN)
    await given_up(demo)
    assert [one.done for one in await discard(demo, "a-1", "a-2", why="obsolete")] == ["discarded", "missing"]
    assert [one.done for one in await discard(demo, "a-1", why="again")] == ["already"]
    letter = await letter_of(demo, "a-1")
    assert letter is not None
    assert (letter.state, letter.why, letter.blob) == ("discarded", "obsolete", None)
    assert [one.done for one in await replay(demo, "a-1")] == ["refused"]
    assert [*await stored(demo.bus)] == [subjects.dead("demo", "a-1")]


# -- lists


async def test_pages_go_on_where_the_last_one_ended_and_stop_at_what_was_there(demo: World) -> None:
    await demo.pool("alpha", lambda _: BROKEN)
    for number in range(5):
        await given_up(demo, f"a-{number}")
    first = await page(demo, limit=2)
    await given_up(demo, "a-5")
    second = await page(demo, limit=2, after=first.after, until=first.last)
    third = await page(demo, limit=2, after=second.after, until=first.last)
    told = [[one.job for one in each.letters] for each in (first, second, third)]
    assert told == [["a-0", "a-1"], ["a-2", "a-3"], ["a-4"]]
    assert (first.more, second.more, third.more) == (True, True, False)
    assert [one.job for one in (await page(demo, route="other")).letters] == []


# -- whose


async def test_a_project_sees_and_acts_on_its_own_letters_alone(demo: World) -> None:
    await demo.pool("alpha", lambda _: BROKEN)
    await demo.submit("a-1", project="other")
    await demo.result("a-1", project="other")
    await eventually(lambda: some_letters(demo.bus, "other"))
    assert (await page(demo)).letters == ()
    assert await letter_of(demo, "a-1") is None
    answer = await demo.bus.request(
        subjects.api("demo", "letter_body"), encode(AskLetterBody(job="a-1", index=0)), timeout=2.0
    )
    assert decode(Refusal, answer.data).refused.kind is FailureKind.BAD_REQUEST
    assert [one.done for one in [*await replay(demo, "a-1"), *await discard(demo, "a-1")]] == ["missing", "missing"]
    with pytest.raises(OutcomeUnknown):  # asked for the other project: the answer goes into its inboxes alone
        await demo.bus.request(subjects.api("other", "letters"), encode(AskLetters()), timeout=0.3)
    assert len(await stored(demo.bus, "other")) == 2


async def test_messages_that_are_no_jobs_are_the_operators(bus: Bus, own_broker: Broker, open_bus: Any) -> None:
    async with leader(bus) as world:
        headers = {subjects.H_TICKET: "{not json"}
        await bus.append(subjects.submit("demo", "a-1"), world.body("a-1"), headers=headers)
        await world.result("a-1")
        assert (await page(world)).letters == ()
        (subject,) = await eventually(lambda: stored(bus, "-"))
        name = subjects.project_and_job(subject)[1]
        assert name.startswith("SUBMIT_0-")
        if hasattr(bus, "settings"):
            world.bus = await open_bus(own_broker.url, inbox_prefix="_INBOX_-")
            (listed,) = (await page(world, "-")).letters
            assert (listed.job, listed.reason, listed.replayable) == (name, "unreadable", False)
            assert [one.done for one in await replay(world, name, project="-")] == ["refused"]
            assert [one.done for one in await discard(world, name, project="-")] == ["discarded"]
            letter = await letter_of(world, name, "-")
            assert letter is not None
            assert (letter.state, letter.job, letter.body) == ("discarded", "a-1", "")
