"""The lifecycle that all processes share: duties that start and stop, signals that drain, one loop to run in.

    class Sweeper(Duty):
        async def run(self) -> None:
            while await self.pause(30):
                await self.sweep()

    service = Service("scheduler", telemetry, drain=30)
    service.add(bus_duty, health, sweeper)      # started in this order, stopped in reverse
    sys.exit(run(service.run))

A duty's ``start`` and ``stop`` may be called twice and in any order. A loop that raises is started again after a pause;
one that keeps failing ends the process with status 1, so that its supervisor gets a say.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import uvloop

from runtime.telemetry import ERROR, INFO, WARNING, Telemetry

__all__ = ["Duty", "Service", "Startable", "place_of", "run"]


class Startable(Protocol):
    """What a service can run: ``stop`` returns within a bound of its own and may be called before ``start``."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class Duty:
    """A background task with a lifecycle; override ``run``, and ``opened`` or ``closed`` for what surrounds it.

    ``grace``: seconds ``stop`` waits for ``run`` to return by itself before it is cancelled. ``give_up``: failures in a
    row (each within ``steady`` seconds of the last start) after which the duty is ``broken``.
    """

    def __init__(
        self, name: str, telemetry: Telemetry, *, grace: float = 5.0, give_up: int = 10, steady: float = 30.0
    ) -> None:
        self.name = name
        self.telemetry = telemetry
        self.stopping = asyncio.Event()
        self.broken: asyncio.Future[None] | None = None
        self._grace, self._give_up, self._steady = grace, give_up, steady
        self._task: asyncio.Task[None] | None = None

    async def opened(self) -> None:
        """Called once before ``run``; an exception here fails the start."""

    async def run(self) -> None:
        """The work; returns soon after ``stopping`` is set. The default waits for that."""
        await self.stopping.wait()

    async def closed(self) -> None:
        """Called once after ``run`` has ended, however it ended."""

    async def start(self) -> None:
        """Begin, unless it has begun; after ``stop`` it begins anew."""
        if self._task is not None:
            return
        self.stopping.clear()
        self.broken = asyncio.get_running_loop().create_future()
        await self.opened()
        self._task = asyncio.create_task(self._keep_running(), name=self.name)

    async def stop(self) -> None:
        """Ask ``run`` to end, wait for it at most ``grace`` seconds, then cancel it."""
        self.stopping.set()
        task = self._task
        if task is None:
            return
        try:
            await asyncio.wait({task}, timeout=self._grace)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=1.0)
                self.telemetry.emit("duty.cancelled", WARNING, duty=self.name)
            if self._task is task:
                self._task = None
                await self.closed()

    async def pause(self, seconds: float) -> bool:
        """Wait; True after ``seconds``, False as soon as the duty is to stop."""
        if self.stopping.is_set():
            return False
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            return True
        return False

    async def _keep_running(self) -> None:
        loop, failures = asyncio.get_running_loop(), 0
        while not self.stopping.is_set():
            begun = loop.time()
            try:
                await self.run()
            except Exception as error:  # noqa: BLE001 - the top of the duty's loop
                failures = failures + 1 if loop.time() - begun < self._steady else 1
                where = place_of(error)
                self.telemetry.emit("duty.failed", ERROR, duty=self.name, error=type(error).__name__, place=where)
                if failures >= self._give_up:
                    if self.broken is not None and not self.broken.done():
                        self.broken.set_result(None)
                    return
                await self.pause(min(0.1 * 2.0**failures, 5.0))
            else:
                return


def place_of(error: BaseException) -> str:
    """File and line where an exception was raised: enough to find it, nothing of its content."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}" if trace else ""


class Service:
    """Starts duties in order, waits for a signal, stops them in reverse within ``drain`` seconds altogether.

    The first SIGTERM or SIGINT drains; the second gives what is left one more second.
    """

    def __init__(self, name: str, telemetry: Telemetry, *, drain: float = 30.0) -> None:
        self.name = name
        self.telemetry = telemetry
        self.draining = asyncio.Event()
        """Set as soon as the process is to end: fail readiness, take nothing new."""
        self._hurry = asyncio.Event()
        self._drain = drain
        self._duties: list[Startable] = []
        self._started: list[Startable] = []
        self._status = 0

    def add(self, *duties: Startable) -> None:
        """Duties to run, in the order in which they are started."""
        self._duties.extend(duties)

    def stop(self, *, status: int = 0) -> None:
        """End the process as if it had been signalled, with this exit status."""
        self._status = max(self._status, status)
        self.draining.set()

    async def run(self) -> int:
        """Run until a signal, ``stop``, or a duty that cannot go on; returns the exit status."""
        self._take_signals()
        try:
            await self._start()
            if not self.draining.is_set():
                gc.collect()
                gc.freeze()  # what exists now lives as long as the process: no collection need look at it again
                self.telemetry.emit("service.started", INFO, duties=len(self._started))
                await self._until_asked()
        finally:
            self.draining.set()
            await self._stop()
        self.telemetry.emit("service.stopped", INFO, status=self._status)
        return self._status

    async def _start(self) -> None:
        for duty in self._duties:
            asked = asyncio.create_task(self.draining.wait())
            starting = asyncio.ensure_future(duty.start())
            self._started.append(duty)
            await asyncio.wait({asked, starting}, return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            if not starting.done():  # told to end before it was up
                starting.cancel()
                await asyncio.wait({starting}, timeout=1.0)
                return
            starting.result()

    async def _until_asked(self) -> None:
        asked: asyncio.Future[Any] = asyncio.ensure_future(self.draining.wait())
        broken: dict[asyncio.Future[Any], Duty] = {
            duty.broken: duty for duty in self._started if isinstance(duty, Duty) and duty.broken is not None
        }
        done, _ = await asyncio.wait({asked, *broken}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        for future, duty in broken.items():
            if future in done:
                self.telemetry.emit("service.broken", ERROR, duty=duty.name)
                self._status = 1

    async def _stop(self) -> None:
        stopping = asyncio.create_task(self._stop_all())
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait({stopping, hurry}, timeout=self._drain, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            self.telemetry.emit("service.drain_cut_short", WARNING, hurried=self._hurry.is_set())
            stopping.cancel()
            await asyncio.wait({stopping}, timeout=1.0)
            self._status = max(self._status, 1)
        hurry.cancel()

    async def _stop_all(self) -> None:
        while self._started:
            duty = self._started.pop()
            try:
                await duty.stop()
            except Exception as error:  # noqa: BLE001 - the others must still be stopped
                name = type(duty).__name__
                self.telemetry.emit(
                    "duty.stop_failed", ERROR, duty=name, error=type(error).__name__, place=place_of(error)
                )
                self._status = 1

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number.name)

    def _signalled(self, name: str) -> None:
        second = self.draining.is_set()
        self.telemetry.emit("service.signalled", INFO, signal=name, second=second)
        if second:
            self._hurry.set()
        self.draining.set()


def run(main: Callable[[], Awaitable[int]]) -> int:
    """Run a process's main coroutine in a uvloop and return its exit status."""

    async def entry() -> int:
        gc.set_threshold(20_000, 20, 50)  # thousands of short-lived messages a second are no sign of cycles
        return await main()

    return uvloop.run(entry())
