"""Two attempts of one job: which of them is late, and which of them is shown.

Both may stream, and whoever reads must see one of them alone. So the tokens of an attempt that was late, or is a hedge,
begin with a chunk that the broker takes only if the other one has shown nothing: what it stores first is shown, however
the messages between workers and leader are delayed or lost. The loser stops by itself; one that has no token yet is
stopped by the leader, which hears of the winner with the next heartbeat.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import ContractError, decode, encode
from job_contracts.stream import Chunk, StartDelta
from runtime.bus.port import BusError, NotFound, WrongSequence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from job_contracts.attempts import Assignment
    from job_contracts.stream import Delta
    from runtime.bus.port import Bus
    from workers.answers.screen import Screen
    from workers.streaming import TokenStream

__all__ = ["Contest", "contest_of", "shown_first"]

PATIENCE, AGAIN = 5.0, 0.05
"""Seconds for which the broker is asked who is shown, and between two questions."""


class Contest:
    """What an attempt knows of itself that may be one of two. ``stir``: there is news for the leader."""

    __slots__ = ("_hedge", "_late_after", "_stir", "_timer", "begun", "late", "over")

    def __init__(self, assignment: Assignment, stir: Callable[[], None]) -> None:
        self._hedge = assignment.hedge
        self._late_after = assignment.late_after
        self._stir = stir
        self._timer: asyncio.TimerHandle | None = None
        self.late = False
        """Whether its first token, or its answer, did not come in time."""
        self.begun = False
        """Whether it is the one that is shown."""
        self.over = False

    def call(self) -> None:
        """The provider is called."""
        if self._late_after is not None:
            self._timer = asyncio.get_running_loop().call_later(self._late_after, self._ring)

    def _ring(self) -> None:
        if not self.over:
            self.late = True
            self._stir()

    async def show(self, stream: TokenStream | Screen, deltas: Sequence[Delta]) -> bool:
        """Show the first tokens; False if those of the other one are shown."""
        self.stop()
        if not self.late and not self._hedge:
            await stream.add(deltas)
            return True
        self.begun = await stream.claim(deltas)
        if self.begun:
            self._stir()
        return self.begun

    def stop(self) -> None:
        """It has begun to answer, or has ended: it cannot be late any more."""
        self.over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def waits(self) -> bool:
        """Whether it is late and waits still."""
        return self.late and not self.over

    @property
    def doubled(self) -> bool:
        """Whether there may be another one."""
        return self.late or self._hedge


def contest_of(assignment: Assignment, stir: Callable[[], None]) -> Contest | None:
    """What is to be watched of an attempt, ``None`` if nobody would make a second one."""
    return Contest(assignment, stir) if assignment.hedge or assignment.late_after is not None else None


async def shown_first(bus: Bus, subject: str, chunk: Chunk) -> bool:
    """Store the first tokens of one of two attempts, unless the other one's are stored. Where the broker does not say
    for ``PATIENCE`` seconds they are not shown.
    """
    loop, data = asyncio.get_running_loop(), encode(chunk)
    until = loop.time() + PATIENCE
    while loop.time() < until:
        try:
            seq, last = await _last(bus, subject)
            if last == chunk:
                return True  # it is stored, only we were not told
            if last is not None and _taken(last, chunk):
                return False
            await bus.append(subject, data, expect_last=seq)
        except WrongSequence:
            continue  # something came in between: look again
        except BusError:
            await asyncio.sleep(AGAIN)
        else:
            return True
    return False


async def _last(bus: Bus, subject: str) -> tuple[int, Chunk | None]:
    try:
        found = await bus.last(subjects.TOK, subject)
    except NotFound:
        return 0, None
    try:
        return found.seq, decode(Chunk, found.data)
    except ContractError:
        return found.seq, None


def _taken(last: Chunk, chunk: Chunk) -> bool:
    """Whether another attempt is shown: a later one that has begun, or the one before with more than its start."""
    if last.generation > chunk.generation:
        return True
    before = last.generation == chunk.generation - 1
    return before and any(not isinstance(delta, StartDelta) for delta in last.deltas)
