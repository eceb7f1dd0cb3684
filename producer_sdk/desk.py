"""Questions to the scheduler's desk: what this project may do, where jobs are, what has become of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from job_contracts import subjects
from job_contracts.codec import ContractError, Wire, decode, encode
from job_contracts.desk import (
    MAX_ASKED,
    AskBlob,
    AskChunks,
    AskJobs,
    Chunks,
    Hello,
    Operation,
    Refusal,
    Results,
    Statuses,
)
from job_contracts.jobs import JobStatus
from producer_sdk.border import refused
from producer_sdk.errors import Closed, Forbidden, PenstockError, Unreachable
from producer_sdk.estimating import Estimating

if TYPE_CHECKING:
    from collections.abc import Sequence

    from producer_sdk.transport import Transport

W = TypeVar("W", bound=Wire)

HELLO_VALID = 60.0
"""Seconds the desk's word on routes, lanes and sizes is trusted."""
HELLO_PATIENCE = 1.0
"""Seconds the first submission waits for it; without an answer it goes out unchecked."""
HELLO_PAUSE = 5.0
"""Seconds until an unanswered hello is repeated."""
GATHER = 0.004
"""Seconds in which questions after single jobs are gathered into one."""

_REFUSED = b'{"refused"'


class Desk:
    """The desk as one project's producer sees it. Every method raises Unreachable, or what the desk's refusal means."""

    def __init__(self, transport: Transport, *, timeout: float) -> None:
        self._transport = transport
        self._timeout = timeout
        self._hello: Hello | None = None
        self._forbidden: Forbidden | None = None
        self._hello_at = 0.0
        self._hello_next = 0.0
        self._hello_asked: asyncio.Task[Hello | None] | None = None
        self._gathered: dict[str, list[asyncio.Future[JobStatus | str | None]]] = {}
        self._awaited: set[asyncio.Future[JobStatus | str | None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.estimating = Estimating(self)
        """What jobs would cost."""

    # -- what this project may do

    async def hello(self) -> Hello | None:
        """What the desk said last, asked anew in the background when that is old; ``None`` if it does not answer.

        Raises Forbidden if it said that this project may do nothing.
        """
        now = asyncio.get_running_loop().time()
        if self._hello is not None:
            if now - self._hello_at > HELLO_VALID:
                self._ask_hello(now)
            return self._hello
        asking = self._ask_hello(now)
        if asking is not None:
            await asyncio.wait({asking}, timeout=HELLO_PATIENCE)
        if self._forbidden is not None:
            raise self._forbidden
        return self._hello

    async def hello_anew(self, *, older_than: float) -> Hello | None:
        """The same, asked now if what is known is ``older_than`` seconds old."""
        now = asyncio.get_running_loop().time()
        if now - self._hello_at > older_than and (asking := self._ask_hello(now)) is not None:
            await asyncio.wait({asking}, timeout=HELLO_PATIENCE)
        return self._hello

    def _ask_hello(self, now: float) -> asyncio.Task[Hello | None] | None:
        if self._hello_asked is not None and not self._hello_asked.done():
            return self._hello_asked
        if now < self._hello_next:
            return None
        self._hello_next = now + HELLO_PAUSE
        self._hello_asked = asyncio.get_running_loop().create_task(self._fetch_hello())
        return self._hello_asked

    async def _fetch_hello(self) -> Hello | None:
        try:
            hello = await self._ask("hello", None, Hello)
        except Forbidden as error:
            self._hello, self._forbidden = None, error
            return None
        except PenstockError:
            return None
        self._forbidden = None
        self._hello, self._hello_at = hello, asyncio.get_running_loop().time()
        self._hello_next = 0.0
        return hello

    # -- jobs

    async def look_up(self, job: str) -> JobStatus | str | None:
        """Where one job is: its status, ``"finished"`` if it has a result, ``None`` if it is unknown.

        Questions of the same moment travel together.
        """
        future: asyncio.Future[JobStatus | str | None] = asyncio.get_running_loop().create_future()
        if not self._gathered:
            asyncio.get_running_loop().call_later(GATHER, self._post_gathered)
        self._gathered.setdefault(job, []).append(future)
        self._awaited.add(future)
        try:
            return await future
        finally:
            self._awaited.discard(future)

    def _post_gathered(self) -> None:
        gathered, self._gathered = self._gathered, {}
        jobs = list(gathered)
        for start in range(0, len(jobs), MAX_ASKED):
            part = {job: gathered[job] for job in jobs[start : start + MAX_ASKED]}
            task = asyncio.get_running_loop().create_task(self._look_up_all(part))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _look_up_all(self, asked: dict[str, list[asyncio.Future[JobStatus | str | None]]]) -> None:
        found: dict[str, JobStatus | str] = {}
        failed: PenstockError | None = None
        try:
            statuses = await self.statuses(tuple(asked))
            found.update((status.job, status) for status in statuses.statuses)
            found.update((job, "finished") for job in statuses.finished)
        except PenstockError as error:
            failed = error
        for job, futures in asked.items():
            for future in futures:
                if future.done():
                    continue
                if failed is not None:
                    future.set_exception(failed)
                else:
                    future.set_result(found.get(job))

    async def statuses(self, jobs: Sequence[str], *, attempts: bool = False) -> Statuses:
        """Where these jobs (at most ``MAX_ASKED``) are; with ``attempts`` also those that have ended."""
        return await self._ask("status", AskJobs(jobs=tuple(jobs), attempts=attempts), Statuses)

    async def results(self, jobs: Sequence[str]) -> Results:
        """The results there are of these jobs (at most ``MAX_ASKED``)."""
        return await self._ask("results", AskJobs(jobs=tuple(jobs)), Results)

    async def chunks(self, job: str, generation: int, sequence: int) -> Chunks:
        """A job's stream after ``(generation, sequence)``."""
        return await self._ask("chunks", AskChunks(job=job, generation=generation, sequence=sequence), Chunks)

    async def blob(self, job: str, index: int) -> bytes:
        """One chunk of a result that was too large for a message."""
        return await self._bytes("blob", encode(AskBlob(job=job, index=index)))

    async def ask(self, operation: Operation, question: Wire | None, kind: type[W]) -> W:
        """Any question, and its answer."""
        return await self._ask(operation, question, kind)

    async def ask_bytes(self, operation: Operation, question: Wire) -> bytes:
        """A question whose answer is bytes."""
        return await self._bytes(operation, encode(question))

    async def _ask(self, operation: Operation, question: Wire | None, kind: type[W]) -> W:
        data = await self._bytes(operation, encode(question) if question is not None else b"{}")
        try:
            return decode(kind, data)
        except ContractError as error:
            raise PenstockError(f"the desk's answer to {operation!r} is unreadable: {error}") from error

    async def _bytes(self, operation: Operation, question: bytes) -> bytes:
        subject = subjects.api(self._transport.project, operation)
        data = await self._transport.ask(subject, question, timeout=self._timeout)
        if data.startswith(_REFUSED):
            try:
                refusal = decode(Refusal, data)
            except ContractError as error:
                raise Unreachable(f"the desk refused {operation!r} for a reason this version cannot read") from error
            raise refused(refusal.refused)
        return data

    def close(self) -> None:
        """Stop asking. Whoever still waits for an answer gets Closed, whether the question is under way or not."""
        self.estimating.close()
        for task in [*self._tasks, *([self._hello_asked] if self._hello_asked else [])]:
            task.cancel()
        self._gathered.clear()
        for future in self._awaited:
            if not future.done():
                future.set_exception(Closed("the producer was closed before the desk answered"))
