"""Random walks over the machine, without hypothesis between the steps: many times as many, each from one seed.

Each walk has its own preferences among the steps, so that some do hardly anything but take over and others hardly
anything but lose workers. A walk that goes wrong is shrunk by leaving steps out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeAlias, cast

from job_contracts.jobs import LANES
from tests.e2e.faults.model.machine import FAILS, Key, Machine

Do: TypeAlias = Callable[[Machine, list[Key]], object]


def _submits(random: Random) -> Do:
    project, route = random.choice(["p", "p", "q", "few"]), random.choice("rs")
    lane, size = random.choice(LANES), random.choice([1, 50, 300])
    after, within = random.choice([None, None, None, 2.0, 15.0]), random.choice([None, None, None, 1.0, 8.0, 60.0])
    given: dict[str, Any] = {
        "project": project,
        "route": route,
        "lane": lane,
        "size": size,
        "after": after,
        "within": within,
    }
    return lambda machine, keys: keys.append(cast("Key", machine.submits(**given)))


def _cancels_early(random: Random) -> Do:
    return lambda machine, keys: keys.append(cast("Key", machine.cancels_early(1, "p")))


def _cancels(random: Random) -> Do:
    index, right = random.randrange(1000), random.random() < 0.6
    return lambda machine, keys: keys and machine.cancels(keys[index % len(keys)], right)


def _time(random: Random) -> Do:
    seconds = random.choice([0.01, 0.3, 0.9, 1.5, 5.0])
    return lambda machine, _: machine.time_passes(seconds)


def _decides(random: Random) -> Do:
    room = random.choice([1, 3, 50])
    return lambda machine, _: machine.leader.batch is None and machine.decides(room)


def _all_goes_well(random: Random) -> Do:
    room = random.choice([2, 50])
    return lambda machine, _: machine.all_goes_well(room)


def _arrives(random: Random) -> Do:
    def do(machine: Machine, _: list[Key]) -> None:
        if machine.leader.batch is not None and machine.leader.stored is None:
            machine.batch_arrives()

    return do


def _late(random: Random) -> Do:
    return lambda machine, _: machine.zombies and machine.late_batch_arrives()


def _refused(random: Random) -> Do:
    def do(machine: Machine, _: list[Key]) -> None:
        if machine.leader.batch is not None and machine.leader.stored is None:
            machine.batch_is_refused()

    return do


def _hears(random: Random) -> Do:
    def do(machine: Machine, _: list[Key]) -> None:
        if machine.leader.batch is not None and machine.leader.stored is not None:
            machine.leader_hears()

    return do


def _takes_over(random: Random) -> Do:
    silence = random.choice([0.0, 3.0, 8.0])
    return lambda machine, _: machine.takes_over(silence)


def _lost(random: Random) -> Do:
    index = random.randrange(1000)
    return lambda machine, _: machine.work and machine.worker_is_lost(index)


def _calls(random: Random) -> Do:
    index = random.randrange(1000)

    def do(machine: Machine, _: list[Key]) -> None:
        if any(each.called is None and not each.answered for each in machine.attempts):
            machine.worker_calls(index)

    return do


def _ends(random: Random) -> Do:
    index, kind = random.randrange(1000), random.choice([None, None, None, *FAILS])
    used, wait = random.choice([0.1, 1.0]), random.choice([None, 6.0])

    def do(machine: Machine, _: list[Key]) -> None:
        if any(each.called is not None and not each.answered for each in machine.attempts):
            machine.call_ends(index, kind, used, wait)

    return do


STEPS: tuple[tuple[Callable[[Random], Do], float], ...] = (
    (_submits, 3.0),
    (_cancels_early, 0.3),
    (_cancels, 0.7),
    (_time, 2.0),
    (_decides, 1.0),
    (_all_goes_well, 3.0),
    (_arrives, 1.0),
    (_late, 0.5),
    (_refused, 0.3),
    (_hears, 1.0),
    (_takes_over, 0.3),
    (_lost, 1.0),
    (_calls, 1.0),
    (_ends, 3.0),
)


def steps_of(seed: int, count: int) -> list[tuple[str, Do]]:
    """The walk of a seed."""
    random = Random(seed)
    weights = [weight * random.choice([0.1, 1.0, 1.0, 5.0]) for _, weight in STEPS]
    chosen = random.choices([make for make, _ in STEPS], weights, k=count)
    return [(make.__name__, make(random)) for make in chosen]


def failure_of(steps: Sequence[tuple[str, Do]]) -> Exception | None:
    """What is wrong with a walk, ``None`` if nothing."""
    machine, keys = Machine(), list[Key]()
    try:
        machine.begin()
        for _, do in steps:
            do(machine, keys)
            machine.reservations_are_the_sum_over_live_attempts()
        machine.teardown()
    except Exception as error:  # noqa: BLE001 - a mutated policy may fail in any way
        return error
    return None


def shortest(steps: list[tuple[str, Do]]) -> list[tuple[str, Do]]:
    """The walk without the steps it does not need to go wrong."""
    size = max(1, len(steps) // 2)
    while size:
        start = 0
        while start < len(steps):
            shorter = steps[:start] + steps[start + size :]
            if failure_of(shorter) is not None:
                steps = shorter
            else:
                start += size
        size //= 2
    return steps
