"""Single attempts, newest first, as the ledger has them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from console.asking import Declined, fault
from console.filters import NAMES, PERIODS, address, asked, period, tagged, wanted
from console.panels import Desks, Panel, Sheet
from job_contracts.facts import Reason
from job_contracts.failures import FailureKind
from job_contracts.sheets import sheet
from job_contracts.spend import MAX_ROWS, AskAttempts, Attempt

if TYPE_CHECKING:
    from console.people import Person

ROWS = 100
IN_FILE = 10_000
"""Rows of a file at most."""
LOOKS = 50
"""Pages that are asked for a file at most, however short each is."""
OWN = ("job", "failure", "won", "priced", "experiment", "arm")
"""What attempts can be filtered by and sums cannot."""
_WORDS = ("job", "failure", "experiment", "arm")
_FLAGS = {"true": True, "false": False}
_COLUMNS = tuple(name for name in Attempt.model_fields if name != "tags")


async def _read(desks: Desks, person: Person, query: Mapping[str, str]) -> Mapping[str, Any]:
    said = {
        name: query[name].strip() for name in (*NAMES, *OWN, "tag", "since", "until") if query.get(name, "").strip()
    }
    kept = {name: value for name, value in said.items() if name not in {"since", "until"}}
    values: dict[str, Any] = {
        "query": said,
        "own": person.project,
        "reasons": get_args(Reason),
        "failures": tuple(FailureKind),
        "periods": [(name, words, address("/attempts", kept, period=name)) for name, words in PERIODS.items()],
        "period": "",
        "wrong": "",
        "page": None,
    }
    try:
        values["period"], question = _question(desks, person, query)
        page = await desks.ledger.attempts(question)
    except Declined as error:  # the fields are what it takes to mend it
        return {**values, "wrong": str(error)}
    same = {**said, "period": values["period"] if values["period"] != "custom" else None}
    older = None if page.after is None else address("/attempts", same, after=page.after)
    sheet_at = address("/attempts/attempts.csv", same)
    tried = any(one.arm is not None for one in page.rows)
    found = {"page": page, "older": older, "sheet": sheet_at, "in_file": IN_FILE, "job": _job, "tried": tried}
    return {**values, **found}


def _job(one: Attempt) -> tuple[str, str, str]:
    """An attempt's job and number, and where the job is shown."""
    name, _, number = one.attempt.rpartition(".")
    job = name.rpartition(".")[2]
    return job, number, address("/job", project=one.project, id=job)


def _question(desks: Desks, person: Person, query: Mapping[str, str]) -> tuple[str, AskAttempts]:
    """The period's name, and what to ask. Of one job it is all there is, else of the last days."""
    filters = wanted(query, person)
    told = period(query, desks.clock.wall(), "all" if query.get("job", "").strip() else "7d")
    own: dict[str, object] = {name: query[name].strip() for name in _WORDS if query.get(name, "").strip()}
    own |= {name: _FLAGS[query[name]] for name in ("won", "priced") if query.get(name) in _FLAGS}
    same = {"since": told.since, "until": told.until, **asked(filters), **tagged(query), **own}
    try:
        return told.name, AskAttempts.model_validate({**same, "limit": ROWS, "after": query.get("after") or None})
    except ValidationError as error:
        raise Declined(fault(error)) from error


async def _sheet(desks: Desks, person: Person, query: Mapping[str, str]) -> Sheet:
    _, question = _question(desks, person, {**query, "after": ""})
    rows: list[Attempt] = []
    question = question.model_copy(update={"limit": MAX_ROWS})
    for _ in range(LOOKS):
        page = await desks.ledger.attempts(question)
        rows += page.rows
        if page.after is None or len(rows) >= IN_FILE:
            break
        question = question.model_copy(update={"after": page.after})
    lines = ([*(getattr(one, name) for name in _COLUMNS), _tags(one)] for one in rows[:IN_FILE])
    text = sheet([*_COLUMNS, "tags"], lines)
    return Sheet("attempts.csv", "text/csv; charset=utf-8", text.encode("utf-8", "replace"))


def _tags(one: Attempt) -> str:
    return ",".join(f"{name}={value}" for name, value in one.tags.items())


ATTEMPTS = Panel(
    "attempts",
    "Attempts",
    "h",
    _read,
    group="Money",
    live=False,
    seen_by="all",
    sheets=MappingProxyType({"attempts.csv": _sheet}),
)
