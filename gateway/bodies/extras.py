"""Our headers: what a request says of its job beside the body, and what an answer tells of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from gateway.bodies.failures import invalid
from job_contracts.jobs import LANES, MAX_TAG_NAME, MAX_TAG_VALUE, MAX_TAGS, Lane
from job_contracts.results import Result

PREFIX = "x-penstock-"
_DURATION = r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(ms|s|m|h|d|)"
ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}:[0-9]{2})"
DURATION: Mapping[str, Any] = {"type": "string", "pattern": f"^{_DURATION}$", "examples": ["30s", "24h"]}
"""JSON Schema of a time."""
MOMENT: Mapping[str, Any] = {
    "type": "string",
    "pattern": f"^(?:{_DURATION}|{ISO})$",
    "examples": ["30s", "15m", "2026-01-31T12:00:00Z"],
}
"""JSON Schema of a moment: from now on, or by the calendar."""
_PRIORITY: Mapping[str, Any] = {"type": "integer", "minimum": 0, "maximum": 9}
AMOUNT = r"^[0-9]{1,9}(\.[0-9]{1,12})?$"
"""Of US dollars."""
_TAG = r"[^,=]*[^,=\s][^,=]*=[^,]*"
_TAGS = rf"^{_TAG}(?:,{_TAG}){{0,{MAX_TAGS - 1}}}$"
_CONSTRAINT = r" *[a-z_]+ *=[^;=]*[^;=\s][^;=]*"
_CONSTRAINTS = rf"^{_CONSTRAINT}(?:;{_CONSTRAINT}){{0,31}}$"
KEY: Mapping[str, Any] = {"type": "string", "minLength": 1, "maxLength": 256}
"""JSON Schema of an idempotency key."""
HEADERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "lane": ("rt: somebody waits; std; batch; bg: whenever there is room.", {"enum": [*LANES]}),
    "deadline": ("The job is answered by then, or expires: seconds from now (30, 15m, 2h) or a moment.", MOMENT),
    "max-cost": ("US dollars the job may cost.", {"type": "string", "pattern": AMOUNT}),
    "session": ("What belongs together, for the sake of prompt caches.", {"type": "string", "maxLength": 256}),
    "tags": (
        f"name=value,name=value: for reports; at most {MAX_TAG_NAME} and {MAX_TAG_VALUE} characters.",
        {"type": "string", "pattern": _TAGS},
    ),
    "idempotency-key": ("The same key names the same job: sent twice, it runs once.", KEY),
    "priority": ("0 first … 9 last, among the project's jobs in the lane.", _PRIORITY),
    "constraints": (
        "What a deployment must be: name=value; name=value,value (residency=eu,eu-*; hosting=self).",
        {"type": "string", "pattern": _CONSTRAINTS, "examples": ["residency=eu,eu-*; zero_retention=true"]},
    ),
    "not-before": ("Not sent to a provider before then.", MOMENT),
    "on-disconnect": ("What becomes of the job if its client goes away.", {"enum": ["cancel", "continue"]}),
}
"""Our headers without their prefix: what each says, and its JSON Schema."""
_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_SINGLE = frozenset({"hosting", "zero_retention", "max_input_price", "max_output_price"})
"""Constraints with one value; the others are lists."""
_FLAGS: Mapping[str, Any] = {"true": True, "false": False}
WRITE_A_MOMENT = "write seconds from now (30, 90s, 15m, 2h) or a moment with its zone (2026-01-31T12:00:00Z)"
MOST_LOSSES = 10
"""Losses named in a header; the result has all of them."""


@dataclass(frozen=True, slots=True)
class Extras:
    """What the headers say; ``options`` are job options by their names in ``producer_sdk.options.JobOptions``."""

    lane: Lane | None = None
    deadline: float | datetime | None = None
    """Seconds from now, or a moment."""
    idempotency_key: str | None = None
    on_disconnect: Literal["cancel", "continue"] | None = None
    resume: str = ""
    """The id of the last event that was seen."""
    others: Mapping[str, Any] = field(default_factory=dict)


_NOTHING = Extras()


def read(headers: Mapping[str, str]) -> Extras:
    """The extras among a request's headers (names in lower case). Raises ``Failed`` with 400 naming the header."""
    given = {name[len(PREFIX) :]: value for name, value in headers.items() if name.startswith(PREFIX)}
    key = headers.get("idempotency-key")
    seen = headers.get("last-event-id")
    if not given and key is None and seen is None:
        return _NOTHING
    for name in given:
        if name not in HEADERS:
            known = ", ".join(PREFIX + one for one in sorted(HEADERS))
            raise invalid(
                f"{PREFIX}{name}: there is no such header", param=PREFIX + name, remedy=f"use one of: {known}"
            )
    others: dict[str, Any] = {}
    if "session" in given:
        others["session"] = given["session"]
    if "tags" in given:
        others["tags"] = _tags(given["tags"])
    if "max-cost" in given:
        others["max_cost"] = _amount(given["max-cost"])
    if "constraints" in given:
        others["constraints"] = _constraints(given["constraints"])
    if "priority" in given:
        others["priority"] = _whole(given["priority"], "priority")
    if "not-before" in given:
        others["not_before"] = moment(given["not-before"], PREFIX + "not-before")
    return Extras(
        lane=_one_of(given.get("lane"), "lane", LANES),
        deadline=moment(given["deadline"], PREFIX + "deadline") if "deadline" in given else None,
        idempotency_key=given.get("idempotency-key", key),
        on_disconnect=_one_of(given.get("on-disconnect"), "on-disconnect", ("cancel", "continue")),
        resume=(seen or "").strip(),
        others=others,
    )


def _one_of(value: str | None, name: str, known: tuple[Any, ...]) -> Any:
    if value is not None and value not in known:
        raise invalid(
            f"{PREFIX}{name}: {value!r} is none", param=PREFIX + name, remedy=f"use one of: {', '.join(known)}"
        )
    return value


def _constraints(value: str) -> dict[str, Any]:
    """As the contract has them, which checks the rest: lists where it asks for lists."""
    if re.fullmatch(_CONSTRAINTS, value) is None:
        raise invalid(
            f"{PREFIX}constraints: {value!r:.50} cannot be read",
            param=PREFIX + "constraints",
            remedy="write name=value; name=value,value (residency=eu,eu-*; hosting=self)",
        )
    found: dict[str, Any] = {}
    for part in value.split(";"):
        name, _, words = part.partition("=")
        several = [word.strip() for word in words.split(",") if word.strip()]
        found[name.strip()] = _FLAGS.get(words.strip(), words.strip()) if name.strip() in _SINGLE else several
    return found


def _whole(value: str, name: str) -> int:
    if not value.isascii() or not value.isdecimal() or len(value) > 9:
        raise invalid(f"{PREFIX}{name}: {value!r} is no whole number", param=PREFIX + name, remedy="write a number")
    return int(value)


def moment(value: str, name: str) -> float | datetime:
    """Seconds from now, or a moment with its zone. Raises ``Failed`` with 400 that speaks of ``name``."""
    if (found := re.fullmatch(_DURATION, value)) is not None:
        return float(found.group(1)) * _UNITS[found.group(2)]
    when: datetime | None = None
    if re.fullmatch(ISO, value) is not None:
        with suppress(ValueError):
            when = datetime.fromisoformat(value)
    if when is None or when.tzinfo is None:
        raise invalid(f"{name}: {value!r:.50} is no moment", param=name, remedy=WRITE_A_MOMENT)
    return when


def _amount(value: str) -> str:
    if re.match(AMOUNT, value) is None:
        where = f"{PREFIX}max-cost"
        raise invalid(f"{where}: {value!r:.50} is no amount", param=where, remedy="write US dollars, such as 0.05")
    return value


def _tags(value: str) -> dict[str, str]:
    tags: dict[str, str] = {}
    for part in value.split(","):
        name, equals, told = (one.strip() for one in part.partition("="))
        if not equals or not name:
            raise invalid(
                f"{PREFIX}tags: {part.strip()!r:.50} is no tag",
                param=f"{PREFIX}tags",
                remedy="write name=value,name=value",
            )
        if len(name) > MAX_TAG_NAME or len(told) > MAX_TAG_VALUE:
            message = f"{PREFIX}tags: {name!r:.50} is longer than a tag: {MAX_TAG_NAME}={MAX_TAG_VALUE} characters"
            raise invalid(message, param=f"{PREFIX}tags", remedy="shorten it")
        tags[name] = told
    if len(tags) > MAX_TAGS:
        raise invalid(f"{PREFIX}tags: more than {MAX_TAGS}", param=f"{PREFIX}tags", remedy="give fewer")
    return tags


def told(results: tuple[Result, ...]) -> dict[str, str]:
    """What an answer's headers tell of its jobs; of several answers the jobs are all named, the rest is summed."""
    first = results[0]
    headers = {
        "x-penstock-job": ",".join(one.job for one in results),
        "x-penstock-route": header_text(first.route),
        "x-penstock-attempts": str(sum(len(one.attempts) for one in results)),
    }
    if first.deployment is not None:
        headers["x-penstock-deployment"] = header_text(first.deployment)
    costs = [one.cost for one in results if one.cost is not None]
    if len(costs) == len(results):
        headers["x-penstock-cost"] = format(sum(costs[1:], costs[0]), "f")
    if first.times.dispatched is not None:
        headers["x-penstock-queue-time"] = f"{max(0.0, first.times.dispatched - first.times.submitted):.3f}"
    losses = [loss for one in results for attempt in one.attempts[-1:] for loss in attempt.losses]
    if losses:
        named = dict.fromkeys(f"{loss.kind} {loss.field}" for loss in losses)
        headers["x-penstock-losses"] = header_text("; ".join(list(named)[:MOST_LOSSES]))
    return headers


def header_text(text: str) -> str:
    """A text as a header's value may hold it: visible ASCII; anything else is a question mark."""
    return "".join(char if " " <= char <= "~" else "?" for char in text)
