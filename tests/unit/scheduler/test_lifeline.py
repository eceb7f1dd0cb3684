"""Lost attempts: found when a worker is silent, not when the leader itself was away or is no longer trusted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

import scheduler.lifeline
from job_contracts import subjects
from job_contracts.attempts import Heartbeat, HeartbeatReply
from job_contracts.codec import decode, encode
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import Message
from runtime.connection import declared
from runtime.telemetry import Telemetry
from scheduler.endings import Endings
from scheduler.headroom import FULL
from scheduler.intake import Intake
from scheduler.leadership import Lease
from scheduler.lifeline import Lifeline
from scheduler.outcomes import Outcomes
from scheduler.policy.board import Board
from scheduler.policy.facts import AttemptEnded, Begun, Late
from scheduler.policy.resolving import rules_from
from scheduler.refilling import Refilling
from scheduler.term import Term
from tests.support.builders import assignment, job
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.world import CATALOGUE, config

MISSED = 10.0


class Scene:
    """A lifeline of its own, with a clock that is turned by hand."""

    def __init__(self, term: Term, clock: ManualClock) -> None:
        self.term = term
        self.clock = clock
        self.lifeline = Lifeline(term)
        endings = Endings(term)
        refilling = Refilling(term, Intake(term, endings).on_unread)
        self.outcomes = Outcomes(term, self.lifeline, endings, refilling)
        self.ended: list[AttemptEnded] = []
        apply = term.board.apply

        def noting(fact: object, now: float) -> None:
            if isinstance(fact, AttemptEnded):
                self.ended.append(fact)
            apply(fact, now)  # type: ignore[arg-type]

        term.board.apply = noting  # type: ignore[method-assign]

    async def beat(self, *attempts: str) -> bytes:
        beat = Heartbeat(pool="alpha", worker="w1", slots=4, attempts=attempts)
        return await self.lifeline.on_heartbeat(Message(subjects.heartbeat("alpha", "w1"), encode(beat)))

    async def fetched(self) -> None:
        """An attempt of ``demo``'s job ``a-1`` lies in WORK and was handed to a worker."""
        order = assignment(job("a-1"), project="demo", deployment="alpha/m")
        seq = (await self.term.bus.append(subjects.work(0, "alpha", "demo", "a-1"), encode(order))).seq
        puller = await self.term.bus.pull(self.term.stream(subjects.WORK), "alpha")
        assert await puller.fetch(1, expires=5.0)
        await puller.close()
        self.lifeline.dispatched("demo", "a-1", 1, "alpha/m", seq)

    async def looks(self, count: int = 3) -> None:
        """Let the watch look a few times, whatever the manual clock says."""
        for _ in range(count):
            await asyncio.wait({self.watching}, timeout=scheduler.lifeline.LOOK * 1.5)

    watching: asyncio.Task[None]


@pytest.fixture
async def scene(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    """``param``: seconds until a worker is missed."""
    monkeypatch.setattr(scheduler.lifeline, "LOOK", 0.01)
    bus, clock = MemoryBroker().bus(), ManualClock()
    made = config(scheduler={"beat_missed": getattr(request, "param", MISSED)})
    await bus.ensure(declared(made))
    lease = Lease(bus, clock, Telemetry(), shard=0, owner="s", lease=8.0)
    await lease.acquire(asyncio.Event())
    term = Term(bus, clock, Telemetry(), made, lease, Board(rules_from(made, CATALOGUE), now=clock.monotonic()))
    running = Scene(term, clock)
    running.outcomes.replay()
    tail = await bus.tail(term.stream(subjects.OUT), running.outcomes.on_outcome)
    running.watching = asyncio.create_task(running.lifeline.watch())
    yield running
    running.watching.cancel()
    await asyncio.gather(running.watching, return_exceptions=True)
    await tail.close()
    await term.background.stop()


async def keep_leading(scene: Scene) -> None:
    """Renew, so that the term is trusted."""
    await scene.term.lease.write()


async def test_an_attempt_that_is_claimed_is_not_lost_however_long_it_takes(scene: Scene) -> None:
    scene.lifeline.dispatched("demo", "a-1", 1, "alpha/m")
    for _ in range(30):
        scene.clock.advance(1.0)
        await keep_leading(scene)
        await scene.beat("demo.a-1.1")
        await scene.looks(1)
    assert not scene.ended


async def test_an_attempt_whose_worker_falls_silent_is_lost_after_the_missed_beats(scene: Scene) -> None:
    await scene.fetched()
    await scene.beat("demo.a-1.1")
    for _ in range(int(MISSED) - 1):
        scene.clock.advance(1.0)
        await keep_leading(scene)
        await scene.looks(1)
    assert not scene.ended
    for _ in range(3):
        scene.clock.advance(1.0)
        await keep_leading(scene)
        await scene.looks(1)
    await eventually(lambda: [fact.failure.kind.value for fact in scene.ended] == ["worker_lost"])
    assert not scene.lifeline.flights
    assert not scene.lifeline.workers


async def test_nobodys_silence_counts_while_the_leader_itself_was_away(scene: Scene) -> None:
    scene.lifeline.dispatched("demo", "a-1", 1, "alpha/m")
    await scene.beat("demo.a-1.1")
    await scene.looks()
    scene.clock.advance(60.0)
    await keep_leading(scene)
    await scene.looks()
    assert not scene.ended
    assert scene.lifeline.workers


@pytest.mark.parametrize("scene", [2.0], indirect=True, ids=["missed after 2 s"])
async def test_a_short_pause_of_the_leader_counts_for_nobodys_silence_where_workers_are_missed_soon(
    scene: Scene,
) -> None:
    async def goes_by(seconds: float) -> None:
        scene.clock.advance(seconds)
        await keep_leading(scene)
        await scene.looks()

    await scene.fetched()
    await scene.beat("demo.a-1.1")
    await scene.looks()
    await goes_by(0.4)
    await goes_by(1.9)
    assert not scene.ended
    assert scene.lifeline.workers
    for _ in range(4):
        await goes_by(0.45)
    await eventually(lambda: [fact.failure.kind.value for fact in scene.ended] == ["worker_lost"])
    assert not scene.lifeline.workers


async def test_a_leader_that_is_no_longer_trusted_declares_nothing_lost(scene: Scene) -> None:
    scene.lifeline.dispatched("demo", "a-1", 1, "alpha/m")
    for _ in range(40):
        scene.clock.advance(1.0)
        await scene.looks(1)
    assert not scene.ended


async def test_an_abort_is_repeated_with_every_beat_until_the_attempt_has_ended(scene: Scene) -> None:
    scene.lifeline.dispatched("demo", "a-1", 1, "alpha/m")
    scene.lifeline.abort("demo", "a-1", 1, "alpha/m")
    assert b"demo.a-1.1" in await scene.beat("demo.a-1.1")
    assert b"demo.a-1.1" in await scene.beat("demo.a-1.1")
    scene.lifeline.ended("demo", "a-1", 1)
    assert b"demo.a-1.1" not in await scene.beat("demo.a-1.1")


async def test_nobodys_silence_counts_while_the_broker_was_away(scene: Scene) -> None:
    await scene.fetched()
    await scene.beat("demo.a-1.1")
    for _ in range(int(MISSED) * 2):  # no renewal is answered and no beat is heard
        scene.clock.advance(1.0)
        await scene.looks(1)
    await keep_leading(scene)
    await scene.looks()
    assert not scene.ended
    assert scene.lifeline.workers


async def test_an_attempt_that_is_still_being_stored_is_not_lost(scene: Scene) -> None:
    scene.lifeline.dispatched("demo", "a-1", 1, "alpha/m")
    for _ in range(int(MISSED) * 2):
        scene.clock.advance(1.0)
        await keep_leading(scene)
        await scene.looks(1)
    assert not scene.ended


async def test_beats_and_aborts_mean_one_projects_attempt(scene: Scene) -> None:
    scene.lifeline.dispatched("demo", "key-1", 1, "alpha/m")
    scene.lifeline.dispatched("other", "key-1", 1, "alpha/m")
    scene.clock.advance(1.0)
    scene.lifeline.abort("demo", "key-1", 1, "alpha/m")
    assert b"demo.key-1.1" not in await scene.beat("other.key-1.1")
    mine, theirs = scene.lifeline.flights[("demo", "key-1")], scene.lifeline.flights[("other", "key-1")]
    assert theirs.claimed == scene.clock.monotonic() > mine.claimed


async def test_an_abort_of_an_attempt_that_is_over_is_forgotten(scene: Scene) -> None:
    scene.lifeline.abort("demo", "a-1", 1, "alpha/m")
    assert b"demo.a-1.1" in await scene.beat("demo.a-1.1")
    await scene.looks()
    assert b"demo.a-1.1" in await scene.beat("demo.a-1.1")
    await scene.beat()
    await scene.looks()
    assert b"demo.a-1.1" not in await scene.beat("demo.a-1.1")


async def test_room_in_work_is_counted_in_messages_and_in_bytes_and_upward_only_between_looks(scene: Scene) -> None:
    work, bus = scene.lifeline.work, scene.term.bus
    assert isinstance(bus, MemoryBus)
    limit = int(scene.term.config.nats.max_work_messages * FULL)
    bus.broker.stream("WORK_0").config["max_bytes"] = 100_000
    assert work.messages == 0  # not known yet
    await work.ensure(1, 1)
    assert work.messages == limit
    await scene.fetched()
    await bus.append(subjects.work(0, "alpha", "demo", "a-2"), b"x" * 40_000)
    await work.look()
    assert work.messages == limit - 2  # one in flight, one that nobody waits for
    before = work.bytes
    assert 30_000 < before < 40_000
    work.stored(3, 50_000)
    assert (work.messages, work.bytes) == (limit - 5, 0)
    await work.look()
    assert (work.messages, work.bytes) == (limit - 2, before)


def numbers(scene: Scene) -> tuple[int | None, int | None]:
    flights = (scene.lifeline.flights.get(("demo", "a-1")), scene.lifeline.hedges.get(("demo", "a-1")))
    first, second = (None if flight is None else flight.attempt for flight in flights)
    return first, second


@pytest.mark.parametrize(
    ("ends", "left"),
    [([1], (2, None)), ([2], (1, None)), ([1, 2], (None, None)), ([2, 1], (None, None)), ([0], (1, 2))],
)
async def test_of_two_attempts_in_flight_the_one_that_has_not_ended_is_left(
    scene: Scene, ends: list[int], left: tuple[int | None, int | None]
) -> None:
    scene.lifeline.dispatched("demo", "a-1", 1, "alpha/m", 5)
    scene.lifeline.dispatched("demo", "a-1", 2, "beta/m", hedge=True)
    scene.lifeline.stored("demo", "a-1", 2, 6)
    assert scene.lifeline.hedges["demo", "a-1"].seq == 6
    for attempt in ends:
        scene.lifeline.ended("demo", "a-1", attempt)
    assert numbers(scene) == left
    scene.lifeline.forget("demo", "a-1")
    assert numbers(scene) == (None, None)


async def test_a_hedge_that_is_alone_in_work_is_the_attempt(scene: Scene) -> None:
    scene.lifeline.dispatched("demo", "a-1", 2, "beta/m", 6, hedge=True)
    assert numbers(scene) == (2, None)
    assert scene.lifeline.flights["demo", "a-1"].hedge


async def test_an_attempt_that_was_outrun_is_stopped_with_every_beat_and_told_why(scene: Scene) -> None:
    scene.lifeline.dispatched("demo", "a-1", 1, "alpha/m", 5)
    scene.lifeline.abort("demo", "a-1", 1, "alpha/m", outrun=True)
    for _ in range(2):
        reply = decode(HeartbeatReply, await scene.beat("demo.a-1.1"))
        assert reply.abort == reply.outrun == ("demo.a-1.1",)


async def test_what_was_outrun_is_forgotten_with_its_job(scene: Scene) -> None:
    scene.lifeline.dispatched("demo", "a-1", 1, "alpha/m", 5)
    scene.lifeline.abort("demo", "a-1", 1, "alpha/m", outrun=True)
    scene.lifeline.forget("demo", "a-1")
    assert not scene.lifeline._aborts
    assert not scene.lifeline._outrun


async def test_only_the_pool_that_makes_an_attempt_can_call_it_late(scene: Scene) -> None:
    scene.lifeline.dispatched("demo", "a-1", 1, "beta/m", 5)
    scene.lifeline.dispatched("demo", "b-1", 1, "alpha/m", 6)
    heard: list[object] = []

    def note(fact: object, now: float) -> None:
        heard.append((fact, now))

    scene.term.board.apply = note  # type: ignore[method-assign]
    names = ("demo.a-1.1", "demo.b-1.1", "demo.b-1.2", "demo.c-1.1", "nonsense")
    beat = Heartbeat(pool="alpha", worker="w1", slots=4, late=names, begun=("demo.b-1.1",))
    await scene.lifeline.on_heartbeat(Message(subjects.heartbeat("alpha", "w1"), encode(beat)))
    now = scene.clock.monotonic()
    assert heard[-2:] == [(Late("demo", "b-1", 1), now), (Begun("demo", "b-1", 1), now)]
    assert len(heard) == 3, "and that the pool is there"
