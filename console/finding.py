"""What an address's query asks for of jobs, and addresses for another query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pydantic import ValidationError

from console.asking import Declined
from console.records import Filter
from job_contracts.codec import ContractError
from job_contracts.finding import PHASES, AskFind
from job_contracts.jobs import LANES, JobState
from job_contracts.subjects import check_token

if TYPE_CHECKING:
    from console.people import Person

PAGE = 50
"""Jobs a page."""
PLAIN = ("project", "route", "lane", "state", "pool", "deployment", "key", "tag", "replay_of")
"""Fields of ``AskFind`` that a query may name."""
ENDED = ("project", "state", "deployment", "pool", "model")
CHOICES: Mapping[str, tuple[str, ...]] = {"lane": LANES, "state": PHASES}
ENDS = tuple(state.value for state in JobState if state.terminal)
_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_DIGITS = 18


def wanted(person: Person, query: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """What is given of these. Whoever holds a project's key is given that project, whatever the query says."""
    found = {name: query[name].strip() for name in names if query.get(name, "").strip()}
    return found if person.project is None else {**found, "project": person.project}


def asked(person: Person, query: Mapping[str, str], now: float, **over: Any) -> AskFind:
    """The question. Raises Declined for what cannot be asked."""
    given: dict[str, Any] = {**wanted(person, query, PLAIN), "limit": PAGE}
    given |= {name: place for name in ("after", "before", "until") if (place := number(query, name)) is not None}
    if query.get("age", "").strip():
        given["submitted_before"] = now - seconds(query["age"].strip())
    elif query.get("submitted_before", "").strip():
        given["submitted_before"] = query["submitted_before"].strip()
    try:
        return AskFind.model_validate({**given, **over})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise Declined(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def of_ended(person: Person, query: Mapping[str, str]) -> Filter:
    """What an ended job must be. Raises Declined."""
    found = Filter(**wanted(person, query, ENDED))
    try:
        check_token(found.project or "any", "project")
    except ContractError as error:
        raise Declined(str(error)) from error
    return found


def number(query: Mapping[str, str], name: str) -> int | None:
    """A place in a stream, ``None`` if none is given."""
    given = query.get(name, "")
    return int(given) if given.isascii() and given.isdecimal() and len(given) <= _DIGITS else None


def seconds(text: str) -> float:
    """``90``, ``90s``, ``15m``, ``6h``, ``2d``. Raises Declined."""
    amount, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        found = float(amount) * _UNITS[unit]
    except ValueError:
        found = -1.0
    if not 0 <= found < 1e10:
        raise Declined(f"{text!r} is no length of time: write 90s, 15m, 6h or 2d")
    return found


def address(query: Mapping[str, str], page: str = "jobs", **changes: object) -> str:
    """The address with another query: ``None`` takes a name out; places of the page before go in any case."""
    kept = {name: value for name, value in query.items() if value and name not in {"after", "before", "below", "ask"}}
    put = {**kept, **changes}
    given = {name: str(value) for name, value in put.items() if value is not None}
    return f"/{page}?{urlencode(given)}" if given else f"/{page}"
