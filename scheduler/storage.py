"""Looks how full the broker's streams are, and tells it: one that refuses what is new stops everything behind it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from job_contracts import subjects
from runtime.bus.port import BusError
from runtime.telemetry import INFO

if TYPE_CHECKING:
    from runtime.bus.port import StreamState
    from scheduler.term import Term

PERIOD = 15.0
"""Seconds between two looks."""
OF_A_SHARD = (subjects.SUBMIT, subjects.WORK, subjects.OUT)
OF_ALL = (
    *(subjects.RES, subjects.TOK, subjects.CTL, subjects.LEDGER, subjects.DEAD, subjects.BLOB, subjects.KEYS),
    *(subjects.FILES, subjects.BATCHES, subjects.CONV, subjects.SPENT, subjects.AUDIT),
)


class Storage:
    """The leader's duty; a stream that cannot be looked at keeps what was told of it last."""

    def __init__(self, term: Term) -> None:
        self._term = term
        self._names = (*map(term.stream, OF_A_SHARD), *OF_ALL)

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.look()
            await asyncio.sleep(PERIOD)

    async def look(self) -> None:
        """One look at each."""
        for name in self._names:
            try:
                state = await self._term.bus.stream_state(name)
            except BusError as error:
                self._term.telemetry.emit("stream.look_failed", INFO, stream=name, error=type(error).__name__)
                continue
            self._term.telemetry.emit(
                "stream.looked", stream=name, messages=state.messages, bytes=state.bytes, filled=filled(state)
            )


def filled(state: StreamState) -> float:
    """Share of the nearer of its bounds that is taken; 0 where it has none."""
    by_messages = state.messages / state.max_messages if state.max_messages > 0 else 0.0
    return max(by_messages, state.bytes / state.max_bytes if state.max_bytes > 0 else 0.0)
