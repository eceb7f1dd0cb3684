"""What comes back, told to whoever waits for it: one table from subjects to jobs, one look-up a message, no tasks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from job_contracts import subjects
from job_contracts.codec import ContractError, decode
from job_contracts.jobs import JobState, Lane
from job_contracts.results import Result
from job_contracts.stream import Chunk, StreamEvent
from producer_sdk.errors import PenstockError, Timeout
from producer_sdk.splice import Splice

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_SILENCE, LONGEST_SILENCE = 5.0, 60.0
"""Seconds without a word of a job that somebody waits for until the desk is asked; doubled up to the longest."""
MOST_UNREAD = 8_192
"""Events a slow reader may leave unread; later chunks are dropped and fetched from the service when it catches up."""

EVERYTHING = -1
"""As the state of interruptions when a watch was last up to date: never."""


class Reader:
    """One listener to a job's stream: events that wait to be read, and what must be fetched."""

    __slots__ = ("error", "events", "lagging", "record", "result", "splice", "stirred", "waiting")

    def __init__(self) -> None:
        self.splice = Splice()
        self.events: deque[StreamEvent] = deque()
        self.lagging = False
        """Chunks were dropped because the reader is slow."""
        self.stirred = False
        """Something may have been missed: look at the store."""
        self.record: Result | None = None
        """The result, when it came before the last chunks."""
        self.result: Result | None = None
        self.error: PenstockError | None = None
        self.waiting: asyncio.Future[None] | None = None

    def take(self, chunk: Chunk) -> None:
        """A chunk came."""
        if len(self.events) >= MOST_UNREAD:
            self.lagging = True
            return
        self.events.extend(self.splice.take(chunk))
        self.wake()

    def settle(self, result: Result) -> None:
        """The result came: the end, unless chunks that should be there already are still on their way."""
        if result.state is JobState.SUCCEEDED and not self.splice.ended:
            self.record = result
            self.wake()
        else:
            self.end(result)

    def end(self, result: Result) -> None:
        """Tell the end, and what is missing before it from the record."""
        self.result = result
        self.events.extend(self.splice.end(result))
        self.wake()

    def fail(self, error: PenstockError) -> None:
        """There will be no result."""
        self.error = error
        self.wake()

    def stir(self) -> None:
        """Something may have been missed."""
        self.stirred = True
        self.wake()

    def wake(self) -> None:
        """Let the reading coroutine look again."""
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(None)

    @property
    def must_fetch(self) -> bool:
        """Whether the store should be asked for chunks now."""
        return self.result is None and (self.stirred or self.splice.missing or (self.lagging and not self.events))


class Watch:
    """One job as this producer follows it. It lives as long as somebody holds it."""

    __slots__ = (
        "__weakref__",
        "_attended",
        "arriving",
        "due",
        "error",
        "job",
        "lane",
        "missed",
        "pause",
        "readers",
        "result",
        "submitted",
        "token",
        "waiters",
    )

    def __init__(self, job: str, attended: set[Watch], *, token: str | None, missed: int, silence: float) -> None:
        self.job = job
        self.token = token
        """The submission's token; ``None`` until the desk has told it."""
        self.lane: Lane | None = None
        self.submitted: float | None = None
        """UTC seconds; ``None`` until it is known."""
        self.result: Result | None = None
        self.error: PenstockError | None = None
        self.waiters: list[asyncio.Future[Result]] = []
        self.readers: list[Reader] = []
        self.due = 0.0
        """Loop time at which the desk is asked for the result."""
        self.pause = silence
        self.missed = missed
        """State of ``Replies.interruptions`` when this watch was last up to date."""
        self.arriving = 0
        """Those who are going to wait for it, and still submit it or ask after it."""
        self._attended = attended

    @property
    def done(self) -> bool:
        """Whether the job's end is known."""
        return self.result is not None or self.error is not None

    async def wait(self, timeout: float | None) -> Result:
        """The job's result. Raises Timeout (the job goes on), or what went wrong with reading it."""
        if self.result is not None:
            return self.result
        if self.error is not None:
            raise self.error
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        timer = loop.call_later(timeout, self._give_up, future, timeout) if timeout is not None else None
        self.waiters.append(future)
        self.attend(loop.time())
        try:
            return await future
        finally:
            if timer is not None:
                timer.cancel()
            self.waiters.remove(future)
            self.leave()

    def _give_up(self, future: asyncio.Future[Result], timeout: float) -> None:
        if not future.done():
            message = f"job {self.job} has no result after {timeout:g} s; it goes on"
            future.set_exception(Timeout(message, remedy="attach to it later, or wait longer", job=self.job))

    def attend(self, now: float) -> None:
        """Somebody waits: ask the desk after a silence."""
        if self not in self._attended:
            self.due = now + self.pause
            self._attended.add(self)

    @contextmanager
    def awaited_soon(self) -> Iterator[None]:
        """Somebody is going to wait for it as soon as this is over."""
        self.arriving += 1
        try:
            yield
        finally:
            self.arriving -= 1

    def leave(self) -> None:
        """Nobody waits any more."""
        if not self.waiters and not self.readers:
            self._attended.discard(self)

    def settle(self, result: Result) -> None:
        """The result came; the first one counts."""
        if self.done:
            return
        self.result = result
        self.submitted = result.times.submitted
        if self.token is None:
            self.token = result.token
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(result)
        for reader in self.readers:
            reader.settle(result)

    def fail(self, error: PenstockError) -> None:
        """There will be no result that could be read."""
        if self.done:
            return
        self.error = error
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(error)
        for reader in self.readers:
            reader.fail(error)


class Replies:
    """The table of watches; a ``transport.Listener``."""

    def __init__(
        self,
        project: str,
        *,
        silence: float = FIRST_SILENCE,
        on_interruption: Callable[[], None],
        on_blob: Callable[[Watch, Result], None],
    ) -> None:
        self._project = project
        self._silence = silence
        self._watches: WeakValueDictionary[str, Watch] = WeakValueDictionary()
        self._on_interruption = on_interruption
        self._on_blob = on_blob
        self.attended: set[Watch] = set()
        """Watches somebody waits for."""
        self.interruptions = 0
        self.known = self.strange = 0
        """Messages of jobs that somebody here holds, and of others."""

    def watch(self, job: str, *, token: str | None = None) -> Watch:
        """The watch of a job; the one that exists already if somebody holds it."""
        place = subjects.live_job(self._project, job)[:-2]
        found = self._watches.get(place)
        if found is None:
            # Of a job that was submitted elsewhere everything so far was missed.
            missed = self.interruptions if token is not None else EVERYTHING
            found = Watch(job, self.attended, token=token, missed=missed, silence=self._silence)
            self._watches[place] = found
        return found

    def watched(self, job: str) -> Watch | None:
        """The watch of a job, if somebody holds one."""
        return self._watches.get(subjects.live_job(self._project, job)[:-2])

    def held(self) -> list[Watch]:
        """Every watch that somebody holds, whether they wait or not."""
        return list(self._watches.values())

    def awaited(self, job: str) -> bool:
        """Whether somebody waits for a job, or is about to."""
        watch = self.watched(job)
        return watch is not None and (watch.arriving > 0 or watch in self.attended)

    # -- the transport's listener

    def heard(self, subject: str, data: bytes) -> None:
        """A token chunk or a result."""
        place, _, kind = subject.rpartition(".")
        watch = self._watches.get(place)
        if watch is None:
            self.strange += 1
            return
        self.known += 1
        if kind == "res":
            self.record(watch, data)
        elif watch.readers:
            self._chunk(watch, data)

    def restored(self) -> None:
        """Something may have been missed: whatever somebody waits for is asked for now."""
        self.interruptions += 1
        for watch in self.attended:
            watch.due = 0.0
            for reader in watch.readers:
                reader.stir()
        self._on_interruption()

    # -- reading

    def record(self, watch: Watch, data: bytes | str) -> None:
        """A result's record."""
        if watch.done:
            return
        try:
            result = decode(Result, data)
        except ContractError as error:
            watch.fail(PenstockError(f"the result of {watch.job} is unreadable: {error}", job=watch.job))
            return
        self.result(watch, result)

    def result(self, watch: Watch, result: Result) -> None:
        """A result; if it only says where the full one lies, that is fetched."""
        if result.blob is not None and result.answer is None and result.embeddings is None:
            self._on_blob(watch, result)
        else:
            watch.settle(result)

    def _chunk(self, watch: Watch, data: bytes) -> None:
        try:
            chunk = decode(Chunk, data)
        except ContractError:
            # The result says it all the same; a reader only loses immediacy.
            return
        watch.pause = self._silence
        watch.due = asyncio.get_running_loop().time() + self._silence
        for reader in watch.readers:
            reader.take(chunk)
