"""A scheduler with a scripted pool around it, on any bus: for tests of what the leader does with jobs and outcomes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from catalogue.rows import ProviderRow
from job_contracts import subjects
from job_contracts.attempts import Assignment, Draft, Heartbeat, HeartbeatReply, Outcome
from job_contracts.chat import Answer, Conversation, FinishReason, TextPart, Usage, UserTurn
from job_contracts.codec import decode, encode
from job_contracts.desk import AskJobs, Results, Statuses
from job_contracts.experiments import Experiment
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import Cancel, Job, JobState, JobStatus, Ticket, body_hash
from job_contracts.results import AttemptRecord, Result, Settlement, Times
from runtime.bus.port import AlreadyStored, Bus, BusError, Delivery, NotFound, WrongSequence
from runtime.clock import Clock, SystemClock
from runtime.connection import declared
from runtime.settings import Config
from runtime.telemetry import Event, Telemetry
from scheduler.service import Scheduler
from tests.support.eventually import eventually

Answering = Callable[[Assignment], "Failure | Draft | str | None"]
"""What a scripted worker makes of an assignment: a text, a failure, a draft that it has scored as a judge, or ``None``
to hold it and never answer.
"""


def config(**over: Any) -> Config:
    """Two providers, one ordered route over both, one project; quick times."""
    values: dict[str, Any] = {
        "providers": {
            "alpha": {"dialect": "openai_chat", "base_url": "http://127.0.0.1:1", "key": "k"},
            "beta": {"dialect": "openai_chat", "base_url": "http://127.0.0.1:1", "key": "k"},
        },
        "routes": {"fast": {"deployments": ["alpha/m", "beta/m"]}},
        "projects": {"demo": {}},
        "scheduler": {"lease": 2.5, "renew": 0.5, "beat_missed": 1.0, "grant_valid": 1.0, "reconcile_every": 0.3},
    }
    for section, changed in over.items():
        values[section] = {**values.get(section, {}), **changed}
    return Config.model_validate(values)


CATALOGUE = {
    name: ProviderRow(name=name, dialect="openai_chat", base_url="http://127.0.0.1:1") for name in ("alpha", "beta")
}


@dataclass
class Pool:
    """A worker without a provider: pulls, beats, and answers as it is told."""

    bus: Bus
    name: str
    answering: Answering
    slots: int = 64
    worker: str = "w1"
    seen: list[Assignment] = field(default_factory=list)
    held: dict[str, Delivery] = field(default_factory=dict)
    aborted: set[str] = field(default_factory=set)
    overdue: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)
    beating: bool = True
    acking: bool = True
    cost: Decimal = Decimal("0.001")
    """US dollars that a job is said to have cost, where an experiment asks."""
    seconds: float = 0.01
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> Pool:
        """Beat and pull."""
        self._tasks = {asyncio.create_task(self._pull()), asyncio.create_task(self._beat())}
        return self

    async def die(self) -> None:
        """Stop at once, as if killed: no outcome, no acknowledgement."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _beat(self) -> None:
        while True:
            if self.beating:
                beat = Heartbeat(
                    pool=self.name,
                    worker=self.worker,
                    slots=self.slots,
                    attempts=tuple(self.held),
                    late=tuple(name for name in self.held if name in self.overdue),
                    begun=tuple(name for name in self.held if name in self.begun),
                )
                try:
                    answer = await self.bus.request(
                        subjects.heartbeat(self.name, self.worker), encode(beat), timeout=1.0
                    )
                except BusError:
                    pass
                else:
                    reply = decode(HeartbeatReply, answer.data)
                    for attempt in reply.abort:
                        await self._sure(partial(self._abort, attempt, outrun=attempt in reply.outrun))
            await asyncio.sleep(0.1)

    async def _sure(self, told: Callable[[], Awaitable[Any]]) -> None:
        """Until the broker has it: were we to end because it is away, jobs would wait for a pool without workers."""
        while True:
            try:
                await told()
            except BusError:
                await asyncio.sleep(0.1)
            else:
                return

    async def _abort(self, attempt: str, *, outrun: bool) -> None:
        if attempt in self.held and attempt not in self.aborted:
            order = next(order for order in self.seen if order.attempt_id == attempt)
            kind = FailureKind.HANDED_BACK if outrun else FailureKind.CANCELLED
            await self.fail(order, Failure(kind=kind, message="stopped"))
            self.aborted.add(attempt)

    async def _pull(self) -> None:
        puller = await self.bus.pull(subjects.stream_name(subjects.WORK, 0), self.name)
        try:
            while True:
                try:
                    pulled = await puller.fetch(self.slots, expires=1.0)
                except BusError:
                    await asyncio.sleep(0.1)
                    continue
                fetched = [(decode(Assignment, one.message.data), one) for one in pulled]
                self.held.update({order.attempt_id: delivery for order, delivery in fetched})
                for order, _ in fetched:
                    self.seen.append(order)
                    answer = self.answering(order)
                    if order.checking is not None and isinstance(answer, str):
                        await self._sure(partial(self.draft, order, answer))
                    elif isinstance(answer, Failure):
                        await self._sure(partial(self.fail, order, answer))
                    elif isinstance(answer, Draft):
                        await self._sure(partial(self.pass_on, order, answer))
                    elif answer is not None:
                        await self._sure(partial(self.succeed, order, answer))
        finally:
            await puller.close()

    def record(self, order: Assignment, failure: Failure | None = None) -> AttemptRecord:
        """The attempt's line in the job's story."""
        return AttemptRecord(
            number=order.attempt,
            deployment=order.deployment,
            provider=order.provider,
            model=order.model,
            started=order.grant.granted,
            seconds=0.01,
            failure=failure,
            usage=Usage(input=10, output=5),
        )

    async def succeed(self, order: Assignment, text: str) -> bool:
        """Write the result; False if somebody else's stands already."""
        record = self.record(order)
        result = self.result(order, record, text)
        settlement = Settlement(
            state=JobState.SUCCEEDED,
            token=order.token,
            body_hash=order.body_hash,
            attempt=order.attempt,
            deployment=order.deployment,
            usage=record.usage,
            trial=order.trial,
            cost=self.cost if order.trial is not None else None,
            finished=order.grant.granted + self.seconds if order.trial is not None else None,
        )
        won = True
        try:
            headers = {subjects.H_SETTLEMENT: encode(settlement).decode()}
            subject = subjects.result(order.project, order.job_id)
            await self.bus.append(subject, encode(result), headers=headers, expect_last=0)
        except WrongSequence:
            won = False
        await self._done(order)
        return won

    def result(self, order: Assignment, record: AttemptRecord, text: str) -> Result:
        """The record of an answer."""
        return Result(
            job=order.job_id,
            project=order.project,
            state=JobState.SUCCEEDED,
            route=order.route,
            token=order.token,
            body_hash=order.body_hash,
            nonce=f"{order.attempt_id}@{self.worker}",
            answer=Answer(parts=(TextPart(text=text),)),
            finish_reason=FinishReason.STOP,
            usage=record.usage,
            deployment=order.deployment,
            attempts=(*order.history, record),
            times=Times(submitted=order.submitted, finished=order.submitted),
            replay_of=order.job.replay_of if order.job is not None else None,
        )

    async def draft(self, order: Assignment, text: str) -> None:
        """Report an answer that is to be verified."""
        record = self.record(order)
        blob = await self.bus.put_blob(
            f"{order.project}.{order.job_id}", encode(self.result(order, record, text)), of="result"
        )
        await self.fail(
            order,
            Failure(kind=FailureKind.HANDED_BACK, message="a draft"),
            record=record,
            draft=Draft(deployment=order.deployment, blob=blob),
        )

    async def pass_on(self, order: Assignment, draft: Draft) -> None:
        """Report a judge's score of a draft that the verifiers are to see."""
        failure = Failure(kind=FailureKind.HANDED_BACK, message="a draft")
        await self.fail(order, failure, record=self.record(order), draft=draft)

    async def fail(
        self,
        order: Assignment,
        failure: Failure,
        *,
        record: AttemptRecord | None = None,
        draft: Draft | None = None,
    ) -> None:
        """Report an outcome."""
        outcome = Outcome(
            job_id=order.job_id,
            project=order.project,
            token=order.token,
            body_hash=order.body_hash,
            pool=self.name,
            worker=self.worker,
            record=record or self.record(order, failure),
            history=order.history,
            failure=failure,
            route=order.route,
            trial=order.trial,
            hedge=order.hedge,
            draft=draft or order.draft,
        )
        subject = subjects.outcome(0, order.project, order.job_id, hedge=order.hedge)
        await self.bus.append(subject, encode(outcome))
        await self._done(order)

    async def _done(self, order: Assignment) -> None:
        delivery = self.held.pop(order.attempt_id, None)
        if delivery is not None and self.acking:
            await delivery.ack()


def _from_deployment(order: Assignment) -> Failure | str | None:
    return f"from {order.deployment}"


@dataclass
class World:
    """A bus with its streams, a scheduler, pools, and what tests ask of them."""

    bus: Bus
    config: Config
    clock: Clock
    scheduler: Scheduler
    telemetry: Telemetry
    events: dict[str, list[Event]]
    pools: list[Pool] = field(default_factory=list)

    async def pool(self, name: str, answering: Answering = _from_deployment, **over: Any) -> Pool:
        """Start a scripted worker of a pool."""
        pool = await Pool(self.bus, name, answering, **over).start()
        self.pools.append(pool)
        return pool

    async def submit(
        self, job: str, *, project: str = "demo", body: bytes | None = None, trace: str | None = None, **ticket: Any
    ) -> Ticket:
        """Publish a job as a producer would, as part of a ``trace``; keyword arguments go into its ticket."""
        data = body if body is not None else self.body(job)
        made = Ticket(
            **{
                "route": "fast",
                "submitted": self.clock.wall(),
                "token": f"token-{job}",
                "body_hash": body_hash(data),
                "input_estimate": 20,
                **ticket,
            }
        )
        headers = {subjects.H_TICKET: encode(made).decode()}
        if trace is not None:
            headers[subjects.H_TRACE] = trace
        await self.bus.append(subjects.submit(project, job), data, headers=headers)
        return made

    async def submit_again(self, job: str, **ticket: Any) -> bool:
        """Publish the same id again; False if the broker still holds the first."""
        try:
            await self.submit(job, **ticket)
        except AlreadyStored:
            return False
        return True

    @staticmethod
    def body(job: str) -> bytes:
        """A small job."""
        conversation = Conversation(messages=(UserTurn(role="user", content="hello"),))
        return encode(Job(id=job, route="fast", conversation=conversation))

    async def cancel(self, job: str, token: str, *, project: str = "demo") -> None:
        """Ask to stop a job."""
        await self.bus.append(subjects.cancel(project, job), encode(Cancel(job=job, token=token)))

    async def result(self, job: str, *, project: str = "demo", within: float = 8.0) -> Result:
        """Wait for the job's record."""

        async def there() -> Result | None:
            try:
                return decode(Result, (await self.bus.last(subjects.RES, subjects.result(project, job))).data)
            except NotFound:
                return None

        found = await eventually(there, within=within, says=f"no result of {job}")
        assert isinstance(found, Result)
        return found

    async def ask(self, operation: str, *jobs: str, project: str = "demo") -> Statuses | Results:
        """Ask the desk."""
        answer = await self.bus.request(subjects.api(project, operation), encode(AskJobs(jobs=jobs)), timeout=10.0)
        if operation == "status":
            return decode(Statuses, answer.data)
        return decode(Results, answer.data)

    def status(self, job: str, *, project: str = "demo") -> JobStatus | None:
        """What the leader's policy says of a job, asked directly."""
        board = self.scheduler.board
        assert board is not None
        told = board.status(project, job, self.clock.monotonic())
        return told  # type: ignore[return-value]  # the fields tests look at have the same names

    async def messages(self, stream: str) -> int:
        """Messages in a stream."""
        return (await self.bus.stream_state(stream)).messages

    async def settled(self) -> None:
        """Wait until nothing of any job is left in SUBMIT, OUT and WORK (the lease apart)."""

        async def empty() -> bool:
            names = [subjects.stream_name(name, 0) for name in (subjects.SUBMIT, subjects.OUT)]
            left = [await self.messages(name) for name in names]
            return not any(left) and await self.messages(subjects.stream_name(subjects.WORK, 0)) <= 1

        await eventually(empty, within=8.0, says="something of a finished job was left behind")


@asynccontextmanager
async def world(bus: Bus, **over: Any) -> AsyncIterator[World]:
    """A scheduler that leads, on a bus whose streams are made first."""
    made = config(**over)
    await bus.ensure(declared(made))
    async with scheduler_on(bus, made) as running:
        yield running


@asynccontextmanager
async def scheduler_on(
    bus: Bus,
    made: Config,
    *,
    owner: str = "s1",
    wait: bool = True,
    clock: Clock | None = None,
    catalogue: Mapping[str, ProviderRow] = CATALOGUE,
    experiments: Callable[[], Mapping[str, Experiment]] | None = None,
) -> AsyncIterator[World]:
    """One more scheduler on streams that exist already."""
    telemetry, events = Telemetry(), defaultdict[str, list[Event]](list)
    telemetry.subscribe(lambda event: events[event.name].append(event), lowest=0)
    clock = clock or SystemClock()
    scheduler = Scheduler(
        *(bus, clock, telemetry, made, catalogue), owner=owner, version="test", experiments=experiments
    )
    running = World(bus, made, clock, scheduler, telemetry, events)
    await scheduler.start()
    try:
        if wait:
            await eventually(lambda: scheduler.leads, within=8.0, says="the scheduler does not lead")
        yield running
    finally:
        for pool in running.pools:
            await pool.die()
        await scheduler.stop()
