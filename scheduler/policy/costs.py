"""What an attempt may cost at most and is likely to cost, in picodollars: whole numbers, and never too low a bound.

The bound on the input is the bytes of the job's body, because a token has at least one byte, and never more than the
model's window; what pictures and files add is unknown, so three times the producer's count comes on top. The bound on
the output is what the job permits or the model can make. The rates are the highest that could hold: of all tiers that a
prompt of that length may meet, of reading and writing a cache, of reasoning, and of the hours around now.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

from catalogue.prices import price_at
from job_contracts.failures import FailureKind
from job_contracts.money import dollars, picodollars
from job_contracts.verification import LONGEST
from scheduler.policy.failover import NOTHING_SPENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from catalogue.prices import Kind, Price
    from job_contracts.jobs import Need
    from scheduler.policy.jobs import Job
    from scheduler.policy.rules import DeploymentRule
    from scheduler.policy.turns import Deployment

FREE = NOTHING_SPENT | {FailureKind.HANDED_BACK, FailureKind.GRANT_EXPIRED}
"""Ends of attempts that cost nothing if their records tell no cost."""
HOUR = 3600.0
STEP = 300
"""Seconds between two looks at which price holds in the hours around now."""
UNCOUNTED = 3
"""Times the producer's count that pictures and files may have in tokens beyond the bytes of the body."""

_INPUT: tuple[Kind, ...] = ("input", "cache_read", "cache_write", "cache_write_1h")
_OUTPUT: tuple[Kind, ...] = ("output", "reasoning")

Step = tuple[int, int | None, int | None, int]
"""Above so many prompt tokens: picodollars per input and output token (``None``: unknown) and per request."""


def input_bound(rule: DeploymentRule, needs: Sequence[Need], estimate: int, size: int) -> int | None:
    """Input tokens at most, ``None`` if that cannot be said. ``size`` is the bytes of the body, 0 if not known."""
    seen = 0
    if "images" in needs or "files" in needs:
        seen = UNCOUNTED * estimate
    # Texts to be embedded have the window each for itself.
    window = None if "embeddings" in needs else rule.window
    if size <= 0:
        return window
    return size + seen if window is None else min(window, size + seen)


def output_bound(rule: DeploymentRule, needs: Sequence[Need], max_output: int | None) -> int | None:
    """Output tokens at most, ``None`` if that cannot be said."""
    if "embeddings" in needs:
        return 0
    known = [most for most in (max_output, rule.max_output, rule.window) if most is not None]
    return min(known, default=None)


Kinds = tuple[int, int | None, int | None, int | None, int]
"""Above so many prompt tokens: picodollars per token of input, of input from a cache, of output; and per request."""


class Tariff:
    """A deployment's prices, as far as they may hold about now; looked up once an hour."""

    __slots__ = ("_high", "_hour", "_kinds", "_now", "_prices", "_step")

    def __init__(self, prices: tuple[Price, ...]) -> None:
        self._prices = prices
        self._hour = -1
        self._high: tuple[Step, ...] = ()
        self._now: tuple[Step, ...] = ()
        self._step = -1
        self._kinds: tuple[Kinds, ...] = ()

    def worst(self, tokens_in: int | None, tokens_out: int | None, wall: float) -> int | None:
        """Picodollars at most for so many tokens at most, ``None`` if that is not known."""
        if not self._prices or tokens_in is None or tokens_out is None:
            return None
        if int(wall // HOUR) != self._hour:
            self._look_up(wall)
        return _cost(self._high, tokens_in, tokens_out)

    def likely(self, tokens_in: int, tokens_out: int, wall: float) -> int | None:
        """Picodollars for just so many tokens at the plain rates."""
        if not self._prices:
            return None
        if int(wall // HOUR) != self._hour:
            self._look_up(wall)
        return _cost(self._now, tokens_in, tokens_out)

    def expected(self, tokens_in: int, read: int, tokens_out: int, wall: float) -> int | None:
        """Picodollars for a prompt of so many tokens, of which ``read`` come from a cache; looked up every few minutes.

        What is written to a cache is not in it: that is paid wherever the prompt is new.
        """
        step = int(wall // STEP)
        if step != self._step:
            self._step = step
            price = price_at(self._prices, datetime.fromtimestamp(step * STEP, UTC))
            self._kinds = () if price is None or not price.known else _kinds(price)
        for above, fresh, cached, output, request in self._kinds:
            if tokens_in > above or not above:
                parts = ((tokens_in - read, fresh), (read, cached), (tokens_out, output))
                if any(count and rate is None for count, rate in parts):
                    return None
                return request + sum(count * (rate or 0) for count, rate in parts)
        return None

    def _look_up(self, wall: float) -> None:
        self._hour = int(wall // HOUR)
        start = self._hour * int(HOUR)
        around = any(price.conditional for price in self._prices)
        moments = range(start - int(HOUR), start + 2 * int(HOUR) + 1, STEP) if around else range(start, start + 1)
        known = True
        prices: list[Price] = []
        for second in moments:
            price = price_at(self._prices, datetime.fromtimestamp(second, UTC))
            if price is None or not price.known:
                known = False
            elif not any(price is each for each in prices):
                prices.append(price)
        self._high = _steps(prices, _INPUT, _OUTPUT) if known and prices else ()
        current = price_at(self._prices, datetime.fromtimestamp(wall, UTC))
        self._now = () if current is None or not current.known else _steps([current], ("input",), ("output",))


def _steps(prices: Sequence[Price], inputs: Sequence[Kind], outputs: Sequence[Kind]) -> tuple[Step, ...]:
    """The highest rates of all these prices, for prompts above each of their thresholds."""
    bounds = sorted({0, *(tier.above for price in prices for tier in price.tiers)})
    request = max(_whole((price.requests or Decimal(0)) * 1_000_000_000) for price in prices)
    return tuple(
        (above, _highest(prices, inputs, above + 1), _highest(prices, outputs, above + 1), request) for above in bounds
    )


def _kinds(price: Price) -> tuple[Kinds, ...]:
    """The rates of one price, those for the longest prompts first."""
    request = _whole((price.requests or Decimal(0)) * 1_000_000_000)
    return tuple(
        (
            above,
            _highest([price], ("input",), above + 1),
            _highest([price], ("cache_read",), above + 1),
            _highest([price], ("output",), above + 1),
            request,
        )
        for above in sorted({0, *(tier.above for tier in price.tiers)}, reverse=True)
    )


def _highest(prices: Sequence[Price], kinds: Sequence[Kind], prompt: int) -> int | None:
    """Picodollars a token; unknown as soon as one of them is."""
    highest = 0
    for price in prices:
        for kind in kinds:
            rate = price.rate(kind, prompt)
            if rate is None:
                return None
            highest = max(highest, _whole(rate * 1_000_000))
    return highest


def _cost(steps: tuple[Step, ...], tokens_in: int, tokens_out: int) -> int | None:
    if not steps:
        return None
    most: int | None = None
    for above, input_rate, output_rate, request in steps:
        if most is not None and tokens_in <= above:
            break
        if (tokens_in and input_rate is None) or (tokens_out and output_rate is None):
            return None
        cost = tokens_in * (input_rate or 0) + tokens_out * (output_rate or 0) + request
        most = cost if most is None else max(most, cost)
    return most


def _whole(amount: Decimal) -> int:
    return int(amount.to_integral_value(rounding=ROUND_CEILING))


def worst(job: Job, deployment: Deployment, wall: float) -> int | None:
    """Picodollars that an attempt of the job there costs at most, ``None`` if that is not known."""
    rule = deployment.rule
    if not rule.prices:
        return None
    size = job.size
    if size > 0 and job.story is not None and job.story.draft is not None:
        size += job.story.draft.blob.size + LONGEST  # its draft is asked about
    tokens_in = input_bound(rule, job.needs, job.estimate, size)
    return deployment.tariff.worst(tokens_in, output_bound(rule, job.needs, job.max_output), wall)


def spent_on(job: Job, deployments: Mapping[str, Deployment], wall: float) -> int | None:
    """Picodollars of a job's attempts so far, ``None`` if that is not known. One that tells no cost counts as its worst
    case, unless it was turned away at the door.
    """
    total = 0
    for record in () if job.story is None else job.story.history:
        cost = None if record.cost is None else picodollars(record.cost)
        if cost is None and (record.failure is None or record.failure.kind not in FREE):
            place = deployments.get(record.deployment)
            cost = None if place is None else worst(job, place, wall)
            if cost is None:
                return None
        total += cost or 0
    return total


def usd(picodollars: int) -> str:
    """An amount as people read it, exactly."""
    return f"${dollars(picodollars).normalize():f}"
