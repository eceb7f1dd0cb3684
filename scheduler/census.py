"""Counts what waits and what runs, every other second, and tells it as events: the gauges of queues and limits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from job_contracts.money import PICO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.lifeline import Lifeline
    from scheduler.policy.tally import Counts
    from scheduler.term import Term

PERIOD = 2.0
"""Seconds between two counts."""
_RESERVED = ("attempts", "input_tokens", "output_tokens")
"""What the numbers of ``Counts.reserved`` are of."""


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
        slots: dict[tuple[str, ...], float] = {}
        workers: dict[tuple[str, ...], float] = {}
        for (pool, _), seen in self._lifeline.workers.items():
            slots[(pool,)] = slots.get((pool,), 0.0) + seen.slots
            workers[(pool,)] = workers.get((pool,), 0.0) + 1.0
        self._tell("pool.counted", ("pool",), slots)
        self._tell("pool.staffed", ("pool",), workers)
        self._tell("pool.stopped", ("pool", "state"), dict.fromkeys(counts.stopped.items(), 1.0))
        self._tell_limits(counts, now)
        self._tell_money(counts)

    def _tell_limits(self, counts: Counts, now: float) -> None:
        room, labels = self._term.board.room(now), ("domain", "unit")
        for place, event in enumerate(("limit.read", "limit.sized", "limit.allowed")):
            amounts: dict[tuple[str, ...], float] = {key: told[place] for key, told in room.items()}
            self._tell(event, labels, amounts)
        reserved: dict[tuple[str, ...], float] = {
            (domain, unit): float(amount)
            for domain, held in counts.reserved.items()
            for unit, amount in zip(_RESERVED, held, strict=True)
        }
        self._tell("limit.reserved", labels, reserved)

    def _tell_money(self, counts: Counts) -> None:
        """By payer; the keys of a project together, and of those only how many jobs wait."""
        held: dict[tuple[str, ...], float] = {}
        for payer, jobs in counts.held.items():
            label = _payer(payer)
            held[label] = held.get(label, 0.0) + jobs
        self._tell("budget.held", ("kind", "payer"), held)
        shown = {
            (*_payer(payer), window): told for (payer, window), told in counts.budgets.items() if payer[:4] != "key:"
        }
        for place, event in enumerate(("budget.limited", "budget.spent", "budget.reserved")):
            amounts: dict[tuple[str, ...], float] = {label: told[place] / PICO for label, told in shown.items()}
            self._tell(event, ("kind", "payer", "window"), amounts)

    def _tell(self, event: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]) -> None:
        before = self._told.get(event, set())
        for key in before - values.keys():
            self._term.telemetry.emit(event, value=0.0, **dict(zip(labels, key, strict=True)))
        for key, value in values.items():
            self._term.telemetry.emit(event, value=value, **dict(zip(labels, key, strict=True)))
        self._told[event] = set(values)


def _payer(payer: str) -> tuple[str, str]:
    """Its kind and name as labels. A key is shown by its project: no label is the id of one."""
    kind, _, name = payer.partition(":")
    return kind, name.partition("/")[0] if kind == "key" else name
