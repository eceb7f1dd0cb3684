"""One round of dispatching: gate by gate, one job at a time, until nothing more can go or the room is used up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.policy import grants
from scheduler.policy.buckets import NEVER
from scheduler.policy.choices import choice
from scheduler.policy.domains import Saving
from scheduler.policy.explain import cost
from scheduler.policy.felt import Feeling
from scheduler.policy.live import LiveGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scheduler.policy.decisions import Dispatch
    from scheduler.policy.domains import Tokens
    from scheduler.policy.gates import Gate, Turn
    from scheduler.policy.payments import Payments
    from scheduler.policy.world import World

    Serve = Callable[[Gate, float, list[Dispatch]], bool]


LONG = 2.0
"""Seconds a domain may wait for one request alone; if it takes longer the other lanes go on beside it."""


class Rounds:
    """Asks the gates in turn, each round beginning with another one, so that room too is shared."""

    __slots__ = ("_full", "_gates", "_payments", "_start", "_world", "feeling", "more")

    def __init__(self, world: World, payments: Payments) -> None:
        self._world = world
        self._payments = payments
        self._gates = list(world.gates.values())
        self._start = 0
        self._full = False
        self.feeling = Feeling()
        self.more = False
        """Whether the last round ended for lack of room alone."""

    def run(self, now: float, room: int) -> list[Dispatch]:
        """At most ``room`` dispatches."""
        moment = self._world.moment
        moment.now = now
        moment.version += 1
        for gate in self._gates:
            gate.ready = gate.domain.open(now)
            gate.short = gate.beside = None
            if not gate.kept:
                gate.bound = NEVER
            gate.kept = False
            if not gate.ready and gate.rings:
                self.feeling.shut(gate, now)
        self._start = (self._start + 1) % len(self._gates)
        gates = self._gates[self._start :] + self._gates[: self._start]
        dispatches: list[Dispatch] = []
        self._payments.begin(now)
        self._payments.wake(now)
        self._ask(self._serve, gates, room, dispatches)
        while len(dispatches) < room and self._payments.wake(now):
            self._ask(self._serve, gates, room, dispatches)
        if len(dispatches) < room:
            self._ask(self._pass_by, [gate for gate in gates if self._reopens(gate, now)], room, dispatches)
        self.more = self.more or self._payments.spent
        self._full = len(dispatches) >= room
        return dispatches

    def _ask(self, how: Serve, gates: Sequence[Gate], room: int, dispatches: list[Dispatch]) -> None:
        """One job at each gate in turn, until none has anything to give or the room is used up."""
        before, progress, now = len(dispatches), True, self._world.moment.now
        while progress and len(dispatches) < room:
            progress = False
            for gate in gates:
                if gate.ready and len(dispatches) < room and how(gate, now, dispatches):
                    progress = True
        self.more = progress and len(dispatches) > before

    def _pick(self, gate: Gate, now: float, *, only: int | None = None, but: int | None = None) -> Turn | None:
        """Whose turn it is among the jobs that may still go there, and that those who pay for them let go."""
        while True:
            turn = gate.pick(only=only, but=but)
            if turn is None:
                return None
            job = turn.job
            route = turn.flow.group.route
            seated = job.seat is None or not self._world.trials.unsettled
            if seated and job.wallet is None and job.max_cost is None and job.demands is None and not route.timed:
                return turn
            if self._payments.lets(turn, cost(self._world, job, turn.deployment), now):
                return turn
            if self._payments.spent:
                return None

    def _serve(self, gate: Gate, now: float, dispatches: list[Dispatch]) -> bool:
        """One dispatch, or the discovery that the next one has to wait; False if nobody waits at this gate."""
        turn = self._pick(gate, now)
        if gate.saving is not None and (turn is None or gate.saving.lane not in turn.waiting):
            gate.saving = None
        if turn is None:
            return False
        tokens = cost(self._world, turn.job, turn.deployment)
        saving = gate.saving
        if saving is not None and turn.flow.lane != saving.lane and not gate.domain.spares(tokens, saving, now):
            turn = self._pick(gate, now, only=saving.lane) or turn
            tokens = cost(self._world, turn.job, turn.deployment)
        if gate.domain.admits(tokens, now):
            if saving is not None and turn.flow.lane == saving.lane:
                gate.saving = None
            self._grant(gate, turn, tokens, dispatches)
            return True
        gate.short = tokens
        self.feeling.short(gate, tokens, now)
        if saving is not None and saving.lane == turn.flow.lane:
            saving.tokens = tokens
        elif saving is None and gate.domain.wait(tokens, now) > LONG:
            gate.saving = Saving(turn.flow.lane, gate.shares.share(turn.flow.lane), tokens, now)
        self._shut(gate)
        return True

    def _reopens(self, gate: Gate, now: float) -> bool:
        """Whether the next request at this gate has to wait so long that the other lanes go on beside it."""
        if gate.saving is None or gate.short is None or not gate.domain.open(now):
            return False
        if gate.domain.wait(gate.short, now) <= LONG:
            return False
        gate.ready = True
        self._world.moment.version += 1
        return True

    def _pass_by(self, gate: Gate, now: float, dispatches: list[Dispatch]) -> bool:
        """One dispatch of another lane, as far as it leaves alone what is being saved up."""
        saving = gate.saving
        turn = None if saving is None else self._pick(gate, now, but=saving.lane)
        if saving is None or turn is None:
            return False
        tokens = cost(self._world, turn.job, turn.deployment)
        if gate.domain.admits(tokens, now) and gate.domain.spares(tokens, saving, now):
            self._grant(gate, turn, tokens, dispatches)
        else:
            gate.beside = tokens
            self._shut(gate)
        return True

    def _shut(self, gate: Gate) -> None:
        gate.ready = False
        self._world.moment.version += 1

    def _grant(self, gate: Gate, turn: Turn, tokens: Tokens, dispatches: list[Dispatch]) -> None:
        group, now = turn.flow.group, self._world.moment.now
        planned = group.route.planner is not None
        decision = choice(self._world, turn.job, group, turn.deployment, now) if planned else None
        hedging = group.route.hedging
        if gate.bound <= now:
            self.feeling.goes(gate, turn.job, now)
        late = None if hedging is None else hedging.late(turn.job, turn.deployment, now)
        dispatches.append(grants.grant(turn, tokens, self._world.accounts, now, decision, late=late))
        if planned and isinstance(group, LiveGroup):
            group.went(turn.deployment, now)
        self._note_use(gate, turn)

    def _note_use(self, gate: Gate, turn: Turn) -> None:
        """A place was taken: who has none left is not asked again in this round."""
        pool, moment = gate.domain.pool, self._world.moment
        if not pool.places.free:
            for other in self._gates:
                if other.domain.pool is pool:
                    other.ready = False
            moment.version += 1
        elif not gate.domain.slots.free:
            gate.ready = False
            moment.version += 1
            if gate.rings:
                self.feeling.binds(gate, "concurrency", moment.now)
        elif not turn.deployment.breaker.closed:
            moment.version += 1

    def next_time(self, now: float) -> float:
        """When a bucket, a closed domain or a breaker could let something through; infinite if none could."""
        if self._payments.stirred and not self._full:
            return now
        soonest = self._payments.next_time()
        for gate in self._gates:
            if gate.short is not None:
                soonest = min(soonest, now + gate.domain.wait(gate.short, now))
            if gate.beside is not None and gate.saving is not None:
                wait = max(gate.domain.wait(gate.beside, now), gate.domain.wait_beside(gate.beside, gate.saving, now))
                soonest = min(soonest, now + wait)
            if now < gate.domain.closed_until:
                soonest = min(soonest, gate.domain.closed_until)
        for deployment in self._world.deployments.values():
            if now < deployment.breaker.until:
                soonest = min(soonest, deployment.breaker.until)
        return soonest
