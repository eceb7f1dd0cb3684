"""What an address's query asks for of jobs, and addresses for another query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from console.asking import Declined, fault
from console.filters import address, place, wanted
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


def asked(person: Person, query: Mapping[str, str], now: float, **over: Any) -> AskFind:
    """The question. Raises Declined for what cannot be asked."""
    given: dict[str, Any] = {**wanted(query, person, PLAIN), "limit": PAGE}
    given |= {name: found for name in ("after", "before", "until") if (found := place(query, name)) is not None}
    if query.get("age", "").strip():
        given["submitted_before"] = now - seconds(query["age"].strip())
    elif query.get("submitted_before", "").strip():
        given["submitted_before"] = query["submitted_before"].strip()
    try:
        return AskFind.model_validate({**given, **over})
    except ValidationError as error:
        raise Declined(fault(error)) from error


def of_ended(person: Person, query: Mapping[str, str]) -> Filter:
    """What an ended job must be. Raises Declined."""
    found = Filter(**wanted(query, person, ENDED))
    try:
        check_token(found.project or "any", "project")
    except ContractError as error:
        raise Declined(str(error)) from error
    return found


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


def narrowed(query: Mapping[str, str], **changes: object) -> str:
    """The address with another query: ``None`` takes a name out; places of the page before go in any case."""
    kept = {name: value for name, value in query.items() if value and name not in {"after", "before", "below", "ask"}}
    return address("/jobs", kept, changes)
