"""Shares of one limit domain: lanes by weighted deficit, projects inside a lane by weighted virtual time.

Lanes. Each dispatch of cost c credits every lane that has work with its share of c and debits the lane that was served;
the lane with the most credit is next. So over any busy stretch a lane with work gets at least its share. The shares of
lanes without work go to the first lane that has any, in the order rt, std, batch, bg.

Projects. The round robin by deficit over projects is kept as virtual time (start-time fair queueing): a project's
account advances by cost / weight when it is served, the one farthest behind is next, and a project that comes back
after a pause starts at the present instead of collecting what it did not use. It divides like a deficit round robin,
and passing over a project that cannot be served now costs nothing and loses it nothing.

Both are kept per limit domain, because that is what is scarce: what a project gets where nobody waits is not held
against it where somebody does. The cost is in tokens: the estimate at dispatch, corrected by what was really used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.jobs import LANES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_contracts.jobs import Lane

LANE_INDEX: dict[str, int] = {lane: index for index, lane in enumerate(LANES)}


class Account:
    """One project's virtual time in one lane of one domain, in tokens per weight."""

    __slots__ = ("carry", "time", "weight")

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.time = 0.0
        self.carry = 0.0
        """Tokens by which estimates were too low (positive) or too high: part of the next charge."""

    def charge(self, cost: float) -> None:
        """One dispatch; time never runs back, a larger refund waits for the next charge."""
        owed = cost + self.carry
        self.carry = min(owed, 0.0)
        self.time += max(owed, 0.0) / self.weight


class Shares:
    """Lane credits and project accounts of one domain."""

    __slots__ = ("_accounts", "_clock", "_credit", "_share")

    def __init__(self, shares: Mapping[Lane, float]) -> None:
        total = sum(shares[lane] for lane in LANES)
        self._share = [shares[lane] / total for lane in LANES]
        self._credit = [0.0] * len(LANES)
        self._clock = [0.0] * len(LANES)
        self._accounts: list[dict[str, Account]] = [{} for _ in LANES]

    def account(self, lane: int, project: str, weight: float) -> Account:
        """The project's account in that lane."""
        found = self._accounts[lane].get(project)
        if found is None:
            found = self._accounts[lane][project] = Account(weight)
            found.time = self._clock[lane]
        return found

    def arrive(self, lane: int, account: Account) -> None:
        """The project has work again: it starts at the present."""
        account.time = max(account.time, self._clock[lane])

    def share(self, lane: int) -> float:
        """What that lane is sure of."""
        return self._share[lane]

    def next_lane(self, waiting: Sequence[int]) -> int:
        """Which of the lanes that have work is next; the earlier one of equals."""
        best = waiting[0]
        for lane in waiting[1:]:
            if self._credit[lane] > self._credit[best]:
                best = lane
        return best

    def charge(self, lane: int, account: Account, cost: float, waiting: Sequence[int]) -> None:
        """``cost`` tokens go to the account, while the lanes in ``waiting`` (that one among them) have work."""
        self._clock[lane] = max(self._clock[lane], account.time)
        account.charge(cost)
        credit = self._credit
        if len(waiting) == 1:
            # Nobody to be fair to: forget old credit, so that a lane that comes later starts even.
            for index in range(len(credit)):
                credit[index] = 0.0
            return
        unused = 1.0
        for waiter in waiting:
            credit[waiter] += cost * self._share[waiter]
            unused -= self._share[waiter]
        credit[waiting[0]] += cost * unused
        credit[lane] -= cost
