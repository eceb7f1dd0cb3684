"""Workers and a provider for the model: what a pool does with an assignment, step by step, with the real reporter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from job_contracts import subjects
from job_contracts.attempts import Abort, Assignment, Heartbeat, HeartbeatReply, Outcome
from job_contracts.chat import Answer, FinishReason, TextPart, Usage
from job_contracts.codec import decode, encode
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from job_contracts.results import AttemptRecord, Result, Settlement, Times
from runtime.bus.port import BusError, Delivery, Message
from runtime.telemetry import Telemetry
from tests.e2e.faults.model.loop import Process, VirtualClock
from tests.e2e.faults.model.network import Event, History, ModelBus
from workers.reporting import Reporter

AT_THE_DOOR = {FailureKind.RATE_LIMIT, FailureKind.OVERLOADED, FailureKind.CONNECT, FailureKind.BAD_REQUEST}
"""Kinds with which the provider meters a request but no tokens."""


@dataclass(frozen=True, slots=True)
class Ends:
    """What a call comes to: after ``seconds`` an answer that takes a share of what was reserved, or a failure."""

    seconds: float
    failure: Failure | None = None
    used: float = 1.0


Behave = Callable[[Assignment, Random], Ends]


def used(order: Assignment, ends: Ends) -> tuple[int, int]:
    """Input and output tokens of an answer."""
    return max(1, int(order.grant.input_tokens * ends.used)), max(1, int(order.grant.output_tokens * ends.used))


class Provider:
    """Notes what it is asked, when it is asked, and what it meters for it."""

    def __init__(self, history: History, clock: VirtualClock) -> None:
        self._history = history
        self._clock = clock

    def call(self, order: Assignment, worker: str, ends: Ends) -> None:
        """A call begins."""
        tokens = used(order, ends)
        if ends.failure is not None:
            tokens = (0, 0) if ends.failure.kind in AT_THE_DOOR else (tokens[0], 0)
        told = {"domain": order.grant.domain, "metered": tokens, "order": order}
        key = (order.project, order.job_id)
        self._history.note(Event(self._clock.monotonic(), "called", key, worker, 0.0, order.attempt, told))


@dataclass
class Worker:
    """One worker of one pool."""

    pool: str
    name: str
    bus: ModelBus
    process: Process
    clock: VirtualClock
    provider: Provider
    behave: Behave
    random: Random
    ttl: int
    slots: int = 8
    held: dict[str, tuple[Assignment, asyncio.Event]] = field(default_factory=dict)
    _tasks: set[asyncio.Task[object]] = field(default_factory=set)

    def start(self) -> Worker:
        """Begin, in its process."""
        self._freed = asyncio.Event()
        self._reporter = Reporter(
            self.bus, self.clock, Telemetry(), shard=0, persist=30.0, sleep=asyncio.sleep, ttl=self.ttl
        )
        for duty in (self._pull(), self._beat()):
            self.process.start(duty)
        return self

    async def _pull(self) -> None:
        await self.bus.subscribe(subjects.abort(self.pool), self._on_abort)
        puller = await self.bus.pull(subjects.stream_name(subjects.WORK), self.pool)
        while True:
            room = self.slots - len(self.held)
            if room <= 0:
                self._freed.clear()
                await self._freed.wait()
                continue
            for delivery in await puller.fetch(room, expires=1.0):
                order = decode(Assignment, delivery.message.data)
                self.held[order.attempt_id] = (order, asyncio.Event())
                task: asyncio.Task[object] = asyncio.create_task(self._attempt(order, delivery))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _beat(self) -> None:
        while True:
            beat = Heartbeat(pool=self.pool, worker=self.name, slots=self.slots, attempts=tuple(self.held))
            try:
                subject = subjects.heartbeat(self.pool, self.name)
                answer = await self.bus.request(subject, encode(beat), timeout=0.5)
            except BusError:
                pass
            else:
                self._stop(decode(HeartbeatReply, answer.data).abort)
            await asyncio.sleep(0.25)

    def _on_abort(self, message: Message) -> None:
        self._stop(decode(Abort, message.data).attempts)

    def _stop(self, attempts: tuple[str, ...]) -> None:
        for attempt in attempts:
            if attempt in self.held:
                self.held[attempt][1].set()

    async def _attempt(self, order: Assignment, delivery: Delivery) -> None:
        await asyncio.sleep(self.random.uniform(0.0005, 0.01))
        stopped = self.held[order.attempt_id][1]
        if self.clock.wall() - order.grant.granted > order.grant.valid_for:
            await self._fail(order, Failure(kind=FailureKind.GRANT_EXPIRED, message="too late"), called=False)
        elif stopped.is_set():
            await self._fail(order, Failure(kind=FailureKind.CANCELLED, message="stopped"), called=False)
        else:
            await self._call(order, stopped)
        await delivery.ack()
        self.held.pop(order.attempt_id, None)
        self._freed.set()

    async def _call(self, order: Assignment, stopped: asyncio.Event) -> None:
        ends = self.behave(order, self.random)
        self.provider.call(order, self.name, ends)
        try:
            async with asyncio.timeout(ends.seconds):
                await stopped.wait()
        except TimeoutError:
            if ends.failure is None:
                await self._succeed(order, used(order, ends))
            else:
                await self._fail(order, ends.failure)
        else:
            await self._fail(order, Failure(kind=FailureKind.CANCELLED, message="stopped"))

    def _record(self, order: Assignment, usage: Usage, failure: Failure | None) -> AttemptRecord:
        return AttemptRecord(
            number=order.attempt,
            deployment=order.deployment,
            provider=order.provider,
            model=order.model,
            started=self.clock.wall(),
            seconds=0.1,
            failure=failure,
            usage=usage,
        )

    async def _succeed(self, order: Assignment, tokens: tuple[int, int]) -> None:
        usage = Usage(input=tokens[0], output=tokens[1])
        result = Result(
            job=order.job_id,
            project=order.project,
            state=JobState.SUCCEEDED,
            route=order.route,
            token=order.token,
            body_hash=order.body_hash,
            nonce=f"{order.attempt_id}.{self.name}",
            answer=Answer(parts=(TextPart(text="yes"),)),
            finish_reason=FinishReason.STOP,
            usage=usage,
            deployment=order.deployment,
            attempts=(*order.history, self._record(order, usage, None)),
            times=Times(submitted=order.submitted, finished=self.clock.wall()),
        )
        settlement = Settlement(
            state=JobState.SUCCEEDED,
            token=order.token,
            body_hash=order.body_hash,
            attempt=order.attempt,
            deployment=order.deployment,
            usage=usage,
        )
        await self._reporter.result(result, settlement)

    async def _fail(self, order: Assignment, failure: Failure, *, called: bool = True) -> None:
        metered = called and failure.kind not in AT_THE_DOOR
        usage = Usage(input=order.grant.input_tokens, output=0) if metered else Usage(reported=False)
        outcome = Outcome(
            job_id=order.job_id,
            project=order.project,
            token=order.token,
            body_hash=order.body_hash,
            pool=self.pool,
            worker=self.name,
            record=self._record(order, usage, failure),
            history=order.history,
            failure=failure,
            called=called,
        )
        await self._reporter.outcome(outcome)
