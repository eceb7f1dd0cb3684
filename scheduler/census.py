"""Counts what waits and what runs, every other second, and tells it as events: the gauges of queues and limits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.lifeline import Lifeline
    from scheduler.term import Term

PERIOD = 2.0
"""Seconds between two counts."""


class Census:
    """Counts for operators; a label that has gone to zero is told once more, so that its gauge does not stick."""

    def __init__(self, term: Term, lifeline: Lifeline) -> None:
        self._term = term
        self._lifeline = lifeline
        self._told: dict[str, set[tuple[str, ...]]] = {}

    async def run(self) -> None:
        """For ever."""
        while True:
            self.take()
            await asyncio.sleep(PERIOD)

    def take(self) -> None:
        """One count."""
        now = self._term.clock.monotonic()
        counts = self._term.board.counts(now)
        self._tell("queue.counted", ("lane", "pool"), {key: float(n) for key, n in counts.queued.items()})
        self._tell("queue.aged", ("lane",), {(lane,): age for lane, age in counts.oldest.items()})
        self._tell("flights.counted", ("deployment",), {(name,): float(n) for name, n in counts.in_flight.items()})
        self._tell("deployment.benched", ("deployment",), {(name,): 1.0 for name in counts.benched})
        unread = self._term.overflow.projects.items()
        left: dict[tuple[str, ...], float] = {(name,): float(those.count) for name, those in unread}
        self._tell("queue.unread", ("project",), left)
        levels = self._term.board.levels(now)
        available: dict[tuple[str, ...], float] = {
            (domain, unit): level
            for domain, units in levels.items()
            for unit, level in units.items()
            if "." not in unit  # what is told of a bucket beside its level is for a successor
        }
        self._tell("limit.read", ("domain", "unit"), available)
        slots: dict[tuple[str, ...], float] = {}
        for (pool, _), seen in self._lifeline.workers.items():
            slots[(pool,)] = slots.get((pool,), 0.0) + seen.slots
        self._tell("pool.counted", ("pool",), slots)

    def _tell(self, event: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]) -> None:
        before = self._told.get(event, set())
        for key in before - values.keys():
            self._term.telemetry.emit(event, value=0.0, **dict(zip(labels, key, strict=True)))
        for key, value in values.items():
            self._term.telemetry.emit(event, value=value, **dict(zip(labels, key, strict=True)))
        self._told[event] = set(values)
