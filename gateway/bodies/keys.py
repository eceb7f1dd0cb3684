"""Bodies of ``/v1/keys``: what a new key is to be, and how a key is told (itself only once, where it is made)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from gateway.bodies.extras import AMOUNT, DURATION, MOMENT, moment
from gateway.bodies.failures import ApiError, Failed, invalid
from gateway.bodies.kinds import whole
from gateway.bodies.schemas import FLAG, OBJECT, TEXT, Fields, each, many, one_of, optional, shown
from job_contracts.jobs import Lane
from job_contracts.key_asking import LONGEST
from job_contracts.keys import Ended, KeyRecord, Scope
from job_contracts.money import WINDOWS
from job_contracts.problems import problem


def _as_whole(value: Any) -> Any:
    found = whole(value)
    return value if found is None else found


Number = Annotated[float, Field(strict=True)]
Moment = Annotated[str, WithJsonSchema(dict(MOMENT))]
Duration = Annotated[str, WithJsonSchema(dict(DURATION))]
REPLACED = "replaced, still valid"
ACTIVE = "active"


Count = Annotated[int, Field(gt=0, strict=True), BeforeValidator(_as_whole)] | None
Money = Annotated[str, Field(pattern=AMOUNT)] | Annotated[float, Field(ge=0, lt=9e6, strict=True)]


class NewBudget(BaseModel):
    """US dollars that a key may spend in each calendar window (UTC)."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={
            "anyOf": [{"required": [name], "properties": {name: {"type": ["string", "number"]}}} for name in WINDOWS]
        },
    )

    hour: Money | None = None
    day: Money | None = None
    week: Money | None = None
    month: Money | None = None
    total: Money | None = None
    soft: Annotated[bool, Field(strict=True)] = False
    """Only warn."""


class NewKey(BaseModel):
    """The body that makes a key."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    project: Annotated[str, Field(min_length=1, max_length=64)]
    name: Annotated[str, Field(max_length=100)] = ""
    routes: Annotated[tuple[str, ...], Field(min_length=1, max_length=100)] | None = None
    lanes: Annotated[tuple[Lane, ...], Field(min_length=1, max_length=4)] | None = None
    rpm: Annotated[float, Field(gt=0, le=1e9, strict=True)] | None = None
    max_tokens: Annotated[int, Field(gt=0, strict=True), BeforeValidator(_as_whole)] | None = None
    max_cost: Annotated[str, Field(pattern=AMOUNT)] | Annotated[float, Field(gt=0, strict=True)] | None = None
    """US dollars one job may cost."""
    tpm: Annotated[float, Field(gt=0, le=1e12, strict=True)] | None = None
    """Input and output tokens a minute; what is beyond waits."""
    concurrency: Count = None
    """Attempts under way at once; further jobs wait."""
    max_queued: Count = None
    """Unfinished jobs; further ones are refused."""
    max_queued_bytes: Count = None
    """Bytes of the bodies of those."""
    budget: NewBudget | None = None
    expires: Moment | Number | None = None
    """``90d`` from now, a moment with its zone, or UTC seconds."""


class Rotation(BaseModel):
    """The body that rotates a key; it may be empty."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    overlap: Duration | Annotated[Number, Field(ge=0, le=LONGEST)] | None = None
    """``24h``, or seconds: how long the old key goes on working."""


def new_key(value: dict[str, Any], *, projects: Collection[str], routes: Collection[str]) -> NewKey:
    """The body of a request. Raises ``Failed``: 400 naming the field, 404 for a project that there is not."""
    asked: NewKey = _read(NewKey, value)
    if asked.project not in projects:
        known = ", ".join(sorted(projects))
        message = f"project: there is no project {asked.project!r}"
        raise Failed(ApiError(404, "project_not_found", message, param="project", remedy=f"use one of: {known}"))
    for route in asked.routes or ():
        if route not in routes:
            known = ", ".join(sorted(routes))
            raise invalid(f"routes: there is no route {route!r}", param="routes", remedy=f"use some of: {known}")
    return asked


def scope_of(asked: NewKey, now: float) -> Scope:
    """What the key may do; ``now`` in UTC seconds. Raises ``Failed`` with 400."""
    expires = None if asked.expires is None else _moment(asked.expires, now)
    bounds = asked.model_dump(exclude={"project", "name", "max_cost", "budget", "expires"})
    cost = None if asked.max_cost is None else str(asked.max_cost)
    budget = None if asked.budget is None else asked.budget.model_dump(exclude_none=True)
    if budget is not None:
        budget = {name: value if isinstance(value, bool) else str(value) for name, value in budget.items()}
        if budget.keys() <= {"soft"}:
            remedy = "name at least one of hour, day, week, month, total"
            raise invalid("budget: it bounds nothing", param="budget", remedy=remedy)
    scope: Scope = _read(Scope, {**bounds, "max_cost": cost, "budget": budget, "expires": expires})
    return scope


def overlap_of(value: dict[str, Any], default: float) -> float:
    """Seconds that the old key goes on. Raises ``Failed`` with 400."""
    asked = _read(Rotation, value).overlap
    return default if asked is None else _seconds(asked, "overlap")


def told(record: KeyRecord, now: float) -> dict[str, Any]:
    """A key as the API tells it; ``now`` in UTC seconds."""
    scope = record.scope.model_dump(mode="json", exclude_none=True, exclude={"expires"})
    return {
        "object": "key",
        "id": record.id,
        "project": record.project,
        "name": record.name,
        "state": record.ended(now) or (REPLACED if record.replaced_by is not None else ACTIVE),
        "scope": scope,
        "source": "configuration" if record.static else "api",
        "created_at": None if record.static else int(record.created),
        "expires_at": _whole(record.scope.expires),
        "ends_at": _whole(record.end),
        "revoked_at": _whole(record.revoked),
        "replaced_by": record.replaced_by,
        "replaces": record.replaces,
    }


def _whole(moment: float | None) -> int | None:
    return None if moment is None else int(moment)


def _read(kind: Any, value: dict[str, Any]) -> Any:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        found = problem(kind, error)
        raise invalid(f"{found.field}: {found.message}", param=found.field, remedy=found.remedy or None) from error


def _seconds(value: str | float, field: str) -> float:
    seconds = moment(value.strip(), field) if isinstance(value, str) else value
    if isinstance(seconds, datetime) or not 0 <= seconds <= LONGEST:
        remedy = "write seconds or a time such as 30m, 24h, 90d"
        raise invalid(f"{field}: {value!r} is no time up to ten years", param=field, remedy=remedy)
    return seconds


def _moment(value: str | float, now: float) -> float:
    when = value
    if isinstance(value, str):
        said = moment(value.strip(), "expires")
        when = said.timestamp() if isinstance(said, datetime) else now + said
    if isinstance(when, str) or not now < when <= now + LONGEST:
        remedy = "write 90d, a moment to come with its zone (2027-01-31T12:00:00Z), or UTC seconds"
        raise invalid(f"expires: {value!r} is no moment to come", param="expires", remedy=remedy)
    return when


# -- for the document

_MOMENTS = each(("created_at", "expires_at", "ends_at", "revoked_at"), {"type": ["integer", "null"]})
KEY: Fields = shown(
    {
        "object": {"const": "key"},
        "id": TEXT,
        "project": TEXT,
        "name": TEXT,
        "state": one_of((ACTIVE, REPLACED, *get_args(Ended))),
        "scope": OBJECT,
        "source": one_of(("configuration", "api")),
        **_MOMENTS,
        **each(("replaced_by", "replaces"), optional(TEXT)),
    }
)
_ITSELF = {"key": {**TEXT, "description": "The key itself, told this once."}}
MADE: Fields = shown({**KEY["properties"], **_ITSELF})
ROTATED: Fields = shown({**KEY["properties"], **_ITSELF, "old": KEY})
KEYS: Fields = shown({"object": {"const": "list"}, "data": many(KEY), "has_more": FLAG})
