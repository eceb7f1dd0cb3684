"""Our headers: what a request says of its job beside the body, and what an answer tells of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from gateway.bodies.failures import invalid
from job_contracts.jobs import LANES, MAX_TAGS, Lane
from job_contracts.results import Result

PREFIX = "x-penstock-"
_KNOWN = frozenset(
    {"lane", "deadline", "max-cost", "session", "tags", "idempotency-key", "priority", "not-before", "on-disconnect"}
)
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)$")
_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
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
        if name not in _KNOWN:
            known = ", ".join(PREFIX + one for one in sorted(_KNOWN))
            raise invalid(
                f"{PREFIX}{name}: there is no such header", param=PREFIX + name, remedy=f"use one of: {known}"
            )
    others: dict[str, Any] = {}
    if "session" in given:
        others["session"] = given["session"]
    if "tags" in given:
        others["tags"] = _tags(given["tags"])
    if "max-cost" in given:
        others["max_cost"] = given["max-cost"]
    if "priority" in given:
        others["priority"] = _whole(given["priority"], "priority")
    if "not-before" in given:
        others["not_before"] = _moment(given["not-before"], "not-before")
    return Extras(
        lane=_one_of(given.get("lane"), "lane", LANES),
        deadline=_moment(given["deadline"], "deadline") if "deadline" in given else None,
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


def _whole(value: str, name: str) -> int:
    if not value.isascii() or not value.isdecimal() or len(value) > 9:
        raise invalid(f"{PREFIX}{name}: {value!r} is no whole number", param=PREFIX + name, remedy="write a number")
    return int(value)


def _moment(value: str, name: str) -> float | datetime:
    found = _DURATION.match(value.strip())
    if found is not None:
        return float(found.group(1)) * _UNITS[found.group(2)]
    moment: datetime | None = None
    with suppress(ValueError):
        moment = datetime.fromisoformat(value.strip())
    if moment is None or moment.tzinfo is None:
        remedy = "write seconds from now (30, 90s, 15m, 2h) or a moment with its zone (2026-01-31T12:00:00Z)"
        raise invalid(f"{PREFIX}{name}: {value!r} is no moment", param=PREFIX + name, remedy=remedy)
    return moment


def _tags(value: str) -> dict[str, str]:
    tags: dict[str, str] = {}
    for part in value.split(","):
        name, equals, told = (one.strip() for one in part.partition("="))
        if not equals or not name:
            raise invalid(
                f"{PREFIX}tags: {part.strip()!r} is no tag", param=f"{PREFIX}tags", remedy="write name=value,name=value"
            )
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
