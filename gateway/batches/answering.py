"""The requests of one batch as jobs: so many under way, each submitted until it is durable, its end turned into a line.

A job's idempotency key is made of its batch and line, so that whoever works on the batch next finds the same job and
nothing is asked twice. A batch that was called off submits nothing more: what may have been submitted is looked for by
its key and cancelled, the rest is never asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway.bodies import batch_lines
from gateway.bodies.failures import ApiError, Failed, of_result
from gateway.refusals import api_error
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from job_contracts.subjects import keyed_job_id
from producer_sdk.errors import (
    Closed,
    IdempotencyConflict,
    InvalidRequest,
    NotFound,
    PenstockError,
    QueueFull,
    Timeout,
    Unreachable,
)
from producer_sdk.options import Behalf
from runtime.service import place_of
from runtime.telemetry import ERROR

if TYPE_CHECKING:
    from gateway.batches.kinds import Kind, Submit, Wanted
    from gateway.bodies.batch_lines import Line, Said
    from gateway.bodies.openai_batches import Batch
    from job_contracts.keys import Scope
    from job_contracts.results import Result
    from producer_sdk import JobHandle, Producer
    from runtime.clock import Clock
    from runtime.telemetry import Telemetry

REASON = "its batch was cancelled"
PATIENCE = 600.0
"""Seconds of one wait for a job; then it is waited for again."""
SHORTEST, LONGEST = 0.5, 10.0
"""Seconds to the next try while the queue is full or cannot be reached."""
AT_ONCE = 64
"""Cancels under way at once."""
_AWAY = (Unreachable, Timeout, Closed)


class NotAsked(Exception):
    """A request that came to nothing: why."""

    def __init__(self, said: Said) -> None:
        super().__init__(said)
        self.said: Said = said


class Answering:
    """Asks the requests of one batch."""

    def __init__(
        self,
        batch: Batch,
        kind: Kind,
        *,
        producer: Producer,
        scope: Scope,
        clock: Clock,
        telemetry: Telemetry,
        called_off: asyncio.Event,
    ) -> None:
        self._batch = batch
        self._kind = kind
        self._producer = producer
        self._scope = scope
        self._clock = clock
        self._telemetry = telemetry
        self._called_off = called_off
        self._under_way: dict[str, JobHandle] = {}
        self._cancels = asyncio.Semaphore(AT_ONCE)

    def over(self) -> Said | None:
        """Why nothing more is to be submitted, if it is not."""
        if self._called_off.is_set():
            return "cancelled"
        return "expired" if self._clock.wall() >= self._batch.expires_at else None

    async def ask(self, line: Line) -> tuple[Said, bytes]:
        """The output line of a request, when it has come."""
        batch = self._batch.id
        try:
            wanted = self._kind.read(self._producer, self._scope, line.body)
            jobs = [self._job(line, wanted, suffix, submit) for suffix, submit in wanted.jobs.items()]
            results = [await jobs[0]] if len(jobs) == 1 else _each(await asyncio.gather(*jobs, return_exceptions=True))
            self._telemetry.emit("batch.line_answered")
            body = wanted.answer(_all_good(results))
        except Failed as failed:
            return "errors", batch_lines.failed(batch, line, failed.error, self._kind.shape)
        except NotAsked as nothing:
            said = self.over() or nothing.said  # what is over is cancelled job by job: its own reason is the batch's
            return said, batch_lines.not_asked(batch, line, said)
        except Exception as error:  # noqa: BLE001 - the top of a line's task: a bug with one must not stop the others
            kind, place = type(error).__name__, place_of(error)
            self._telemetry.emit("batch.line_failed", ERROR, batch=batch, line=line.number, error=kind, place=place)
            told = ApiError(500, "internal", "something went wrong at the gateway", remedy="tell the operator")
            return "errors", batch_lines.failed(batch, line, told, self._kind.shape)
        return "output", batch_lines.answered(batch, line, results[0].job, body)

    async def cancel_all(self) -> None:
        """Cancel what is under way; each request then gets its line as its job ends."""
        await asyncio.gather(*(self._cancel(handle) for handle in list(self._under_way.values())))

    async def _job(self, line: Line, wanted: Wanted, suffix: str, submit: Submit) -> Result:
        """One job of a request, from its submission to its record. Raises ``Failed`` or NotAsked."""
        key = f"batch:{self._batch.id}:{line.number}{suffix}"
        turned_away = 0
        pause = SHORTEST
        while True:
            named = f"{key}~{turned_away}" if turned_away else key
            try:
                result = await self._record(named, wanted, submit)
            except _AWAY:
                await self._rest(pause)
            except QueueFull as full:
                await self._rest(full.retry_after or pause)
            except PenstockError as error:
                if isinstance(error, InvalidRequest) and error.field == "deadline":
                    raise NotAsked("expired") from error
                raise Failed(api_error(error)) from error
            else:
                if result.failure is None or result.failure.kind is not FailureKind.QUEUE_FULL:
                    return result
                turned_away += 1  # a job that was turned away has its end: the next try is another one
                await self._rest(result.failure.retry_after or pause)
            pause = min(2 * pause, LONGEST)

    async def _record(self, key: str, wanted: Wanted, submit: Submit) -> Result:
        if (said := self.over()) is not None:
            handle = self._producer.attach(keyed_job_id(key))
            try:
                await handle.cancel(REASON)
                return await self._ended(key, handle)
            except NotFound:
                raise NotAsked(said) from None
        deadline = datetime.fromtimestamp(self._batch.expires_at, UTC)
        options: dict[str, Any] = {**self._batch.options, "deadline": deadline, "idempotency_key": key}
        options["behalf"] = Behalf(self._batch.key, self._scope.bounds()) if self._batch.key else None
        if wanted.session is not None:
            options.setdefault("session", wanted.session)
        try:
            return await self._ended(key, await submit(options))
        except IdempotencyConflict:  # another version of us has read the line otherwise: its job is the line's
            return await self._ended(key, self._producer.attach(keyed_job_id(key)))

    async def _ended(self, key: str, handle: JobHandle) -> Result:
        self._under_way[key] = handle
        try:
            if self._called_off.is_set():
                await self._cancel(handle)
            return await handle.record(PATIENCE)
        finally:
            del self._under_way[key]

    async def _cancel(self, handle: JobHandle) -> None:
        async with self._cancels:
            with suppress(PenstockError):  # it has ended; or its deadline ends it
                await handle.cancel(REASON)

    async def _rest(self, seconds: float) -> None:
        """Wait before another try, but not longer than until the batch is called off."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, LONGEST)):
                if self._called_off.is_set():
                    await asyncio.sleep(SHORTEST)
                else:
                    await self._called_off.wait()


def _each(found: Sequence[Result | BaseException]) -> list[Result]:
    """What was found, when all of it was; else the first error is raised."""
    results: list[Result] = []
    for one in found:
        if isinstance(one, BaseException):
            raise one
        results.append(one)
    return results


def _all_good(results: Sequence[Result]) -> Sequence[Result]:
    """The results, which have all succeeded. Raises ``Failed`` or NotAsked for the first that has not."""
    for result in results:
        if (said := _NOT_ASKED.get(result.state)) is not None:
            raise NotAsked(said)
        if result.state is not JobState.SUCCEEDED:
            raise Failed(of_result(result))
    return results


_NOT_ASKED: Mapping[JobState, Said] = {JobState.CANCELLED: "cancelled", JobState.EXPIRED: "expired"}
