"""A limit domain: everything one provider meters together, and whether it takes one more request now."""

from __future__ import annotations

from dataclasses import replace
from math import exp
from typing import TYPE_CHECKING

from scheduler.policy.buckets import NEVER, TOLERANCE, Bucket
from scheduler.policy.pools import Slots
from scheduler.policy.rules import Limit, Unit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_contracts.attempts import LimitReading
    from scheduler.policy.pools import Pool
    from scheduler.policy.rules import DomainRule, Pace

Tokens = tuple[int, int]
"""Input and output tokens."""

CUT = 0.75
"""Factor on the pace after a provider said no although our buckets said yes (multiplicative decrease)."""
SLOWEST = 0.1
RECOVERY = 0.01
"""Share of the full pace that comes back each second (additive increase)."""
LEARNED_WINDOW = 10.0
"""Seconds over which a limit that was learned from refusals is spread."""
LONG_WINDOW = 600.0
"""Seconds; limits per hour or day are not spread evenly: they only close the domain when they are used up."""
RATE_OVER = 10.0
"""Seconds over which the rate of dispatches is averaged."""


class Saving:
    """A request too large for the level of now puts ``share`` of every refill aside, from ``since`` on."""

    __slots__ = ("lane", "share", "since", "tokens")

    def __init__(self, lane: int, share: float, tokens: Tokens, since: float) -> None:
        self.lane = lane
        self.share = share
        self.tokens = tokens
        self.since = since

    def saved(self, unit: Unit, bucket: Bucket, now: float) -> float:
        """What lies aside in one bucket; never more than the request needs of it."""
        return min(amount_of(unit, self.tokens), self.share * bucket.rate * bucket.pace * (now - self.since))


class Domain:
    """Buckets, slots and closing time of one domain. Grants are all or nothing over its buckets."""

    __slots__ = (
        "_count",
        "_counted",
        "_learned",
        "_pace",
        "_paced_at",
        "_refused_at",
        "_reset_at",
        "_since",
        "_strikes",
        "buckets",
        "closed_until",
        "closed_why",
        "name",
        "pool",
        "reserved_input",
        "reserved_output",
        "rule",
        "slots",
    )

    def __init__(self, rule: DomainRule, pool: Pool, pace: Pace) -> None:
        self.rule = rule
        self.name = rule.name
        self.pool = pool
        self.buckets: dict[Unit, Bucket] = {limit.unit: Bucket(limit) for limit in rule.limits}
        self.slots = Slots(rule.concurrency)
        self.closed_until = -NEVER
        self.closed_why = ""
        self.reserved_input = 0
        self.reserved_output = 0
        self._pace = pace
        self._strikes = 0
        self._refused_at = -NEVER
        self._reset_at = -NEVER
        """When a limit that was used up is full again, as the provider's headers say."""
        self._paced_at = NEVER
        """Since when the pace has been recovering; infinite while it is full."""
        self._learned = False
        """Whether the requests bucket is our own guess."""
        self._count = 0.0
        self._counted = -NEVER
        self._since = NEVER

    # ------------------------------------------------------------------------------------------------------ granting

    def open(self, now: float) -> bool:
        """Whether it is worth asking for tokens at all."""
        return now >= self.closed_until and self.slots.free and self.pool.places.free

    def admits(self, tokens: Tokens, now: float) -> bool:
        """Whether every bucket has what this request needs, now."""
        if now > self._paced_at:
            self._recover(now)
        enough = True
        for unit, bucket in self.buckets.items():
            enough = bucket.admits(amount_of(unit, tokens), now) and enough
        return enough

    def wait(self, tokens: Tokens, now: float) -> float:
        """Seconds until every bucket has what this request needs."""
        return max((bucket.wait(amount_of(unit, tokens), now) for unit, bucket in self.buckets.items()), default=0.0)

    def spares(self, tokens: Tokens, saving: Saving, now: float) -> bool:
        """Whether it can give this much and still have what somebody else has saved up by now."""
        return all(
            bucket.level_at(now) - amount_of(unit, tokens) >= saving.saved(unit, bucket, now) - TOLERANCE
            for unit, bucket in self.buckets.items()
        )

    def wait_beside(self, tokens: Tokens, saving: Saving, now: float) -> float:
        """Seconds until it could spare this much while the saving goes on."""
        longest = 0.0
        for unit, bucket in self.buckets.items():
            missing = saving.saved(unit, bucket, now) + amount_of(unit, tokens) - bucket.level_at(now)
            if missing > TOLERANCE:
                longest = max(longest, missing / (bucket.rate * bucket.pace * (1.0 - saving.share)))
        return longest

    def take(self, tokens: Tokens, now: float) -> None:
        """Reserve; only after ``admits``."""
        for unit, bucket in self.buckets.items():
            bucket.take(amount_of(unit, tokens), now)
        self.occupy(tokens)
        self._count = self._decayed(now) + 1.0
        self._counted = now
        self._since = min(self._since, now)

    def occupy(self, tokens: Tokens) -> None:
        """An attempt runs that was paid for (perhaps by an earlier owner)."""
        self.slots.used += 1
        self.pool.places.used += 1
        self.reserved_input += tokens[0]
        self.reserved_output += tokens[1]

    def confirm(self, tokens: Tokens, now: float) -> None:
        """The grant is stored in the broker, or will never be."""
        for unit, bucket in self.buckets.items():
            bucket.confirm(amount_of(unit, tokens), now)

    def undo(self, tokens: Tokens, now: float) -> None:
        """The grant was never stored: everything back."""
        self._vacate(tokens)
        for unit, bucket in self.buckets.items():
            bucket.undo(amount_of(unit, tokens), now)

    def release(self, reserved: Tokens, used: Tokens, requests: int, *, since: float, now: float) -> None:
        """The attempt confirmed at ``since`` is over: ``requests`` (0 or 1) reached the provider and cost ``used``."""
        self._vacate(reserved)
        for unit, bucket in self.buckets.items():
            if unit == "requests":
                if not requests:
                    bucket.settle(1, 0, since, now)
            else:
                bucket.settle(amount_of(unit, reserved), amount_of(unit, used), since, now)

    def _vacate(self, tokens: Tokens) -> None:
        self.slots.used -= 1
        self.pool.places.used -= 1
        self.reserved_input -= tokens[0]
        self.reserved_output -= tokens[1]

    # ------------------------------------------------------------------------------------------------------ ordering

    def hold_to(self, rule: DomainRule, now: float) -> None:
        """An operator says that these limits hold from now on, whatever was learned. What the provider's headers say
        may lower them again.

        A limit that is new or lower begins empty: what was used under the old one may still count at the provider.
        """
        gone = {limit.unit for limit in self.rule.limits} - {limit.unit for limit in rule.limits}
        self.rule = rule
        for unit in gone:
            self.buckets.pop(unit, None)
        for limit in rule.limits:
            bucket = self.buckets.get(limit.unit)
            lower = bucket is None or limit.amount < bucket.limit.amount
            if bucket is None:
                bucket = self.buckets[limit.unit] = Bucket(limit)
                bucket.refill(now)
            elif bucket.limit != limit:
                bucket.relimit(limit, now)
            if lower:
                bucket.correct(0.0, now)
            if limit.unit == "requests":
                self._learned = False
        self.slots.limit = rule.concurrency

    # ------------------------------------------------------------------------------------------------------ learning

    def refused(self, granted_at: float, retry_after: float | None, now: float) -> None:
        """The provider answered 429 to a call granted at ``granted_at``: close until it says so, go slower after.

        Further refusals of calls that were granted before the closing are the same event, not another one; nor do calls
        of an earlier owner, granted at minus infinity, say anything about our pace.
        """
        if granted_at > self._refused_at:
            self._refused_at = now
            self._strikes += 1
            self._slow_down(now)
        pause = min(self._pace.limited * 2.0 ** min(max(self._strikes - 1, 0), 30), self._pace.max_limited)
        if retry_after is not None:
            pause = min(max(retry_after, self._pace.limited), self._pace.max_retry_after)
        elif self._reset_at > now:
            pause = max(pause, min(self._reset_at - now, self._pace.max_limited))
        self.close(now + pause, "the provider refused a call (429)")
        for unit, bucket in self.buckets.items():
            # One call finds out whether it is open again; a burst would find out the hard way.
            bucket.correct(1.0 if unit == "requests" else 0.0, now)

    def served(self) -> None:
        """A call succeeded: the next refusal is the first again."""
        self._strikes = 0

    def close(self, until: float, why: str) -> None:
        """Nothing is granted until then."""
        if until > self.closed_until:
            self.closed_until = until
            self.closed_why = why

    def read(self, reading: LimitReading, now: float) -> None:
        """What the provider's headers say: a lower remainder or limit than ours is believed."""
        if reading.unit == "concurrency":
            if reading.limit is not None:
                known = self.rule.concurrency
                self.slots.limit = max(1, int(reading.limit if known is None else min(known, reading.limit)))
            return
        used_up = reading.remaining is not None and reading.remaining <= 0
        if used_up and reading.reset is not None:
            self._reset_at = max(self._reset_at, now + reading.reset)
        bucket = self._bucket_for(reading.unit, reading.limit, reading.window, now)
        if bucket is not None and reading.remaining is not None:
            bucket.correct(max(0.0, reading.remaining), now)
        elif bucket is None and used_up and reading.reset is not None:
            until = now + min(reading.reset, self._pace.max_retry_after)
            self.close(until, f"its {reading.unit.replace('_', ' ')} are used up")

    def _bucket_for(self, unit: Unit, amount: float | None, window: float, now: float) -> Bucket | None:
        """The bucket a reading is about, its limit corrected; ``None`` where we keep none for such a window."""
        bucket = self.buckets.get(unit)
        guessed = self._learned and unit == "requests"
        if window > LONG_WINDOW or (bucket is not None and not guessed and not _same(bucket.limit.window, window)):
            return None
        if amount is None or amount < 1:
            return bucket
        configured = next((limit for limit in self.rule.limits if limit.unit == unit), None)
        if configured is not None:
            told = replace(configured, amount=min(configured.amount, amount))
        else:
            told = Limit(unit, amount, window, self.rule.burst, self.rule.skew)
        if bucket is None:
            bucket = self.buckets[unit] = Bucket(told)
            bucket.refill(now)
        elif bucket.limit != told:
            bucket.relimit(told, now)
        if unit == "requests":
            self._learned = False
        return bucket

    def _slow_down(self, now: float) -> None:
        self._recover(now)
        if not self.buckets or self._learned:
            self._learn(now)
        for bucket in self.buckets.values():
            bucket.refill(now)
            bucket.pace = max(SLOWEST, bucket.pace * CUT)
        self._paced_at = now

    def _learn(self, now: float) -> None:
        """Nothing is known of its limits: what was sent lately was too much, so that is where the limit lies."""
        amount = max(2.0, self.rate(now) * LEARNED_WINDOW)
        limit = Limit("requests", amount, LEARNED_WINDOW, 0.1, 0.0)
        bucket = self.buckets.get("requests")
        if bucket is None:
            self._learned = True
            self.buckets["requests"] = bucket = Bucket(limit)
            bucket.refill(now)
        elif limit.amount < bucket.limit.amount:
            bucket.relimit(limit, now)

    def _recover(self, now: float) -> None:
        """Additive increase: back to the full pace, or beyond where the limit is only what was learned."""
        if now <= self._paced_at:
            return
        gained = RECOVERY * (now - self._paced_at)
        ceiling = NEVER if self._learned else 1.0
        self._paced_at = now
        for bucket in self.buckets.values():
            bucket.refill(now)
            bucket.pace = min(ceiling, bucket.pace + gained)
        if all(bucket.pace >= ceiling for bucket in self.buckets.values()):
            self._paced_at = NEVER

    # ------------------------------------------------------------------------------------------------------- telling

    def rate(self, now: float) -> float:
        """Dispatches a second, lately."""
        if now <= self._since:
            return 0.0
        # The average is taken over RATE_OVER seconds, or over the time since the first dispatch while that is less.
        weight = RATE_OVER * (1.0 - exp(-(now - self._since) / RATE_OVER))
        return self._decayed(now) / max(weight, 1.0)

    def capacity(self, tokens: Tokens) -> float:
        """Requests of that size a second its buckets allow for; infinite where nothing limits them."""
        return min(
            (bucket.rate * bucket.pace / max(amount_of(unit, tokens), 1) for unit, bucket in self.buckets.items()),
            default=NEVER,
        )

    def levels(self, now: float) -> dict[str, float]:
        """What a successor must know, as numbers: of each bucket the level, the size it spanned and what is pending;
        seconds closed.
        """
        told: dict[str, float] = {}
        for unit, bucket in self.buckets.items():
            told[unit] = bucket.level_at(now)
            told[f"{unit}.size"] = bucket.spanned
            if bucket.pending:
                told[f"{unit}.pending"] = bucket.pending
        if self.closed_until > now:
            told["closed"] = self.closed_until - now
        return told

    def restore(self, told: Mapping[str, float], silence: float, now: float) -> None:
        """Take over: what an earlier owner left, refilled over the silence; a bucket it did not mention is empty."""
        for unit, bucket in self.buckets.items():
            size, pending = told.get(f"{unit}.size", 0.0), told.get(f"{unit}.pending", 0.0)
            bucket.restore(told.get(unit, 0.0), size, silence, now, pending=pending)
        if told.get("closed", 0.0) > silence:
            self.close(now + told["closed"] - silence, "the provider refused a call (429)")

    def _decayed(self, now: float) -> float:
        if self._count == 0.0:
            return 0.0
        return self._count * exp(-max(0.0, now - self._counted) / RATE_OVER)


def amount_of(unit: Unit, tokens: Tokens) -> int:
    """What one request takes of a bucket."""
    if unit == "requests":
        return 1
    if unit == "input_tokens":
        return tokens[0]
    if unit == "output_tokens":
        return tokens[1]
    return tokens[0] + tokens[1]


def _same(mine: float, theirs: float) -> bool:
    return theirs > 0 and 0.5 <= mine / theirs <= 2.0
