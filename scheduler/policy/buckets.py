"""One metered quantity of a limit domain as a token bucket that no window of the provider can catch overflowing.

The bound. The bucket holds at most ``size`` B and refills with ``rate`` r = (limit - B) / (window + skew), so what is taken
in any stretch of t seconds is at most B + r*t. A call may reach the provider up to ``skew`` late, so one of the provider's
windows sees grants out of window + skew seconds of ours: at most B + r * (window + skew) = limit.

The commit. What was taken but is not yet stored in the broker (``pending``) may be committed at any moment until it is
acknowledged; until then the level refills only to B - pending (the proof is rule R6 of the fence: every stretch that begins
at the commit then sees at most B - n + r*t after it).

Large requests. One that needs more than B makes the bucket grow to fit it, up to half of the limit, and the refill slow down
accordingly; only what is larger still is admitted from a full bucket into debt. Growing never breaks the bound of a window
that spans it (the level was below the old B, the rate only falls). Shrinking again would, if the rate rose at once: so the
rate follows one whole window after the size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scheduler.policy.rules import Limit

TOLERANCE = 1e-6
"""Units by which a sum of floats may miss its mark; a debt of this size is repaid like any other."""
STILL_LARGE = 10.0
"""Windows without a large request after which a grown bucket shrinks."""
NEVER = float("inf")


class Bucket:
    """Amounts are in the limit's unit, times in seconds of the caller's clock."""

    __slots__ = ("_base", "_calm", "_slow_until", "at", "level", "limit", "pace", "pending", "rate", "size")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.pace = 1.0
        """Factor on the refill, below 1 after a provider said no although the bucket said yes."""
        self.pending = 0.0
        self.at = -NEVER
        self._calm = -NEVER
        self._slow_until = -NEVER
        self._base = self.size = burst(limit)
        self.rate = refill(limit, self.size)
        self.level = self.size

    def refill(self, now: float) -> None:
        """Bring the level up to ``now``; a clock that goes back changes nothing."""
        if now <= self.at:
            return
        if self.size > self._base or self._slow_until > -NEVER:
            self._shrink(now)
        room = self.size - self.pending
        if self.level < room:
            self.level = min(room, self.level + self.rate * self.pace * (now - self.at))
        self.at = now

    def wait(self, amount: float, now: float) -> float:
        """Seconds until ``amount`` could be taken; 0 if now, infinite if only an acknowledgement can change that."""
        self.refill(now)
        if amount > self.size:
            self._grow(amount, now)
        needed = min(amount, self.size) - TOLERANCE
        if self.level >= needed:
            return 0.0
        if self.size - self.pending < needed:
            return NEVER
        return (needed - self.level) / (self.rate * self.pace)

    def take(self, amount: float, now: float) -> None:
        """Take what was granted; the level may go below zero for a request larger than the bucket."""
        self.refill(now)
        self.level -= amount
        self.pending += amount

    def confirm(self, amount: float, now: float) -> None:
        """The grant is stored (or gone for good): the level may refill past it again."""
        self.refill(now)
        self.pending = max(0.0, self.pending - amount)

    def settle(self, reserved: float, used: float, now: float) -> None:
        """Replace what was reserved by what was used: a refund up to the size, or a debt."""
        self.refill(now)
        self.level += reserved - used
        room = self.size - self.pending
        self.level = min(self.level, room)

    def correct(self, remaining: float, now: float) -> None:
        """The provider says how much is left: believe it if it is less."""
        self.refill(now)
        self.level = min(self.level, remaining)

    def drain(self, now: float) -> None:
        """Nothing may be taken now."""
        self.correct(0.0, now)

    def restore(self, level: float, size: float, now: float) -> None:
        """Start with what is known of an earlier owner."""
        self.at = now
        if size > self.size:
            self._grow(size, now)
        self.level = min(level, self.size)

    def relimit(self, limit: Limit, now: float) -> None:
        """The provider enforces another limit than was thought."""
        self.refill(now)
        self.limit = limit
        self._base = burst(limit)
        self.size = max(self._base, min(self.size, limit.amount / 2))
        self.rate = refill(limit, self.size)
        self.level = min(self.level, self.size - self.pending)

    def _grow(self, amount: float, now: float) -> None:
        largest = max(self._base, self.limit.amount / 2)
        size = min(amount, largest)
        if size >= self.size:
            self._calm = now + STILL_LARGE * self.limit.window
        if size > self.size:
            self.size = size
            self.rate = min(self.rate, refill(self.limit, size))

    def _shrink(self, now: float) -> None:
        window = self.limit.window + self.limit.skew
        if self.size > self._base and now >= self._calm:
            self.size = self._base
            self._slow_until = now + window
            self.level = min(self.level, self.size - self.pending)
        if self._slow_until > -NEVER and now >= self._slow_until:
            self._slow_until = -NEVER
            self.rate = refill(self.limit, self.size)


def burst(limit: Limit) -> float:
    """Units a bucket holds: the share that may be used at once, at least one and at most half of the limit (above 2)."""
    if limit.amount < 2:
        return 1.0
    return max(1.0, min(limit.amount * limit.burst, limit.amount / 2))


def refill(limit: Limit, size: float) -> float:
    """Units per second. A limit below two a window leaves nothing beside the first unit: then one unit a window."""
    window = limit.window + limit.skew
    if limit.amount < 2:
        return min(1.0, limit.amount) / window
    return (limit.amount - size) / window
