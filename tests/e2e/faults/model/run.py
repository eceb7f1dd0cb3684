"""One run of the real scheduler services over virtual time: jobs, faults by a seed, and a history to be judged.

Three schedulers stand by on one memory broker, two workers serve each of two pools, producers submit, cancel and submit
again. For ``FAULTY`` seconds things go wrong as the seed has it; then they stop, and everything must come to its end.
"""

from __future__ import annotations

import asyncio
import random as everybodys
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from job_contracts import subjects
from job_contracts.attempts import Assignment
from job_contracts.chat import Conversation, UserTurn
from job_contracts.codec import encode
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import LANES, Cancel, Job, Ticket, body_hash
from runtime.bus.port import BusError, Refused
from runtime.connection import declared
from runtime.settings import Config
from runtime.telemetry import Telemetry
from scheduler.policy.board import Board
from scheduler.service import Scheduler
from tests.e2e.faults.model.fleet import Ends, Provider, Worker
from tests.e2e.faults.model.invariants import Verdict, ledger_problems, problems
from tests.e2e.faults.model.loop import NETWORK, Process, Stuck, VirtualClock, VirtualLoop, run_virtual
from tests.e2e.faults.model.network import Event, History, Key, ModelBroker, ModelBus, Weather
from tests.e2e.faults.model.ordering import Operator, problems_of_orders, with_orders
from tests.support.world import CATALOGUE

FAULTY = 20.0
"""Seconds in which things go wrong."""
PATIENCE = 90.0
"""Seconds after that in which every job must have ended."""
LEASE = 3.0
BAD = (
    *(FailureKind.SERVER_ERROR, FailureKind.OVERLOADED, FailureKind.CONNECT, FailureKind.STALLED),
    *(FailureKind.BAD_REQUEST, FailureKind.STREAM_TRUNCATED, FailureKind.RATE_LIMIT),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a run is made of; everything else follows from its seed."""

    seed: int
    jobs: int = 60
    faults: int = 8
    schedulers: int = 3
    replicas: int = 1
    failing: float = 0.2
    """Share of calls that fail."""
    seconds: float = 1.0
    """Factor on how long calls take."""
    used: tuple[float, ...] = (0.2, 1.0)
    """Shares of its reservation that a call may use."""
    kinds: tuple[str, ...] = ()
    """Of faults; empty for all."""
    ttl: int = 3_600
    orders: int = 0
    """Of an operator."""


def shape_of(seed: int, **over: Any) -> Shape:
    """The shape that a seed stands for."""
    random = Random(seed)
    made = Shape(
        seed,
        jobs=random.choice([20, 60, 100]),
        faults=random.choice([2, 6, 12]),
        replicas=random.choice([1, 3]),
        failing=random.choice([0.0, 0.2, 0.4]),
        seconds=random.choice([1.0, 1.0, 4.0]),
    )
    return replace(made, **over)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a run does, as lists from which single entries can be taken away."""

    shape: Shape
    jobs: tuple[int, ...]
    """Numbers of jobs; each has a generator of its own."""
    faults: tuple[tuple[float, str, int], ...]
    """When, what, and the number of its generator."""

    def __len__(self) -> int:
        return len(self.jobs) + len(self.faults)


def plan_of(shape: Shape) -> Plan:
    """What the seed of a shape stands for."""
    random = Random(shape.seed)
    kinds = shape.kinds or (
        *("pause leader", "kill leader", "stop leader", "kill worker", "pause worker", "cut"),
        *("weather", "weather", "weather"),
    )
    faults = sorted((random.uniform(0.2, FAULTY), random.choice(kinds), n) for n in range(shape.faults))
    return Plan(shape, tuple(range(shape.jobs)), tuple(faults))


def config_of(shape: Shape) -> Config:
    """Two pools with limits that bind, a route over both and one over each, three projects."""
    limits = {"rpm": 360, "input_tpm": 60_000, "window": 10.0, "burst": 0.1, "skew": 1.0}
    values: dict[str, Any] = {
        "providers": {
            "alpha": {"dialect": "openai_chat", "base_url": "http://127.0.0.1:1", "key": "k", "limits": limits},
            "beta": {"dialect": "openai_chat", "base_url": "http://127.0.0.1:1", "key": "k", "limits": limits},
        },
        "routes": {
            "fast": {"deployments": ["alpha/m", "beta/m"], "expected_output": 20},
            "one": {"deployments": ["alpha/m"], "expected_output": 20},
        },
        "projects": {
            "demo": {"retry_share": 1.0},
            "other": {"retry_share": 1.0},
            "few": {"max_in_flight": 3, "retry_share": 1.0},
        },
        "scheduler": {"lease": LEASE, "renew": 0.5, "beat_missed": 1.5, "grant_valid": 2.0, "reconcile_every": 1.0},
        "nats": {"replicas": shape.replicas, "result_ttl": shape.ttl},
    }
    return Config.model_validate(with_orders(values) if shape.orders else values)


@dataclass
class Node:
    """A scheduler process."""

    process: Process
    bus: ModelBus
    scheduler: Scheduler
    lost: list[str] = field(default_factory=list)


class Run:
    """See the module."""

    def __init__(self, plan: Plan, loop: VirtualLoop, weather: Weather | None = None) -> None:
        self.plan = plan
        self.shape = shape = plan.shape
        self.loop = loop
        self.clock = VirtualClock(loop)
        self.history = History()
        self.broker = ModelBroker(self.clock, self.history)
        self.config = config_of(shape)
        self.provider = Provider(self.history, self.clock)
        self.fair = weather or Weather()
        self.nodes: list[Node] = []
        self.workers: list[Worker] = []
        self.names = 0
        self.ledger: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def _chance(self, what: str) -> Random:
        """A generator for one thing alone, so that whatever else happens leaves it as it is."""
        return Random(f"{self.shape.seed} {what}")

    # ------------------------------------------------------------------------------------------------------- the parts

    def _bus(self, who: str) -> ModelBus:
        bus = ModelBus(self.broker, who, self._chance(who))
        bus.weather = replace(self.fair)
        return bus

    async def scheduler(self) -> Node:
        """One more scheduler."""
        self.names += 1
        name = f"s{self.names}"
        process = Process(name)
        bus = self._bus(name)
        telemetry = Telemetry()
        scheduler = Scheduler(bus, self.clock, telemetry, self.config, CATALOGUE, owner=name, version="model")
        node = Node(process, bus, scheduler)
        telemetry.subscribe(lambda event: self._heard(name, event), lowest=0)
        process.start(scheduler.start())
        self.nodes.append(node)
        return node

    def _heard(self, who: str, event: Any) -> None:
        if event.name in {"attempt.lost", "term.began", "term.ended", "lease.lost", "term.failed"}:
            self.history.note(Event(self.loop.now, event.name, who=who, told=dict(event.fields)))

    def worker(self, pool: str) -> Worker:
        """One more worker of a pool."""
        self.names += 1
        name = f"w{self.names}"
        process = Process(name)
        worker = Worker(
            pool,
            name,
            self._bus(name),
            process,
            self.clock,
            self.provider,
            self.behave,
            self._chance(f"calls of {name}"),
            self.shape.ttl,
        )
        self.workers.append(worker.start())
        return worker

    def behave(self, order: Assignment, random: Random) -> Ends:
        """What a call comes to."""
        seconds = random.choice([0.05, 0.2, 0.5, 2.0]) * random.uniform(0.5, 1.5) * self.shape.seconds
        if random.random() >= self.shape.failing:
            return Ends(seconds, used=random.choice(self.shape.used))
        kind = random.choice(BAD)
        return Ends(min(seconds, 0.3), Failure(kind=kind, message="made up", deployment=order.deployment))

    # ------------------------------------------------------------------------------------------------------- producers

    async def _stored(self, bus: ModelBus, subject: str, data: bytes, headers: dict[str, str] | None = None) -> float:
        """Publish until the broker has said that it is stored; when it said so."""
        while True:
            try:
                await bus.append(subject, data, headers=headers)
            except Refused:
                return self.loop.now
            except BusError:
                await asyncio.sleep(0.05)
            else:
                return self.loop.now

    async def _produce(self, number: int, random: Random) -> None:
        project = random.choice(["demo", "demo", "other", "few"])
        keyed = random.random() < 0.3
        job = f"key-{number}" if keyed else f"p-{number}"
        at = random.uniform(0.0, FAULTY * 0.8)
        conversation = Conversation(messages=(UserTurn(role="user", content="hello"),))
        body = encode(Job(id=job, route="fast", conversation=conversation))
        bus = self._bus(f"producer {number}")
        wall = self.clock.wall() + at
        odd = random.random()
        ticket = Ticket(
            route=random.choice(["fast", "fast", "one"]),
            lane=random.choice(LANES),
            priority=random.randint(0, 9),
            submitted=wall,
            token=f"t{number}",
            body_hash=body_hash(body),
            input_estimate=random.choice([5, 100, 800]),
            not_before=wall + random.uniform(1.0, 15.0) if odd < 0.25 else None,
            deadline=wall + random.uniform(0.5, 20.0) if 0.15 <= odd < 0.4 else None,
        )
        key = (project, job)
        wish = random.random()
        if wish < 0.25:
            token = f"t{number}" if wish < 0.18 else "somebody else's"
            delay = max(0.0, at + random.choice([-1.0, 0.0, 0.01, 0.1, 1.0, 5.0]) * random.random())
            self._soon(self._cancel(bus, key, token, delay))
        await asyncio.sleep(at)
        headers = {subjects.H_TICKET: encode(ticket).decode()}
        subject = subjects.submit(project, job)
        await self._stored(bus, subject, body, headers)
        self.history.note(Event(self.loop.now, "accepted", key, told={"ticket": ticket}))
        for _ in range(random.choice([0, 0, 1, 2])):
            await asyncio.sleep(random.choice([0.1, 3.0, 20.0]) * random.random())
            again = ticket
            if keyed and random.random() < 0.5:  # under a random id a producer only ever repeats the same bytes
                again = ticket.model_copy(update={"token": f"t{number}-again", "submitted": self.clock.wall()})
            await self._stored(bus, subject, body, {subjects.H_TICKET: encode(again).decode()})

    async def _cancel(self, bus: ModelBus, key: Key, token: str, delay: float) -> None:
        await asyncio.sleep(delay)
        await self._stored(bus, subjects.cancel(*key), encode(Cancel(job=key[1], token=token)))
        self.history.note(Event(self.loop.now, "cancel acknowledged", key, told={"token": token}))

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = NETWORK.run(asyncio.get_running_loop().create_task, work)
        self._tasks.add(task)

    # ---------------------------------------------------------------------------------------------------------- faults

    def _leader(self, random: Random) -> Node | None:
        alive = [node for node in self.nodes if not node.process.dead]
        leading = [node for node in alive if node.scheduler.leads and not node.process.stopped]
        return leading[0] if leading else (random.choice(alive) if alive else None)

    async def _fault(self, kind: str, random: Random) -> None:
        self.history.note(Event(self.loop.now, "fault", told={"kind": kind}))
        node, worker = self._leader(random), random.choice([w for w in self.workers if not w.process.dead])
        match kind:
            case "pause leader" if node is not None:
                node.process.stop()
                await asyncio.sleep(random.choice([0.5, LEASE, 2 * LEASE]) * random.uniform(0.5, 1.5))
                node.process.resume()
            case "kill leader" if node is not None:
                self._kill(node.process, node.bus)
                await asyncio.sleep(random.uniform(0.0, 2.0))
                await self.scheduler()
            case "stop leader" if node is not None:
                node.process.dead = True
                node.process.start(node.scheduler.stop())
                await asyncio.sleep(random.uniform(0.0, 2.0))
                await self.scheduler()
            case "kill worker":
                self._kill(worker.process, worker.bus)
                await asyncio.sleep(random.uniform(0.0, 2.0))
                self.worker(worker.pool)
            case "pause worker":
                worker.process.stop()
                await asyncio.sleep(random.uniform(1.0, 8.0))
                if not worker.process.dead:
                    worker.process.resume()
            case "cut":
                bus = random.choice([worker.bus, *([node.bus] if node is not None else [])])
                bus.disconnect()
                await asyncio.sleep(random.uniform(0.2, 3.0))
                if not (worker.process.dead and bus is worker.bus) and not (node is not None and node.process.dead):
                    bus.reconnect()
            case "weather":
                await self._storm(random, worker, node)

    async def _storm(self, random: Random, worker: Worker, node: Node | None) -> None:
        buses = [worker.bus] if node is None else random.choice([[node.bus], [worker.bus], [node.bus, worker.bus]])
        what: dict[str, float] = random.choice(
            [
                {"slow": 0.5},
                {"slow": 0.9, "lag": 0.5},
                {"late": 0.3},
                {"reply_lost": 0.3},
                {"lost": 0.3},
                {"late": 0.2, "reply_lost": 0.2, "lost": 0.1, "stale": 0.5},
                {"stale": 0.9},
                {"lag": 3.0},
                {"unread": 0.3},
                {"beats_lost": 0.7},
            ]
        )
        for bus in buses:
            bus.weather = replace(self.fair, **what)  # type: ignore[arg-type]  # every key is a field of floats
        await asyncio.sleep(random.uniform(0.5, 5.0))
        for bus in buses:
            bus.weather = replace(self.fair)

    def _kill(self, process: Process, bus: ModelBus) -> None:
        process.dead = True
        process.stop()
        bus.cut()

    # --------------------------------------------------------------------------------------------------------- the run

    async def go(self) -> Verdict:
        """All of it."""
        await self._bus("setup").ensure(declared(self.config))
        for _ in range(self.shape.schedulers):
            await self.scheduler()
        for pool in ("alpha", "beta"):
            for _ in range(2):
                self.worker(pool)
        for number in self.plan.jobs:
            self._soon(self._produce(number, self._chance(f"job {number}")))
        self._soon(self._watch())
        if self.shape.orders:
            operator = Operator(self.broker, self.history, self.clock, self._chance("operator"))
            self._soon(operator.give(self.shape.orders, FAULTY))
        for at, kind, number in self.plan.faults:
            self._soon(self._later(at, kind, self._chance(f"fault {number}")))
        await asyncio.sleep(FAULTY)
        await self._until_over()
        return self._judge()

    async def _later(self, at: float, kind: str, random: Random) -> None:
        await asyncio.sleep(at)
        await self._fault(kind, random)

    async def _watch(self) -> None:
        """Look into the leaders' books again and again (I3)."""
        while True:
            await asyncio.sleep(0.2)
            for node in self.nodes:
                if node.scheduler.leads and not node.process.stopped:
                    assert node.scheduler.board is not None
                    self.ledger += [f"{self.loop.now:.2f}: {told}" for told in ledger_problems(node.scheduler.board)]

    async def _until_over(self) -> None:
        """Until every accepted job has its record and nothing is left of any, or until patience is over."""
        while self.loop.now < 1_000.0 + FAULTY + PATIENCE:
            await asyncio.sleep(1.0)
            submitted = {event.key for event in self.history.of("submitted")}
            ended = {event.key for event in self.history.of("result")}
            if self.loop.now > 1_000.0 + FAULTY + 25.0 and submitted <= ended and not self._left():
                return

    def _left(self) -> dict[str, int]:
        names = (subjects.SUBMIT, subjects.OUT, subjects.WORK)
        left = {
            name: sum("_barrier." not in each.subject for each in self.broker.stream(stream).messages.values())
            for name, stream in ((name, subjects.stream_name(name)) for name in names)
        }
        left[subjects.WORK] -= 1
        return {name: count for name, count in left.items() if count > 0}

    def end(self) -> None:
        """Let go of everything, so that the loop can close."""
        for node in self.nodes:
            node.bus.cut()
        for process in [node.process for node in self.nodes] + [worker.process for worker in self.workers]:
            if process.stopped:
                process.resume()

    def _judge(self) -> Verdict:
        leaders = [n for n in self.nodes if not n.process.dead and n.scheduler.leads and n.scheduler.board is not None]
        board: Board | None = leaders[0].scheduler.board if leaders else None
        verdict = problems(self.history, self.config, board=board, left=self._left(), ledger=self.ledger)
        if self.shape.orders:
            verdict.problems += problems_of_orders(self.history, self.broker, self.config, board, self.clock)
        return verdict


def run(plan: Plan | Shape, weather: Weather | None = None) -> Verdict:
    """Run a plan from its beginning to its end, and judge it."""
    made = plan_of(plan) if isinstance(plan, Shape) else plan
    verdict: Verdict | None = None
    everybodys.seed(made.shape.seed)  # the reporter spreads its retries by it

    async def main(loop: VirtualLoop) -> None:
        nonlocal verdict
        running = Run(made, loop, weather)
        try:
            verdict = await running.go()
        except Stuck as stuck:
            verdict = Verdict([f"stuck: {stuck}"], running.history)
        finally:
            running.end()

    run_virtual(main)
    assert verdict is not None
    return verdict


def shrink(plan: Plan, weather: Weather | None = None, *, tries: int = 60) -> Plan:
    """A plan as small as can be found that goes wrong as well: halves first, then single entries."""
    size = max(1, len(plan) // 2)
    while size and tries > 0:
        smaller = False
        for candidate in _without(plan, size):
            tries -= 1
            if run(candidate, weather).problems:
                plan, smaller = candidate, True
                break
            if tries <= 0:
                break
        if not smaller:
            size //= 2
    return plan


def _without(plan: Plan, size: int) -> Iterator[Plan]:
    for start in range(0, len(plan.faults), size):
        yield replace(plan, faults=plan.faults[:start] + plan.faults[start + size :])
    for start in range(0, len(plan.jobs), size):
        yield replace(plan, jobs=plan.jobs[:start] + plan.jobs[start + size :])
