"""Reservations and facts: each attempt is reserved for until its fact is told, and counted once."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from scheduler.policy.payers import Payers
from scheduler.policy.purses import Counted, Spending

if TYPE_CHECKING:
    from scheduler.policy.facts import Charged, InFlight
    from scheduler.policy.jobs import Job
    from scheduler.policy.payers import Payer
    from scheduler.policy.rules import Rules

Attempt = tuple[str, str, int]
"""Project, job id, number."""


class Reservation:
    """What one attempt may still cost its payers."""

    __slots__ = ("at", "cost", "payers")

    def __init__(self, payers: tuple[Payer, ...], cost: int, at: float) -> None:
        self.payers = payers
        self.cost = cost
        self.at = at


class Accounts:
    """The money of one leader's term. ``now`` is the time of the call that is being answered."""

    __slots__ = ("_counted", "_offset", "departed", "now", "payers", "reservations", "trusted")

    def __init__(self, rules: Rules, now: float, wall: float) -> None:
        self._offset = wall - now
        self.now = now
        self.payers = Payers(rules)
        self.trusted = False
        """Whether all of LEDGER has been read."""
        self.reservations: dict[Attempt, Reservation] = {}
        self.departed = 0
        """Jobs that have stopped waiting without having been woken, since the last sweep."""
        self._counted = Counted()

    def wall(self, now: float) -> float:
        """UTC seconds."""
        return now + self._offset

    def monotonic(self, wall: float) -> float:
        """The same moment on the scale of ``now``."""
        return wall - self._offset

    def reserve(self, attempt: Attempt, payers: tuple[Payer, ...], cost: int, at: float) -> None:
        """An attempt may cost so much; it counts in the windows of ``at``."""
        self.release(attempt)
        self.reservations[attempt] = Reservation(payers, cost, at)
        for payer in payers:
            payer.purse.reserve(cost, at)

    def release(self, attempt: Attempt, at: float | None = None) -> None:
        """Its fact has been told, or will never be; with ``at``, only what was reserved at that time."""
        held = self.reservations.get(attempt)
        if held is None or (at is not None and held.at != at):
            return
        del self.reservations[attempt]
        for payer in held.payers:
            payer.purse.reserve(-held.cost, held.at)
            payer.stir()

    def charge(self, fact: Charged) -> None:
        """What an attempt cost takes the place of what was reserved for it."""
        self.release(fact.attempt)
        cost = fact.cost if fact.cost is not None else fact.reserved or 0
        attempt, weight = _fingerprint(fact.attempt), sum(bit << 3 - place for place, bit in enumerate(fact.weight))
        before = self._counted.get(attempt)
        if before is not None and before[0] >= weight:
            return
        self._counted.note(attempt, weight, fact.at, cost)
        if not fact.counted:
            return
        wall = self.wall(self.now)
        for payer in self.payers.payers_of(fact.project, fact.route, fact.key, fact.tags, fact.attempt[1]):
            if before is not None:
                payer.purse.spend(-before[2], before[1], wall)
            payer.purse.spend(cost if before is not None else cost - fact.instead, fact.at, wall)
            payer.stir()

    def recover(self, fact: InFlight, job: Job | None, worst: int | None) -> None:
        """An earlier owner granted this attempt. ``worst``: what it may cost, where its assignment does not tell."""
        attempt = (fact.project, fact.job, fact.attempt)
        cost = worst if fact.cost is None else fact.cost
        if cost is None or attempt in self.reservations or _fingerprint(attempt) in self._counted:
            return
        if job is None or fact.route not in {None, job.route_name}:  # an experiment's arm: its route pays
            payers = self.payers.payers_of(fact.project, fact.route or "", fact.key, fact.tags, fact.job)
        elif job.wallet is not None:
            payers = job.wallet.payers
        else:
            return  # nobody has a budget that this could be counted against
        self.reserve(attempt, payers, cost, fact.charged or self.wall(self.now))

    def spending(self) -> Spending:
        """What a successor starts from."""
        wall = self.wall(self.now)
        told = {name: payer.purse.told(wall) for name, payer in self.payers.named.items()}
        return Spending({name: sums for name, sums in told.items() if sums})


def _fingerprint(attempt: Attempt) -> int:
    name = "\0".join((attempt[0], attempt[1], str(attempt[2])))
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")
