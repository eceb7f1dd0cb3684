"""What a lost message left behind: finds it by counting, removes it by looking, and counts each repair."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from job_contracts import subjects
from runtime.bus.port import BusError
from runtime.telemetry import INFO, WARNING
from scheduler.recovery import stored_work

if TYPE_CHECKING:
    from scheduler.lifeline import Lifeline
    from scheduler.term import Term


class Reconciler:
    """Every ``reconcile_every`` seconds: WORK must hold the lease and what is in flight, nothing else."""

    def __init__(self, term: Term, lifeline: Lifeline) -> None:
        self._term = term
        self._lifeline = lifeline
        self._stream = term.stream(subjects.WORK)
        self._suspects: frozenset[int] = frozenset()

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(self._term.config.scheduler.reconcile_every)
            if not self._term.lease.trusted:
                continue
            try:
                await self.look()
            except BusError as error:
                self._term.telemetry.emit("reconciler.look_failed", INFO, error=type(error).__name__)

    async def look(self) -> int:
        """One round; returns how many remnants were removed. A message must be superfluous in two rounds to go."""
        state = await self._term.bus.stream_state(self._stream)
        if state.messages - 1 <= len(self._lifeline.flights):
            self._suspects = frozenset()
            return 0
        in_flight = {flight.seq for flight in self._lifeline.flights.values()}
        found: set[int] = set()
        async for stored in stored_work(self._term.bus, self._stream, self._term.shard):
            if stored.seq > state.last_seq:
                break
            if stored.seq not in in_flight:
                found.add(stored.seq)
        still = {flight.seq for flight in self._lifeline.flights.values()}
        certain = (found & self._suspects) - still
        self._suspects = frozenset(found - certain - still)
        for seq in certain:
            await self._term.bus.delete(self._stream, seq)
        if certain:
            self._term.telemetry.emit("reconciler.repaired", WARNING, remnants=len(certain))
        return len(certain)
