"""One producer's connection at work: jobs out, their ends home, whatever happens to the connection in between."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from job_contracts import subjects
from job_contracts.codec import ContractError, decode, encode
from job_contracts.desk import Hello
from job_contracts.jobs import Cancel, JobStatus
from job_contracts.results import Result
from job_contracts.subjects import H_TICKET
from producer_sdk.blobs import download, upload
from producer_sdk.border import same_request
from producer_sdk.desk import Desk
from producer_sdk.ears import Ears
from producer_sdk.errors import (
    Closed,
    Forbidden,
    InvalidRequest,
    NotFound,
    PenstockError,
    Refused,
    TooLarge,
    UnknownRoute,
    Unreachable,
)
from producer_sdk.outbox import FIRST
from producer_sdk.replies import FIRST_SILENCE, Replies, Watch
from producer_sdk.request import Request, did_you_mean
from producer_sdk.sweeper import Sweeper
from producer_sdk.transport import Transport

_log = logging.getLogger("producer_sdk")

MAX_MESSAGE = 480 * 1024
"""Bytes of a body in one message where the desk has not said (the stream takes 512 KiB with headers)."""
MAX_BODY = 32 * 1024 * 1024
"""Bytes of a body where the desk has not said."""
HEADER_ROOM = 8 * 1024
"""Bytes of a message kept free for its headers."""
SETTLING = (0.0, 0.02, 0.05, 0.15, 0.4, 0.8)
"""Pauses before the looks after a job that the desk may not have indexed yet."""
EARLY = 1.0
"""Seconds of silence after which the desk is asked for a job with a key for the first time: it may have ended long ago,
and the scheduler, which shows its result again, looks for it only when it would run the job."""
CLOSING = 2.0
"""Seconds a close waits for cancels that are under way."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what, in seconds."""

    connect: float = 5.0
    submit: float = 30.0
    """For the broker to confirm that a job is stored."""
    desk: float = 5.0
    """For an answer of the desk."""
    silence: float = FIRST_SILENCE
    """Without a word of a job that somebody waits for, until the desk is asked; doubled each time up to a minute."""


class Exchange:
    """Everything between the facade and the transport. Lives on one event loop, in one process."""

    def __init__(
        self, transport: Transport, stem: str, patience: Patience, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.transport = transport
        self.stem = stem
        self.patience = patience
        self.clock = clock
        self.desk = Desk(transport, timeout=patience.desk)
        self.replies = Replies(
            transport.project, silence=patience.silence, on_interruption=self._stir, on_blob=self._fetch_later
        )
        self._ears = Ears(transport, stem, self.replies)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._sweeper = Sweeper(self.desk, self.replies, self._ears, silence=patience.silence)
        self._process = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    # -- life

    async def open(self) -> None:
        """Connect. Raises Unreachable or Forbidden."""
        self._loop = asyncio.get_running_loop()
        await self.transport.open(self.stem, self.replies, timeout=self.patience.connect)
        self._sweeper.start()

    async def close(self) -> None:
        """Let cancels that are under way go out, then disconnect. Whoever still waits gets Closed."""
        if self._closed:
            return
        self._closed = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSING)
        leftover = list(self._tasks)
        for task in leftover:
            task.cancel()
        leftover += self._sweeper.stop()
        self.desk.close()
        for watch in self.replies.held():  # also of those whose submission is just being confirmed, who wait next
            watch.fail(Closed("the producer was closed while somebody waited for the job", job=watch.job))
        await self.transport.close()
        if leftover:
            await asyncio.wait(leftover, timeout=CLOSING)

    def check_usable(self) -> None:
        """Raise Closed after ``close``, on another event loop, or in a process forked from the one that connected."""
        if self._closed:
            raise Closed("the producer is closed", remedy="make a new one")
        if self._process != os.getpid():
            raise Closed("the producer was opened in another process", remedy="make one after the fork")
        if self._loop is not asyncio.get_running_loop():
            raise Closed("the producer was opened on another event loop", remedy="make one on each loop")

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something in the background; ``close`` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- out

    def watch(self, request: Request) -> Watch:
        """Begin to listen for a job that is about to be submitted."""
        ticket = request.ticket
        watch = self.replies.watch(request.job, token=ticket.token)
        watch.lane = ticket.lane
        if watch.submitted is None:  # else it is known of the one that was first
            watch.submitted = ticket.submitted
        return watch

    async def submit(self, request: Request, watch: Watch) -> None:
        """Return when the job is durable; a job that exists already under the same key is taken up instead."""
        self.check_usable()
        hello = await self.desk.hello()
        if hello is not None:
            await self._check(request, hello)
        with watch.awaited_soon():
            if request.keyed:
                await self._ears.listen(watch)
            stored = await self._store(await self._sized(request, hello))
            if request.keyed:
                await self._take_up(request, watch, stored=stored)

    async def _store(self, request: Request) -> bool:
        """Whether the broker had no submission of this job, and has this one now."""
        headers = {H_TICKET: request.header, **FIRST}
        if request.trace is not None:
            headers[subjects.H_TRACE] = request.trace
            if request.tracestate:
                headers[subjects.H_STATE] = request.tracestate
        try:
            return await self.transport.store(
                subjects.submit(self.transport.project, request.job),
                request.body,
                headers,
                timeout=self.patience.submit,
            )
        except PenstockError as error:
            error.job = error.job or request.job
            raise

    async def _take_up(self, request: Request, watch: Watch, *, stored: bool) -> None:
        """A job with a key may exist already, as another's or as one that has ended.

        Where the broker held no submission of it there is nothing to adopt: either the job is ours, or it has ended and
        its result, which says whose it was, is on its way to us or will be asked for.
        """
        if not stored:
            await self._adopt(request, watch)
            return
        watch.token = request.ticket.token
        watch.pause = min(watch.pause, EARLY)
        watch.due = min(watch.due, asyncio.get_running_loop().time() + watch.pause)

    async def _check(self, request: Request, hello: Hello) -> None:
        ticket = request.ticket
        if ticket.route not in hello.routes:
            fresh = await self.desk.hello_anew(older_than=1.0)
            if fresh is not None and ticket.route not in fresh.routes:
                remedy = did_you_mean(ticket.route, fresh.routes)
                raise UnknownRoute(f"model: there is no route {ticket.route!r} here", field="model", remedy=remedy)
        if ticket.lane not in hello.lanes:
            allowed = ", ".join(hello.lanes)
            message = f"lane: project {hello.project!r} may not use {ticket.lane!r}"
            raise Forbidden(message, field="lane", remedy=f"use one of: {allowed}")

    async def _sized(self, request: Request, hello: Hello | None) -> Request:
        """The request as it fits the broker: large bodies are stored as blobs first."""
        size = len(request.body)
        most = hello.max_body if hello is not None else MAX_BODY
        if size > most:
            message = f"messages: the request is {size} bytes, and at most {most} are taken"
            raise TooLarge(message, field="messages", remedy="shorten it, or give images by URL")
        in_one = min(hello.max_message if hello is not None else MAX_MESSAGE, self.transport.max_payload - HEADER_ROOM)
        if size + len(request.header) <= in_one:
            return request
        return request.as_blob(await upload(self.transport, request, timeout=self.patience.submit))

    async def _adopt(self, request: Request, watch: Watch) -> None:
        """A submission of the job was there before: find out whose it is. Without an answer it is taken for ours."""
        try:
            found = await self.find(watch.job)
        except (Refused, Unreachable):
            return
        if watch.error is not None:
            raise watch.error
        if found is not None:
            same_request(watch.job, found.body_hash, request.ticket.body_hash)
            watch.token = found.token

    async def cancel(self, watch: Watch, reason: str) -> None:
        """Record the wish that the job should not be worked on any further. Raises NotFound for an unknown job."""
        self.check_usable()
        if watch.done:
            return
        if watch.token is None:
            found = await self.find(watch.job)
            if found is None:
                raise unknown(watch.job)
            if not isinstance(found, JobStatus):
                return
            watch.token = found.token
        wish = Cancel(job=watch.job, token=watch.token, reason=reason)
        subject = subjects.cancel(self.transport.project, watch.job)
        await self.transport.store(subject, encode(wish), timeout=self.patience.submit)

    def abandon(self, watch: Watch, reason: str) -> None:
        """Nobody waits for the job any more: cancel it in the background."""
        if not watch.done and not self._closed:
            self.spawn(self._cancel_quietly(watch, reason))

    async def _cancel_quietly(self, watch: Watch, reason: str) -> None:
        try:
            await self.cancel(watch, reason)
        except PenstockError as error:
            _log.debug("cancelling %s: %s", watch.job, error)

    # -- home

    async def listen(self, watch: Watch) -> None:
        """Hear of a job whose id does not begin with our stem."""
        await self._ears.listen(watch)

    async def result(self, watch: Watch, timeout: float | None) -> Result:
        """Wait for a job's end. Raises Timeout after ``timeout`` seconds; the job goes on."""
        if not watch.done:
            with watch.awaited_soon():
                await self.listen(watch)
                if watch.missed != self.replies.interruptions:
                    await self.ask_for(watch)
        return await watch.wait(timeout)

    async def ask_for(self, watch: Watch) -> None:
        """Somebody begins to wait for a job of before: it may have ended unheard, so the desk is asked for its result.

        If the desk is away the sweeper asks again.
        """
        watch.missed = self.replies.interruptions
        watch.pause = self.patience.silence
        try:
            await self._sweeper.ask([watch])
        except (Closed, Forbidden):
            raise
        except PenstockError:
            watch.due = 0.0

    async def find(self, job: str) -> JobStatus | Result | None:
        """Where a job is: its status, its result, or ``None`` if the desk knows nothing of it after several looks."""
        watch = self.replies.watch(job)
        for pause in SETTLING:
            if pause:
                await asyncio.sleep(pause)
            if watch.result is not None:
                return watch.result
            found = await self.desk.look_up(job)
            if isinstance(found, JobStatus):
                watch.submitted = found.submitted
                return found
            if found is not None and (result := await self.fetch(job)) is not None:
                return result
        return None

    async def fetch(self, job: str) -> Result | None:
        """A job's result from the desk, and told to whoever waits for it; ``None`` if there is none."""
        watch = self.replies.watch(job)
        if not watch.done:
            await self._sweeper.ask([watch])
            await self._blobs_of(watch)
        if watch.error is not None:
            raise watch.error
        return watch.result

    async def _blobs_of(self, watch: Watch) -> None:
        fetching = [task for task in self._tasks if task.get_name() == f"blob {watch.job}"]
        if fetching:
            await asyncio.wait(fetching)

    def _fetch_later(self, watch: Watch, result: Result) -> None:
        if any(task.get_name() == f"blob {watch.job}" for task in self._tasks):
            return
        task = asyncio.get_running_loop().create_task(self._fetch_blob(watch, result), name=f"blob {watch.job}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fetch_blob(self, watch: Watch, result: Result) -> None:
        """The full record of a large result. If that fails, the next look of the sweeper tries again."""
        ref = result.blob
        if ref is None:
            return
        try:
            watch.settle(decode(Result, await download(self.desk, watch.job, ref)))
        except ContractError as error:
            watch.fail(PenstockError(f"the result of {watch.job} is unreadable: {error}", job=watch.job))
        except PenstockError as error:
            _log.debug("fetching the result of %s: %s", watch.job, error)

    def _stir(self) -> None:
        self._sweeper.stir()


def unknown(job: str) -> NotFound:
    """The error for a job that the desk does not know."""
    return NotFound(
        f"there is no job {job!r}",
        job=job,
        remedy="check the id; a result is kept for a day unless configured otherwise",
    )


def checked_job(job: str) -> str:
    """``job`` if it can be a job id. Raises InvalidRequest."""
    try:
        return subjects.check_job_id(job)
    except ContractError as error:
        raise InvalidRequest(str(error), field=error.field, remedy=error.remedy) from error
