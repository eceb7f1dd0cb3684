"""Many rows in one call of the driver: a statement is made once, and no row costs work of its own on the way.

Postgres takes the rows as arrays, a column each (``unnest``); SQLite's driver takes them as they are. Values are
bound in either; what a statement's text is made of is in ``ledger.tables``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sqlalchemy import ARRAY, Select, String, Table, Text, bindparam, column, func, select
from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Insert
    from sqlalchemy.ext.asyncio import AsyncConnection

Made = TypeVar("Made", postgresql.Insert, sqlite.Insert)

__all__ = ["add", "ignore", "insert", "numbered", "unnested"]


@dataclass(frozen=True, slots=True)
class _Key:
    """What a statement is made for."""

    table: Table
    columns: tuple[str, ...]
    conflict: Literal["error", "nothing", "sums"] = "error"
    keys: tuple[str, ...] = ()

    def resolve(self, made: Made) -> Made:
        """With what is to be done where a row is there."""
        if self.conflict == "nothing":
            return made.on_conflict_do_nothing()
        if self.conflict == "sums":
            summed = {name: self.table.c[name] + made.excluded[name] for name in self.columns if name not in self.keys}
            return made.on_conflict_do_update(index_elements=self.keys, set_=summed)
        return made


async def insert(
    connection: AsyncConnection, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Rows of values, one for each of ``columns``."""
    await _run(connection, _Key(table, columns), rows)


async def ignore(
    connection: AsyncConnection, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
) -> None:
    """As ``insert``, without the rows that are there."""
    await _run(connection, _Key(table, columns, "nothing"), rows)


async def add(
    connection: AsyncConnection,
    table: Table,
    keys: tuple[str, ...],
    sums: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    """Rows of keys and amounts: where there is one of the same keys, the amounts are added to its own."""
    await _run(connection, _Key(table, (*keys, *sums), "sums", keys), rows)


async def numbered(
    connection: AsyncConnection,
    table: Table,
    keys: tuple[str, ...],
    columns: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
) -> list[int]:
    """As ``insert``; the ids that the rows got, in their order. No two of them have the same values of ``keys``."""
    if connection.dialect.name == "sqlite":  # whose one writer we are, in a transaction
        newest = (await connection.execute(select(func.max(table.c.id)))).scalar_one() or 0
        numbers = list(range(newest + 1, newest + 1 + len(rows)))
        await insert(
            connection, table, ("id", *columns), [(number, *row) for number, row in zip(numbers, rows, strict=True)]
        )
        return numbers
    returned = await connection.execute(_returning(_Key(table, columns, keys=keys)), _arrays(columns, rows))
    found = {tuple(names): number for number, *names in returned}
    at = [columns.index(name) for name in keys]
    return [found[tuple(row[place] for place in at)] for row in rows]


def unnested(table: Table, columns: tuple[str, ...]) -> Select[Any]:
    """Postgres: rows out of arrays that are bound by the names of the columns."""
    arrays = [bindparam(name, type_=ARRAY(_plain(table, name))) for name in columns]
    named = [column(name, _plain(table, name)) for name in columns]
    return select(*func.unnest(*arrays).table_valued(*named, name="told").render_derived().c)


async def _run(connection: AsyncConnection, key: _Key, rows: Sequence[tuple[Any, ...]]) -> None:
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        await connection.exec_driver_sql(_written(key), list(rows))
    else:
        await connection.execute(_stored(key), _arrays(key.columns, rows))


def _arrays(columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    return dict(zip(columns, zip(*rows, strict=True), strict=True))


@lru_cache
def _stored(key: _Key) -> Insert:
    made = postgresql.insert(key.table).from_select(list(key.columns), unnested(key.table, key.columns))
    return key.resolve(made)


@lru_cache
def _returning(key: _Key) -> Insert:
    return _stored(key).returning(key.table.c.id, *(key.table.c[name] for name in key.keys))


@lru_cache
def _written(key: _Key) -> str:
    made = key.resolve(sqlite.insert(key.table)).compile(dialect=sqlite.dialect(), column_keys=list(key.columns))
    if made.positiontup != list(key.columns):
        raise AssertionError(made.positiontup)
    return str(made)


def _plain(table: Table, name: str) -> Any:
    """A text is sent without its length: a cast would cut it to that without a word."""
    kind = table.c[name].type
    return Text() if isinstance(kind, String) else kind
