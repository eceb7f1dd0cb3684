"""A pool's worker: takes as many assignments as it has free slots, makes the attempts, answers for each of them.

An assignment in hand ends in exactly one of: a result (ours or another's), an outcome, a dead letter; then its cost
goes to the books, which acknowledge it. What is fetched starts at once: the scheduler's grant is already running out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from job_contracts import subjects
from job_contracts.attempts import Assignment, LimitReading
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import Job
from runtime.bus.port import Bus, BusError, Delivery, NotFound, OutcomeUnknown, Puller, Unreachable
from runtime.service import Duty, place_of
from runtime.settings.services import Workers
from runtime.telemetry import ERROR, INFO, WARNING
from workers.attempt import Attempt
from workers.batching.desk import Desk
from workers.batching.notes import Kept
from workers.batching.upstream import Tier
from workers.books import Books
from workers.concluding import Concluding
from workers.dialects.port import Target
from workers.drafting import Drafted, Drafts
from workers.endpoint import Endpoint
from workers.http import Reply
from workers.intake import InvalidJob, Readable, Unreadable, dead_letter, outcome_of_unreadable, read, read_job
from workers.observing import Observer, traced
from workers.recent import Recent
from workers.reporting import Reporter

__all__ = ["Pool"]

FETCH_EXPIRES = 5.0
"""Seconds a request for work stays open at the broker."""
GATHER = 0.002
"""Seconds to wait for more free slots when there are few: a request for each single slot would cost more."""
_FEW = 8
ABORTED_FOR = 120.0
"""Seconds an abort holds for an attempt that is not here: longer than an assignment waits for a worker."""
HAND_BACK_WITHIN = 8.0
"""Seconds to report what was handed back."""
_BLOB_TRIES = 3


class Pool(Duty):
    """The duty that works. ``worker`` is this process's name in heartbeats and outcomes.

    ``tier`` and ``desk``: where answers take long, and where they are waited for, if they come by a batch API.
    """

    def __init__(
        self,
        bus: Bus,
        endpoint: Endpoint,
        reporter: Reporter,
        books: Books,
        *,
        pool: str,
        worker: str,
        slots: int,
        shard: int,
        settings: Workers,
        tier: Tier | None = None,
        desk: Desk | None = None,
        observer: Observer | None = None,
    ) -> None:
        # Its end takes the drain, then a moment to hand back and report the rest.
        super().__init__("pool", endpoint.telemetry, grace=settings.drain + 10.0)
        self.slots = slots
        self.running = 0
        self._bus, self._endpoint, self._reporter, self._books = bus, endpoint, reporter, books
        self._pool, self._worker = pool, worker
        self._drafts = Drafts(bus, endpoint.telemetry, pool=pool, worker=worker)
        self._concluding = Concluding(endpoint, reporter, books, self._drafts, observer, pool=pool, worker=worker)
        self._work = subjects.stream_name(subjects.WORK, shard)
        self._settings = settings
        self._puller: Puller | None = None
        self._in_hand: dict[str, Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._aborted: Recent[str] = Recent()
        self._outrun: Recent[str] = Recent()
        self.stir: Callable[[], None] = lambda: None
        """Called when there is something that a heartbeat should tell at once."""
        self._answers: dict[str, tuple[Target, Reply]] = {}
        self._freed = asyncio.Event()
        self._tier, self._desk = tier, desk
        self._lying: dict[str, asyncio.Task[Any]] = {}
        if desk is not None:
            desk.take = self._begin

    # -- what heartbeats tell

    @property
    def draining(self) -> bool:
        return self.stopping.is_set()

    def attempts(self) -> tuple[str, ...]:
        """Ids of all attempts in hand."""
        return tuple(self._in_hand)

    def late(self) -> tuple[str, ...]:
        """Ids of those that have waited for too long and wait still."""
        found = ((name, attempt.contest) for name, attempt in self._in_hand.items())
        return tuple(name for name, contest in found if contest is not None and contest.waits)

    def begun(self) -> tuple[str, ...]:
        """Ids of those of two that are shown."""
        found = ((name, attempt.contest) for name, attempt in self._in_hand.items())
        return tuple(name for name, contest in found if contest is not None and contest.begun)

    def readings(self) -> dict[str, tuple[LimitReading, ...]]:
        """What the newest answer of each deployment said of its limits. Forgets them."""
        answers, self._answers = self._answers, {}
        found: dict[str, tuple[LimitReading, ...]] = {}
        for deployment, (target, reply) in answers.items():
            readings = self._endpoint.limits(target, reply)
            if readings:
                found[deployment] = readings
        return found

    def abort(self, attempts: tuple[str, ...], *, outrun: bool = False) -> None:
        """Stop these attempts; those that are still on their way here will not start."""
        for attempt_id in attempts:
            attempt = self._in_hand.get(attempt_id)
            if attempt is None:
                kept = self._outrun if outrun else self._aborted
                kept.meet(attempt_id, self._endpoint.clock.monotonic())
            elif outrun:
                attempt.outrun = True
                attempt.interrupt(FailureKind.HANDED_BACK)
            else:
                attempt.interrupt(FailureKind.CANCELLED)

    def heard(self, at: float, took: float) -> None:
        """What the leader's clock said with its answer to a heartbeat."""
        self._endpoint.leader.see(at, now=self._endpoint.clock.wall(), took=took)

    # -- taking work

    async def opened(self) -> None:
        """Bind to the pool's consumer. Raises BusError if there is none."""
        self._puller = await self._bus.pull(self._work, self._pool)
        self.telemetry.emit("pool.started", INFO, pool=self._pool, worker=self._worker, slots=self.slots)

    async def run(self) -> None:
        """Fetch and start until told to stop, then finish or hand back."""
        puller = self._puller
        assert puller is not None  # noqa: S101 - opened before
        while not self.stopping.is_set():
            free = await self._free()
            if free:
                for delivery in await puller.fetch(free, expires=FETCH_EXPIRES):
                    self._begin(self._kept(delivery))
        await self._drain()

    async def stop(self) -> None:
        """Take no more; let calls finish within the drain; hand back what did not start, and then the rest."""
        late: set[asyncio.Task[None]] = set()
        if not self.stopping.is_set():
            self.stopping.set()
            self._freed.set()
            if self._puller is not None:
                left = await self._puller.close()
                before = frozenset(self._tasks)
                for delivery in left:
                    self._begin(self._kept(delivery))
                late = self._tasks - before
            for attempt in tuple(self._in_hand.values()):
                if not attempt.called if self._desk is None else not self._desk.lies_there(attempt.id):
                    attempt.interrupt(FailureKind.HANDED_BACK)
        await super().stop()
        if late:  # closing takes a while: ``run`` may have been over when they came
            await asyncio.wait(late, timeout=HAND_BACK_WITHIN)

    async def _free(self) -> int:
        """Slots to reserve for the next fetch; 0 if something has to come first."""
        if self._books.unsettled >= self._settings.unsettled:
            await self.pause(0.05)
            return 0
        free = self.slots - self.running
        if free <= 0:
            self._freed.clear()
            await self._freed.wait()
        elif free < min(_FEW, self.slots // 4):
            await asyncio.sleep(GATHER)
            free = self.slots - self.running
        return max(free, 0) if not self.stopping.is_set() else 0

    def _begin(self, delivery: Delivery) -> None:
        self.running += 1
        task = asyncio.create_task(self._answer_for(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.running -= 1
        self._freed.set()

    def _kept(self, delivery: Delivery) -> Delivery:
        return delivery if self._desk is None else Kept(self._bus, self._work, delivery.message)

    async def _drain(self) -> None:
        if self._desk is not None:  # what lies at the provider goes on there, and another worker takes it over
            await self._desk.release(within=self._settings.drain)
            for attempt_id, task in self._lying.items():
                if self._desk.lies_there(attempt_id):
                    task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._settings.drain)
        for attempt in tuple(self._in_hand.values()):
            attempt.interrupt(FailureKind.HANDED_BACK)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=HAND_BACK_WITHIN)
        if self._tasks:
            self.telemetry.emit("pool.left_behind", WARNING, attempts=len(self._tasks))

    # -- one assignment

    async def _answer_for(self, delivery: Delivery) -> None:
        try:
            found = read(delivery.message, self._pool)
            if isinstance(found, Unreadable):
                await self._set_aside(delivery, found)
            else:
                await self._attempt(delivery, found)
        except Exception as error:  # noqa: BLE001 - the top of the task: not acknowledged, so the leader misses it
            self.telemetry.emit("pool.failed", ERROR, error=type(error).__name__, place=place_of(error))

    async def _set_aside(self, delivery: Delivery, found: Unreadable) -> None:
        now = self._endpoint.clock.wall()
        self.telemetry.emit("pool.unreadable", ERROR, project=found.project, job=found.job, seq=delivery.message.seq)
        await self._reporter.dead_letter(dead_letter(delivery.message, found, stream=self._work, at=now))
        outcome = outcome_of_unreadable(found, pool=self._pool, worker=self._worker, at=now)
        if outcome is not None:
            await self._reporter.outcome(outcome)
        self._books.enter(delivery, None)

    async def _attempt(self, delivery: Delivery, found: Readable | InvalidJob) -> None:
        attempt = Attempt(self._endpoint, self._suited(found.assignment), self._news)
        if attempt.id in self._in_hand or self._concluding.has_reported(found.assignment):
            # A killed broker may deliver twice.
            self.telemetry.emit("pool.twice", WARNING, attempt=attempt.id)
            self._books.enter(delivery, None)
            return
        self._in_hand[attempt.id] = attempt
        attempt.trace = traced(delivery.message)
        if self._desk is not None and (task := asyncio.current_task()) is not None:
            self._desk.fetched(attempt.id, delivery.message.seq)
            self._lying[attempt.id] = task
        self.telemetry.emit("attempt.fetched", attempt=attempt.id)
        if self._aborted.since(attempt.id, self._endpoint.clock.monotonic()) < ABORTED_FOR:
            attempt.interrupt(FailureKind.CANCELLED)
        elif self._outrun.since(attempt.id, self._endpoint.clock.monotonic()) < ABORTED_FOR:
            attempt.outrun = True
            attempt.interrupt(FailureKind.HANDED_BACK)
        elif self.stopping.is_set():
            attempt.interrupt(FailureKind.HANDED_BACK)
        try:
            job = found.failure if isinstance(found, InvalidJob) else await self._job(found.assignment)
            drafted: Drafted | None = None
            if found.assignment.draft is not None and not isinstance(job, Failure):
                question = await self._drafts.question(found.assignment, job)
                drafted, job = (None, question) if isinstance(question, Failure) else question
            ending = attempt.failed(job) if isinstance(job, Failure) else await attempt.run(job)
            try:
                await self._concluding.conclude(delivery, attempt, ending, job, drafted)
            except Exception as error:  # noqa: BLE001 - an answer that cannot be written is still an outcome
                await self._concluding.conclude(delivery, attempt, attempt.broken(error, ending), job)
        finally:
            del self._in_hand[attempt.id]
            if self._desk is not None:
                self._desk.answered(attempt.id)
                del self._lying[attempt.id]
            if attempt.reply is not None and attempt.target is not None:
                self._answers[found.assignment.deployment] = attempt.target, attempt.reply
            await attempt.close()

    def _suited(self, assignment: Assignment) -> Assignment:
        """The assignment as its tier has it carried out."""
        if self._tier is None:
            return assignment
        adopted = self._desk is not None and self._desk.adopts(assignment.attempt_id)
        return self._tier.suited(assignment, self._endpoint.clock.wall(), adopted=adopted)

    async def _job(self, assignment: Assignment) -> Job | Failure:
        """The job, from the assignment itself or from the blob where its body lies."""
        if assignment.job is not None:
            return assignment.job
        assert assignment.blob is not None  # noqa: S101 - read() has seen to it
        pause = 0.1
        for _ in range(_BLOB_TRIES):
            try:
                body = await self._bus.get_blob(f"{assignment.project}.{assignment.job_id}", assignment.blob, of="job")
            except NotFound:
                words, remedy = "the job's body is not stored (any more)", "submit the job again"
                return Failure(kind=FailureKind.INVALID_JOB, message=words, remedy=remedy)
            except (Unreachable, OutcomeUnknown):
                await asyncio.sleep(pause)
                pause *= 2
            except BusError as error:
                words = f"the job's body cannot be used ({type(error).__name__})"
                return Failure(kind=FailureKind.INVALID_JOB, message=words, remedy="submit the job again")
            else:
                return read_job(assignment, body)
        return Failure(kind=FailureKind.HANDED_BACK, message="the job's body could not be fetched from the broker")

    def _news(self) -> None:
        self.stir()
