"""An event loop of its own for programs without one: coroutines are run there, from any thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any, TypeVar

from producer_sdk.errors import Closed

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
        raise End from end


class End(Exception):
    """An asynchronous iterator has ended."""


def iterated(portal: Portal, items: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """An asynchronous generator of the loop as a plain one."""
    turn = asyncio.Lock()  # a step that was interrupted ends only after the interrupt has been raised here
    try:
        while True:
            try:
                yield portal.call(_next(items, turn))
            except End:
                return
    finally:
        portal.call(_close(items, turn))


async def _next(items: AsyncGenerator[T, None], turn: asyncio.Lock) -> T:
    async with turn:
        return await anext(items)


async def _close(items: AsyncGenerator[T, None], turn: asyncio.Lock) -> None:
    async with turn:
        await items.aclose()


async def made(make: Callable[[], T]) -> T:
    """What a function makes that must be called on the loop."""
    return make()
