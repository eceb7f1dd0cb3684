"""A submitted job in a program's hands: ask where it is, wait for it, follow it, call it off."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from job_contracts.jobs import JobState, JobStatus, Lane
from job_contracts.results import AttemptRecord, Result
from producer_sdk.border import answered, same_request
from producer_sdk.exchange import unknown
from producer_sdk.explaining import Explanation
from producer_sdk.streams import JobStream, found

if TYPE_CHECKING:
    from producer_sdk.answers import Answered
    from producer_sdk.exchange import Exchange
    from producer_sdk.producer import Producer
    from producer_sdk.replies import Reader, Watch


@dataclass(frozen=True, slots=True)
class Receipt:
    """The desk's word that a job is in its books, with a forecast. Times are UTC seconds, ``eta`` seconds from now."""

    job: str
    state: JobState
    route: str
    lane: Lane | None
    submitted: float
    position: int | None
    """Jobs that would be served before it; ``None`` once it is being worked on."""
    eta: float | None
    waiting_for: str | None
    deadline: float | None
    estimated_cost: Decimal | None = None
    """US dollars its next attempt is likely to cost; ``None`` where no price is known."""
    worst_cost: Decimal | None = None
    """US dollars that attempt may cost at most."""


class JobHandle:
    """One job. Cheap to keep and to drop: the job goes on either way. ``await handle`` waits for its answer."""

    def __init__(
        self, producer: Producer, job: str, watch: Watch | None = None, *, body_hash: str | None = None
    ) -> None:
        self._producer = producer
        self._job = job
        self._watch = watch
        self._body_hash = body_hash
        """Of the request, where a key names the job: it must be that of the result."""

    @property
    def id(self) -> str:
        """The job's id, good for ``attach`` from anywhere with the same project."""
        return self._job

    async def status(self) -> JobStatus:
        """Where the job is now, and why it waits if it does. Raises NotFound for an unknown job."""
        exchange, watch = await self._at_hand()
        if watch.result is None:
            seen = await exchange.find(self.id)
            if isinstance(seen, JobStatus):
                self._check_same(seen.body_hash)
                return seen
            if seen is None:
                raise unknown(self.id)
        result = await exchange.result(watch, exchange.patience.desk)
        self._check_same(result.body_hash)
        return _ended(result, watch.lane)

    async def receipt(self) -> Receipt:
        """The desk's word that the job is in its books. Raises NotFound if it is not."""
        status = await self.status()
        return Receipt(
            job=status.job,
            state=status.state,
            route=status.route,
            lane=status.lane,
            submitted=status.submitted,
            position=status.position,
            eta=status.eta,
            waiting_for=status.waiting_for,
            deadline=status.deadline,
            estimated_cost=status.estimated_cost,
            worst_cost=status.worst_cost,
        )

    async def explain(self) -> Explanation:
        """Why the job is where it is: its state, its attempts so far, and what decides where it goes.

        Raises NotFound for an unknown job.
        """
        status = await self.status()
        exchange, watch = await self._at_hand()
        attempts: tuple[AttemptRecord, ...] = ()
        if not status.state.terminal:
            told = await exchange.desk.statuses((self.id,), attempts=True)
            status = next(iter(told.statuses), status)
            attempts = next((one.attempts for one in told.attempts if one.job == self.id), ())
            if not told.finished:
                return Explanation(status, attempts, None, exchange.clock())
        result = await exchange.result(watch, exchange.patience.desk)
        return Explanation(_ended(result, watch.lane), result.attempts, result, exchange.clock())

    async def result(self, timeout: float | None = None) -> Answered:
        """Wait for the answer; ``timeout`` in seconds, the producer's own if ``None``.

        Raises JobFailed (or what became of the job), Timeout (the job goes on), NotFound.
        """
        return answered(await self.record(timeout))

    async def record(self, timeout: float | None = None) -> Result:
        """Wait for the job's terminal record, whatever it says; failures are values here. Raises Timeout, NotFound."""
        exchange, watch = await self._at_hand()
        if watch.token is None:
            # Attached to: it may not exist, which waiting would never tell.
            await found(exchange, watch)
        result = await exchange.result(watch, self._producer.timeout if timeout is None else timeout)
        self._check_same(result.body_hash)
        return result

    async def cancel(self, reason: str = "cancelled by the producer") -> None:
        """Record durably that the job should not be worked on any further.

        A job that was not dispatched yet is never sent to a provider; one in flight is stopped. Then ``result()``
        raises JobCancelled, unless the job was faster. Raises NotFound for an unknown job.
        """
        exchange, watch = await self._at_hand()
        await exchange.cancel(watch, reason)

    def stream(self, *, timeout: float | None = None) -> JobStream:
        """The job's events from the start, as far as they are still kept. Closing the stream leaves the job alone."""

        async def begin(_: Reader) -> tuple[Exchange, Watch]:
            exchange, watch = await self._at_hand()
            if watch.token is None:
                await found(exchange, watch)
            return exchange, watch

        patience = self._producer.timeout if timeout is None else timeout
        return JobStream(begin, job=self.id, timeout=patience, owned=False, fresh=False, body_hash=self._body_hash)

    def __await__(self) -> Generator[Any, None, Answered]:
        return self.result().__await__()

    def __repr__(self) -> str:
        return f"JobHandle({self.id!r})"

    def _check_same(self, theirs: str) -> None:
        """Raise IdempotencyConflict if the job under this handle's key is another request's."""
        if self._body_hash is not None:
            same_request(self.id, theirs, self._body_hash)

    async def _at_hand(self) -> tuple[Exchange, Watch]:
        exchange = await self._producer._ready()  # noqa: SLF001 - the handle is the producer's other half
        exchange.check_usable()
        if self._watch is None:
            self._watch = exchange.replies.watch(self._job)
        return exchange, self._watch


def _ended(result: Result, lane: Lane | None) -> JobStatus:
    return JobStatus(
        job=result.job,
        state=result.state,
        route=result.route,
        lane=lane,
        token=result.token,
        body_hash=result.body_hash,
        submitted=result.times.submitted,
        attempts=len(result.attempts),
        deployment=result.deployment,
    )
