"""A provider's statement against our sums, what is kept of it, and the facts that correct single attempts by it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import delete, func, insert, select

from job_contracts import subjects
from job_contracts.chat import Usage
from job_contracts.codec import encode
from job_contracts.facts import AttemptFact, Facts
from job_contracts.money import dollars
from ledger import bookings
from ledger.drift import DAY, Drift, Figures, Hour, compare
from ledger.statement_lines import Line
from ledger.store import Store
from ledger.tables import attempts, sources, spend, statement_lines, statements
from runtime.bus.port import NotFound, OutcomeUnknown, Undecided, WrongSequence

if TYPE_CHECKING:
    from catalogue.rows import ProviderRow
    from ledger.database import Database
    from runtime.bus.port import Bus

T = TypeVar("T")

AROUND = 2
"""Days before and after a statement's that are looked at as well: its days may begin at another hour."""
AT_ONCE = 500
"""Attempts in one question, and lines in one statement of SQL."""
IN_MESSAGE = 64
"""Facts in one message to the ledger."""
TELLER = "statement"
"""Stands where a worker's name stands in the subject of facts."""
PATIENCE = 30.0
"""Seconds in which the ledger must have read all that was told so far."""
AGAIN = 0.1
"""Seconds between two looks whether it has."""


class Behind(Exception):
    """The ledger has not read all that it was told: what still differs is not known."""


def aliases_of(row: ProviderRow | None) -> dict[str, str]:
    """The catalogue's names of a provider's models, by their other names in lower case."""
    models = () if row is None else (*row.models, *row.changes)
    return {alias.lower(): model.name for model in models for alias in model.aliases if "*" not in alias}


async def reconcile(
    database: Database, provider: str, lines: Sequence[Line], *, threshold: float, aliases: Mapping[str, str]
) -> Drift:
    """Compare. ``lines`` are of one provider, as ``provider`` names it in the configuration."""
    first, last = _span(lines)
    ours = await _hours(database, provider, first - AROUND * DAY, last + (AROUND + 1) * DAY)
    return compare(lines, ours, threshold=threshold, aliases=aliases)


async def keep(database: Database, provider: str, data: bytes, drift: Drift, *, at: float) -> None:
    """Note what was imported and how far it was from ours; the same file again takes its own place."""
    days = [_midnight(row.day) for row in drift.rows]
    first, last = min(days), max(days)
    digest = sha256(data).hexdigest()
    told = {"at": at, "first_day": first, "last_day": last, "drift": drift.worst, "over": drift.over}
    names = ("requests", "input", "cache_read", "cache_write", "output", "cost")
    async with database.writing() as connection:
        same = statements.c.provider == provider, statements.c.digest == digest
        old = select(statements.c.id).where(*same)
        await connection.execute(delete(statement_lines).where(statement_lines.c.statement.in_(old)))
        await connection.execute(delete(statements).where(*same))
        await connection.execute(insert(statements).values(provider=provider, digest=digest, **told))
        number = (await connection.execute(old)).scalar_one()
        rows = [
            {
                "statement": number,
                "day": _midnight(row.day),
                "model": " ".join(row.models)[:300],
                "cause": row.cause.value,
            }
            | {name: getattr(row.theirs, name) for name in names}
            for row in drift.rows
        ]
        for some in _chunks(rows, AT_ONCE):
            await connection.execute(insert(statement_lines), some)


async def corrections(
    database: Database, provider: str, lines: Iterable[Line], *, complete: bool = False
) -> list[AttemptFact]:
    """The facts that make single attempts what the statement says of them: of those it names and that differ.

    ``complete``: what it does not name was not billed; then estimates of ours on its days that it does not name become
    nothing.
    """
    every = list(lines)
    named: dict[str, Figures] = {}
    for line in every:
        if line.request is not None:
            named[line.request] = named.get(line.request, Figures()).plus(_figures(line))
    found: list[tuple[dict[str, Any], Figures]] = []
    for names in _chunks(sorted(named), AT_ONCE):
        first, last = _span(every)  # a job of the same name may have been there before, or later
        around = attempts.c.at >= first - DAY, attempts.c.at < last + 2 * DAY
        rows = await _attempts(database, provider, attempts.c.attempt.in_(names), *around)
        found += [(row, named[row["attempt"]]) for row in rows]
    if complete and named:
        first, last = _span(every)
        estimates = attempts.c.reported.is_(False), attempts.c.at >= first, attempts.c.at < last + DAY
        rows = await _attempts(database, provider, *estimates)
        found += [(row, NOTHING) for row in rows if row["attempt"] not in named]
    return [fact for row, told in found if (fact := _corrected(row, told)) is not None]


NOTHING = Figures(input=0, cache_read=0, cache_write=0, output=0, reasoning=0, cost=0)


async def adjust(
    database: Database,
    bus: Bus,
    provider: str,
    lines: Sequence[Line],
    *,
    complete: bool = False,
    patience: float = PATIENCE,
) -> list[AttemptFact]:
    """Tell the ``corrections``, as all facts are told, so that budgets hear of them too; returns what was told.

    Each is told once, whoever tells it and whatever answer gets lost: what differs is only looked up when the ledger
    has read all there was, and is only stored if nobody has told a correction of this provider since the look. So
    whoever reads the stream may count the difference without knowing the attempt. Raises Behind, or BusError.
    """
    subject = subjects.usage(provider, TELLER)
    told: dict[str, AttemptFact] = {}
    while True:
        last = await _last(bus, subject)
        await _read(database, max(last, (await bus.stream_state(subjects.LEDGER)).last_seq), patience)
        facts = await corrections(database, provider, lines, complete=complete)
        try:
            for some in _chunks(facts, IN_MESSAGE):
                last = (await bus.append(subject, encode(Facts(facts=tuple(some))), expect_last=last)).seq
                told |= {one.attempt: one for one in some}
        except (OutcomeUnknown, Undecided, WrongSequence):
            # Somebody else has told some, or it is our own that came without an answer: look again what differs.
            await asyncio.sleep(AGAIN)
        else:
            return list(told.values())


async def _last(bus: Bus, subject: str) -> int:
    """Sequence of the last correction; 0 where there is none. A stale answer makes the write fail, nothing else."""
    try:
        return (await bus.last(subjects.LEDGER, subject)).seq
    except NotFound:
        return 0


async def _read(database: Database, seq: int, patience: float) -> None:
    """Wait until all up to there is in the database. Raises Behind."""
    store, loop = Store(database), asyncio.get_running_loop()
    until = loop.time() + patience
    position = await store.position()
    while position < seq:
        if loop.time() >= until:
            message = f"the ledger has read {position} of {seq} messages: let it run, and try again"
            raise Behind(message)
        await asyncio.sleep(AGAIN)
        position = await store.position()


async def _hours(database: Database, provider: str, since: int, until: int) -> list[Hour]:
    names = ("input", "cache_read", "cache_write", "output", "reasoning", "cost", "estimated", "unpriced")
    query = (
        select(spend.c.start, sources.c.model, func.sum(spend.c.attempts), *(func.sum(spend.c[name]) for name in names))
        .join(sources, sources.c.id == spend.c.source)
        .where(spend.c.grain == 1, spend.c.start >= since, spend.c.start < until, sources.c.provider == provider)
        .group_by(spend.c.start, sources.c.model)
    )
    async with database.engine.connect() as connection:
        rows = (await connection.execute(query)).all()
    found: list[Hour] = []
    for start, model, calls, *sums in rows:
        told: dict[str, Any] = dict(zip(names, map(int, sums), strict=True))
        if calls:
            found.append(Hour(start, model, Figures(requests=int(calls), **told)))
    return found


async def _attempts(database: Database, provider: str, *conditions: Any) -> list[dict[str, Any]]:
    of_source = (sources.c[name] for name in ("project", "key", "route", "deployment", "provider", "model"))
    query = (
        select(attempts, *of_source)
        .join(sources, sources.c.id == attempts.c.source)
        .where(sources.c.provider == provider, attempts.c.told_by != "statement", *conditions)
    )
    async with database.engine.connect() as connection:
        return [dict(row) for row in (await connection.execute(query)).mappings()]


def _corrected(row: Mapping[str, Any], told: Figures) -> AttemptFact | None:
    """The fact of an attempt as the statement has it; what that does not tell stays. ``None``: it says the same."""
    kinds = ("input", "cache_read", "cache_write", "output", "reasoning")
    usage = {kind: row[kind] if getattr(told, kind) is None else getattr(told, kind) for kind in kinds}
    cost = row["cost"] if told.cost is None else told.cost
    if cost == row["cost"] and all(usage[kind] == row[kind] for kind in kinds):
        return None
    counted = row["cost"] if row["cost"] is not None else row["reserved"] or 0
    names = (
        "attempt",
        "project",
        "route",
        "deployment",
        "provider",
        "model",
        "seconds",
        "first_token",
        "reason",
        "failure",
        "won",
    )
    return AttemptFact.model_validate(
        {name: row[name] for name in names}
        | {
            "submitted": row["submitted"] / 1000,
            "started": row["at"],
            "charged": row["at"],
            "usage": Usage(**usage),
            "cost": None if cost is None else dollars(max(0, cost)),
            "stated": told.cost is not None,
            "reserved": None if row["reserved"] is None else dollars(row["reserved"]),
            "key": row["key"] or None,
            "tags": dict(bookings.read(row["tags"])),
            "told_by": "statement",
            "instead": dollars(counted),
        }
    )


def _figures(line: Line) -> Figures:
    return Figures(**{each.name: getattr(line, each.name) for each in fields(Figures) if hasattr(line, each.name)})


def _span(lines: Sequence[Line]) -> tuple[int, int]:
    days = [line.day for line in lines]
    return _midnight(min(days)), _midnight(max(days))


def _midnight(day: date) -> int:
    return int(
        (datetime(day.year, day.month, day.day, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1)
    )


def _chunks(some: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (some[at : at + size] for at in range(0, len(some), size))
