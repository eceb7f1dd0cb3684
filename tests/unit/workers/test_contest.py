"""An attempt that is late, or runs beside a late one: what its worker tells of it, and whose tokens are shown.

Caught here: tokens of both of two attempts in one stream, a loser that goes on or looks cancelled, news of a late one
that waits for the next beat, an attempt that is called late although it has begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from job_contracts import subjects
from job_contracts.attempts import Abort, Assignment, Heartbeat, HeartbeatReply
from job_contracts.codec import decode, encode
from job_contracts.failures import FailureKind
from job_contracts.stream import Chunk, Delta, StartDelta, TextDelta
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Message
from runtime.connection import declared
from tests.support.eventually import eventually
from tests.support.upstream import Do, Upstream, chunk, completion, event, head, response, stream, upstream
from tests.support.worker import POOL, Bench, bench, config
from workers.contest import shown_first

LATE = 0.1
START = StartDelta(deployment="beta/m", provider="beta", model="m")
SAID = TextDelta(text="of the other")


@pytest.fixture
async def provider() -> AsyncIterator[Upstream]:
    async with upstream([response(completion())]) as server:
        yield server


@pytest.fixture
async def worker(provider: Upstream) -> AsyncIterator[Bench]:
    async with bench(provider.url, workers={"beat_every": 30.0}) as made:
        yield made


class Leader:
    def __init__(self) -> None:
        self.beats: list[Heartbeat] = []

    async def answer(self, message: Message) -> bytes:
        self.beats.append(decode(Heartbeat, message.data))
        return encode(HeartbeatReply())

    def told(self, which: str) -> set[str]:
        return {name for beat in self.beats for name in getattr(beat, which)}


@pytest.fixture
async def leader(worker: Bench) -> Leader:
    made = Leader()
    await worker.mine.respond(subjects.heartbeat("*", "*"), made.answer)
    return made


async def tell(worker: Bench, of: Assignment, generation: int, *deltas: Delta) -> None:
    """The other attempt of that job shows something."""
    data = encode(Chunk(generation=generation, sequence=1, deltas=deltas))
    await worker.mine.append(subjects.tokens(of.project, of.job_id), data)


def texts(chunks: list[Chunk]) -> dict[int, str]:
    said: dict[int, str] = {}
    for one in chunks:
        for delta in one.deltas:
            if isinstance(delta, TextDelta):
                said[one.generation] = said.get(one.generation, "") + delta.text
    return said


def has_begun(worker: Bench, given: Assignment) -> bool:
    return texts(worker.chunks(given)) == {1: "Hello"}


async def passed(seconds: float) -> None:
    """So much time has passed, in which something could have happened."""
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    await eventually(lambda: clock() >= until)


# -- late


@pytest.mark.parametrize("streamed", [True, False])
async def test_an_attempt_that_is_late_is_told_at_once_and_no_more_when_it_has_answered(
    worker: Bench, provider: Upstream, leader: Leader, streamed: bool
) -> None:
    answer = [chunk(event("Hel")), Do.STEP, *stream("lo")[1:]] if streamed else [response(completion())]
    provider.play([*([head()] if streamed else []), Do.WAIT, *answer])
    given = await worker.hand(worker.assignment(stream=streamed, late_after=LATE))
    await eventually(lambda: given.attempt_id in leader.told("late"), within=2.0, says="nobody is told")
    provider.proceed()
    if streamed:
        await eventually(lambda: leader.told("begun"), within=2.0, says="nobody is told")
        provider.step()
    await worker.result(given)
    assert leader.told("begun") == ({given.attempt_id} if streamed else set())
    assert worker.worker.pool.late() == ()
    assert worker.facts()[given.attempt_id].reason == "user"


async def test_an_attempt_that_begins_in_time_tells_nobody(worker: Bench, provider: Upstream, leader: Leader) -> None:
    provider.play([head(), chunk(event("Hello")), Do.STEP, *stream()[1:]])
    clock, late_after = asyncio.get_running_loop().time, 3 * LATE
    for _ in range(20):
        began = clock()
        given = await worker.hand(worker.assignment(stream=True, late_after=late_after))
        await eventually(partial(has_begun, worker, given))
        in_time = clock() - began < late_after
        if in_time:
            await passed(late_after + LATE)
            assert worker.worker.pool.late() == worker.worker.pool.begun() == ()
        provider.step()
        await worker.result(given)
        if in_time:
            break
    else:
        pytest.fail("none of 20 began in time")
    assert given.attempt_id not in leader.told("late")


# -- who is shown


async def test_the_tokens_of_a_hedge_are_shown_when_the_other_one_has_only_started(
    worker: Bench, provider: Upstream, leader: Leader
) -> None:
    provider.play([head(), Do.WAIT, chunk(event("Hel")), Do.STEP, *stream("lo")[1:]])
    given = await worker.hand(worker.assignment(stream=True, attempt=2, hedge=True))
    await eventually(lambda: provider.asked)
    await tell(worker, given, 1, START)
    provider.proceed()
    await eventually(lambda: leader.told("begun"), within=2.0, says="nobody is told")  # a beat tells who is in hand
    provider.step()
    await worker.result(given)
    chunks = worker.chunks(given)
    assert texts(chunks) == {2: "Hello"}
    assert [one.sequence for one in chunks if one.generation == 2][0] == 1  # noqa: RUF015
    assert isinstance(chunks[1].deltas[0], StartDelta)
    assert leader.told("begun") == {given.attempt_id}
    assert worker.facts()[given.attempt_id].won


async def test_a_hedge_shows_nothing_before_its_first_token(worker: Bench, provider: Upstream) -> None:
    provider.play([head(), Do.WAIT, *stream("Hello")[1:]])
    given = await worker.hand(worker.assignment(stream=True, attempt=2, hedge=True))
    await eventually(lambda: provider.asked)
    await passed(0.1)
    assert worker.chunks(given) == []
    provider.proceed()
    await worker.result(given)


async def test_a_hedge_whose_job_is_shown_already_stops_and_costs_what_it_cost(
    worker: Bench, provider: Upstream
) -> None:
    provider.play([head(), Do.WAIT, chunk(event("Hello")), Do.HANG])
    given = await worker.hand(worker.assignment(stream=True, attempt=2, hedge=True))
    await eventually(lambda: provider.asked)
    await tell(worker, given, 1, START, SAID)
    provider.proceed()
    outcome = await worker.outcome(given)
    assert (outcome.failure.kind, outcome.hedge, outcome.called) == (FailureKind.HANDED_BACK, True, True)
    assert outcome.failure.message == "another attempt of the job was faster"
    fact = worker.facts()[given.attempt_id]
    assert (fact.reason, fact.won) == ("hedged", False)
    assert fact.usage.total > 0
    assert texts(worker.chunks(given)) == {1: "of the other"}
    assert worker.results() == {}


async def test_a_late_one_whose_hedge_is_shown_stops_at_its_first_token(
    worker: Bench, provider: Upstream, leader: Leader
) -> None:
    provider.play([head(), Do.WAIT, chunk(event("Hello")), Do.HANG])
    given = await worker.hand(worker.assignment(stream=True, late_after=LATE))
    await eventually(lambda: leader.told("late"))
    await tell(worker, given, 2, START, SAID)
    provider.proceed()
    outcome = await worker.outcome(given)
    assert (outcome.failure.kind, outcome.hedge) == (FailureKind.HANDED_BACK, False)
    assert texts(worker.chunks(given)) == {2: "of the other"}
    assert worker.facts()[given.attempt_id].reason == "hedged"


async def test_tokens_of_an_attempt_before_both_keep_nobody_from_being_shown(worker: Bench, provider: Upstream) -> None:
    provider.play(stream("Hello"))
    given = worker.assignment(stream=True, attempt=3, hedge=True)
    await tell(worker, given, 1, START, SAID)
    await worker.hand(given)
    await worker.result(given)
    assert texts(worker.chunks(given)) == {1: "of the other", 3: "Hello"}


@pytest.mark.parametrize("when", ["during", "before"])
async def test_one_that_is_stopped_because_another_was_faster_is_no_cancelled_job(
    worker: Bench, provider: Upstream, when: str
) -> None:
    provider.play([Do.HANG])
    given = worker.assignment(attempt=2, hedge=True)
    abort = encode(Abort(attempts=(given.attempt_id,), reason="outrun"))
    if when == "before":
        await worker.mine.publish(subjects.abort(POOL), abort)
        await worker.hand(given)
    else:
        await worker.hand(given)
        await eventually(lambda: provider.asked)
        await worker.mine.publish(subjects.abort(POOL), abort)
    outcome = await worker.outcome(given)
    assert (outcome.failure.kind, outcome.called) == (FailureKind.HANDED_BACK, when == "during")
    assert {fact.reason for fact in worker.facts().values()} == ({"hedged"} if when == "during" else set())


async def test_a_plain_answer_that_comes_second_is_paid_for_as_a_hedge(worker: Bench, provider: Upstream) -> None:
    provider.play([Do.WAIT, response(completion())])
    given = await worker.hand(worker.assignment(attempt=2, hedge=True))
    await eventually(lambda: provider.asked)
    await worker.mine.append(subjects.result(given.project, given.job_id), b"{}", expect_last=0)
    provider.proceed()
    await worker.settled(given)
    fact = worker.facts()[given.attempt_id]
    assert (fact.reason, fact.won) == ("hedged", False)


async def test_of_two_that_claim_at_the_same_moment_exactly_one_is_shown() -> None:
    broker = MemoryBroker()
    await broker.bus().ensure(declared(config("http://127.0.0.1:1")))
    for n in range(50):
        subject = subjects.tokens("demo", f"a-{n}")
        pair = [Chunk(generation=g, sequence=1, deltas=(START, SAID)) for g in (1, 2)]
        shown = await asyncio.gather(*(shown_first(broker.bus(), subject, one) for one in pair[:: 1 if n % 2 else -1]))
        assert sorted(shown) == [False, True]
