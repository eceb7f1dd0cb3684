"""Lets a job go that all who pay for it have room for, and holds every other one beside its flow until they have.

A job whose turn it is goes, or leaves its flow and waits with the first payer that lacks room: for attempts under way
to settle, for a limit to refill, or for a window to end. So a payer without room is asked once a job, not once a round,
and nobody else waits for it. At one payer the order is that of a queue: who comes later does not take the room that an
earlier one waits for to come back; but what only the end of a window can give, nobody is kept waiting for.

What has room is woken, as many as fit together, and asked for again when its turn has come: between the two nothing is
promised. So that a million jobs that lose their room do not stop everything else, at most ``MOVES`` of them change
places in one round.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from scheduler.policy import seats
from scheduler.policy.buckets import NEVER
from scheduler.policy.costs import worst
from scheduler.policy.explain import cost as tokens_of
from scheduler.policy.jobs import BLOCKED, PARKED
from scheduler.policy.queues import key_of
from scheduler.policy.shortfalls import hopeless, until

if TYPE_CHECKING:
    from scheduler.policy.backlog import Backlog
    from scheduler.policy.domains import Tokens
    from scheduler.policy.gates import Turn
    from scheduler.policy.jobs import Job
    from scheduler.policy.payers import Entry, Payer
    from scheduler.policy.turns import Deployment
    from scheduler.policy.world import World

MOVES = 1_000
"""Jobs held or woken in one round at most."""
SWEEP = 4_096
"""Jobs that left while they waited, before they are searched for."""
LATER = 0.001
"""Seconds after the end of a window at which it has surely ended, whatever the rounding of times."""


class Payments:
    """Asks payers, keeps who waits for them."""

    __slots__ = ("_accounts", "_backlog", "_moves", "_serial", "_timers", "_untrusted", "_world")

    def __init__(self, world: World, backlog: Backlog) -> None:
        self._world = world
        self._accounts = world.accounts
        self._backlog = backlog
        self._timers: list[tuple[float, int, Payer]] = []
        self._serial = 0
        self._untrusted: deque[Job] = deque()
        """Jobs that wait for the spend to be known."""
        self._moves = MOVES

    @property
    def spent(self) -> bool:
        """Whether nobody may change places any more in this round."""
        return self._moves <= 0

    # ---------------------------------------------------------------------------------------------------------- asking

    def lets(self, turn: Turn, tokens: Tokens, now: float) -> bool:
        """Whether this job may go there, by its experiment and its constraints as they stand now and by who pays for
        it; if not, it has left its flow. Changes nothing else: the grant takes.
        """
        job, deployment = turn.job, turn.deployment
        if self._world.trials.unsettled and seats.moves(self._world, job):
            self._take_out(turn)
            self._backlog.enqueue(job)
            return False
        wallet, route = job.wallet, turn.flow.group.route
        closed = route.closed(job) >> (route.index(deployment.name) or 0) & 1
        if closed or (job.priced and hopeless(self._world, job, deployment, now) is not None):
            self._take_out(turn)
            self._backlog.enqueue(job)
            return False
        if wallet is None or not wallet.binds:
            return True
        if wallet.hard and not self._accounts.trusted:
            self._take_out(turn)
            job.state = BLOCKED
            self._untrusted.append(job)
            return False
        wall = self._accounts.wall(now)
        cost = (worst(job, deployment, wall) or 0) if wallet.hard else 0
        for payer, amounts in wallet.hard:
            room, end = until(payer, amounts, cost, wall)
            if not room or _behind(payer, job):
                self._take_out(turn)
                self._hold(payer, job, deployment, end, now)
                return False
        for payer, quota in wallet.quotas:
            if _behind(payer, job) or not quota.domain.slots.free or not quota.domain.admits(tokens, now):
                self._take_out(turn)
                self._hold(payer, job, deployment, 0.0, now)
                return False
        return True

    def _take_out(self, turn: Turn) -> None:
        self._moves -= 1
        turn.flow.queue.pop(turn.job)
        turn.flow.group.left(turn.job.lane)
        turn.job.state = PARKED

    def _hold(self, payer: Payer, job: Job, deployment: Deployment, end: float, now: float) -> None:
        """It waits for room there; with ``end``, only from then on (UTC seconds)."""
        job.state = BLOCKED
        entry = (*key_of(job), job, deployment)
        if end:
            heappush(payer.later.setdefault(end, []), entry)
            self._look(payer, self._accounts.monotonic(end) + LATER, now)
            return
        heappush(payer.waiting, entry)
        if payer.quota is not None and payer.waiting[0] is entry:
            self._refilled(payer, tokens_of(self._world, job, deployment), 1, now)

    def _look(self, payer: Payer, at: float, now: float) -> None:
        """Look at it again then."""
        if at < NEVER and (payer.timer <= now or at < payer.timer):
            payer.timer = at
            self._serial += 1
            heappush(self._timers, (at, self._serial, payer))

    # ---------------------------------------------------------------------------------------------------------- waking

    def begin(self, now: float) -> None:
        """A round begins."""
        self._moves = MOVES
        timers = self._timers
        while timers and timers[0][0] <= now:
            payer = heappop(timers)[2]
            payer.turn_page(self._accounts.wall(now))
            for end in payer.later:
                self._look(payer, self._accounts.monotonic(end) + LATER, now)
        if self._accounts.departed > SWEEP:
            self._sweep()

    def wake(self, now: float) -> bool:
        """Let those go back to their flows that have room; whether there were any."""
        woken = False
        while self._untrusted and self._accounts.trusted and self._moves > 0:
            job = self._untrusted.popleft()
            if job.state == BLOCKED:
                woken = True
                self._requeue(job)
        stirred = self._accounts.payers.stirred
        for payer in list(stirred):
            if self._moves <= 0:
                break
            if self._wake(payer, now):
                woken = True
            else:
                del stirred[payer]
        return woken

    def _wake(self, payer: Payer, now: float) -> bool:
        """As many as fit together; whether it is to be asked again when they have had their turn."""
        money, count, tokens = 0, 0, (0, 0)
        wall, moved = self._accounts.wall(now), False
        while self._moves > 0:
            entry = payer.top()
            if entry is None:
                break
            job, deployment = entry[3], entry[4]
            if job.priced and hopeless(self._world, job, deployment, now) is not None:
                heappop(payer.waiting)
                self._requeue(job)
                moved = True
                continue
            amounts = () if job.wallet is None else job.wallet.amounts(payer)
            cost = (worst(job, deployment, wall) or 0) if amounts else 0
            end = until(payer, amounts, cost, wall)[1] if amounts else 0.0
            if end:
                heappop(payer.waiting)
                self._moves -= 1
                self._hold(payer, job, deployment, end, now)
                continue
            more = tokens_of(self._world, job, deployment)
            tokens = (tokens[0] + more[0], tokens[1] + more[1])
            if not until(payer, amounts, cost + money, wall)[0] or not self._refilled(payer, tokens, count + 1, now):
                break
            heappop(payer.waiting)
            money, count, moved = money + cost, count + 1, True
            self._requeue(job)
        return moved or self._moves <= 0

    def _refilled(self, payer: Payer, tokens: Tokens, count: int, now: float) -> bool:
        """Whether its limits have so much; if the first that waits needs more, it is looked at again in time."""
        if payer.quota is None:
            return True
        pause = payer.quota.wait(tokens, count, now)
        if pause > 0 and count == 1:
            self._look(payer, now + pause, now)
        return pause <= 0

    def _requeue(self, job: Job) -> None:
        self._moves -= 1
        job.state = PARKED
        self._backlog.enqueue(job)

    def _sweep(self) -> None:
        payers = self._accounts.payers.named.values()
        self._untrusted = deque(job for job in self._untrusted if job.state == BLOCKED)
        for payer in payers:
            if payer.waiting or payer.later:
                payer.sweep()
        # Next when as many have left as wait now: a sweep costs what it spares.
        self._accounts.departed = -sum(payer.held for payer in payers)

    @property
    def stirred(self) -> bool:
        """Whether there may be room that was not there in the last round."""
        return bool(self._accounts.payers.stirred)

    def next_time(self) -> float:
        """When a limit has refilled or a window has ended that somebody waits for."""
        return self._timers[0][0] if self._timers else NEVER

    @property
    def untrusted(self) -> int:
        """Jobs that wait for the spend to be known."""
        return len(self._untrusted)


def _behind(payer: Payer, job: Job) -> bool:
    """Whether somebody that comes before the job waits for the payer's room."""
    first: Entry | None = payer.top()
    return first is not None and first[:3] < key_of(job)
