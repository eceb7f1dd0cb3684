"""Virtual time, and processes inside it that can be stopped, resumed and killed.

The event loop never sleeps: when nothing is ready its clock jumps to the next timer. Every callback belongs to the
process in whose context it was made. While a process is stopped its callbacks wait, in order, as a stopped process's
would; what it sent before is with the network, which belongs to nobody and goes on.
"""

from __future__ import annotations

import asyncio
import heapq
import selectors
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context, ContextVar, copy_context
from typing import Any

START = 1_000.0
"""The first reading of the clock, in seconds."""
TURNS = 20_000
"""Turns of the loop without time going on, from which somebody is taken to be in a hot loop."""


class Stuck(AssertionError):
    """Nothing is ready and nothing will ever be, or the same moment never ends."""


class Process:
    """What a machine would run as one process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stopped = False
        self.dead = False
        self.backlog: list[_Handle | _Timer] = []
        self._tasks: set[asyncio.Task[object]] = set()

    def start(self, work: Coroutine[Any, Any, object]) -> None:
        """Run something as part of this process."""
        context = copy_context()
        context.run(PROCESS.set, self)
        task = asyncio.get_running_loop().create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """SIGSTOP."""
        self.stopped = True

    def resume(self) -> None:
        """SIGCONT."""
        self.stopped = False
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        waiting, self.backlog = self.backlog, []
        loop.again(waiting)


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)
NETWORK = Context()
"""Of what happens between processes."""


class _Handle(asyncio.Handle):
    __slots__ = ("owner",)
    owner: Process | None

    def _run(self) -> None:
        if self.owner is not None and self.owner.stopped:
            self.owner.backlog.append(self)
        else:
            super()._run()


class _Timer(asyncio.TimerHandle):
    __slots__ = ("owner",)
    owner: Process | None

    def _run(self) -> None:
        if self.owner is not None and self.owner.stopped:
            self.owner.backlog.append(self)
        else:
            super()._run()


class _Jump(selectors.SelectSelector):
    """Waits by moving the loop's clock."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.loop.pass_time(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self.now = START
        self._turns = 0
        selector = _Jump()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def pass_time(self, seconds: float | None) -> None:
        """Nothing is ready for so long."""
        if seconds is None:
            message = "nothing is ready, and nothing will ever be"
            raise Stuck(message)
        if seconds > 0:
            self.now += seconds
            self._turns = 0
            return
        self._turns += 1
        if self._turns > TURNS:
            message = f"{TURNS} turns of the loop at {self.now}"
            raise Stuck(message)

    def again(self, handles: Iterable[asyncio.Handle]) -> None:
        """Run what was held back."""
        self._ready.extend(handles)  # type: ignore[attr-defined]  # the base class's queue

    def _call_soon(self, callback: Callable[..., object], args: Any, context: Context | None) -> asyncio.Handle:
        handle = _Handle(callback, args, self, context)
        handle.owner = _owner(context)
        self._ready.append(handle)  # type: ignore[attr-defined]  # the base class's queue
        return handle

    def call_at(  # type: ignore[override]  # the base class pairs the callback with its arguments
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = _Timer(when, callback, args, self, context)
        timer.owner = _owner(context)
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]  # the base class's heap
        timer._scheduled = True  # type: ignore[attr-defined]  # as the base class does
        return timer


def _owner(context: Context | None) -> Process | None:
    return PROCESS.get() if context is None else context.get(PROCESS)


class VirtualClock:
    """``runtime.clock.Clock`` over the loop's time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def monotonic(self) -> float:
        return self._loop.now

    def wall(self) -> float:
        return 1_750_000_000.0 + self._loop.now


def run_virtual(main: Callable[[VirtualLoop], Coroutine[Any, Any, None]]) -> None:
    """Run ``main`` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        runner.run(main(loop))
