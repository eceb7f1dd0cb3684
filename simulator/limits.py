"""The limits a provider enforces: windows, and the domain that takes from all of them or from none (pure).

Every function takes ``now``, monotonic seconds. The amounts are whole requests or tokens. A refusal changes nothing.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Literal, Protocol

from simulator.audit import Watch
from simulator.settings import Limits, WindowKind

Dimension = Literal["requests", "input_tokens", "output_tokens", "tokens", "concurrency"]

CONCURRENCY_RETRY = 1.0
"""Seconds to wait for somebody else's answer to end: nobody can know, so the providers say something short."""


ROUNDING = 1e-6
"""Tokens a refilled bucket may lack without refusing: what floating point loses."""


class Window(Protocol):
    """One limit over time."""

    capacity: int

    def used(self, now: float) -> float: ...

    def wait(self, amount: int, now: float) -> float:
        """Seconds until ``amount`` fits, 0 if it fits now; ``amount`` is at most the capacity."""

    def take(self, amount: int, now: float) -> None: ...

    def give_back(self, amount: int, taken_at: float, now: float) -> None:
        """Correct what was taken at ``taken_at`` down by ``amount``, as far as it still counts."""

    def full_in(self, now: float) -> float:
        """Seconds until everything is available again, if nobody takes more."""


@dataclass(slots=True)
class FixedWindow:
    """A counter that starts anew every period; the first request starts the first one."""

    capacity: int
    period: float
    start: float = -math.inf
    count: int = 0

    def used(self, now: float) -> float:
        self._turn(now)
        return self.count

    def wait(self, amount: int, now: float) -> float:
        self._turn(now)
        return 0.0 if self.count + amount <= self.capacity else self.start + self.period - now

    def take(self, amount: int, now: float) -> None:
        self._turn(now)
        self.count += amount

    def give_back(self, amount: int, taken_at: float, now: float) -> None:
        self._turn(now)
        if taken_at >= self.start:
            self.count = max(0, self.count - amount)

    def full_in(self, now: float) -> float:
        self._turn(now)
        return self.start + self.period - now if self.count else 0.0

    def _turn(self, now: float) -> None:
        if self.start == -math.inf:
            self.start = now
        elif now >= self.start + self.period:
            self.start += self.period * math.floor((now - self.start) / self.period)
            self.count = 0


@dataclass(slots=True)
class SlidingWindow:
    """An exact log of the last period: what was taken at ``t`` counts until ``t + period``."""

    capacity: int
    period: float
    taken: deque[tuple[float, int]] = field(default_factory=deque)
    total: int = 0

    def used(self, now: float) -> float:
        self._expire(now)
        return self.total

    def wait(self, amount: int, now: float) -> float:
        self._expire(now)
        excess = self.total + amount - self.capacity
        if excess <= 0:
            return 0.0
        for at, size in self.taken:
            excess -= size
            if excess <= 0:
                return max(0.0, at + self.period - now)
        return self.period

    def take(self, amount: int, now: float) -> None:
        self.taken.append((now, amount))
        self.total += amount

    def give_back(self, amount: int, taken_at: float, now: float) -> None:
        self._expire(now)
        for index in range(len(self.taken) - 1, -1, -1):
            at, size = self.taken[index]
            if at < taken_at:
                return
            if at == taken_at and size >= amount:
                self.taken[index] = (at, size - amount)
                self.total -= amount
                return

    def full_in(self, now: float) -> float:
        self._expire(now)
        return max(0.0, self.taken[-1][0] + self.period - now) if self.taken else 0.0

    def _expire(self, now: float) -> None:
        taken = self.taken
        while taken and taken[0][0] + self.period <= now:
            self.total -= taken.popleft()[1]


@dataclass(slots=True)
class BucketWindow:
    """A token bucket: ``capacity`` at most, refilled evenly at ``rate`` a second."""

    capacity: int
    rate: float
    spent: float = 0.0
    at: float = 0.0

    def used(self, now: float) -> float:
        self._refill(now)
        return self.spent

    def wait(self, amount: int, now: float) -> float:
        self._refill(now)
        excess = self.spent + amount - self.capacity
        return excess / self.rate if excess > ROUNDING else 0.0

    def take(self, amount: int, now: float) -> None:
        self._refill(now)
        self.spent += amount

    def give_back(self, amount: int, taken_at: float, now: float) -> None:
        self._refill(now)
        self.spent = max(0.0, self.spent - amount)

    def full_in(self, now: float) -> float:
        self._refill(now)
        return self.spent / self.rate

    def _refill(self, now: float) -> None:
        self.spent = max(0.0, self.spent - (now - self.at) * self.rate)
        self.at = max(self.at, now)


def window(kind: WindowKind, limit: int, period: float, burst: float = 1.0) -> Window:
    """A window of a kind for ``limit`` in ``period`` seconds; ``burst`` is for the bucket alone."""
    match kind:
        case "fixed":
            return FixedWindow(limit, period)
        case "sliding":
            return SlidingWindow(limit, period)
        case "bucket":
            return BucketWindow(max(1, math.floor(limit * burst)), limit / period)


@dataclass(frozen=True, slots=True)
class Demand:
    """What a request will take. ``reserved_output`` counts until it ends, ``output`` is what it will really have."""

    input: int
    output: int
    reserved_output: int

    def of(self, dimension: Dimension) -> int:
        match dimension:
            case "requests" | "concurrency":
                return 1
            case "input_tokens":
                return self.input
            case "output_tokens":
                return self.reserved_output
            case "tokens":
                return self.input + self.reserved_output


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A request refused: which limit, how large, how much of it is used, how much was asked, seconds to wait."""

    dimension: Dimension
    limit: int
    used: int
    asked: int
    retry_after: float
    period: float

    @property
    def too_large(self) -> bool:
        """The request alone exceeds the limit: waiting cannot help."""
        return self.asked > self.limit


@dataclass(frozen=True, slots=True)
class Gauge:
    """How a limit stands: its size, what is left, seconds until all of it is back."""

    dimension: Dimension
    limit: int
    remaining: int
    full_in: float


@dataclass(slots=True)
class Lease:
    """A request admitted, until it is settled."""

    demand: Demand
    taken_at: float
    open: bool = True


class Domain:
    """The limits of one key and one model (or group), enforced together and watched."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        rows: tuple[tuple[Dimension, int | None], ...] = (
            ("requests", limits.requests),
            ("input_tokens", limits.input_tokens),
            ("output_tokens", limits.output_tokens),
            ("tokens", limits.tokens),
        )
        self._windows: dict[Dimension, Window] = {
            name: window(limits.window, size, limits.period, limits.burst) for name, size in rows if size is not None
        }
        self.watches: dict[Dimension, Watch] = {
            name: Watch(limit=size, period=limits.period) for name, size in rows if size is not None
        }
        self.concurrency = Watch(limit=limits.concurrency or 0, period=limits.period)
        self.admitted = 0
        self.refused = 0
        self.early_retries = 0
        self._closed_until = -math.inf
        self._in_progress = 0

    @property
    def in_progress(self) -> int:
        return self._in_progress

    def admit(self, demand: Demand, now: float) -> Lease | Exceeded:
        """Take from every limit, or from none and say which one refused and for how long."""
        if self._windows or self.limits.concurrency:
            exceeded = self._exceeded(demand, now)
            if exceeded is not None:
                self._note_refusal(exceeded, now)
                return exceeded
            for name, one in self._windows.items():
                amount = demand.of(name)
                one.take(amount, now)
                self.watches[name].note(amount, now)
        self.admitted += 1
        self._in_progress += 1
        self.concurrency.note_level(self._in_progress)
        return Lease(demand, now)

    def settle(self, lease: Lease, output: int, now: float) -> None:
        """End a request that really had ``output`` tokens: the rest of its reservation is returned, once."""
        if not lease.open:
            return
        lease.open = False
        self._in_progress -= 1
        unused = lease.demand.reserved_output - output
        if unused <= 0:
            return
        for name in ("output_tokens", "tokens"):
            if name in self._windows:
                self._windows[name].give_back(unused, lease.taken_at, now)

    def gauges(self, now: float) -> tuple[Gauge, ...]:
        """How each limit over time stands."""
        return tuple(
            Gauge(name, one.capacity, max(0, math.floor(one.capacity - one.used(now))), one.full_in(now))
            for name, one in self._windows.items()
        )

    def forget(self) -> None:
        """Start the audit anew; the limits themselves stand as they are."""
        self.admitted = self.refused = self.early_retries = 0
        for watch in (*self.watches.values(), self.concurrency):
            watch.forget()

    def _exceeded(self, demand: Demand, now: float) -> Exceeded | None:
        ceiling = self.limits.concurrency
        if ceiling is not None and self._in_progress >= ceiling:
            return Exceeded("concurrency", ceiling, self._in_progress, 1, CONCURRENCY_RETRY, self.limits.period)
        worst: Exceeded | None = None
        for name, one in self._windows.items():
            amount = demand.of(name)
            wait = self.limits.period if amount > one.capacity else one.wait(amount, now)
            if wait > 0 and (worst is None or wait > worst.retry_after):
                used = math.ceil(one.used(now))
                worst = Exceeded(name, one.capacity, used, amount, wait, self.limits.period)
        return worst

    def _note_refusal(self, exceeded: Exceeded, now: float) -> None:
        self.refused += 1
        (self.concurrency if exceeded.dimension == "concurrency" else self.watches[exceeded.dimension]).refused += 1
        if now < self._closed_until:
            self.early_retries += 1
        self._closed_until = max(self._closed_until, now + exceeded.retry_after)
