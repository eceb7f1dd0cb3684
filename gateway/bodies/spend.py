"""Queries and answers of ``/v1/spend``: what is asked of the ledger, and what it said as JSON or CSV."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar, get_args

from gateway.bodies.extras import ISO
from gateway.bodies.failures import ApiError, Failed, invalid
from gateway.bodies.openapi import Parameter
from gateway.bodies.schemas import COUNT, FLAG, OBJECT, TEXT, Fields, each, many, one_of, optional, shown
from job_contracts.codec import ContractError, Wire, check
from job_contracts.facts import Reason
from job_contracts.money import WINDOWS
from job_contracts.sheets import sheet
from job_contracts.spend import (
    LATEST,
    MAX_DIMENSIONS,
    MAX_ROWS,
    AskSpend,
    Attempt,
    AttemptPage,
    Comparison,
    Dimension,
    DraftReport,
    Forecast,
    Projection,
    Spend,
    Sums,
)

A = TypeVar("A", bound=Wire)

_AGO = {"m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_PERIOD = rf"^(?:[0-9]{{1,5}}[mhdw]|[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}|{ISO})$"
WRITE_A_MOMENT = "write a time ago (7d, 12h), a day (2026-11-01), or a moment with its zone (2026-11-01T12:00:00Z)"
_TIMES = ("hour", "day", "month")
_DIMENSIONS: tuple[str, ...] = get_args(Dimension)
_REASONS: tuple[str, ...] = get_args(Reason)
_REMEDIES = {
    "tag": "write tag=NAME beside by=tag (penstock spend --tag NAME)",
    "until": "write a later until, or none",
    "by": "name each once, four at most",
}
"""Of what the question's own rules refuse."""
_ONE = "|".join(_DIMENSIONS)
SUMS = tuple(Sums.model_fields)
_SAID = ("accept", "correct", "replace", "unread")
VERIFIED_NAMES = ("route", "verifier", "mode", *_SAID, "agreement")


def read(kind: type[A], query: Mapping[str, str], names: Sequence[str], *, project: str | None, now: float) -> A:
    """The question that a query's parameters ``names`` ask; ``project``: the only one that may be seen.

    Raises ``Failed``: 400 naming the parameter, 403 for another project.
    """
    _refuse_slips(query, names)
    asked: dict[str, Any] = {name: query[name] for name in names if name in query}
    for name in ("since", "until"):
        if name in asked:
            asked[name] = _moment(asked[name], name, now)
    if "limit" in asked:
        asked["limit"] = _whole(asked["limit"])
    for name in ("won", "priced"):
        if name in asked:
            asked[name] = _flag(asked[name], name)
    if "by" in asked:
        asked["by"] = tuple(_dimension(one.strip()) for one in asked["by"].split(","))
    if "against" in asked:
        asked["against"] = tuple(one.strip() for one in asked["against"].split(","))
    if "tag" in asked:
        asked["tag"], equals, value = asked["tag"].partition("=")
        if equals:
            asked["tag_value"] = value
        elif kind is AskSpend and "tag" not in asked.get("by", ()):
            asked["by"] = (*asked.get("by", ()), "tag")
    if project is not None:
        if asked.get("project", project) != project:
            message = f"project: this key speaks for {project!r}"
            raise Failed(ApiError(403, "forbidden", message, param="project", remedy="use the admin key, or leave it"))
        asked["project"] = project
    try:
        return check(kind, asked)
    except ContractError as error:
        field = error.field or next((one for one in names if f" {one}: " in f" {error}"), "")
        message = str(error).removeprefix(f"{kind.__name__}: ").removeprefix("the whole message: ")
        remedy = _REMEDIES.get(field, "") if error.remedy == f"correct {field}" else error.remedy
        raise invalid(message, param=field or None, remedy=remedy or None) from error


def _refuse_slips(query: Mapping[str, str], names: Sequence[str]) -> None:
    """A filter with a slip in it would tell of everything, or of nothing."""
    for name in query:
        if name not in names and name != "format":
            raise invalid(f"{name!r:.40} is no parameter here", remedy=f"use {', '.join((*names, 'format'))}")
    reason = query.get("reason")
    if reason is not None and "reason" in names and reason not in _REASONS:
        remedy = f"write one of: {', '.join(_REASONS)}"
        raise invalid(f"reason: there is none that is {reason!r:.40}", param="reason", remedy=remedy)


def as_csv(query: Mapping[str, str], accept: str) -> bool:
    """Whether the answer is to be CSV. Raises ``Failed`` with 400 for a format there is not."""
    asked = query.get("format")
    if asked not in {None, "csv", "json"}:
        raise invalid(f"format: {asked!r:.40} is none", param="format", remedy="write csv or json")
    return asked == "csv" or (asked is None and "text/csv" in accept and "application/json" not in accept)


def _moment(text: str, name: str, now: float) -> float:
    if (ago := re.fullmatch(r"([0-9]{1,5})([mhdw])", text)) is not None:
        return max(0.0, now - float(ago[1]) * _AGO[ago[2]])
    with suppress(ValueError):
        when = datetime.fromisoformat(text) if re.fullmatch(_PERIOD, text) else None
        if when is not None:
            when = when.replace(tzinfo=UTC) if len(text) == len("2026-11-01") else when
            if when.tzinfo is not None and 0 <= when.timestamp() <= LATEST:
                return when.timestamp()
    raise invalid(f"{name}: {text!r:.50} is no moment", param=name, remedy=WRITE_A_MOMENT)


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= MAX_ROWS:
        raise invalid(f"limit: {text!r:.20} is no number of rows", param="limit", remedy=f"write 1 to {MAX_ROWS}")
    return int(text)


def _flag(text: str, name: str) -> bool:
    if text not in {"true", "false"}:
        raise invalid(f"{name}: {text!r:.20} is neither true nor false", param=name, remedy="write true or false")
    return text == "true"


def _dimension(text: str) -> str:
    if text not in _DIMENSIONS:
        remedy = f"use up to {MAX_DIMENSIONS} of: {', '.join(_DIMENSIONS)}"
        raise invalid(f"by: sums are not told by {text!r:.40}", param="by", remedy=remedy)
    return text


# -- answers


def spend_told(answer: Spend, by: Sequence[str]) -> dict[str, Any]:
    """Sums as JSON values; a row has the names that were asked for, and its sums."""
    rows = [one.model_dump(mode="json", include={*by, *SUMS}) for one in answer.rows]
    return {"object": "spend", **_told(answer, {"rows"}), "by": list(by), "rows": rows}


def spend_sheet(answer: Spend, by: Sequence[str]) -> str:
    """Sums as CSV."""
    rows = ([*(_named(one, name) for name in by), *(getattr(one, name) for name in SUMS)] for one in answer.rows)
    return sheet([*by, *SUMS], rows)


def attempts_told(answer: AttemptPage) -> dict[str, Any]:
    """Attempts as JSON values."""
    rows = [one.model_dump(mode="json") for one in answer.rows]
    return {"object": "spend.attempts", **_told(answer, {"rows"}), "rows": rows}


def attempts_sheet(answer: AttemptPage) -> str:
    """Attempts as CSV."""
    names = [name for name in Attempt.model_fields if name != "tags"]
    rows = (
        [*(_when(one.at) if name == "at" else getattr(one, name) for name in names), _tags(one.tags)]
        for one in answer.rows
    )
    return sheet([*names, "tags"], rows)


def comparison_told(answer: Comparison) -> dict[str, Any]:
    """A comparison as JSON values."""
    return {"object": "spend.comparison", **_told(answer, set())}


def comparison_sheet(answer: Comparison) -> str:
    """A comparison as CSV: first what was paid, then the others."""
    rows: list[list[object]] = [["", answer.seen.cost, None, "what was paid"]]
    rows += [[one.deployment, one.cost, one.difference, "; ".join(one.notes)] for one in answer.rows]
    return sheet(["deployment", "cost", "difference", "notes"], rows)


def drafts_told(answer: DraftReport) -> dict[str, Any]:
    """A report of drafts as JSON values."""
    return {"object": "spend.drafts", **_told(answer, set())}


def drafts_sheet(answer: DraftReport) -> str:
    """The same as CSV: a line for each route and deployment of its verifier."""
    rows = [
        [
            *(getattr(one, name) for name in VERIFIED_NAMES),
            *(one.drafts.cost, one.verification, each.deployment, each.cost, each.difference),
        ]
        for one in answer.rows
        for each in one.alone
    ]
    return sheet([*VERIFIED_NAMES, "drafts", "verification", "alone", "cost", "difference"], rows)


def forecast_told(answer: Forecast) -> dict[str, Any]:
    """A forecast as JSON values."""
    return {"object": "spend.forecast", **_told(answer, set())}


def forecast_sheet(answer: Forecast) -> str:
    """A forecast as CSV."""
    names = list(Projection.model_fields)
    moments = {"start", "end", "exhausted"}
    rows = ([_when(value) if name in moments else value for name, value in one] for one in answer.rows)
    return sheet(names, rows)


def _told(answer: Wire, without: set[str]) -> dict[str, Any]:
    return answer.model_dump(mode="json", exclude={"version", *without})


def _named(row: Any, name: str) -> object:
    value = getattr(row, name)
    return _when(value) if name in _TIMES else value


def _when(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _tags(tags: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in tags.items())


# -- for the document

_AT: Fields = {"type": "string", "pattern": _PERIOD, "examples": ["7d", "2026-11-01", "2026-11-01T12:00:00Z"]}
FORMAT = Parameter("format", "query", "json or csv; as Accept says where it is left out.", one_of(("csv", "json")))
SOURCES = tuple(
    Parameter(name, "query", f"Of this {name} alone.", {"type": "string", "maxLength": 400})
    for name in ("project", "provider", "model", "deployment", "route")
)
FILTERS = (
    *SOURCES,
    Parameter("key", "query", "Of the key with this id alone.", {"type": "string", "maxLength": 400}),
    Parameter("reason", "query", "Of attempts with this reason alone.", one_of(get_args(Reason))),
    Parameter("since", "query", "A time ago, a day or a moment; taken down to the full hour (UTC).", _AT),
    Parameter("until", "query", "The first moment that does not belong to it; taken up to the full hour.", _AT),
)
VERIFIED = tuple(one for one in FILTERS if one.name in {"project", "route", "since", "until"})
TAG = Parameter(
    "tag",
    "query",
    "name=value: attempts with it alone. name: each value by itself.",
    {"type": "string", "maxLength": 300},
)
PAGES = (
    Parameter("limit", "query", "Rows at most.", {"type": "integer", "minimum": 1, "maximum": MAX_ROWS}),
    Parameter("after", "query", "after of the page before.", {"type": "string", "maxLength": 8_000}),
)
BY = Parameter(
    "by",
    "query",
    f"What sums are told by, with commas between: up to {MAX_DIMENSIONS} of {', '.join(_DIMENSIONS)}.",
    {"type": "string", "pattern": rf"^(?:{_ONE})(?:,(?:{_ONE})){{0,{MAX_DIMENSIONS - 1}}}$"},
)
AGAINST = Parameter(
    "against", "query", "provider/model, with commas between; all configured ones if left out.", {"type": "string"}
)
ATTEMPTS = (
    Parameter("tag", "query", "Attempts that have it: name, or name=value.", {"type": "string", "maxLength": 300}),
    Parameter("failure", "query", "The kind of failure they ended in.", {"type": "string", "maxLength": 400}),
    Parameter("priced", "query", "Whether their cost is known.", {"type": "string", "enum": ["true", "false"]}),
    Parameter("job", "query", "Of this job alone; name its project too.", {"type": "string", "maxLength": 80}),
    Parameter("experiment", "query", "Of jobs in this experiment alone.", {"type": "string", "maxLength": 400}),
    Parameter("arm", "query", "Of this arm alone; name its experiment too.", {"type": "string", "maxLength": 400}),
    Parameter(
        "won", "query", "Whether their result became their job's.", {"type": "string", "enum": ["true", "false"]}
    ),
)

_AMOUNT: Fields = {"type": "string", "description": "US dollars."}
_NUMBER: Fields = {"type": "number"}
_READ = {"through": optional(_NUMBER), "lag": optional(_NUMBER)}
_SUMS: Fields = shown({**each(SUMS[:9], COUNT), **each(("cost", "waste"), _AMOUNT)})
_CUT = {"since": _NUMBER, "until": optional(_NUMBER)}
_ROW = shown(_SUMS["properties"], {name: optional(COUNT if name in _TIMES else TEXT) for name in _DIMENSIONS})
SPEND: Fields = shown(
    {
        "object": {"const": "spend"},
        **_READ,
        **_CUT,
        "by": many(one_of(_DIMENSIONS)),
        "rows": many(_ROW),
        "total": _SUMS,
        "after": optional(TEXT),
    }
)
ATTEMPT_PAGE: Fields = shown(
    {
        "object": {"const": "spend.attempts"},
        **_READ,
        "after": optional(TEXT),
        "rows": many(
            shown(
                {
                    **each(("attempt", "project", "key", "route", "deployment", "provider", "model"), TEXT),
                    **each(("reason", "told_by"), TEXT),
                    **each(("failure", "price", "experiment", "arm"), optional(TEXT)),
                    **each(("at", "seconds"), _NUMBER),
                    **each(("won", "reported", "stated"), FLAG),
                    **each(("input", "cache_read", "cache_write", "output", "reasoning"), COUNT),
                    **each(("cost", "reserved"), optional(_AMOUNT)),
                    "first_token": optional(_NUMBER),
                    "tags": OBJECT,
                }
            )
        ),
    }
)
_ALTERNATIVE = shown({"deployment": TEXT, **each(("cost", "difference"), optional(_AMOUNT)), "notes": many(TEXT)})
COMPARISON: Fields = shown(
    {
        "object": {"const": "spend.comparison"},
        **_READ,
        **_CUT,
        "seen": _SUMS,
        "approximated": many(TEXT),
        "rows": many(_ALTERNATIVE),
    }
)
_VERIFIED = shown(
    {
        **each(("route", "verifier"), TEXT),
        "mode": one_of(("before", "after")),
        **each(_SAID, COUNT),
        "agreement": optional(_NUMBER),
        "drafts": _SUMS,
        "verification": _AMOUNT,
        "alone": many(_ALTERNATIVE),
    }
)
DRAFTS: Fields = shown(
    {"object": {"const": "spend.drafts"}, **_READ, **_CUT, "approximated": many(TEXT), "rows": many(_VERIFIED)}
)
FORECAST: Fields = shown(
    {
        "object": {"const": "spend.forecast"},
        **_READ,
        "at": _NUMBER,
        "method": TEXT,
        "rows": many(
            shown(
                {
                    "payer": one_of(("all", "project", "route", "key", "tag")),
                    "name": TEXT,
                    "project": optional(TEXT),
                    "window": one_of(WINDOWS),
                    "soft": FLAG,
                    "start": _NUMBER,
                    **each(("end", "exhausted"), optional(_NUMBER)),
                    **each(("spent", "rate"), _AMOUNT),
                    **each(("budget", "projected"), optional(_AMOUNT)),
                }
            )
        ),
    }
)
