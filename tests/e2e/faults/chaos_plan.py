"""What will be broken, when and for how long, and which jobs will flow: all of it from one seed. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal, get_args

from job_contracts.jobs import LANES, Lane
from tests.e2e.faults.events import FaultKind

KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
PROJECTS = ("red", "green", "blue")
ROUTES = ("fast", "smart", "cheap", "solo")
DISTURBANCES = ("503", "529", "429@1", "reset", "cut@0.5", "stall@0.5", "malformed_chunk", "hang")
"""How providers misbehave at times, in the simulator's words."""

Shape = Literal["plain", "streamed", "delayed", "urgent", "cancelled early", "cancelled late", "repeated", "contested"]
SHAPES: dict[Shape, int] = {
    "plain": 50,
    "streamed": 16,
    "delayed": 8,
    "urgent": 6,
    "cancelled early": 5,
    "cancelled late": 5,
    "repeated": 7,
    "contested": 3,
}
"""What kinds of jobs there are, and how many of a hundred of each."""


@dataclass(frozen=True, slots=True)
class Blow:
    """A fault to come: ``at`` seconds after the beginning, for ``seconds``; ``pick`` in [0, 1) chooses its target."""

    at: float
    what: FaultKind
    seconds: float
    pick: float


@dataclass(frozen=True, slots=True)
class Disturbance:
    """A provider that will misbehave: ``pick`` chooses it, ``share`` of its calls are hit."""

    at: float
    fault: str
    seconds: float
    pick: float
    share: float


@dataclass(frozen=True, slots=True)
class Wish:
    """A job to submit at ``at`` seconds. ``raw``: not through the SDK. ``delay``, ``within``: seconds, by shape."""

    number: int
    at: float
    project: str
    raw: bool
    shape: Shape
    route: str
    lane: Lane
    delay: float
    within: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How close together the faults of a run are, in seconds. ``long_stop`` is that of a process, one time in three."""

    first: float = 6.0
    gap: tuple[float, float] = (10.0, 18.0)
    stop: tuple[float, float] = (4.0, 16.0)
    long_stop: float = 30.0
    down: tuple[float, float] = (1.0, 5.0)
    nodes_roll: bool = True
    """Whether a rolling restart is one of the brokers as well, which takes a minute."""


QUICK = Pace(first=3.0, gap=(4.0, 5.2), stop=(4.5, 6.5), long_stop=8.0, down=(0.5, 1.5), nodes_roll=False)


def blows(seed: int, seconds: float, pace: Pace) -> tuple[Blow, ...]:
    """Every kind once in a random order, then again in another, until ``seconds`` are over; one round is whole."""
    dice = random.Random(f"blows {seed}")
    found: list[Blow] = []
    at = pace.first
    while at < seconds:
        for what in dice.sample(KINDS, len(KINDS)):
            lasts = dice.uniform(*(pace.stop if what.endswith("stop") else pace.down))
            if what in ("leader stop", "worker stop") and dice.random() < 1 / 3:
                lasts = pace.long_stop
            found.append(Blow(round(at, 2), what, round(lasts, 2), dice.random()))
            at += dice.uniform(*pace.gap)
    return tuple(blow for number, blow in enumerate(found) if number < len(KINDS) or blow.at < seconds)


def disturbances(seed: int, seconds: float) -> tuple[Disturbance, ...]:
    """One provider at a time misbehaves for some seconds, about a third of the time."""
    dice = random.Random(f"disturbances {seed}")
    found: list[Disturbance] = []
    at = dice.uniform(4.0, 10.0)
    while at < seconds:
        lasts, share = dice.uniform(1.0, 4.0), dice.uniform(0.2, 0.9)
        found.append(Disturbance(round(at, 2), dice.choice(DISTURBANCES), round(lasts, 2), dice.random(), share))
        at += lasts + dice.uniform(4.0, 10.0)
    return tuple(found)


def wishes(seed: int, jobs: int, seconds: float) -> tuple[Wish, ...]:
    """``jobs`` jobs spread over ``seconds``, in order of time."""
    dice = random.Random(f"wishes {seed}")
    moments = sorted(dice.uniform(0.0, seconds) for _ in range(jobs))
    shapes, weights = tuple(SHAPES), tuple(SHAPES.values())
    return tuple(
        Wish(
            number=number,
            at=at,
            project=dice.choice(PROJECTS),
            raw=dice.random() < 0.2,
            shape=dice.choices(shapes, weights)[0],
            route=dice.choice(ROUTES),
            lane=dice.choice(LANES),
            delay=round(dice.uniform(0.5, 4.0), 2),
            within=round(dice.uniform(0.5, 6.0), 2),
        )
        for number, at in enumerate(moments)
    )
