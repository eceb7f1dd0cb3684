"""What may end an attempt before its own end: an interrupt, the job's deadline, a grant that has become too old.

Whatever the attempt waits for is awaited ``within`` it, so that an interrupt closes a running call, and one that comes
before lets none begin.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from job_contracts.failures import FailureKind
from workers.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from job_contracts.attempts import Assignment
    from workers.endpoint import Endpoint

__all__ = ["Interrupted", "Interrupting"]

T = TypeVar("T")


class Interrupted(Exception):
    """The attempt ends here, for a reason of our own."""

    def __init__(self, kind: FailureKind) -> None:
        super().__init__(kind.value)
        self.kind = kind


class Interrupting:
    """One attempt's. ``reason`` is ``None`` until it is interrupted."""

    __slots__ = ("_assignment", "_endpoint", "_waiting", "reason")

    def __init__(self, endpoint: Endpoint, assignment: Assignment) -> None:
        self._endpoint, self._assignment = endpoint, assignment
        self._waiting: asyncio.Task[Any] | None = None
        self.reason: FailureKind | None = None

    def interrupt(self, kind: FailureKind) -> None:
        """Stop the attempt; a second interrupt has no effect, nor has one after the answer is complete."""
        if self.reason is None:
            self.reason = kind
            if self._waiting is not None:
                self._waiting.cancel()

    def check(self) -> None:
        """Raises Interrupted unless the attempt may (still) be made."""
        assignment, now = self._assignment, self._endpoint.clock.wall()
        if self.reason is not None:
            raise Interrupted(self.reason)
        if assignment.deadline is not None and now >= assignment.deadline:
            raise Interrupted(FailureKind.EXPIRED)
        if now + self._endpoint.leader.ahead - assignment.grant.granted > assignment.grant.valid_for:
            raise Interrupted(FailureKind.GRANT_EXPIRED)

    async def within(self, step: Coroutine[Any, Any, T], withdraw: Callable[[], None] | None = None) -> T:
        """Await ``step`` such that ``interrupt`` ends it; then ``withdraw`` is called.

        Raises Interrupted with the interrupt's kind.
        """
        task = self._waiting = asyncio.current_task()
        try:
            return await step
        except asyncio.CancelledError:
            if self.reason is None or task is None:
                raise  # somebody else's: the process ends
            task.uncancel()
            if withdraw is not None:
                withdraw()
            raise Interrupted(self.reason) from None
        finally:
            self._waiting = None

    def at_deadline(self) -> Watch | None:
        """Interrupts what goes on before the call when the job's deadline comes; ``None`` if it has none."""
        if self._assignment.deadline is None:
            return None
        left = self._assignment.deadline - self._endpoint.clock.wall()
        return Watch(asyncio.get_running_loop(), self.interrupt, total=left, kind=FailureKind.EXPIRED)

    def over_call(self) -> Watch:
        """Interrupts the call when its time is over: after ``total``, or at the job's deadline if that is sooner."""
        total, kind = self._assignment.timeouts.total, FailureKind.TOTAL_TIMEOUT
        if self._assignment.deadline is not None:
            left = self._assignment.deadline - self._endpoint.clock.wall()
            if left < total:
                total, kind = left, FailureKind.EXPIRED
        return Watch(asyncio.get_running_loop(), self.interrupt, total=total, kind=kind)
