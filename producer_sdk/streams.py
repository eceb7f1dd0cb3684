"""A job's stream as a program reads it: an async iterator of typed events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Self

from job_contracts.jobs import JobStatus
from job_contracts.stream import Queued, StreamEvent
from producer_sdk.border import answered, same_request
from producer_sdk.errors import NotFound, PenstockError, Timeout
from producer_sdk.exchange import Exchange, unknown
from producer_sdk.replies import Reader, Watch

if TYPE_CHECKING:
    from job_contracts.results import Result
    from producer_sdk.answers import Answered

FIRST_FORECAST, LONGEST_FORECAST = 0.5, 10.0
"""Seconds without a token until the desk is asked for position and ETA; then longer each time up to the longest."""
FILLS = 3
"""Times the store is asked for the same gap before the tokens count as lost."""
MOMENT = 0.05
"""Seconds in which the last chunks come after a result that has overtaken them."""
FILL_PAUSE = 0.1
"""Seconds between two of these times."""

Begin = Callable[[Reader], Awaitable[tuple[Exchange, Watch]]]
"""Submits the job (or finds it), with the reader listening from the beginning, and says how to follow it."""


class JobStream:
    """The events of one job, in order, each once; several may read the same job.

    ``Queued`` comes first (again while the job waits and its forecast changes), ``Finished`` last. After ``Finished``
    of a job that did not succeed the iteration raises its error, so a truncated answer is never taken for a whole one.
    Leaving the loop early closes the stream; ``aclose`` (or ``async with``) does it at once.
    """

    def __init__(
        self, begin: Begin, *, job: str, timeout: float | None, owned: bool, fresh: bool, body_hash: str | None
    ) -> None:
        self.job = job
        """The job's id."""
        self._reader = Reader()
        self._events = _follow(begin, self._reader, timeout, owned=owned, fresh=fresh, body_hash=body_hash)
        self._at_hand: deque[StreamEvent] = deque()

    def __aiter__(self) -> JobStream:
        return self

    async def __anext__(self) -> StreamEvent:
        while not self._at_hand:
            self._at_hand.extend(await anext(self._events))
        return self._at_hand.popleft()

    async def several(self) -> list[StreamEvent]:
        """The events that are there, at least one: for a reader that hands on many. Raises StopAsyncIteration."""
        if self._at_hand:
            found, self._at_hand = list(self._at_hand), deque()
            return found
        return await anext(self._events)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop reading. The job of ``Producer.stream`` is cancelled if it has not ended; others go on."""
        await self._events.aclose()

    @property
    def result(self) -> Answered:
        """The answer, once the stream has ended. Raises the job's error if it failed, LookupError before the end."""
        if self._reader.result is None:
            raise NotFound("the stream has not ended yet", remedy="read it to its end first", job=self.job)
        return answered(self._reader.result)

    async def text(self) -> str:
        """Read to the end and return the whole text."""
        async for _ in self:
            pass
        return self.result.text


async def _follow(
    begin: Begin, reader: Reader, timeout: float | None, *, owned: bool, fresh: bool, body_hash: str | None
) -> AsyncGenerator[list[StreamEvent], None]:
    """``owned``: closing early cancels the job. ``fresh``: it was submitted just now, so nothing was missed yet.

    ``body_hash``: of the request, where a key names the job.
    """
    loop = asyncio.get_running_loop()
    ends = loop.time() + timeout if timeout is not None else None
    exchange, watch = await begin(reader)
    following = _Following(exchange, watch, reader, ends)
    completed = False
    try:
        await following.start(fresh=fresh)
        yield [Queued(job=watch.job, submitted=watch.submitted)]
        while True:
            if reader.result is not None and body_hash is not None:
                same_request(watch.job, reader.result.body_hash, body_hash)
            while reader.events:
                events = list(reader.events)
                reader.events.clear()
                yield events
            if reader.error is not None:
                raise reader.error
            if reader.result is not None:
                completed = True
                break
            forecast = await following.more()
            if forecast is not None:
                yield [forecast]
        answered(reader.result)
    except Timeout:
        completed = True
        raise
    finally:
        if reader in watch.readers:
            watch.readers.remove(reader)
        watch.leave()
        if owned and not completed:
            exchange.abandon(watch, "nobody reads its stream any more")


class _Following:
    """What a stream does while there is nothing to tell: wait, fetch what is missing, ask how long it may take."""

    def __init__(self, exchange: Exchange, watch: Watch, reader: Reader, ends: float | None) -> None:
        self._exchange = exchange
        self._watch = watch
        self._reader = reader
        self._ends = ends
        self._loop = asyncio.get_running_loop()
        self._forecast_at = self._loop.time() + FIRST_FORECAST
        self._forecast_pause = FIRST_FORECAST
        self._forecast: tuple[int | None, float | None] = (None, None)
        self._fills = 0
        self._fill_at = 0.0
        self._give_up_at = 0.0
        """When the last chunks are waited for no longer, once the result is there."""

    async def start(self, *, fresh: bool) -> None:
        """Take part in what comes; for a job of before, fetch what has come already."""
        if self._reader not in self._watch.readers:
            self._watch.readers.append(self._reader)
        self._watch.attend(self._loop.time())
        if self._watch.error is not None:
            self._reader.fail(self._watch.error)
        elif not fresh:
            await self._from_the_start()
        elif self._watch.result is not None:
            self._reader.settle(self._watch.result)

    async def _from_the_start(self) -> None:
        """Take up a job of before: first what is kept of its tokens, so that everybody reads the same, then its end."""
        watch, reader = self._watch, self._reader
        watch.readers.remove(reader)  # its end may be here already, and is told last
        try:
            with watch.awaited_soon():
                if watch.result is None:
                    await self._exchange.listen(watch)
                    await self._exchange.ask_for(watch)
                await self._fill()
        finally:
            watch.readers.append(reader)
            watch.attend(self._loop.time())  # another reader's leaving may have been the last one's meanwhile
        if watch.result is not None:
            reader.end(watch.result)
        elif watch.error is not None:
            reader.fail(watch.error)
        else:
            reader.stirred = True

    async def more(self) -> Queued | None:
        """Return when the reader may have something new; a forecast if that is what is new."""
        now = self._loop.time()
        if self._reader.record is not None:
            await self._last_chunks(self._reader.record)
            return None
        if self._out_of_time():
            message = f"the stream of job {self._watch.job} has not ended in time; the job goes on"
            raise Timeout(message, job=self._watch.job, remedy="attach to it later, or wait longer")
        if self._reader.must_fetch and now >= self._fill_at:
            await self._fill()
            return None
        waits_for_start = self._reader.splice.position == (0, 0)
        if waits_for_start and now >= self._forecast_at:
            return await self._ask_forecast()
        until = [moment for moment in (self._ends, self._forecast_at if waits_for_start else None) if moment]
        if self._reader.must_fetch:
            until.append(self._fill_at)
        await self._wait(min(until) if until else None)
        return None

    def _out_of_time(self) -> bool:
        return self._ends is not None and self._loop.time() >= self._ends

    async def _last_chunks(self, result: Result) -> None:
        """A result may overtake the chunks before it, which everybody should read as they are: wait a moment, fetch."""
        now, splice = self._loop.time(), self._reader.splice
        if not self._give_up_at:
            self._give_up_at = now + MOMENT
        if not splice.ended and now < self._give_up_at:
            await self._wait(self._give_up_at)
            return
        if not splice.ended:
            await self._fill()
        self._reader.end(result)

    async def _wait(self, until: float | None) -> None:
        waiting = self._reader.waiting = self._loop.create_future()
        timer = self._loop.call_at(until, self._reader.wake) if until is not None else None
        try:
            await waiting
        finally:
            self._reader.waiting = None
            if timer is not None:
                timer.cancel()

    async def _fill(self) -> None:
        reader, splice = self._reader, self._reader.splice
        reader.stirred = reader.lagging = False
        before = place = splice.position
        try:
            while True:
                answer = await self._exchange.desk.chunks(self._watch.job, *place)
                # Behind the last one told, not behind the gap: what is missing would be asked for without an end.
                last = max([place, *((chunk.generation, chunk.sequence) for chunk in answer.chunks[-1:])])
                complete = not answer.more or last == place
                reader.events.extend(splice.fill(answer.chunks, complete=complete and self._fills + 1 >= FILLS))
                if complete or reader.result is not None or self._out_of_time():
                    break
                place = max(last, splice.position)
        except PenstockError:
            # The desk is away: the sweeper stirs again, and the result says everything in the end.
            self._fill_at = self._loop.time() + 1.0
            return
        self._fills = 0 if splice.position != before or not splice.missing else self._fills + 1
        self._fill_at = self._loop.time() + FILL_PAUSE if splice.missing else 0.0

    async def _ask_forecast(self) -> Queued | None:
        self._forecast_pause = min(self._forecast_pause * 2, LONGEST_FORECAST)
        self._forecast_at = self._loop.time() + self._forecast_pause
        try:
            found = await self._exchange.desk.look_up(self._watch.job)
        except PenstockError:
            return None
        if not isinstance(found, JobStatus) or self._reader.events or (found.position, found.eta) == self._forecast:
            return None
        self._forecast = (found.position, found.eta)
        submitted = self._watch.submitted
        return Queued(
            job=self._watch.job,
            submitted=submitted,
            position=found.position,
            eta=found.eta,
            estimated_cost=found.estimated_cost,
            worst_cost=found.worst_cost,
        )


async def found(exchange: Exchange, watch: Watch) -> tuple[Exchange, Watch]:
    """How to follow a job of before. Raises NotFound if the desk does not know it."""
    exchange.check_usable()
    with watch.awaited_soon():
        if not watch.done and await exchange.find(watch.job) is None:
            raise unknown(watch.job)
    return exchange, watch
