"""The model for as long as somebody likes, and what went wrong in words that can be replayed."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from tests.e2e.faults.model.run import plan_of, run, shape_of, shrink
from tests.e2e.faults.model.walk import failure_of, shortest, steps_of

STEPS = 60
WALKS = 100
"""Walks between two runs: they take about the same time."""


@dataclass
class Told:
    """What a deep search has done and found."""

    seed: int
    walks: int = 0
    runs: int = 0
    committed: int = 0
    problems: list[str] = field(default_factory=list)


def problems_of_walk(seed: int) -> str | None:
    """What is wrong with the walk of a seed, with the steps it takes; ``None`` if nothing."""
    steps = steps_of(seed, STEPS)
    failure = failure_of(steps)
    if failure is None:
        return None
    return f"walk {seed}: {failure!r}; shortest: {[name for name, _ in shortest(steps)]}"


def problems_of_run(seed: int) -> str | None:
    """What is wrong with the run of a seed, with a small plan that fails as well; ``None`` if nothing."""
    plan = plan_of(shape_of(seed))
    verdict = run(plan)
    if not verdict.problems:
        return None
    return f"run {seed} ({plan.shape}): {verdict.problems[:5]}; also by {shrink(plan, tries=30)}"


def run_for(minutes: float, seed: int) -> Told:
    """Walks and runs from ``seed`` on until the minutes are over; stops at the tenth problem."""
    logging.disable(logging.CRITICAL)  # handlers of connections that were cut are not news
    told, until = Told(seed), time.monotonic() + 60.0 * minutes
    try:
        while time.monotonic() < until and len(told.problems) < 10:
            for walk in range(seed + told.walks, seed + told.walks + WALKS):
                found = problems_of_walk(walk)
                told.problems += [found] if found else []
            told.walks += WALKS
            verdict = run(shape_of(seed + told.runs))
            told.committed += verdict.figures.get("committed", 0)
            if verdict.problems:
                told.problems.append(problems_of_run(seed + told.runs) or f"run {seed + told.runs} fails now and then")
            told.runs += 1
    finally:
        logging.disable(logging.NOTSET)
    return told
