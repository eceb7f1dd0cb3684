"""Numbers for operators: what waits, what runs, what is left alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from job_contracts.jobs import LANES
from job_contracts.money import picodollars
from scheduler.policy.purses import INDEX

if TYPE_CHECKING:
    from job_contracts.money import Window
    from scheduler.policy.world import World


KEYS_TOLD = 200
"""Keys whose budgets are told at most."""


@dataclass(slots=True, frozen=True)
class Counts:
    """A moment's numbers. ``pool`` is the one a queued job would go to first."""

    queued: dict[tuple[str, str], int]
    """By lane and pool."""
    unfinished: dict[str, int]
    """By project: everything that has no result yet."""
    in_flight: dict[str, int]
    """By deployment."""
    oldest: dict[str, float]
    """By lane: seconds since the submission of the job that is first in a flow and was submitted earliest."""
    benched: dict[str, str]
    """Deployments that are left alone, and why."""
    reserved: dict[str, tuple[int, int, int]]
    """By limit domain: attempts, input and output tokens reserved."""
    stopped: dict[str, str] = field(default_factory=dict)
    """Pools that an operator has stopped: ``paused`` or ``draining``."""
    held: dict[str, int] = field(default_factory=dict)
    """By payer (``project:p``, ``route:r``, ``key:p/k``, ``tag:p/name=value``): about how many jobs wait for it."""
    budgets: dict[tuple[str, Window], tuple[int, int, int]] = field(default_factory=dict)
    """By payer and window: picodollars allowed, spent and reserved. Of keys, some hundred at most."""


def count(world: World, now: float) -> Counts:
    """The numbers at ``now``; looks at flows, not at jobs."""
    queued: dict[tuple[str, str], int] = {}
    oldest: dict[str, float] = {}
    for route in world.routes.values():
        for group in route.groups:
            place = (*group.first, *group.then)[0]
            pool = route.deployments[place].rule.provider
            for flow in group.flows:
                head = flow.queue.head()
                if head is None:
                    continue
                lane = LANES[flow.lane]
                queued[(lane, pool)] = queued.get((lane, pool), 0) + flow.queue.count
                oldest[lane] = max(oldest.get(lane, 0.0), now - head.submitted)
    return Counts(
        queued=queued,
        unfinished={tenant.key: len(tenant.jobs) for tenant in world.tenants.values() if tenant.jobs},
        in_flight={deployment.name: deployment.flying for deployment in world.deployments.values()},
        oldest=oldest,
        benched={d.name: d.breaker.why for d in world.deployments.values() if not d.breaker.closed},
        reserved={
            name: (gate.domain.slots.used, gate.domain.reserved_input, gate.domain.reserved_output)
            for name, gate in world.gates.items()
        },
        stopped={pool.name: pool.state for pool in world.pools.values() if pool.state != "running"},
        held={payer.name: payer.held for payer in world.accounts.payers.named.values() if payer.held},
        budgets=_budgets(world, now),
    )


def _budgets(world: World, now: float) -> dict[tuple[str, Window], tuple[int, int, int]]:
    told: dict[tuple[str, Window], tuple[int, int, int]] = {}
    wall, keys = world.accounts.wall(now), 0
    for payer in world.accounts.payers.named.values():
        if payer.told is None:
            continue
        keys += payer.name.startswith("key:")
        if payer.name.startswith("key:") and keys > KEYS_TOLD:
            continue
        cells = payer.purse.cells(wall)
        for window, amount in payer.told.amounts():
            cell = cells[INDEX[window]]
            told[payer.name, window] = (picodollars(amount), cell.spent, cell.reserved)
    return told
