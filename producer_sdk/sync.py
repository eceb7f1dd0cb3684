"""The same surface for programs without an event loop: blocking calls, from any thread, on a loop of their own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from job_contracts.jobs import JobStatus
from job_contracts.results import Result
from job_contracts.stream import StreamEvent
from producer_sdk.answers import Answered
from producer_sdk.batch import Item, Progress
from producer_sdk.errors import Closed
from producer_sdk.handle import JobHandle, Receipt
from producer_sdk.options import Messages, Options, Tools
from producer_sdk.producer import Producer
from producer_sdk.streams import JobStream

if TYPE_CHECKING:
    import ssl

    from producer_sdk.transport import Transport

T = TypeVar("T")

STOPPING = 5.0
"""Seconds to wait for the loop's thread at the end."""


class Portal:
    """An event loop in a daemon thread, started by the first ``call``, which runs a coroutine there and waits for it.

    An interrupt (Ctrl-C) of the waiting thread cancels the coroutine and is raised on.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        self._closed = False

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result, or its exception."""
        try:
            loop = self._running()
        except BaseException:
            work.close()
            raise
        future = asyncio.run_coroutine_threadsafe(_undisturbed(work), loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError as error:
            raise Closed("the producer was closed while this call waited") from error
        except (KeyboardInterrupt, SystemExit):
            future.cancel()
            raise

    def post(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function on the loop, some time; nothing happens after the end."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(function, *arguments)

    def close(self) -> None:
        """Stop the loop and its thread. Safe to call twice."""
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None or self._process != os.getpid():
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join(STOPPING)

    def _running(self) -> asyncio.AbstractEventLoop:
        if threading.current_thread() is self._thread:
            raise Closed("a SyncProducer cannot be used on its own loop", remedy="use Producer in asynchronous code")
        with self._lock:
            if self._closed:
                raise Closed("the producer is closed", remedy="make a new one")
            if self._loop is None:
                self._process = os.getpid()
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_run, args=(self._loop,), name="penstock-producer", daemon=True)
                self._thread.start()
            elif self._process != os.getpid():
                raise Closed("the producer was opened in another process", remedy="make one after the fork")
            return self._loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        leftover = asyncio.all_tasks(loop)
        for task in leftover:
            task.cancel()
        if leftover:
            loop.run_until_complete(asyncio.gather(*leftover, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _undisturbed(work: Coroutine[Any, Any, T]) -> T:
    try:
        return await work
    except StopAsyncIteration as end:
        # It cannot travel through a future as itself.
        raise _End from end


class _End(Exception):
    """An asynchronous iterator has ended."""


class SyncProducer:
    """``Producer``, blocking. Every argument and every error is the same; use it from as many threads as you like."""

    def __init__(
        self,
        url: str | Sequence[str] | None = None,
        key: str | None = None,
        *,
        project: str | None = None,
        timeout: float | None = 600.0,
        connect_timeout: float = 5.0,
        submit_timeout: float = 30.0,
        desk_timeout: float = 5.0,
        cancel_abandoned: bool = True,
        window: int = 2_048,
        tls: ssl.SSLContext | None = None,
        name: str = "penstock-producer",
        clock: Callable[[], float] = time.time,
        transport: Transport | None = None,
    ) -> None:
        self._producer = Producer(
            url,
            key,
            project=project,
            timeout=timeout,
            connect_timeout=connect_timeout,
            submit_timeout=submit_timeout,
            desk_timeout=desk_timeout,
            cancel_abandoned=cancel_abandoned,
            window=window,
            tls=tls,
            name=name,
            clock=clock,
            transport=transport,
        )
        self._portal = Portal()
        self._finalizer = weakref.finalize(self, self._portal.close)

    @property
    def project(self) -> str:
        """The project this producer speaks for."""
        return self._producer.project

    @property
    def timeout(self) -> float | None:
        """Seconds a call waits for an answer unless it says otherwise."""
        return self._producer.timeout

    def __enter__(self) -> Self:
        self._portal.call(self._producer.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect and end the thread. Jobs go on. Safe to call twice."""
        if self._finalizer.alive:
            try:
                self._portal.call(self._producer.close())
            except Closed:
                pass
            finally:
                self._finalizer()

    def complete(
        self,
        *,
        model: str,
        messages: Messages,
        tools: Tools = (),
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Answered:
        """See ``Producer.complete``. An interrupt while it waits cancels the job."""
        return self._portal.call(
            self._producer.complete(model=model, messages=messages, tools=tools, timeout=timeout, **options)
        )

    def stream(
        self,
        *,
        model: str,
        messages: Messages,
        tools: Tools = (),
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> SyncJobStream:
        """See ``Producer.stream``; a plain iterator."""
        return SyncJobStream(
            self._portal,
            lambda: self._producer.stream(model=model, messages=messages, tools=tools, timeout=timeout, **options),
        )

    def submit(
        self, *, model: str, messages: Messages, tools: Tools = (), stream: bool = False, **options: Unpack[Options]
    ) -> SyncJobHandle:
        """See ``Producer.submit``."""
        handle = self._portal.call(
            self._producer.submit(model=model, messages=messages, tools=tools, stream=stream, **options)
        )
        return SyncJobHandle(self._portal, handle)

    def attach(self, job: str) -> SyncJobHandle:
        """See ``Producer.attach``."""
        return SyncJobHandle(self._portal, self._producer.attach(job))

    def parse(
        self,
        type_: type[T],
        *,
        model: str,
        messages: Messages,
        tools: Tools = (),
        timeout: float | None = None,
        strict: bool | None = None,
        **options: Unpack[Options],
    ) -> T:
        """See ``Producer.parse``."""
        return self._portal.call(
            self._producer.parse(
                type_, model=model, messages=messages, tools=tools, timeout=timeout, strict=strict, **options
            )
        )

    def map(
        self,
        requests: Iterable[Mapping[str, Any]],
        *,
        concurrency: int = 64,
        ordered: bool = False,
        checkpoint: str | Path | None = None,
        max_cost: Decimal | float | str | None = None,
        progress: bool | Callable[[Progress], None] = False,
        timeout: float | None = None,
    ) -> Generator[Item, None, None]:
        """See ``Producer.map``; ``requests`` are drawn, and ``progress`` is called, on the producer's own thread."""
        items = self._portal.call(
            _made(
                lambda: self._producer.map(
                    requests,
                    concurrency=concurrency,
                    ordered=ordered,
                    checkpoint=checkpoint,
                    max_cost=max_cost,
                    progress=progress,
                    timeout=timeout,
                )
            )
        )
        return self._iterated(items)

    def _iterated(self, items: Any) -> Generator[Item, None, None]:
        try:
            while True:
                try:
                    yield self._portal.call(anext(items))
                except _End:
                    return
        finally:
            self._portal.call(items.aclose())


async def _made(make: Callable[[], T]) -> T:
    return make()


class SyncJobHandle:
    """``JobHandle``, blocking."""

    def __init__(self, portal: Portal, handle: JobHandle) -> None:
        self._portal = portal
        self._handle = handle

    @property
    def id(self) -> str:
        """The job's id."""
        return self._handle.id

    def status(self) -> JobStatus:
        """See ``JobHandle.status``."""
        return self._portal.call(self._handle.status())

    def receipt(self) -> Receipt:
        """See ``JobHandle.receipt``."""
        return self._portal.call(self._handle.receipt())

    def result(self, timeout: float | None = None) -> Answered:
        """See ``JobHandle.result``. An interrupt while it waits leaves the job alone."""
        return self._portal.call(self._handle.result(timeout))

    def record(self, timeout: float | None = None) -> Result:
        """See ``JobHandle.record``."""
        return self._portal.call(self._handle.record(timeout))

    def cancel(self, reason: str = "cancelled by the producer") -> None:
        """See ``JobHandle.cancel``."""
        self._portal.call(self._handle.cancel(reason))

    def stream(self, *, timeout: float | None = None) -> SyncJobStream:
        """See ``JobHandle.stream``; a plain iterator."""
        return SyncJobStream(self._portal, lambda: self._handle.stream(timeout=timeout))

    def __repr__(self) -> str:
        return f"SyncJobHandle({self.id!r})"


class SyncJobStream:
    """``JobStream``, a plain iterator. Leave it early through ``close`` or ``with``."""

    def __init__(self, portal: Portal, make: Callable[[], JobStream]) -> None:
        self._portal = portal
        self._stream = portal.call(_made(make))

    @property
    def job(self) -> str:
        """The job's id."""
        return self._stream.job

    def __iter__(self) -> SyncJobStream:
        return self

    def __next__(self) -> StreamEvent:
        try:
            return self._portal.call(anext(self._stream))
        except _End:
            raise StopIteration from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """See ``JobStream.aclose``."""
        self._portal.call(self._stream.aclose())

    @property
    def result(self) -> Answered:
        """See ``JobStream.result``."""
        return self._stream.result

    def text(self) -> str:
        """Read to the end and return the whole text."""
        return self._portal.call(self._stream.text())
