"""What an address says of a period and of whose attempts are meant, and addresses that say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode

from console.asking import Declined
from job_contracts.money import window_start
from job_contracts.spend import LATEST

if TYPE_CHECKING:
    from console.people import Person

Unit = Literal["hour", "day", "month"]
UNITS: tuple[Unit, ...] = ("hour", "day", "month")
NAMES = ("project", "provider", "model", "deployment", "route", "key", "reason")
"""What both sums and attempts can be filtered by, beside tags."""
NONE = "-"
"""Stands for a key where there was none; an address that says nothing means all."""
PERIODS = {
    "today": "today",
    "7d": "7 days",
    "30d": "30 days",
    "month": "this month",
    "year": "12 months",
    "all": "all there is",
}
"""By what the address says, in words; all of them in UTC. ``custom``: ``since`` and ``until`` in the address."""
DAY = 86_400.0
DIGITS = 18
"""Of a place at most: with more it would be beyond what streams count to."""
MOST = 100
"""Columns over time at most; where there were more, they are longer."""
_HOURS, _DAYS = 3 * DAY, 93 * DAY
"""Up to these lengths a period is told by the hour, or by the day."""


@dataclass(frozen=True, slots=True)
class Period:
    """From ``since`` on and before ``until``, if that is said; UTC seconds."""

    name: str
    since: float
    until: float | None
    unit: Unit
    """What its sums are told by over time."""

    @property
    def words(self) -> str:
        """For people."""
        return PERIODS.get(self.name, "the period")


def period(query: Mapping[str, str], now: float, default: str) -> Period:
    """The period that an address means. Raises Declined for one that is none."""
    told = {name: query.get(name, "").strip() for name in ("since", "until", "period")}
    if told["since"] or told["until"]:
        since = _moment(told["since"], "since") if told["since"] else 0.0
        until = _moment(told["until"], "until") if told["until"] else None
        if until is not None and until < since:
            raise Declined("the period ends before it begins")
        return Period("custom", since, until, _unit(query, (until or max(now, since)) - since))
    name = told["period"] if told["period"] in PERIODS else default
    since = _begun(name, now)
    return Period(name, since, None, _unit(query, now - since))


def wanted(query: Mapping[str, str], person: Person, names: Sequence[str] = NAMES) -> dict[str, str]:
    """The filters of an address or a form; a project's holder means their project, whatever it says."""
    found = {name: query[name].strip() for name in names if query.get(name, "").strip()}
    return found if person.project is None else {**found, "project": person.project}


def asked(filters: Mapping[str, str]) -> dict[str, str]:
    """The same as the ledger is asked."""
    return {name: "" if name == "key" and value == NONE else value for name, value in filters.items()}


def tagged(query: Mapping[str, str]) -> dict[str, str]:
    """A tag, ``name`` or ``name=value``, as the ledger is asked."""
    name, equals, value = query.get("tag", "").strip().partition("=")
    return ({"tag": name} if name else {}) | ({"tag_value": value} if name and equals else {})


def address(path: str, *parts: Mapping[str, object], **more: object) -> str:
    """An address with what ``parts`` and ``more`` say, the later ones in place of the earlier; nothing for ``None``."""
    said: dict[str, object] = {}
    for part in (*parts, more):
        said.update(part)
    given = {name: str(value) for name, value in said.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def place(query: Mapping[str, str], name: str) -> int | None:
    """A place in a stream, or a count; ``None`` if none is given."""
    given = query.get(name, "")
    return int(given) if given.isascii() and given.isdecimal() and len(given) <= DIGITS else None


def at(moment: float | None) -> str | None:
    """A moment as an address and a field of a form have it."""
    if moment is None:
        return None
    return (
        datetime.fromtimestamp(moment, UTC)
        .replace(tzinfo=None)
        .isoformat(timespec="auto" if moment % 60 else "minutes")
    )


def label(start: float, unit: Unit) -> str:
    """How an hour, day or month is called below a column."""
    return datetime.fromtimestamp(start, UTC).strftime({"hour": "%d %H:00", "day": "%m-%d", "month": "%Y-%m"}[unit])


def following(start: float, unit: Unit) -> float:
    """When the hour, day or month begins that comes after one."""
    if unit != "month":
        return start + (3_600.0 if unit == "hour" else DAY)
    return window_start("month", start + 31 * DAY)


def _begun(name: str, now: float) -> float:
    today = window_start("day", now)
    match name:
        case "today":
            return today
        case "7d":
            return today - 6 * DAY
        case "month":
            return window_start("month", now)
        case "year":
            return _eleven_months_before(window_start("month", now))
        case "all":
            return 0.0
        case _:
            return today - 29 * DAY


def _eleven_months_before(month: float) -> float:
    first = datetime.fromtimestamp(month, UTC)
    return (first.replace(year=max(1970, first.year - 1)) + timedelta(days=31)).replace(day=1).timestamp()


def _unit(query: Mapping[str, str], length: float) -> Unit:
    said = query.get("unit", "")
    fits: Unit = "hour" if length <= MOST * 3_600.0 else "day" if length <= MOST * DAY else "month"
    if said in UNITS:
        return max(next(one for one in UNITS if one == said), fits, key=UNITS.index)
    return "hour" if length <= _HOURS else "day" if length <= _DAYS else "month"


def _moment(text: str, name: str) -> float:
    try:
        found = datetime.fromisoformat(text)
        seconds = (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise Declined(f"{name}: {text!r:.40} is no moment; write 2026-11-01 or 2026-11-01T12:00, in UTC") from error
    if not 0 <= seconds <= LATEST:
        raise Declined(f"{name}: {text!r:.40} is not in this age")
    return seconds
