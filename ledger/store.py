"""Stores what LEDGER told: attempts, entries, sums and the place read up to, in one transaction, so each counts once.

Every value is bound, none is part of a statement's text. Writers come one after the other: the first thing a
transaction does is to move the position from where its writer believed it to be, and only one can.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ARRAY, ColumnElement, Table, Text, any_, bindparam, func, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from job_contracts import subjects
from ledger import bookings
from ledger.bookings import Booking, Source, counting
from ledger.deltas import MEASURES, deltas
from ledger.entries import booked, corrected
from ledger.retention import unforgotten
from ledger.tables import attempts, entries, positions, sources, spend, spend_tags, tags

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from ledger.database import Database

OF_SOURCE = ("project", "key", "route", "provider", "model", "deployment")
OF_TAG = ("project", "name", "value")
PLAIN = (
    *("attempt", "at", "seconds", "first_token", "reason", "failure", "won", "told_by", "reported", "stated", "price"),
    *("input", "cache_read", "cache_write", "output", "reasoning", "cost", "reserved"),
)
REMEMBERED = 50_000
"""Sources and tags whose ids are kept in memory."""
AT_ONCE = 100
"""Sources or tags in one question."""


class Moved(Exception):
    """The position is not where its reader believed it to be: another ledger has read on."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a batch changed."""

    new: int = 0
    replaced: int = 0
    known: int = 0
    """Facts that changed nothing: told again, or outweighed."""


class Store:
    """Writes the ledger's tables of one database. Methods raise what SQLAlchemy raises when it does not answer."""

    def __init__(self, database: Database, written: Callable[[], None] | None = None) -> None:
        """``written`` is called when all of a batch is written, before its transaction ends."""
        self._database = database
        self._written = written
        self._sources: dict[Source, int] = {}
        self._tags: dict[tuple[str, str, str], int] = {}
        self._forgettings = 0

    async def position(self) -> int:
        """LEDGER sequence up to which everything is stored; 0 if nothing is."""
        async with self._database.engine.connect() as connection:
            found = await connection.execute(select(positions.c.seq).where(positions.c.stream == subjects.LEDGER))
            return found.scalar_one_or_none() or 0

    async def begin_anew(self, before: int) -> None:
        """Read from the beginning: LEDGER is another stream than it was. Attempts that are known stay as they are."""
        async with self._database.writing() as connection:
            await connection.execute(_moving(before).values(seq=0))

    async def caught_up(self, seq: int, at: float) -> None:
        """Note that what was stored at the broker before ``at`` has been read."""
        async with self._database.writing() as connection:
            await connection.execute(_moving(seq).where(positions.c.at < at).values(at=at))

    async def store(self, told: Sequence[Booking], *, before: int, through: int, at: float) -> Stored:
        """Store what the messages after ``before`` up to ``through`` told. Raises Moved; then nothing is stored."""
        of_source, of_tag = dict(self._sources), dict(self._tags)
        async with self._database.writing() as connection:
            await self._move(connection, before, through, at)
            told, forgettings = await unforgotten(connection, told)
            if forgettings != self._forgettings:  # rows have gone whose ids we may have known
                of_source, of_tag = {}, {}
            stored = await _Batch(connection, self._database.kind, of_source, of_tag).store(told)
            if self._written is not None:
                self._written()
        self._sources = of_source if len(of_source) <= REMEMBERED else {}
        self._tags = of_tag if len(of_tag) <= REMEMBERED else {}
        self._forgettings = forgettings
        return stored

    async def _move(self, connection: AsyncConnection, before: int, through: int, at: float) -> None:
        moved = await connection.execute(_moving(before).values(seq=through, at=at))
        if not moved.rowcount and not before:
            first = {"stream": subjects.LEDGER, "seq": through, "at": at}
            moved = await connection.execute(_ignoring(self._database.kind, positions).values(first))
        if not moved.rowcount:
            raise Moved


class _Batch:
    """One transaction's work; the ids it learns are true only when that has been stored."""

    def __init__(
        self,
        connection: AsyncConnection,
        kind: str,
        of_source: dict[Source, int],
        of_tag: dict[tuple[str, str, str], int],
    ) -> None:
        self._connection = connection
        self._kind = kind
        self._of_source = of_source
        self._of_tag = of_tag

    async def store(self, told: Sequence[Booking]) -> Stored:
        counted = counting(told)
        if not counted:
            return Stored(known=len(told))
        known = await self._known(list(counted))
        new = [one for one in counted.values() if one.attempt not in known]
        heavier = [one for one in counted.values() if one.attempt in known and one.outweighs(known[one.attempt][1])]
        lighter = [known[one.attempt][1] for one in heavier]
        if new or heavier:
            await self._name(new + heavier)
            await self._insert(new)
            await self._replace([(*known[one.attempt], one) for one in heavier])
            await self._add([*new, *heavier], lighter)
        return Stored(len(new), len(heavier), len(told) - len(new) - len(heavier))

    async def _known(self, names: list[str]) -> dict[str, tuple[int, Booking]]:
        """Id and booking of those attempts that are stored."""
        statement = (
            select(attempts, *(sources.c[name] for name in OF_SOURCE))
            .join(sources, sources.c.id == attempts.c.source)
            .where(self._among(attempts.c.attempt))
        )
        rows = (await self._connection.execute(statement, self._names(names))).mappings()
        return {row["attempt"]: (row["id"], _read(row)) for row in rows}

    def _among(self, column: ColumnElement[str]) -> ColumnElement[bool]:
        """One statement for however many names there are."""
        if self._kind == "sqlite":
            return column.in_(select(func.json_each(bindparam("names", type_=Text())).table_valued("value").c.value))
        return column == any_(bindparam("names", type_=ARRAY(Text())))

    def _names(self, names: list[str]) -> dict[str, Any]:
        return {"names": json.dumps(names) if self._kind == "sqlite" else names}

    async def _name(self, told: Iterable[Booking]) -> None:
        """Learn the ids of their sources and tags, and number those that have none."""
        of_source = {one.source: tuple(asdict(one.source)[name] for name in OF_SOURCE) for one in told}
        of_tag = {(one.source.project, *tag) for one in told for tag in one.tags}
        missing = {names: source for source, names in of_source.items() if source not in self._of_source}
        async for names, number in _numbered(self._connection, self._kind, sources, OF_SOURCE, missing):
            self._of_source[missing[names]] = number
        unnamed = [names for names in of_tag if names not in self._of_tag]
        async for names, number in _numbered(self._connection, self._kind, tags, OF_TAG, unnamed):
            self._of_tag[names[0], names[1], names[2]] = number

    def _row(self, one: Booking) -> dict[str, Any]:
        row: dict[str, Any] = {name: getattr(one, name) for name in PLAIN}
        return row | {"source": self._of_source[one.source], "tags": bookings.written(one.tags)}

    async def _insert(self, new: list[Booking]) -> None:
        if not new:
            return
        await self._connection.execute(insert(attempts), [self._row(one) for one in new])
        statement = select(attempts.c.attempt, attempts.c.id).where(self._among(attempts.c.attempt))
        rows = await self._connection.execute(statement, self._names([one.attempt for one in new]))
        numbers: dict[str, int] = {row.attempt: row.id for row in rows}
        await self._book((numbers[one.attempt], entry) for one in new for entry in booked(one))

    async def _replace(self, heavier: list[tuple[int, Booking, Booking]]) -> None:
        if not heavier:
            return
        statement = update(attempts).where(attempts.c.id == bindparam("row"))
        await self._connection.execute(statement, [{**self._row(after), "row": number} for number, _, after in heavier])
        await self._book((number, entry) for number, before, after in heavier for entry in corrected(before, after))

    async def _book(self, told: Iterable[tuple[int, Any]]) -> None:
        rows = [
            {"attempt": number, "kind": one.kind, "debit": one.debit, "credit": one.credit, "amount": one.amount}
            for number, one in told
        ]
        if rows:
            await self._connection.execute(insert(entries), rows)

    async def _add(self, added: list[Booking], removed: list[Booking]) -> None:
        """Bring the sums up to date."""
        await self._name(removed)
        by_source, by_tag = deltas(added, removed)
        rows: list[dict[str, Any]] = [
            {"grain": grain, "start": start, "source": self._of_source[source], "reason": reason, **_measures(sums)}
            for (grain, start, source, reason), sums in by_source.items()
        ]
        await self._sum(spend, ("grain", "start", "source", "reason"), rows)
        tagged: list[dict[str, Any]] = [
            {"grain": grain, "start": start, "tag": self._of_tag[tag], "source": self._of_source[source]}
            | _measures(sums)
            for (grain, start, tag, source), sums in by_tag.items()
        ]
        await self._sum(spend_tags, ("grain", "start", "tag", "source"), tagged)

    async def _sum(self, table: Table, keys: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        made = _insert(self._kind, table)
        summed = {name: table.c[name] + made.excluded[name] for name in MEASURES}
        await self._connection.execute(made.on_conflict_do_update(index_elements=keys, set_=summed), rows)


def _measures(sums: list[int]) -> dict[str, int]:
    return dict(zip(MEASURES, sums, strict=True))


def _moving(before: int) -> Any:
    return update(positions).where(positions.c.stream == subjects.LEDGER, positions.c.seq == before)


def _insert(kind: str, table: Table) -> Any:
    return sqlite.insert(table) if kind == "sqlite" else postgresql.insert(table)


def _ignoring(kind: str, table: Table) -> Any:
    return _insert(kind, table).on_conflict_do_nothing()


async def _numbered(
    connection: AsyncConnection, kind: str, table: Table, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]
) -> AsyncIterator[tuple[tuple[str, ...], int]]:
    """Each row of names with the id it has, or gets."""
    every = list(rows)
    for start in range(0, len(every), AT_ONCE):
        some = every[start : start + AT_ONCE]
        made = [dict(zip(columns, row, strict=True)) for row in some]
        await connection.execute(_ignoring(kind, table), made)
        named = [table.c[name] for name in columns]
        found = await connection.execute(select(table.c.id, *named).where(tuple_(*named).in_(some)))
        for number, *names in found:
            yield tuple(names), number


def _read(row: Mapping[Any, Any]) -> Booking:
    return Booking(
        **{name: row[name] for name in PLAIN},
        source=Source(**{name: row[name] for name in OF_SOURCE}),
        tags=bookings.read(row["tags"]),
    )
