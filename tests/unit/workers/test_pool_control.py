"""What reaches a worker from outside while it works: aborts, its own end, a broker that is away, other writers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from job_contracts import subjects
from job_contracts.attempts import Abort, Heartbeat, HeartbeatReply, LimitReading
from job_contracts.codec import decode, encode
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Bus, BusError, Message, StreamFull, Undecided
from runtime.telemetry import Telemetry
from tests.support import builders
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.upstream import Do, Step, Upstream, chunk, completion, event, head, response, upstream
from tests.support.worker import POOL, WORKER, Bench, bench
from workers.heartbeats import Heartbeats


@pytest.fixture
async def provider() -> AsyncIterator[Upstream]:
    async with upstream([response(completion())]) as server:
        yield server


@pytest.fixture
async def worker(provider: Upstream) -> AsyncIterator[Bench]:
    async with bench(provider.url) as made:
        yield made


class Leader:
    """Answers heartbeats."""

    def __init__(self) -> None:
        self.beats: list[Heartbeat] = []
        self.abort: tuple[str, ...] = ()
        self.at = 0.0

    async def answer(self, message: Message) -> bytes:
        self.beats.append(decode(Heartbeat, message.data))
        return encode(HeartbeatReply(abort=self.abort, at=self.at))


@pytest.fixture
async def leader(worker: Bench) -> Leader:
    made = Leader()
    await worker.mine.respond(subjects.heartbeat("*", "*"), made.answer)
    return made


# -- cancel


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_abort_closes_the_call_and_tells_what_it_cost(
    worker: Bench, provider: Upstream, streamed: bool
) -> None:
    provider.play([head(), chunk(event("x" * 40)), Do.HANG] if streamed else [Do.HANG])
    given = await worker.hand(worker.assignment(stream=streamed))
    await eventually(lambda: worker.chunks(given) if streamed else provider.asked)
    await worker.abort("other-1.1", given.attempt_id)
    outcome = await worker.outcome(given)
    assert (outcome.failure.kind, outcome.called) == (FailureKind.CANCELLED, True)
    assert outcome.failure.produced is streamed
    await eventually(lambda: provider.gone == 1, says="the provider sees the connection closed")
    fact = worker.facts()[given.attempt_id]
    assert (fact.reason, fact.won, fact.usage.reported) == ("cancelled", False, False)
    # Of an answer in one piece nothing is seen: what was expected of it is the estimate.
    assert fact.usage.output == (10 if streamed else given.grant.output_tokens)
    assert worker.results() == {}


async def test_an_abort_that_comes_first_keeps_the_attempt_from_starting(worker: Bench, provider: Upstream) -> None:
    given = worker.assignment()
    await worker.abort(given.attempt_id)
    await asyncio.sleep(0)
    outcome = await worker.outcome(await worker.hand(given))
    assert (outcome.failure.kind, outcome.called) == (FailureKind.CANCELLED, False)
    assert provider.asked == []
    assert worker.facts() == {}


async def test_an_abort_of_long_ago_says_nothing_of_a_job_that_is_submitted_anew(provider: Upstream) -> None:
    clock = ManualClock()
    async with bench(provider.url, clock=clock) as worker:
        given = worker.assignment()
        await worker.abort(given.attempt_id)
        await asyncio.sleep(0)
        clock.advance(3_600.0)
        fresh = given.model_copy(update={"grant": given.grant.model_copy(update={"granted": clock.wall()})})
        await worker.result(await worker.hand(fresh))
        assert len(provider.asked) == 1


async def test_a_heartbeats_answer_aborts_as_well(worker: Bench, provider: Upstream, leader: Leader) -> None:
    provider.play([Do.HANG])
    given = await worker.hand(worker.assignment())
    await eventually(lambda: provider.asked)
    leader.abort = (given.attempt_id,)
    assert (await worker.outcome(given)).failure.kind is FailureKind.CANCELLED


async def test_a_word_nobody_understands_is_no_abort(worker: Bench) -> None:
    await worker.mine.publish(subjects.abort(POOL), b"nonsense")
    await worker.result(await worker.hand(worker.assignment()))
    assert worker.said("abort.unreadable")


# -- heartbeats


@pytest.mark.parametrize("apart", [-100.0, 100.0])
async def test_a_grant_runs_out_by_the_clock_of_the_leader_that_gave_it(
    worker: Bench, provider: Upstream, leader: Leader, apart: float
) -> None:
    leader.at = worker.clock.wall() + apart
    beats = len(leader.beats)
    await eventually(lambda: len(leader.beats) > beats + 1)
    fresh = await worker.hand(worker.assignment(grant={"granted": worker.clock.wall() + apart}))
    await worker.result(fresh)
    old = await worker.hand(worker.assignment(grant={"granted": worker.clock.wall() + apart - 60.0}))
    assert (await worker.outcome(old)).failure.kind is FailureKind.GRANT_EXPIRED
    assert len(provider.asked) == 1


async def test_a_heartbeat_names_what_is_in_hand(worker: Bench, provider: Upstream, leader: Leader) -> None:
    provider.play([Do.WAIT, response(completion())])
    given = [await worker.hand(worker.assignment()) for _ in range(2)]
    ids = {one.attempt_id for one in given}
    await eventually(lambda: leader.beats and set(leader.beats[-1].attempts) == ids)
    beat = leader.beats[-1]
    assert (beat.pool, beat.worker, beat.slots, beat.draining) == (POOL, WORKER, 8, False)
    provider.proceed()
    await eventually(lambda: leader.beats[-1].attempts == ())


async def test_a_heartbeat_tells_once_what_answers_said_of_limits(
    worker: Bench, provider: Upstream, leader: Leader
) -> None:
    told = "x-ratelimit-limit-requests: 100\r\nx-ratelimit-remaining-requests: 42\r\n"
    provider.play([response(completion(), extra=told)])
    await worker.result(await worker.hand(worker.assignment()))
    await eventually(lambda: any(beat.limits for beat in leader.beats))
    told_of = [beat.limits for beat in leader.beats if beat.limits]
    assert [reading.remaining for reading in told_of[0]["alpha/m"]] == [42]
    seen = len(leader.beats)
    await eventually(lambda: len(leader.beats) >= seen + 2)
    assert len([beat for beat in leader.beats if beat.limits]) == 1


async def test_a_leader_that_does_not_answer_is_said_once(worker: Bench) -> None:
    await eventually(lambda: worker.said("heartbeat.unanswered"))
    leader = Leader()
    await worker.mine.respond(subjects.heartbeat("*", "*"), leader.answer)
    await eventually(lambda: len(leader.beats) >= 2)
    assert len(worker.said("heartbeat.unanswered")) == 1


class Idle:
    """A pool with nothing in hand."""

    slots, draining = 4, False

    def attempts(self) -> tuple[str, ...]:
        return ()

    late = begun = attempts

    def readings(self) -> dict[str, tuple[LimitReading, ...]]:
        return {"alpha/m": (LimitReading(unit="requests", remaining=1),)}

    def abort(self, attempts: tuple[str, ...], *, outrun: bool = False) -> None:
        raise AssertionError(f"{attempts} {outrun}: nothing was to be stopped")

    def heard(self, at: float, took: float) -> None: ...


@asynccontextmanager
async def beating(bus: Bus) -> AsyncIterator[list[str]]:
    """A worker that beats once a minute; yields when a beat was not answered."""
    telemetry, unanswered = Telemetry(), list[str]()
    telemetry.on("heartbeat.unanswered", lambda told: unanswered.append(told["error"]))
    made = Heartbeats(bus, ManualClock(), telemetry, Idle(), pool=POOL, worker=WORKER, every=60.0)
    await made.start()
    try:
        yield unanswered
    finally:
        await made.stop()


async def test_a_beat_that_nobody_answers_is_soon_followed_by_another() -> None:
    """Else a leader that has just begun would hold a pool for dead until the next beat is due."""
    broker, leader = MemoryBroker(), Leader()
    async with beating(broker.bus()) as unanswered:
        await eventually(lambda: unanswered)
        await broker.bus().respond(subjects.heartbeat("*", "*"), leader.answer)
        await eventually(lambda: leader.beats)


async def test_whoever_calls_hears_a_beat_although_another_answer_is_waited_for() -> None:
    broker = MemoryBroker()
    heard: list[Heartbeat] = []
    listening = broker.bus()
    await listening.subscribe(subjects.heartbeat("*", "*"), lambda told: heard.append(decode(Heartbeat, told.data)))
    async with beating(broker.bus()):
        await eventually(lambda: len(heard) == 1)
        await listening.publish(subjects.abort(POOL), encode(Abort(attempts=())))
        await eventually(lambda: len(heard) == 2)
    assert [one.worker for one in heard] == [WORKER, WORKER]
    assert [bool(one.limits) for one in heard] == [True, False], "what is told once is told to whom it helps"


async def test_who_leads_already_when_the_called_worker_beats_hears_it() -> None:
    """It answers beats by then, and hears none that asks for no answer."""
    broker, leader = MemoryBroker(), Leader()
    await broker.bus().respond(subjects.heartbeat("*", "*"), leader.answer)
    async with beating(broker.bus()):
        await eventually(lambda: len(leader.beats) == 1)
        await broker.bus().publish(subjects.abort(POOL), encode(Abort(attempts=())))
        await eventually(lambda: len(leader.beats) == 2)


# -- slots


async def test_no_more_is_taken_than_there_are_slots(provider: Upstream) -> None:
    provider.play([Do.WAIT, response(completion())])
    async with bench(provider.url, slots=3) as worker:
        given = [await worker.hand(worker.assignment()) for _ in range(10)]
        await eventually(lambda: len(provider.asked) == 3)
        puller = await worker.mine.pull("WORK_0", POOL)
        assert (await puller.state()).ack_pending == 3
        assert worker.worker.pool.running == 3
        provider.proceed()
        for one in given:
            await worker.result(one)
        assert provider.connections <= 3


# -- the end


async def test_a_worker_that_ends_finishes_its_calls_and_takes_no_more(worker: Bench, provider: Upstream) -> None:
    provider.play([Do.WAIT, response(completion())])
    given = await worker.hand(worker.assignment())
    await eventually(lambda: provider.asked)
    stopping = asyncio.create_task(worker.stop())
    await eventually(lambda: worker.worker.pool.draining)
    late = await worker.hand(worker.assignment())
    provider.proceed()
    await stopping
    assert worker.results()[given.job_id].state is JobState.SUCCEEDED
    assert list(worker.facts()) == [given.attempt_id]
    assert worker.work_left() == 1
    assert late.job_id not in worker.outcomes()


async def test_a_call_that_outlasts_the_drain_is_handed_back(provider: Upstream) -> None:
    provider.play([head(), chunk(event("x" * 40)), Do.HANG])
    async with bench(provider.url, workers={"drain": 0.05}) as worker:
        given = await worker.hand(worker.assignment(stream=True))
        await eventually(lambda: worker.chunks(given))
        await worker.stop()
        outcome = worker.outcomes()[given.job_id]
        assert (outcome.failure.kind, outcome.called) == (FailureKind.HANDED_BACK, True)
        assert worker.facts()[given.attempt_id].usage.output == 10
        assert worker.work_left() == 0
        await eventually(lambda: provider.gone == 1)


async def test_a_leader_sees_a_worker_drain(worker: Bench, provider: Upstream, leader: Leader) -> None:
    provider.play([Do.WAIT, response(completion())])
    given = await worker.hand(worker.assignment())
    await eventually(lambda: provider.asked)
    stopping = asyncio.create_task(worker.stop())
    await eventually(lambda: leader.beats and leader.beats[-1].draining)
    assert leader.beats[-1].attempts == (given.attempt_id,)
    provider.proceed()
    await stopping


async def test_what_waits_for_its_turn_is_handed_back_at_once(provider: Upstream) -> None:
    async with bench(provider.url, limits={"rpm": 1, "burst": 1, "skew": 200}) as worker:
        given = [await worker.hand(worker.assignment(grant={"valid_for": 600})) for _ in range(3)]
        await eventually(worker.results)
        await asyncio.wait_for(worker.stop(), 3)
        kinds = sorted((outcome.failure.kind, outcome.called) for outcome in worker.outcomes().values())
        assert kinds == [(FailureKind.HANDED_BACK, False)] * 2
        assert len(worker.results()) == 1
        assert len(given) == 3


# -- the broker


async def test_a_result_that_was_stored_though_its_answer_was_lost_is_ours(worker: Bench) -> None:
    worker.bus.faults.replies_lost = 1
    given = await worker.hand(worker.assignment())
    await worker.result(given)
    assert worker.facts()[given.attempt_id].won
    assert len(worker.said("report.retried")) == 1


async def test_a_result_that_never_arrived_is_written_again(worker: Bench) -> None:
    worker.bus.faults.writes_lost = 2
    given = await worker.hand(worker.assignment())
    await worker.result(given)
    assert worker.facts()[given.attempt_id].won


@pytest.mark.parametrize("refusal", [Undecided("10164"), StreamFull("full"), BusError("election")])
async def test_a_result_the_broker_cannot_take_yet_is_written_again(worker: Bench, refusal: BusError) -> None:
    worker.bus.faults.refusals.extend([refusal, refusal])
    given = await worker.hand(worker.assignment())
    assert (await worker.result(given)).state is JobState.SUCCEEDED
    assert worker.facts()[given.attempt_id].won


async def test_a_lost_race_leaves_the_winner_and_costs_all_the_same(worker: Bench, provider: Upstream) -> None:
    provider.play([Do.WAIT, response(completion())])
    given = await worker.hand(worker.assignment())
    await eventually(lambda: provider.asked)
    theirs = builders.result(job=given.job_id, nonce="leader-1")
    await worker.mine.append(subjects.result(given.project, given.job_id), encode(theirs))
    provider.proceed()
    await worker.settled(given)
    fact = worker.facts()[given.attempt_id]
    assert (fact.won, fact.usage.total, fact.failure) == (False, 13, None)
    assert decode(type(theirs), worker.messages(subjects.RES)[0].data).nonce == "leader-1"


async def test_a_race_whose_answer_was_lost_is_decided_by_the_nonce(worker: Bench, provider: Upstream) -> None:
    provider.play([Do.WAIT, response(completion())])
    given = await worker.hand(worker.assignment())
    await eventually(lambda: provider.asked)
    worker.bus.faults.writes_lost = 1
    theirs = builders.result(job=given.job_id, nonce="leader-1")
    await worker.mine.append(subjects.result(given.project, given.job_id), encode(theirs))
    provider.proceed()
    await worker.settled(given)
    assert not worker.facts()[given.attempt_id].won


async def test_an_outcome_whose_answer_was_lost_is_stored_once(worker: Bench, provider: Upstream) -> None:
    provider.play([Do.RESET])
    worker.bus.faults.replies_lost = 1
    given = await worker.hand(worker.assignment())
    await worker.outcome(given)
    assert worker.broker.stream("OUT_0").last_seq == 1


async def test_a_broker_that_is_away_is_waited_for(worker: Bench, provider: Upstream) -> None:
    provider.play([Do.WAIT, response(completion())])
    given = await worker.hand(worker.assignment())
    await eventually(lambda: provider.asked)
    worker.bus.disconnect()
    provider.proceed()
    await eventually(lambda: worker.said("report.retried"))
    worker.bus.reconnect()
    await worker.result(given)
    assert worker.facts()[given.attempt_id].won


async def test_an_attempt_that_cannot_be_reported_is_left_to_the_leader(provider: Upstream) -> None:
    provider.play([Do.WAIT, response(completion())])
    async with bench(provider.url, workers={"persist": 0.2}) as worker:
        given = await worker.hand(worker.assignment())
        await eventually(lambda: provider.asked)
        worker.bus.disconnect()
        provider.proceed()
        await eventually(lambda: worker.said("report.given_up"))
        await eventually(lambda: worker.worker.pool.running == 0)
        worker.bus.reconnect()
        await eventually(worker.facts)
        assert not worker.facts()[given.attempt_id].won
        assert worker.work_left() == 1


async def test_facts_wait_for_the_ledger_and_the_acknowledgement_waits_for_them(worker: Bench) -> None:
    ledger = worker.broker.streams.pop(subjects.LEDGER)
    given = await worker.hand(worker.assignment())
    await eventually(lambda: given.job_id in worker.results() and worker.said("books.retried"))
    assert worker.work_left() == 1
    worker.broker.streams[subjects.LEDGER] = ledger
    await worker.settled(given)
    assert list(worker.facts()) == [given.attempt_id]


async def test_a_ledger_that_stays_away_stops_the_intake_at_its_bound(provider: Upstream) -> None:
    async with bench(provider.url, workers={"unsettled": 4}, slots=2) as worker:
        ledger = worker.broker.streams.pop(subjects.LEDGER)
        given = [await worker.hand(worker.assignment()) for _ in range(30)]
        await eventually(lambda: worker.worker.books.unsettled >= 4 and not worker.worker.pool.running)
        assert len(worker.results()) <= 4 + 2 * 2
        worker.broker.streams[subjects.LEDGER] = ledger
        for one in given:
            await worker.result(one)
        assert len(worker.facts()) == 30


async def test_facts_travel_together(worker: Bench) -> None:
    given = [await worker.hand(worker.assignment()) for _ in range(40)]
    for one in given:
        await worker.result(one)
    assert len(worker.facts()) == 40
    assert len(worker.messages(subjects.LEDGER)) < 40


# -- bugs


class Buggy(httpx.AsyncBaseTransport):
    """Raises what no transport should."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise KeyError("sk-secret and the prompt")


async def test_a_bug_ends_one_attempt_and_tells_nothing_of_the_content() -> None:
    async with bench("http://127.0.0.1:1", transport=Buggy()) as worker:
        for _ in range(3):
            given = await worker.hand(worker.assignment())
            outcome = await worker.outcome(given)
            assert outcome.failure.kind is FailureKind.INTERNAL
            assert outcome.failure.message == "the worker failed unexpectedly (KeyError)"
            assert worker.facts()[given.attempt_id].usage.reported is False
        assert "sk-secret" not in str(worker.events)


async def test_no_event_of_any_failure_tells_the_key_or_the_prompt(worker: Bench, provider: Upstream) -> None:
    scripts: list[list[Step]] = [
        [Do.RESET],
        [b"junk\r\n\r\n", Do.CLOSE],
        [response("sk-alpha", status=401)],
        [head(), Do.CLOSE],
    ]
    for script in scripts:
        provider.play(script)
        job = builders.job(f"stem-9{len(worker.outcomes())}", conversation=builders.conversation("the secret prompt"))
        await worker.outcome(await worker.hand(worker.assignment(job=job)))
    assert len(worker.said("attempt.ended")) == 4
    assert "sk-alpha" not in str(worker.events)
    assert "secret prompt" not in str(worker.events)
