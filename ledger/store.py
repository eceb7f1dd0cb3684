"""Stores what LEDGER told: attempts, entries, sums and the place read up to, in one transaction, so each counts once.

Every value is bound, none is part of a statement's text. Writers come one after the other: the first thing a
transaction does is to move the position from where its writer believed it to be, and only one can.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import ARRAY, ColumnElement, Table, Text, any_, bindparam, delete, func, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from job_contracts import subjects
from ledger import bookings, bulk
from ledger.bookings import Arm, Booking, Source, counting
from ledger.deltas import MEASURES, deltas
from ledger.entries import Entry, booked, corrected
from ledger.retention import unforgotten
from ledger.tables import arms, attempts, entries, missed, positions, sources, spend, spend_tags, tags

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from ledger.database import Database

OF_SOURCE = Source._fields
OF_TAG = ("project", "name", "value")
OF_ARM = Arm._fields
PLAIN = (
    *("attempt", "submitted", "at", "seconds", "first_token"),
    *("reason", "failure", "won", "told_by", "reported", "stated", "price"),
    *("input", "cache_read", "cache_write", "output", "reasoning", "cost", "reserved", "verdict"),
)
ROW = ("attempt", "source", *PLAIN[1:], "arm", "tags")
"""The columns of a booking."""
REMEMBERED = 50_000
"""Sources and tags whose ids are kept in memory."""
MADE = f"{subjects.LEDGER} made"
"""Row of ``positions`` that says when the stream was made in which the place read up to lies."""
AT_ONCE = 1_000
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


@dataclass(slots=True)
class _Ids:
    """Which rows are known to have which id."""

    sources: dict[Source, int] = field(default_factory=dict)
    tags: dict[tuple[str, str, str], int] = field(default_factory=dict)
    arms: dict[Arm, int] = field(default_factory=dict)

    def copy(self) -> _Ids:
        """To learn more with, and to be dropped if that is not stored."""
        return _Ids(dict(self.sources), dict(self.tags), dict(self.arms))

    def bounded(self) -> _Ids:
        """Without those that have become too many."""
        sources, tags = (len(each) <= REMEMBERED for each in (self.sources, self.tags))
        return _Ids(self.sources if sources else {}, self.tags if tags else {}, self.arms)


class Store:
    """Writes the ledger's tables of one database. Methods raise what SQLAlchemy raises when it does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids = _Ids()
        self._forgettings = 0
        self._connections = 0

    async def position(self) -> int:
        """LEDGER sequence up to which everything is stored; 0 if nothing is."""
        async with self._database.engine.connect() as connection:
            found = await connection.execute(select(positions.c.seq).where(positions.c.stream == subjects.LEDGER))
            return found.scalar_one_or_none() or 0

    async def made_at(self) -> float | None:
        """When the stream was made that the position is of; ``None`` if nobody noted it yet."""
        async with self._database.engine.connect() as connection:
            found = await connection.execute(select(positions.c.at).where(positions.c.stream == MADE))
            at: float | None = found.scalar_one_or_none()
            return at

    async def note_made(self, at: float) -> None:
        """The position is of the stream that was made then, unless another ledger has said of which."""
        async with self._database.writing() as connection:
            await connection.execute(_ignoring(self._database.kind, positions).values(stream=MADE, seq=0, at=at))

    async def begin_anew(self, before: int, seq: int = 0, made: float | None = None) -> None:
        """Read on after ``seq``: LEDGER is another stream than it was, ``made`` then. Attempts that are known stay as
        they are. Raises Moved.
        """
        async with self._database.writing() as connection:
            moved = await connection.execute(_moving(before).values(seq=seq))
            if not moved.rowcount and before:  # another has been here, and its place may be of either stream
                raise Moved
            if made is not None:
                await connection.execute(delete(positions).where(positions.c.stream == MADE))
                await connection.execute(insert(positions).values(stream=MADE, seq=0, at=made))

    async def caught_up(self, seq: int, at: float) -> None:
        """Note that what was stored at the broker before ``at`` has been read."""
        async with self._database.writing() as connection:
            await connection.execute(_moving(seq).where(positions.c.at < at).values(at=at))

    async def miss(self, before: int, first: int, at: float) -> None:
        """Note that what lies after ``before`` is gone up to ``first``, and go on there. Raises Moved."""
        async with self._database.writing() as connection:
            await self._move(connection, before, first - 1, None)
            gone = {"stream": subjects.LEDGER, "first": before + 1, "last": first - 1, "at": at}
            await connection.execute(_ignoring(self._database.kind, missed).values(gone))

    async def store(
        self,
        told: Sequence[Booking],
        *,
        before: int,
        through: int,
        at: float,
        written: Callable[[], None] = lambda: None,
    ) -> Stored:
        """Store what the messages after ``before`` up to ``through`` told. Raises Moved; then nothing is stored.

        ``written`` is called when all is written and nothing is stored yet.
        """
        ids = self._ids.copy()
        async with self._database.writing() as connection:
            await self._move(connection, before, through, at)
            told, forgettings = await unforgotten(connection, told)
            connections = self._database.connections
            # Rows may have gone whose ids we knew, or the server lost the commits in which they were given.
            if forgettings != self._forgettings or connections != self._connections:
                ids = _Ids()
            stored = await _Batch(connection, self._database.kind, ids).store(told)
            written()
        self._connections = connections
        self._ids = ids.bounded()
        self._forgettings = forgettings
        return stored

    async def _move(self, connection: AsyncConnection, before: int, through: int, at: float | None) -> None:
        moved = await connection.execute(_moving(before).values(seq=through, **({} if at is None else {"at": at})))
        if not moved.rowcount and not before:
            first = {"stream": subjects.LEDGER, "seq": through, "at": at or 0.0}
            moved = await connection.execute(_ignoring(self._database.kind, positions).values(first))
        if not moved.rowcount:
            raise Moved


class _Batch:
    """One transaction's work; the ids it learns are true only when that has been stored."""

    def __init__(self, connection: AsyncConnection, kind: str, ids: _Ids) -> None:
        self._connection = connection
        self._kind = kind
        self._ids = ids

    async def store(self, told: Sequence[Booking]) -> Stored:
        if not told:
            return Stored()
        known = await self._known({one.attempt for one in told})
        counted = counting(told, {identity: one for identity, (_, one) in known.items()})
        new = [one for identity, one in counted.items() if identity not in known]
        replaced = [(*known[identity], one) for identity, one in counted.items() if identity in known]
        lighter, heavier = [before for _, before, _ in replaced], [one for _, _, one in replaced]
        if new or heavier:
            await self._name(new + heavier)
            await self._insert(new)
            await self._replace(replaced)
            await self._add([*new, *heavier], lighter)
        return Stored(len(new), len(heavier), len(told) - len(new) - len(heavier))

    async def _known(self, names: Collection[str]) -> dict[tuple[str, int], tuple[int, Booking]]:
        """Id and booking of those attempts of these names that are stored."""
        statement = (
            select(attempts, *(sources.c[name] for name in OF_SOURCE), *(arms.c[name] for name in OF_ARM))
            .join(sources, sources.c.id == attempts.c.source)
            .outerjoin(arms, arms.c.id == attempts.c.arm)
            .where(self._among(attempts.c.attempt))
        )
        rows = (await self._connection.execute(statement, self._names(names))).mappings()
        return {(row["attempt"], row["submitted"]): (row["id"], _read(row)) for row in rows}

    def _among(self, column: ColumnElement[str]) -> ColumnElement[bool]:
        """One statement for however many names there are."""
        if self._kind == "sqlite":
            return column.in_(select(func.json_each(bindparam("names", type_=Text())).table_valued("value").c.value))
        return column == any_(bindparam("names", type_=ARRAY(Text())))

    def _names(self, names: Collection[str]) -> dict[str, Any]:
        return {"names": json.dumps(list(names)) if self._kind == "sqlite" else list(names)}

    async def _name(self, told: Iterable[Booking]) -> None:
        """Learn the ids of their sources, tags and arms, and number those that have none."""
        of_source = {one.source for one in told}
        of_tag = {(source.project, *tag) for source, each in {(one.source, one.tags) for one in told} for tag in each}
        of_arm = {one.arm for one in told if one.arm is not None}
        ids = self._ids
        unnamed: list[tuple[str, ...]] = [source[:] for source in of_source if source not in ids.sources]
        async for names, number in _numbered(self._connection, sources, OF_SOURCE, unnamed):
            ids.sources[Source(*names)] = number
        unnamed = [names for names in of_tag if names not in ids.tags]
        async for names, number in _numbered(self._connection, tags, OF_TAG, unnamed):
            ids.tags[names[0], names[1], names[2]] = number
        unnamed = [arm[:] for arm in of_arm if arm not in ids.arms]
        async for names, number in _numbered(self._connection, arms, OF_ARM, unnamed):
            ids.arms[Arm(*names)] = number

    def _row(self, one: Booking) -> tuple[Any, ...]:
        arm = None if one.arm is None else self._ids.arms[one.arm]
        return (one.attempt, self._ids.sources[one.source], *one[2:-2], arm, bookings.written(one.tags))

    async def _insert(self, new: list[Booking]) -> None:
        if not new:
            return
        numbers = await bulk.numbered(
            self._connection, attempts, ("attempt", "submitted"), ROW, [self._row(one) for one in new]
        )
        await self._book((number, entry) for number, one in zip(numbers, new, strict=True) for entry in booked(one))

    async def _replace(self, heavier: list[tuple[int, Booking, Booking]]) -> None:
        if not heavier:
            return
        statement = update(attempts).where(attempts.c.id == bindparam("row"))
        rows = [{**dict(zip(ROW, self._row(after), strict=True)), "row": number} for number, _, after in heavier]
        await self._connection.execute(statement, rows)
        await self._book((number, entry) for number, before, after in heavier for entry in corrected(before, after))

    async def _book(self, told: Iterable[tuple[int, Entry]]) -> None:
        rows = [(number, *entry) for number, entry in told]
        await bulk.insert(self._connection, entries, ("attempt", *Entry._fields), rows)

    async def _add(self, added: list[Booking], removed: list[Booking]) -> None:
        """Bring the sums up to date, in one order for all who do."""
        await self._name(removed)
        by_source, by_tag = deltas(added, removed)
        rows = sorted(
            (grain, start, self._ids.sources[source], reason, *sums)
            for (grain, start, source, reason), sums in by_source.items()
        )
        await bulk.add(self._connection, spend, ("grain", "start", "source", "reason"), MEASURES, rows)
        tagged = sorted(
            (grain, start, self._ids.tags[tag], self._ids.sources[source], *sums)
            for (grain, start, tag, source), sums in by_tag.items()
        )
        await bulk.add(self._connection, spend_tags, ("grain", "start", "tag", "source"), MEASURES, tagged)


def _moving(before: int) -> Any:
    return update(positions).where(positions.c.stream == subjects.LEDGER, positions.c.seq == before)


def _insert(kind: str, table: Table) -> Any:
    return sqlite.insert(table) if kind == "sqlite" else postgresql.insert(table)


def _ignoring(kind: str, table: Table) -> Any:
    return _insert(kind, table).on_conflict_do_nothing()


async def _numbered(
    connection: AsyncConnection, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]
) -> AsyncIterator[tuple[tuple[str, ...], int]]:
    """Each row of names with the id it has, or gets. Only what is not there is inserted: a try would use up an id."""
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        found = await _numbers(connection, table, columns, some)
        missing = [names for names in some if names not in found]
        if missing:
            await bulk.ignore(connection, table, columns, missing)
            found |= await _numbers(connection, table, columns, missing)
        for names, number in found.items():
            yield names, number


async def _numbers(
    connection: AsyncConnection, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]
) -> dict[tuple[str, ...], int]:
    named = [table.c[name] for name in columns]
    if connection.dialect.name == "sqlite":
        statement = select(table.c.id, *named).where(tuple_(*named).in_(rows))
        found = await connection.execute(statement)
    else:
        told = bulk.unnested(table, columns).subquery()
        statement = select(table.c.id, *named).where(*(table.c[name] == told.c[name] for name in columns))
        found = await connection.execute(statement, dict(zip(columns, zip(*rows, strict=True), strict=True)))
    return {tuple(names): number for number, *names in found}


def _read(row: Mapping[Any, Any]) -> Booking:
    source = Source(*(row[name] for name in OF_SOURCE))
    arm = None if row["arm"] is None else Arm(*(row[name] for name in OF_ARM))
    return Booking._make((row["attempt"], source, *(row[name] for name in PLAIN[1:]), arm, bookings.read(row["tags"])))
