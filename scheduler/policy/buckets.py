"""One metered quantity of a limit domain as a token bucket that no window of the provider can catch overflowing.

The bound. The bucket holds at most ``size`` B and refills with ``rate`` r = (limit - B) / (window + skew), so what is
taken in any stretch of t seconds is at most B + r*t. A call may reach the provider up to ``skew`` late, so one of the
provider's windows sees grants out of window + skew seconds of ours: at most B + r * (window + skew) = limit.

The commit. What was taken but is not yet stored in the broker (``pending``) may be committed at any moment until it is
acknowledged; until then the level refills only to B - pending, so that every stretch that begins at the commit of n
still sees at most n + (B - n) + r*t.

The refund. A reservation that was larger than the use is corrected in the past: as if only the use had been taken. In
that corrected past the level must not have been above B - pending either, or a burst of refunds would be a burst of
calls that no window has paid for; what would have been above it is lost. So the bucket remembers for one window, in
``EPOCHS`` steps, how much room there was at least, and grants a refund only as far as there was room ever since.

Large requests. One that needs more than B makes the bucket grow to fit it, up to half of the limit, and the refill slow
down accordingly; only what is larger still is admitted from a full bucket into debt. Growing never breaks the bound of
a window that spans it (the level was below the old B, and the rate only falls). Shrinking would, if the rate rose at
once: so the rate follows one whole window after the size.

A successor. It must not be faster than its predecessor was reckoned to be, or a window that spans both overflows: it is
told ``spanned``, the largest size that the last window may have seen. And what was still ``pending`` may have been
committed until the last moment before it began: it starts with at most B - pending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scheduler.policy.rules import Limit

TOLERANCE = 1e-6
"""Units by which a sum of floats may miss its mark; a debt of this size is repaid like any other."""
STILL_LARGE = 10.0
"""Windows without a large request after which a grown bucket shrinks."""
SLACK = 1.25
"""How much larger than a large request the bucket grows, so that smaller ones beside it do not keep it waiting."""
COMMIT = 0.1
"""Seconds from taking to the acknowledgement, generously."""
EPOCHS = 16
"""Steps in which the room of the last window is remembered."""
NEVER = float("inf")


class Bucket:
    """Amounts are in the limit's unit, times in seconds of the caller's clock. Asking (``level_at``, ``wait``) changes
    nothing, so that what is merely told about a bucket can never change what is decided.
    """

    __slots__ = (
        "_base",
        "_before",
        "_calm",
        "_epoch",
        "_room",
        "_slow_until",
        "at",
        "level",
        "limit",
        "pace",
        "pending",
        "rate",
        "size",
    )

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.pace = 1.0
        """Factor on the refill, below 1 after a provider said no although the bucket said yes."""
        self.pending = 0.0
        self.at = -NEVER
        self._calm = -NEVER
        self._slow_until = -NEVER
        self._before = 0.0
        """The size it had, while the rate has not followed yet."""
        self._base = self.size = burst(limit)
        self.rate = refill(limit, self.size)
        self.level = self.size
        self._epoch = 0
        self._room = [0.0] * EPOCHS

    def level_at(self, now: float) -> float:
        """What could be taken at ``now``."""
        room = self.size - self.pending
        if self.level >= room or now <= self.at:
            return self.level
        return min(room, self.level + self.rate * self.pace * (now - self.at))

    def wait(self, amount: float, now: float) -> float:
        """Seconds until ``amount`` could be taken; 0 if now, infinite if only an acknowledgement can change that."""
        needed = min(amount, self.size)
        level = self.level_at(now)
        if level >= needed - TOLERANCE:
            return 0.0
        if self.size - self.pending < needed - TOLERANCE:
            return NEVER
        return (needed - level) / (self.rate * self.pace)

    def admits(self, amount: float, now: float) -> bool:
        """Whether ``amount`` may be taken now; grows for a request that is larger than the bucket."""
        self.refill(now)
        if amount > self._base:
            self._grow(amount, now)
            amount = min(amount, self.size)
        return self.level >= amount - TOLERANCE

    def refill(self, now: float) -> None:
        """Bring the level up to ``now``; a clock that goes back changes nothing."""
        if now <= self.at:
            return
        self.level = self.level_at(now)
        self.at = now
        self._note_room(now)
        if self.size > self._base or self._slow_until > -NEVER:
            self._shrink(now)

    def take(self, amount: float, now: float) -> None:
        """Take what was granted; the level may go below zero for a request larger than the bucket."""
        self.refill(now)
        self.level -= amount
        self.pending += amount

    def confirm(self, amount: float, now: float) -> None:
        """The grant is stored (or gone for good): the level may refill past it again."""
        self.refill(now)
        self.pending = max(0.0, self.pending - amount)

    def undo(self, amount: float, now: float) -> None:
        """The grant was never stored and never will be: as if it had not been taken."""
        self.refill(now)
        self.pending = max(0.0, self.pending - amount)
        self.level = min(self.level + amount, self.size - self.pending)

    def settle(self, reserved: float, used: float, since: float, now: float) -> None:
        """Replace what was reserved by what was used: a debt, or a refund as far as there was room ``since`` then.

        ``since`` is when the grant was confirmed; before that it was counted as pending.
        """
        self.refill(now)
        back = reserved - used
        long_ago = since < now - self.limit.window - self.limit.skew
        first = 0 if long_ago else max(0, EPOCHS - 1 - self._epoch + self._epoch_of(since))
        if back > 0:
            back = max(0.0, min(back, *self._room[first:], self.size - self.pending - self.level))
        self.level += back
        self._room[first:] = [room - back for room in self._room[first:]]

    def correct(self, remaining: float, now: float) -> None:
        """The provider says how much is left: believe it if it is less."""
        self.refill(now)
        self.level = min(self.level, remaining)

    def restore(self, level: float, size: float, silence: float, now: float, *, pending: float = 0.0) -> None:
        """Start with what an earlier owner left: its ``level``, refilled over ``silence`` seconds, the ``size`` it
        spanned, and what it had ``pending``.
        """
        self.at = now
        self._epoch = self._epoch_of(now)
        if size > self.size:
            # As it was, without further slack: else every successor's would be larger, and slower, than the last.
            self._calm = now + STILL_LARGE * self.limit.window
            self.size = min(size, max(self._base, self.limit.amount / 2))
            self.rate = refill(self.limit, self.size)
        self.level = min(level + self.rate * max(0.0, silence), self.size - pending)

    def relimit(self, limit: Limit, now: float) -> None:
        """The provider enforces another limit than was thought."""
        self.refill(now)
        if (limit.window, limit.skew) != (self.limit.window, self.limit.skew):
            self._epoch = int(now * (EPOCHS - 1) // (limit.window + limit.skew))
            self._room = [0.0] * EPOCHS
        grown = self.size if self.grown else 0.0
        self.limit = limit
        self._base = burst(limit)
        self.size = max(self._base, min(grown, limit.amount / 2))
        self._before = min(self._before, limit.amount / 2)
        self.rate = refill(limit, self.spanned)
        self.level = min(self.level, self.size - self.pending)

    @property
    def grown(self) -> bool:
        """Whether it is larger than its limit alone would have it."""
        return self.size > self._base

    @property
    def spanned(self) -> float:
        """The largest size that the last window may have seen: what its rate allows for."""
        return max(self.size, self._before)

    def _epoch_of(self, time: float) -> int:
        return int(time * (EPOCHS - 1) // (self.limit.window + self.limit.skew))

    def _note_room(self, now: float) -> None:
        """The level only rises while nothing happens: there has been at least as much room since the last time."""
        room = self.size - self.pending - self.level
        passed = self._epoch_of(now) - self._epoch
        self._room[-1] = min(self._room[-1], room)
        if passed > 0:
            self._epoch += passed
            self._room = (self._room + [room] * min(passed, EPOCHS))[-EPOCHS:]

    def _grow(self, amount: float, now: float) -> None:
        if amount > self.size / 2:
            self._calm = now + STILL_LARGE * self.limit.window
        size = min(amount * SLACK, max(self._base, self.limit.amount / 2))
        if size > self.size:
            self.size = size
            self.rate = min(self.rate, refill(self.limit, size))

    def _shrink(self, now: float) -> None:
        if self.size > self._base and now >= self._calm:
            self._calm_down(now)
        if self._slow_until > -NEVER and now >= self._slow_until:
            self._slow_until = -NEVER
            self._before = 0.0
            self.rate = refill(self.limit, self.size)

    def _calm_down(self, now: float) -> None:
        """No large request has come for long: the size falls now, the rate rises one window later."""
        self._before, self.size = self.spanned, self._base
        self._slow_until = now + self.limit.window + self.limit.skew
        self.level = min(self.level, self.size - self.pending)


def burst(limit: Limit) -> float:
    """Units a bucket holds: the share that may be used at once, at least one and what comes while that one is stored
    (else the bucket is full meanwhile, and what would have come is lost), at most half of a limit above 2.
    """
    if limit.amount < 2:
        return 1.0
    least = 1.0 + COMMIT * limit.amount / limit.window
    return max(1.0, min(max(limit.amount * limit.burst, least), limit.amount / 2))


def refill(limit: Limit, size: float) -> float:
    """Units per second. A limit below two a window leaves nothing beside the first unit: then one unit a window."""
    window = limit.window + limit.skew
    if limit.amount < 2:
        return min(1.0, limit.amount) / window
    return (limit.amount - size) / window
