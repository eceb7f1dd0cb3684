"""Many requests at once: so many under way, errors as values, resumable, with a limit on what it may cost."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from producer_sdk.answers import Answered
from producer_sdk.errors import (
    BudgetExceeded,
    IdempotencyConflict,
    InvalidRequest,
    JobFailed,
    PenstockError,
    QueueFull,
)
from producer_sdk.purse import Purse, cost_of
from producer_sdk.request import Request, money, prepare

if TYPE_CHECKING:
    from producer_sdk.checkpoint import Checkpoint
    from producer_sdk.producer import Producer

SAVE_EVERY = 64
"""Finished items between two commits of the checkpoint."""
LOOKAHEAD = 4
"""Requests drawn ahead of the slowest one that is still awaited in order, in units of the concurrency."""
LONGEST_FULL = 10.0
"""Seconds to the next try at most when the queue is full."""
LONG_AMOUNT = Decimal("99999.999999999999")
"""Stands in an estimate for an amount not known yet: its digits are bytes of the body, and those count."""


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a ``map`` and what became of it: exactly one of ``answer`` and ``error`` is there."""

    index: int
    """Position among the requests, from 0."""
    request: Mapping[str, Any]
    answer: Answered | None = None
    error: PenstockError | None = None
    resumed: bool = False
    """It was read from the checkpoint."""
    left_out: bool = False
    """It was not submitted, because the run may cost no more: ``error`` says so. A further run takes it up."""

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return self.answer is not None

    def unwrap(self) -> Answered:
        """The answer; raises the error if there is none."""
        if self.answer is None:
            raise self.error or PenstockError("there is neither an answer nor an error")
        return self.answer


@dataclass(slots=True)
class Progress:
    """How far a ``map`` is."""

    drawn: int = 0
    """Requests begun."""
    done: int = 0
    failed: int = 0
    """Of the done ones, those with an error."""
    resumed: int = 0
    left_out: int = 0
    """Of the failed ones, those that were not submitted because of ``max_cost``."""
    cost: Decimal = field(default_factory=Decimal)
    """US dollars, as far as costs are known."""


def mapped(
    producer: Producer,
    requests: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
    *,
    concurrency: int,
    ordered: bool,
    checkpoint: str | Path | None,
    max_cost: Decimal | float | str | None,
    progress: bool | Callable[[Progress], None],
    timeout: float | None,
) -> AsyncGenerator[Item, None]:
    """See ``Producer.map``."""
    if concurrency < 1:
        raise InvalidRequest("concurrency: must be at least 1", field="concurrency", remedy="give a positive number")
    tell = progress if callable(progress) else _line_on_stderr if progress else None
    purse = Purse(money(max_cost, "max_cost"), concurrency) if max_cost is not None else None
    run = _Run(producer, aiter(_drawn(requests)), concurrency, purse, timeout)
    return run.items(ordered=ordered, checkpoint=checkpoint, tell=tell)


class _LeftOut(Exception):
    """A request is not submitted because the run may cost no more."""

    def __init__(self, why: BudgetExceeded) -> None:
        super().__init__(str(why))
        self.why = why


class _Run:
    def __init__(
        self,
        producer: Producer,
        requests: AsyncIterator[Mapping[str, Any]],
        concurrency: int,
        purse: Purse | None,
        timeout: float | None,
    ) -> None:
        self._producer = producer
        self._requests = requests
        self._concurrency = concurrency
        self._purse = purse
        self._timeout = timeout
        self._progress = Progress()
        self._drawing = asyncio.Lock()
        self._done: asyncio.Queue[Item | BaseException | None] = asyncio.Queue()
        self._gate = asyncio.Semaphore(concurrency * LOOKAHEAD)
        self._checkpoint: Checkpoint | None = None

    async def items(
        self, *, ordered: bool, checkpoint: str | Path | None, tell: Callable[[Progress], None] | None
    ) -> AsyncGenerator[Item, None]:
        with _remembering(checkpoint) as self._checkpoint:
            workers = [asyncio.create_task(self._work()) for _ in range(self._concurrency)]
            try:
                async for item in self._in_order() if ordered else self._as_done():
                    self._count(item)
                    if tell is not None:
                        tell(self._progress)
                    self._gate.release()
                    yield item
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _as_done(self) -> AsyncIterator[Item]:
        working = self._concurrency
        while working:
            item = await self._done.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                working -= 1
            else:
                yield item

    async def _in_order(self) -> AsyncIterator[Item]:
        held: dict[int, Item] = {}
        following = 0
        async for item in self._as_done():
            held[item.index] = item
            while following in held:
                yield held.pop(following)
                following += 1

    async def _work(self) -> None:
        try:
            while True:
                await self._gate.acquire()
                async with self._drawing:
                    index = self._progress.drawn
                    try:
                        request = await anext(self._requests)
                    except StopAsyncIteration:
                        return
                    self._progress.drawn += 1
                self._done.put_nowait(await self._one(index, request))
        except Exception as error:  # noqa: BLE001 - the caller's own iterable failed: the caller gets it
            self._done.put_nowait(error)
        finally:
            self._done.put_nowait(None)

    async def _one(self, index: int, request: Mapping[str, Any]) -> Item:
        try:
            if self._checkpoint is None:
                return Item(index, request, answer=await self._complete(request))
            return await self._remembered(index, request, self._checkpoint)
        except _LeftOut as left_out:
            return Item(index, request, error=left_out.why, left_out=True)
        except PenstockError as error:
            return Item(index, request, error=error)
        except TypeError as error:
            message = f"request {index} is no set of arguments for complete(): {error}"
            return Item(index, request, error=InvalidRequest(message, remedy="give dicts with model and messages"))

    async def _remembered(self, index: int, request: Mapping[str, Any], checkpoint: Checkpoint) -> Item:
        fingerprint = _fingerprint(request)
        key = str(request.get("idempotency_key") or index)
        result = checkpoint.finished(key, fingerprint)
        if result is not None:
            return Item(index, request, answer=Answered(result), resumed=True)
        own = {"idempotency_key": checkpoint.idempotency_key(key, fingerprint)}
        try:
            answer = await self._complete({**request, **own})
        except (JobFailed, BudgetExceeded, QueueFull) as error:
            if not isinstance(error, QueueFull) or error.failure is not None:  # else there may be no job
                checkpoint.failed(key, fingerprint)
            raise
        checkpoint.succeeded(key, fingerprint, answer.result)
        return Item(index, request, answer=answer)

    async def _complete(self, request: Mapping[str, Any]) -> Answered:
        timeout = self._producer.timeout if self._timeout is None else self._timeout
        arguments: Any = {"timeout": timeout, **request}
        if self._purse is None:
            return await when_there_is_room(lambda asked: self._producer.complete(**asked), arguments, timeout)
        # What the caller's own key names must not depend on what is left just now: such a job has its own bound alone.
        bounded = self._checkpoint is not None or request.get("idempotency_key") is None
        own = request.get("max_cost")
        most = money(own, "max_cost") if own is not None else None
        aside = await self._set_aside({**request, "max_cost": LONG_AMOUNT} if bounded else request, self._purse)
        if bounded:
            arguments["max_cost"] = aside if most is None else min(most, aside)
        cost: Decimal | None = None
        try:
            answer = await when_there_is_room(self._completed, arguments, timeout)
            cost = answer.cost
        except PenstockError as error:
            cost = cost_of(error)
            raise
        else:
            return answer
        finally:
            await self._purse.settle(aside, cost)

    async def _completed(self, arguments: Mapping[str, Any]) -> Answered:
        """The answer of a job that is held to an amount: another one than in the run that began it, if one did."""
        try:
            return await self._producer.complete(**arguments)
        except IdempotencyConflict as conflict:
            if self._checkpoint is None or conflict.job is None:
                raise
            # The key tells requests apart, but not by this amount: the job that has it is this request's.
            return await self._producer.attach(conflict.job).result(arguments["timeout"])

    async def _set_aside(self, request: Mapping[str, Any], purse: Purse) -> Decimal:
        """What a request may cost, set aside. Raises _LeftOut, and what ``estimate`` raises."""
        asked: Any = {name: value for name, value in request.items() if name != "timeout"}
        try:
            purse.check()  # once nothing more is to be submitted, nobody is asked either
            return await purse.take(await self._producer.estimate(**asked))
        except BudgetExceeded as error:
            raise _LeftOut(error) from error

    def _count(self, item: Item) -> None:
        progress = self._progress
        progress.done += 1
        progress.failed += not item.ok
        progress.resumed += item.resumed
        progress.left_out += item.left_out
        if item.answer is not None and not item.resumed:
            progress.cost += item.answer.cost or 0
        elif item.error is not None:
            progress.cost += cost_of(item.error) or 0
        if self._checkpoint is not None and progress.done % SAVE_EVERY == 0:
            self._checkpoint.save()


async def when_there_is_room(
    work: Callable[[Mapping[str, Any]], Awaitable[Answered]], asked: Mapping[str, Any], timeout: float | None
) -> Answered:
    """Do it again while the queue is full, for ``timeout`` seconds at most; then QueueFull is raised after all.

    A job that was turned away has its end, and its key names it as long as its record is kept. So the next try has a
    further key: whoever asks again comes by the same ones, to the job that was let in.
    """
    loop = asyncio.get_running_loop()
    ends = loop.time() + timeout if timeout is not None else None
    key, turned_away = asked.get("idempotency_key"), 0
    while True:
        try:
            return await work({**asked, "idempotency_key": f"{key}~{turned_away}"} if key and turned_away else asked)
        except QueueFull as full:
            turned_away += full.failure is not None  # else the broker had no room, and there is no job
            pause = min(full.retry_after or 1.0, LONGEST_FULL) * random.uniform(0.8, 1.2)
            if ends is not None and loop.time() + pause >= ends:
                raise
            await asyncio.sleep(pause)


def _remembering(path: str | Path | None) -> contextlib.AbstractContextManager[Checkpoint | None]:
    if path is None:
        return contextlib.nullcontext()
    from producer_sdk.checkpoint import Checkpoint  # noqa: PLC0415 - SQLite is loaded by those who use it

    return Checkpoint(path)


def _fingerprint(request: Mapping[str, Any]) -> str:
    """Of what is asked, not of how: the same for equal requests."""
    told = {name: value for name, value in request.items() if name not in ("timeout", "idempotency_key")}
    model, messages, tools = told.pop("model", ""), told.pop("messages", ()), told.pop("tools", ())
    prepared: Request = prepare(model, messages, tools, told, stream=False, new_id="map-request", token="", now=0.0)
    return prepared.ticket.body_hash


async def _drawn(
    requests: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
) -> AsyncIterator[Mapping[str, Any]]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request


def _line_on_stderr(progress: Progress) -> None:
    end = "\r" if sys.stderr.isatty() else "\n"
    if end == "\n" and progress.done % 100:
        return
    cost = f", {progress.cost:.4f} USD" if progress.cost else ""
    sys.stderr.write(f"{progress.done} done, {progress.failed} failed{cost}{end}")
    sys.stderr.flush()
