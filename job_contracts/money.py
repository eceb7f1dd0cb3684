"""Money and the windows of budgets: whole picodollars to count with, UTC calendar windows to count in.

A price is dollars per million tokens with at most six decimals, so one token costs a whole number of picodollars
(10^-12 US dollars): sums of them are exact, and compared without rounding.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

PICO = 10**12
"""Picodollars in a US dollar."""

Window = Literal["hour", "day", "week", "month", "total"]
WINDOWS: tuple[Window, ...] = ("hour", "day", "week", "month", "total")
"""Calendar windows in UTC; a week begins on Monday, ``total`` never ends."""

NEVER = float("inf")


def picodollars(amount: Decimal) -> int:
    """US dollars as whole picodollars; what is smaller counts as one more."""
    return int((amount * PICO).to_integral_value(rounding=ROUND_CEILING))


def dollars(picodollars: int) -> Decimal:
    """Picodollars as US dollars, exactly."""
    return Decimal(picodollars).scaleb(-12)


def window_start(window: Window, at: float) -> float:
    """UTC seconds at which the window began that ``at`` (UTC seconds) lies in; 0 for ``total``."""
    moment = datetime.fromtimestamp(at, UTC).replace(minute=0, second=0, microsecond=0)
    match window:
        case "hour":
            return moment.timestamp()
        case "day":
            return moment.replace(hour=0).timestamp()
        case "week":
            return (moment.replace(hour=0) - timedelta(days=moment.weekday())).timestamp()
        case "month":
            return moment.replace(day=1, hour=0).timestamp()
        case "total":
            return 0.0


def window_end(window: Window, at: float) -> float:
    """UTC seconds at which that window ends and the next one begins; infinite for ``total``."""
    start = datetime.fromtimestamp(window_start(window, at), UTC)
    match window:
        case "hour":
            return (start + timedelta(hours=1)).timestamp()
        case "day":
            return (start + timedelta(days=1)).timestamp()
        case "week":
            return (start + timedelta(days=7)).timestamp()
        case "month":
            return (start + timedelta(days=32)).replace(day=1).timestamp()
        case "total":
            return NEVER


Amount = Annotated[Decimal, Field(ge=0, lt=9_000_000)]
"""US dollars."""


class Budget(BaseModel):
    """What may be spent in each calendar window (UTC), in US dollars; what is not said is not bounded.

    Before an attempt its worst case is reserved, afterwards its cost takes the place of that: a hard budget is never
    overshot. What it blocks waits for the next window, if the job's deadline allows.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True
    )

    hour: Amount | None = None
    """From full hour to full hour."""
    day: Amount | None = None
    """From midnight to midnight."""
    week: Amount | None = None
    """From Monday to Monday."""
    month: Amount | None = None
    """By the calendar."""
    total: Amount | None = None
    """For ever."""
    soft: bool = False
    """Only warn: nothing is held back or refused for it."""

    def amounts(self) -> tuple[tuple[Window, Decimal], ...]:
        """The windows that are bounded, and by how much."""
        told: tuple[tuple[Window, Decimal | None], ...] = (
            ("hour", self.hour),
            ("day", self.day),
            ("week", self.week),
            ("month", self.month),
            ("total", self.total),
        )
        return tuple((window, amount) for window, amount in told if amount is not None)
