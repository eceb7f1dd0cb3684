"""One round of dispatching: gate by gate, one job at a time, until nothing more can go or the room is used up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.policy import grants
from scheduler.policy.buckets import NEVER
from scheduler.policy.explain import cost

if TYPE_CHECKING:
    from scheduler.policy.decisions import Dispatch
    from scheduler.policy.turns import Gate
    from scheduler.policy.world import World


class Rounds:
    """Asks the gates in turn, each round beginning with another one, so that room too is shared."""

    __slots__ = ("_gates", "_start", "_world", "more")

    def __init__(self, world: World) -> None:
        self._world = world
        self._gates = list(world.gates.values())
        self._start = 0
        self.more = False
        """Whether the last round ended for lack of room alone."""

    def run(self, now: float, room: int) -> list[Dispatch]:
        """At most ``room`` dispatches."""
        moment = self._world.moment
        moment.now = now
        moment.version += 1
        for gate in self._gates:
            gate.ready = gate.domain.open(now)
            gate.short = None
        self._start = (self._start + 1) % len(self._gates)
        gates = self._gates[self._start :] + self._gates[: self._start]
        dispatches: list[Dispatch] = []
        progress = True
        while progress and len(dispatches) < room:
            progress = False
            for gate in gates:
                if gate.ready and len(dispatches) < room and self._serve(gate, now, dispatches):
                    progress = True
        self.more = progress and bool(dispatches)
        return dispatches

    def _serve(self, gate: Gate, now: float, dispatches: list[Dispatch]) -> bool:
        """One dispatch, or the discovery that the next one has to wait; False if nobody waits at this gate."""
        turn = gate.pick()
        job = None if turn is None else turn.flow.queue.head()
        if turn is None or job is None:
            return False
        domain, moment = gate.domain, self._world.moment
        tokens = cost(self._world, job, turn.deployment)
        if not domain.admits(tokens, now):
            gate.ready = False
            gate.short = tokens
            moment.version += 1
            return True
        dispatches.append(grants.grant(job, turn, tokens, now))
        if not domain.pool.places.free:
            for other in self._gates:
                if other.domain.pool is domain.pool:
                    other.ready = False
            moment.version += 1
        elif not domain.slots.free:
            gate.ready = False
            moment.version += 1
        elif not turn.deployment.breaker.closed:
            moment.version += 1
        return True

    def next_time(self, now: float) -> float:
        """When a bucket, a closed domain or a breaker could let something through; infinite if none could."""
        soonest = NEVER
        for gate in self._gates:
            if gate.short is not None:
                soonest = min(soonest, now + gate.domain.wait(gate.short, now))
            if now < gate.domain.closed_until:
                soonest = min(soonest, gate.domain.closed_until)
        for deployment in self._world.deployments.values():
            if now < deployment.breaker.until:
                soonest = min(soonest, deployment.breaker.until)
        return soonest
