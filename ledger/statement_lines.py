"""One line of a statement, and how its values are read: exact money, bounded counts, days in UTC (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, DecimalException

from job_contracts.money import PICO

MOST_TOKENS = 10**15
MOST_DOLLARS = Decimal(9_000_000)
LONGEST = 300
"""Characters of a model's name, or of a request's."""
FIRST, LAST = date(2020, 1, 1), date(2100, 1, 1)


class BadStatement(ValueError):
    """A statement that cannot be read; the text names line (from 1) and column, or the place in the JSON."""

    def __init__(self, message: str, *, line: int | None = None, column: str | None = None) -> None:
        place = [f"line {line}"] if line is not None else []
        place += [column] if column is not None else []
        super().__init__(f"{', '.join(place)}: {message}" if place else message)
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Line:
    """What was told of one day and model, or of one call; ``None``: not told. ``cost`` in picodollars."""

    line: int
    day: date
    model: str
    requests: int | None = None
    input: int | None = None
    """All of them, cached ones included."""
    cache_read: int | None = None
    cache_write: int | None = None
    output: int | None = None
    """Reasoning included."""
    reasoning: int | None = None
    cost: int | None = None
    request: str | None = None
    batch: bool = False
    """Whether the provider says that it came in a batch, which costs less."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands."""

    line: int | None
    column: str

    def wrong(self, message: str) -> BadStatement:
        """The error to raise about it."""
        return BadStatement(message, line=self.line, column=self.column)


def count(value: object, place: Place) -> int | None:
    """A whole number of at least 0; nothing where nothing stands."""
    if value is None or value == "":
        return None
    number = _decimal(value, place)
    if number != number.to_integral_value() or not 0 <= number <= MOST_TOKENS:
        raise place.wrong(f"{_shown(value)} is no whole number from 0 to {MOST_TOKENS}")
    return int(number)


def money(value: object, place: Place, *, cents: bool = False) -> int | None:
    """US dollars, or cents, as picodollars; nothing where nothing stands. A credit is below 0."""
    if value is None or value == "":
        return None
    amount = _decimal(value, place)
    if abs(amount) >= MOST_DOLLARS:
        raise place.wrong(f"{_shown(value)} is more money than there is")
    return int((amount * PICO / (100 if cents else 1)).to_integral_value(rounding=ROUND_HALF_EVEN))


def currency(value: object, place: Place) -> None:
    """Only US dollars can be compared."""
    if value not in (None, "") and str(value).lower() != "usd":
        raise place.wrong(f"amounts are in {_shown(value)}; only US dollars can be compared")


def day(value: object, place: Place) -> date:
    """The day (UTC) of a date, a moment in ISO 8601, or seconds of the epoch."""
    found = _day(value)
    if found is None or not FIRST <= found < LAST:
        raise place.wrong(f"{_shown(value)} is no date (such as 2026-11-29)")
    return found


def name(value: object, place: Place) -> str:
    """A model's name."""
    if not isinstance(value, str) or not value.strip():
        raise place.wrong("the model is missing; export grouped by model")
    return _text(value.strip(), place)


def request(value: object, place: Place) -> str | None:
    """What names a call, if anything does."""
    return _text(value.strip(), place) if isinstance(value, str) and value.strip() else None


def yes(value: object) -> bool:
    """Whether a flag is set, however it is written."""
    return value is True or (isinstance(value, str) and value.strip().lower() in {"true", "1", "yes", "batch"})


def _day(value: object) -> date | None:
    if isinstance(value, bool):
        return None
    try:
        if isinstance(value, int | Decimal) or (isinstance(value, str) and value.strip().isdecimal()):
            return datetime.fromtimestamp(int(value), UTC).date()
        moment = datetime.fromisoformat(str(value).strip())
    except (ValueError, OverflowError, OSError):
        return None
    return (moment if moment.tzinfo is None else moment.astimezone(UTC)).date()


def _decimal(value: object, place: Place) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise place.wrong(f"{_shown(value)} is no number")
    text = value.strip().removeprefix("$") if isinstance(value, str) else value
    try:
        number = Decimal(text) if len(str(text)) <= 60 else None
    except DecimalException:
        number = None
    if number is None or not number.is_finite() or abs(number.adjusted()) > 30:
        raise place.wrong(f"{_shown(value)} is no number")
    return number


def _text(value: str, place: Place) -> str:
    if len(value) > LONGEST or not value.isprintable():
        raise place.wrong(f"a name has at most {LONGEST} characters, all of them printable")
    return value


def _shown(value: object) -> str:
    return f"{str(value)[:40]!r}"
