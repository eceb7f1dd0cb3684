"""What is told of each pool: reckoned by the leader, repeated by who stands by, and not at all once it is old."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from job_contracts import subjects
from job_contracts.attempts import Heartbeat
from job_contracts.codec import encode
from job_contracts.scaling import PoolScale, Scales
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Message
from runtime.connection import declared
from runtime.health import Health
from runtime.telemetry import Metrics, Telemetry
from scheduler.leadership import Lease
from scheduler.lifeline import Lifeline
from scheduler.policy.board import Board
from scheduler.policy.resolving import rules_from
from scheduler.policy.scaling import UP
from scheduler.scaling import STALE, Figures, Scaling
from scheduler.term import Term
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.world import CATALOGUE, config
from tests.unit.scheduler_policy import made

SLOTS = 50


class Scene:
    """A leader's board and lifeline without anything around them, under a clock that is turned by hand."""

    def __init__(self, term: Term, clock: ManualClock) -> None:
        self.term = term
        self.clock = clock
        self.lifeline = Lifeline(term)
        self.scaling = Scaling(term, self.lifeline)

    async def beat(self, worker: str, slots: int, *, draining: bool = False, pool: str = "alpha") -> None:
        beat = Heartbeat(pool=pool, worker=worker, slots=slots, draining=draining)
        await self.lifeline.on_heartbeat(Message(subjects.heartbeat(pool, worker), encode(beat)))

    def waits(self, count: int) -> None:
        now = self.clock.monotonic()
        for seq in range(1, count + 1):
            self.term.board.apply(made.job(seq, project="demo", route="fast", submitted=now), now)

    def takes(self, times: int = 1) -> PoolScale:
        """The last of so many reckonings, of pool ``alpha``."""
        found = []
        for _ in range(times):
            found = [scale for scale in self.scaling.take().pools if scale.pool == "alpha"]
            self.clock.advance(UP / 2)
        return found[0]


@pytest.fixture
async def scene() -> Scene:
    bus, clock = MemoryBroker().bus(), ManualClock()
    alpha = {"dialect": "openai_chat", "base_url": "http://127.0.0.1:1", "slots": SLOTS}
    wanted = config(providers={"alpha": alpha}, routes={"fast": {"deployments": ["alpha/m"]}})
    await bus.ensure(declared(wanted))
    lease = Lease(bus, clock, Telemetry(), shard=0, owner="s", lease=8.0)
    await lease.acquire(asyncio.Event())
    board = Board(rules_from(wanted, CATALOGUE), now=clock.monotonic(), wall=clock.wall())
    return Scene(Term(bus, clock, Telemetry(), wanted, lease, board), clock)


def told(desired: int, pool: str = "alpha") -> Scales:
    scale = PoolScale(pool=pool, desired=desired, needed=1, workers=1, slots=8, in_flight=0, waiting=0, held_back=0)
    return Scales(at=0.0, pools=(scale,))


def serving(figures: Figures) -> Health:
    health = Health(Telemetry(), Metrics("test"))
    figures.serve(health, ("alpha", "beta"))
    return health


def asked(health: Health, path: str) -> tuple[int, Mapping[str, Any]]:
    status, kind, body = health.find(path, "")
    assert kind == "application/json"
    return status, json.loads(body)


# -- the leader's reckoning


async def test_workers_are_counted_in_the_slots_of_those_that_live(scene: Scene) -> None:
    await scene.beat("w1", 10)
    await scene.beat("w2", 30)
    scene.waits(600)  # five seconds each, as long as nothing is known: a hundred places begin them within half a minute
    scale = scene.takes()
    assert (scale.workers, scale.slots, scale.waiting) == (2, 20, 600)
    assert (scale.needed, scale.desired) == (5, 2)
    assert scene.takes(2).desired == 5


async def test_without_a_worker_the_configured_slots_count(scene: Scene) -> None:
    scene.waits(1_200)
    scale = scene.takes()
    assert (scale.workers, scale.slots) == (0, SLOTS)
    assert (scale.needed, scale.desired) == (4, 1)
    assert scene.takes(2).desired == 4


async def test_a_worker_that_drains_is_none(scene: Scene) -> None:
    await scene.beat("w1", 10)
    await scene.beat("w2", 30, draining=True)
    scale = scene.takes()
    assert (scale.workers, scale.slots) == (1, 10)


async def test_who_has_heard_nothing_starts_from_the_workers_that_live(scene: Scene) -> None:
    for name in ("w1", "w2", "w3"):
        await scene.beat(name, 10)
    assert scene.takes(5).desired == 3


async def test_who_takes_over_starts_from_what_was_told_last(scene: Scene) -> None:
    await scene.beat("w1", 10)
    scene.term.figures.tell(told(7))
    assert scene.takes(5).desired == 7


async def test_who_has_heard_nothing_first_hears_which_workers_there_are(scene: Scene) -> None:
    running = asyncio.create_task(scene.scaling.run())
    await asyncio.sleep(0)
    assert scene.term.figures.fresh is None
    await scene.beat("w1", 10)
    await eventually(lambda: scene.term.figures.desired().get("alpha") == 1.0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_who_leads_no_more_tells_nothing(scene: Scene) -> None:
    await scene.scaling.tell()
    assert scene.term.figures.fresh is not None
    scene.clock.advance(STALE + 1)
    assert not scene.term.lease.trusted
    await scene.scaling.tell()
    assert scene.term.figures.fresh is None


# -- what others hear of it


async def test_who_stands_by_hears_it_and_takes_what_cannot_be_read_for_nothing() -> None:
    broker, clock = MemoryBroker(), ManualClock()
    figures = Figures(clock)
    await figures.follow(broker.bus(), 0)
    await figures.follow(broker.bus(), 0)
    leader = broker.bus()
    await leader.publish(subjects.scaling(0), b'{"version": "9.0", "at": 1}')
    await leader.publish(subjects.scaling(1), encode(told(9)))
    await leader.publish(subjects.scaling(0), encode(told(3)))
    await eventually(lambda: figures.desired() == {"alpha": 3.0})
    await figures.close()
    await figures.close()
    await leader.publish(subjects.scaling(0), encode(told(4)))
    await asyncio.sleep(0)
    assert figures.desired() == {"alpha": 3.0}


def test_an_autoscaler_finds_a_number_where_it_looks_for_one() -> None:
    figures = Figures(ManualClock())
    health = serving(figures)
    figures.tell(told(3))
    status, body = asked(health, "/autoscale/alpha")
    assert status == 200
    assert body["desired"] == 3
    assert type(body["desired"]) is int
    assert asked(health, "/autoscale") == (200, {"pools": {"alpha": body}})


def test_a_pool_that_there_is_not_is_not_found() -> None:
    assert asked(serving(Figures(ManualClock())), "/autoscale/gamma")[0] == 404


def test_what_is_not_known_or_old_is_no_number() -> None:
    clock = ManualClock()
    figures, metrics = Figures(clock), Metrics("test")
    metrics.family("desired_workers", "Workers", "pool", figures.desired)
    health = serving(figures)
    assert asked(health, "/autoscale/alpha")[0] == 503
    figures.tell(told(3))
    assert 'penstock_desired_workers{pool="alpha"} 3.0' in metrics.exposition()[1].decode()
    assert asked(health, "/autoscale/beta")[0] == 503
    clock.advance(STALE + 1)
    assert asked(health, "/autoscale/alpha")[0] == 503
    assert asked(health, "/autoscale")[0] == 503
    assert "penstock_desired_workers{" not in metrics.exposition()[1].decode()
