"""Keys and projects: what each may do, and keys made, replaced and revoked.

A key is made here, and the edges are told its hash: it is shown on the page that follows, once, and is nowhere else.
What is to be done is noted in the audit before it is, so nothing is done that is not in it. A revocation does not wait
for that: a key that leaked must end though the scheduler is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import ValidationError

from console.asking import Declined, NoAnswer, fault, soon
from console.filters import address
from console.forms import length
from console.panels import Action, Amiss, Desks, Panel
from console.people import hashed
from job_contracts.jobs import LANES
from job_contracts.key_asking import AskKeys, AskNewKey, AskRevocation, AskRotation
from job_contracts.keys import SECRET_DIGITS, Scope, key_id, written
from job_contracts.money import WINDOWS
from job_contracts.operating import AskNote
from job_contracts.spend import AskAttempts, AskSpend

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from console.people import Person
    from job_contracts.key_asking import KeyPage
    from job_contracts.spend import Sums

PAGE = 100
"""Keys on one page."""
SOON = 3.0
"""Seconds that the ledger may take: keys are shown without what they were used for rather than late."""
STATES = {"valid": True, "ended": False}
"""What may be chosen, and what is asked for it."""
DAYS = 30
"""Days back over which it is told what keys were used for."""
LONGEST = 128
"""Characters of a project's and a key's name that are asked for: no name is longer."""
UNITS = ("d", "h")
"""In which it is said how long a key is good."""
BOUNDS = ("rpm", "tpm", "concurrency", "max_tokens", "max_queued", "max_queued_bytes", "max_cost")
"""What bounds a key by a number."""


async def _read(desks: Desks, person: Person, query: Mapping[str, str]) -> Mapping[str, Any]:
    project = person.project or query.get("project", "").strip()[:LONGEST] or None
    wanted = query.get("id", "").strip()[:LONGEST] or None
    state = query.get("state", "")
    asked = AskKeys(
        project=project,
        id=wanted,
        valid=STATES.get(state),
        limit=PAGE,
        after=query.get("after") or None,
    )
    since = max(0.0, desks.clock.wall() - DAYS * 86_400.0)
    (page, amiss), used, last = await asyncio.gather(
        soon(desks.edges.keys(asked), None), _used(desks, project, wanted, since), _last(desks, project, wanted)
    )
    rules = desks.config.projects
    own = sorted(rules) if person.project is None else [person.project]
    return {
        "person": person,
        "projects": [(name, rules[name]) for name in own if name in rules and project in {None, name}],
        "all_routes": sorted(desks.config.routes),
        "lanes": LANES,
        "windows": WINDOWS,
        "bounds": BOUNDS,
        "page": page,
        "amiss": amiss,
        "used": used,
        "last": last,
        "since": since,
        "days": DAYS,
        "asked": asked,
        "older": _older(person, asked, state, page),
        "state": state if state in STATES else "",
        "overlap": desks.config.gateway.key_overlap / 3_600.0,
        "now": desks.clock.wall(),
    }


def _older(person: Person, asked: AskKeys, state: str, page: KeyPage | None) -> str | None:
    """Where the next page is, if there is one."""
    if page is None or page.after is None:
        return None
    project = asked.project if person.project is None else None
    return address("/keys", after=page.after, project=project, state=state if state in STATES else None)


async def _used(desks: Desks, project: str | None, key: str | None, since: float) -> Mapping[str, Sums] | None:
    """What each key was used for, from the full hour of ``since`` on; ``None`` if that is not known."""
    asked = AskSpend(by=("key",), project=project, key=key, since=since, limit=1_000)
    found, _ = await soon(desks.ledger.spend(asked), SOON)
    return None if found is None or found.after is not None else {row.key or "": row for row in found.rows}


async def _last(desks: Desks, project: str | None, key: str | None) -> float | None:
    """When the one key was last used that is asked for, as far as the ledger knows."""
    if key is None:
        return None
    found, _ = await soon(desks.ledger.attempts(AskAttempts(project=project, key=key, limit=1)), SOON)
    return found.rows[0].at if found is not None and found.rows else None


# -- what is done


async def _create(desks: Desks, person: Person, form: Mapping[str, str]) -> str:
    project = form.get("project", "")
    if project not in desks.config.projects:
        raise Amiss("choose a project")
    scope, name = _scope(form, desks.clock.wall()), form.get("name", "").strip()
    key = written(project, secrets.token_hex(SECRET_DIGITS // 2))
    digest = hashed(key, desks.config.gateway.pepper.get_secret_value())
    try:
        asked = AskNewKey(id=key_id(key), hash=digest, project=project, name=name, scope=scope)
    except ValidationError as error:
        _amiss(error)
    bounds = {field: str(value)[:500] for field, value in scope.model_dump(mode="json", exclude_none=True).items()}
    deed = _Deed(person.name, "create", asked.id, form.get("why", ""))
    await _note(desks, deed, {"project": project, "called": name, **bounds})
    await _done(desks, deed, desks.edges.create(asked))
    return _made(key, f"of project {project}")


async def _rotate(desks: Desks, person: Person, form: Mapping[str, str]) -> str:
    old, overlap = form.get("id", ""), _hours(form.get("overlap", ""))
    found = (await desks.edges.keys(AskKeys(id=old, limit=1))).keys
    if not found:
        raise Amiss(f"there is no key {old!r}")
    key = written(found[0].project, secrets.token_hex(SECRET_DIGITS // 2))
    digest = hashed(key, desks.config.gateway.pepper.get_secret_value())
    try:
        asked = AskRotation(id=key_id(key), hash=digest, old=old, overlap=overlap)
    except ValidationError as error:
        _amiss(error)
    goes_on = "as configured" if overlap is None else f"{overlap:g} s"
    deed = _Deed(person.name, "rotate", old, form.get("why", ""))
    await _note(desks, deed, {"by": asked.id, "goes on": goes_on})
    await _done(desks, deed, desks.edges.rotate(asked))
    return _made(key, f"in place of {old}")


async def _revoke(desks: Desks, person: Person, form: Mapping[str, str]) -> str:
    key = form.get("id", "")
    try:
        asked = AskRevocation(id=key)
    except ValidationError as error:
        _amiss(error)
    if form.get("sure", "").strip() != key:
        raise Amiss(f"write {key} into the field beside the button: a key that is revoked never comes back")
    noted = ""
    try:
        await _note(desks, _Deed(person.name, "revoke", key, form.get("why", "")))
    except (NoAnswer, Declined, Amiss) as error:
        noted = f". The audit does not have it ({error}); the gateway's log does"
    await _done(desks, _Deed(person.name, "revoke", key), desks.edges.revoke(asked))
    return f"{key} is revoked{noted}"


def _made(key: str, what: str) -> str:
    return f"Key {key_id(key)} {what} is made. This is the only time that it is shown: {key}"


@dataclass(frozen=True, slots=True)
class _Deed:
    """What somebody does to a key, as the audit has it."""

    by: str
    did: str
    key: str
    why: str = ""


async def _note(desks: Desks, deed: _Deed, detail: Mapping[str, str] | None = None) -> None:
    """Into the audit; the key itself is not in it."""
    try:
        note = AskNote(by=deed.by, did=deed.did, on="key", name=deed.key, why=deed.why, detail=dict(detail or {}))
    except ValidationError as error:
        _amiss(error)
    await desks.asking.note(note)


async def _done(desks: Desks, deed: _Deed, doing: Awaitable[object]) -> None:
    """Do what was noted; if it is refused, or nobody knows, that is noted as well."""
    try:
        await doing
    except (NoAnswer, Declined) as error:
        ended = "unknown" if isinstance(error, NoAnswer) and error.unknown else "not done"
        told = _Deed(deed.by, f"{deed.did}: {ended}", deed.key)
        with contextlib.suppress(NoAnswer, Declined):  # the page says it in any case
            await _note(desks, told, {"because": str(error)[:500]})
        raise


# -- what a form says


def _scope(form: Mapping[str, str], now: float) -> Scope:
    given: dict[str, Any] = {name: form[name].strip() for name in BOUNDS if form.get(name, "").strip()}
    routes = tuple(one.strip() for one in form.get("routes", "").split(",") if one.strip())
    lanes = tuple(lane for lane in LANES if form.get(f"lane:{lane}"))
    budget: dict[str, Any] = {
        window: form[f"budget:{window}"].strip() for window in WINDOWS if form.get(f"budget:{window}", "").strip()
    }
    if budget:
        given["budget"] = {**budget, "soft": bool(form.get("soft"))}
    if routes:
        given["routes"] = routes
    if lanes:
        given["lanes"] = lanes
    good_for = length(form, "expires", UNITS)
    if good_for is not None:
        given["expires"] = now + good_for
    try:
        return Scope.model_validate(given)
    except ValidationError as error:
        _amiss(error)


def _hours(text: str) -> float | None:
    if not text.strip():
        return None
    try:
        return float(text) * 3_600.0
    except ValueError as error:
        raise Amiss("how long the old one goes on: a number of hours") from error


def _amiss(error: ValidationError) -> NoReturn:
    raise Amiss(fault(error)) from error


KEYS = Panel(
    "keys",
    "Keys and projects",
    "k",
    _read,
    group="System",
    live=False,
    seen_by="all",
    actions=MappingProxyType(
        {"create": Action("admin", _create), "rotate": Action("admin", _rotate), "revoke": Action("admin", _revoke)}
    ),
)
