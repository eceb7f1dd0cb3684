"""A limit domain: everything one provider meters together, and whether it takes one more request now."""

from __future__ import annotations

from dataclasses import replace
from math import exp
from typing import TYPE_CHECKING

from scheduler.policy.buckets import NEVER, Bucket
from scheduler.policy.pools import Slots
from scheduler.policy.rules import Limit, Unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_contracts.attempts import LimitReading
    from scheduler.policy.pools import Pool
    from scheduler.policy.rules import DomainRule, Pace

CUT = 0.75
"""Factor on the pace after a provider said no although our buckets said yes (or although we know of no limit)."""
SLOWEST = 0.1
RECOVERY = 0.01
"""Share of the full pace that comes back each second (additive increase)."""
LEARNED_WINDOW = 10.0
"""Seconds over which a limit that was learned from refusals is spread."""
LONG_WINDOW = 600.0
"""Seconds; limits per hour or day are not spread evenly: they only close the domain when they are used up."""
RATE_OVER = 10.0
"""Seconds over which the rate of dispatches is averaged."""


class Domain:
    """Buckets, slots and closing time of one domain. Grants are all or nothing over its buckets."""

    __slots__ = (
        "_count",
        "_counted",
        "_learned",
        "_pace",
        "_paced_at",
        "_refused_at",
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
        self._paced_at = NEVER
        """Since when the pace has been recovering; infinite while it is full."""
        self._learned = False
        self._count = 0.0
        self._counted = -NEVER
        self._since = NEVER

    # ------------------------------------------------------------------------------------------------------ granting

    def open(self, now: float) -> bool:
        """Whether it is worth asking for tokens at all."""
        return now >= self.closed_until and self.slots.free and self.pool.places.free

    def wait(self, input_tokens: int, output_tokens: int, now: float) -> float:
        """Seconds until every bucket has what this request needs; 0 means now."""
        longest = 0.0
        if now > self._paced_at:
            self._recover(now)
        for unit, bucket in self.buckets.items():
            wait = bucket.wait(_amount(unit, input_tokens, output_tokens), now)
            longest = max(longest, wait)
        return longest

    def take(self, input_tokens: int, output_tokens: int, now: float) -> None:
        """Reserve; only after ``wait`` said 0."""
        for unit, bucket in self.buckets.items():
            bucket.take(_amount(unit, input_tokens, output_tokens), now)
        self.occupy(input_tokens, output_tokens)
        self._count = self._decayed(now) + 1.0
        self._counted = now
        self._since = min(self._since, now)

    def occupy(self, input_tokens: int, output_tokens: int) -> None:
        """An attempt runs that was paid for (perhaps by an earlier owner)."""
        self.slots.used += 1
        self.pool.places.used += 1
        self.reserved_input += input_tokens
        self.reserved_output += output_tokens

    def confirm(self, input_tokens: int, output_tokens: int, now: float) -> None:
        """The grant is stored in the broker, or will never be."""
        for unit, bucket in self.buckets.items():
            bucket.confirm(_amount(unit, input_tokens, output_tokens), now)

    def release(self, reserved: tuple[int, int], used: tuple[int, int], requests: int, now: float) -> None:
        """The attempt is over: ``requests`` (0 or 1) reached the provider and cost ``used`` input and output tokens."""
        self.vacate(*reserved)
        for unit, bucket in self.buckets.items():
            if unit == "requests":
                bucket.settle(1, requests, now)
            else:
                bucket.settle(_amount(unit, *reserved), _amount(unit, *used), now)

    def vacate(self, input_tokens: int, output_tokens: int) -> None:
        """The attempt no longer runs; its tokens stay spent."""
        self.slots.used -= 1
        self.pool.places.used -= 1
        self.reserved_input -= input_tokens
        self.reserved_output -= output_tokens

    # ------------------------------------------------------------------------------------------------------ learning

    def refused(self, granted_at: float, retry_after: float | None, now: float) -> None:
        """The provider answered 429 to a call granted at ``granted_at``: close until it says so, and go slower after.

        Further refusals of calls that were granted before the closing are the same event, not a second one.
        """
        if granted_at > self._refused_at:
            self._refused_at = now
            self._strikes += 1
            self._slow_down(now)
        pause = min(self._pace.limited * 2.0 ** min(self._strikes - 1, 30), self._pace.max_limited)
        if retry_after is not None:
            pause = min(max(retry_after, self._pace.limited), self._pace.max_retry_after)
        self.close(now + pause, "the provider refused (429)")
        for bucket in self.buckets.values():
            bucket.drain(now)

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
        if reading.window > LONG_WINDOW:
            self._read_long(reading, now)
            return
        bucket = self.buckets.get(reading.unit)
        if reading.limit is not None and reading.limit >= 1:
            bucket = self._believe(reading.unit, reading.limit, reading.window, now)
        if bucket is not None and reading.remaining is not None and _same(bucket.limit.window, reading.window):
            bucket.correct(max(0.0, reading.remaining), now)
        elif bucket is None:
            self._read_long(reading, now)

    def _read_long(self, reading: LimitReading, now: float) -> None:
        if reading.remaining is not None and reading.remaining <= 0 and reading.reset is not None:
            self.close(now + min(reading.reset, self._pace.max_retry_after), f"its {reading.unit} are used up")

    def _believe(self, unit: Unit, amount: float, window: float, now: float) -> Bucket:
        bucket = self.buckets.get(unit)
        configured = next((limit for limit in self.rule.limits if limit.unit == unit), None)
        if configured is not None and bucket is not None:
            if _same(configured.window, window):
                told = replace(configured, amount=min(configured.amount, amount))
                if told != bucket.limit:
                    bucket.relimit(told, now)
            return bucket
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

    # ----------------------------------------------------------------------------------------------------- telling

    def rate(self, now: float) -> float:
        """Dispatches a second, lately."""
        if now <= self._since:
            return 0.0
        # The average is taken over RATE_OVER seconds, or over the time since the first dispatch while that is shorter.
        weight = RATE_OVER * (1.0 - exp(-(now - self._since) / RATE_OVER))
        return self._decayed(now) / max(weight, 1.0)

    def capacity(self, input_tokens: float, output_tokens: float) -> float:
        """Requests of that size a second its buckets allow for; infinite where nothing limits them."""
        return min(
            (b.rate * b.pace / max(_amount(u, input_tokens, output_tokens), 1e-9) for u, b in self.buckets.items()),
            default=NEVER,
        )

    def levels(self, now: float) -> dict[str, float]:
        """What a successor must know, as numbers: level and size of each bucket, seconds closed."""
        told: dict[str, float] = {}
        for unit, bucket in self.buckets.items():
            bucket.refill(now)
            told[unit] = bucket.level
            if bucket.size > bucket.limit.amount * bucket.limit.burst:
                told[f"{unit}.size"] = bucket.size
        if self.closed_until > now:
            told["closed"] = self.closed_until - now
        return told

    def restore(self, told: Mapping[str, float], silence: float, now: float) -> None:
        """Take over: what an earlier owner left, refilled over the silence; a bucket it did not mention is empty."""
        for unit, bucket in self.buckets.items():
            level = told.get(unit, 0.0) + bucket.rate * max(0.0, silence)
            bucket.restore(level, told.get(f"{unit}.size", 0.0), now)
        if told.get("closed", 0.0) > silence:
            self.close(now + told["closed"] - silence, "the provider refused (429)")

    def _decayed(self, now: float) -> float:
        if self._count == 0.0:
            return 0.0
        return self._count * exp(-max(0.0, now - self._counted) / RATE_OVER)


def shortest(domains: Sequence[Domain], input_tokens: int, output_tokens: int, now: float) -> float:
    """Seconds until the first of them has room."""
    return min((domain.wait(input_tokens, output_tokens, now) for domain in domains), default=NEVER)


def _amount(unit: Unit, input_tokens: float, output_tokens: float) -> float:
    if unit == "requests":
        return 1.0
    if unit == "input_tokens":
        return input_tokens
    if unit == "output_tokens":
        return output_tokens
    return input_tokens + output_tokens


def _same(mine: float, theirs: float) -> bool:
    return 0.5 <= mine / theirs <= 2.0 if theirs > 0 else False
