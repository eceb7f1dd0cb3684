"""What is read from the ledger's database: sums by any dimension, and the single attempts behind them.

Every method reads, none writes. Amounts leave as Decimal dollars, exact to the picodollar.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, String, and_, cast, column, exists, func, or_, select
from sqlalchemy.dialects.postgresql import JSON

from job_contracts import subjects
from job_contracts.attempts import attempt_name
from job_contracts.codec import ContractError, Wire
from job_contracts.money import dollars
from job_contracts.spend import (
    AskAttempts,
    AskSpend,
    Attempt,
    AttemptPage,
    Spend,
    SpendRow,
    Sums,
)
from ledger.narrowing import Within, first_asked, names_of, narrowed
from ledger.paging import answered
from ledger.periods import MONTHLY, cursor, read_cursor, segments, whole_hours
from ledger.sums import AMOUNTS, COUNTS, Group, Question, Statement, coarsest, sort_keys, sort_kinds
from ledger.tables import arms, attempts, positions, sources

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_OF_SOURCE = ("project", "key", "route", "deployment", "provider", "model")
_OF_ATTEMPT = (
    *("attempt", "at", "seconds", "first_token", "reason", "failure", "won", "told_by", "reported", "stated", "price"),
    *("input", "cache_read", "cache_write", "output", "reasoning"),
)
NUMBERS = 500
"""Attempts of a job that are looked for, by their numbers: names alone are what an index finds in either database,
whatever it sorts by. The configuration allows 50; what waited out a provider's limit may have some more."""
AT_ONCE = 4
"""Questions of a forecast that one of them waits for at a time."""
FEWER = 250
"""Rows of a page by a tag and by the hour or day at most: each is of as many sums as there are tags and sources."""


class Reports:
    """Reads the database behind ``engine``. Methods raise what SQLAlchemy raises when it does not answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def spend(self, asked: AskSpend, now: float) -> Spend:
        """Sums of a period. Raises ContractError for an ``after`` that is none of this question."""
        after = None if asked.after is None else read_cursor(asked.after, sort_kinds(asked.by))
        start, end = whole_hours(asked.since, asked.until)
        limit = min(asked.limit, FEWER) if "tag" in asked.by and coarsest(asked.by) != MONTHLY else asked.limit
        question = Question(
            segments(asked.since, asked.until),
            by=asked.by,
            names=names_of(asked),
            reason=asked.reason,
            tag=asked.tag if "tag" in asked.by or asked.tag_value is not None else None,
            tag_value=asked.tag_value,
            limit=limit + 1,
            after=after,
        )
        async with self._one_state() as connection:
            through = await _through(connection)
            total, groups = await answered(connection, question)
        more = len(groups) > limit
        rows = groups[:limit] if asked.by else groups[:1]
        return Spend(
            through=through,
            lag=None if through is None else max(0.0, now - through),
            since=float(start),
            until=None if end is None else float(end),
            rows=tuple(SpendRow(**_told(one.sums), **one.keys) for one in rows),
            total=sums_of(total),
            after=cursor(sort_keys(asked.by, rows[-1].keys)) if more and asked.by else None,
        )

    async def through(self) -> float | None:
        """UTC seconds up to which the ledger has read; ``None`` if it has read nothing."""
        async with self._engine.connect() as connection:
            return await _through(connection)

    async def groups(self, question: Question) -> list[Group]:
        """All groups, in any order."""
        async with self._engine.connect() as connection:
            statement = Statement(question, connection.dialect.name)
            return [statement.read(row) for row in (await connection.execute(statement.groups())).mappings()]

    async def costs(self, questions: Sequence[Question]) -> list[list[tuple[Any, ...]]]:
        """All groups of each question in any order: the values of ``by``, then picodollars. A forecast reads thousands.

        Several questions are asked at once, each seeing what is booked by then. Raises SQLAlchemyError of the first
        that failed.
        """
        left, found = iter(enumerate(questions)), dict[int, list[tuple[Any, ...]]]()

        async def ask() -> None:
            for number, question in left:
                found[number] = await self._costs(question)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(AT_ONCE, len(questions))):
                    group.create_task(ask())
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [found[number] for number in range(len(questions))]

    async def _costs(self, question: Question) -> list[tuple[Any, ...]]:
        async with self._engine.connect() as connection:
            statement = Statement(replace(question, measures=("cost",)), connection.dialect.name)
            rows = (await connection.execute(statement.groups())).all()
        width = len(question.by)
        return [(*row[:width], statement.amount(row[width:])) for row in rows]

    async def rows(self, statement: Callable[[str], Select[Any]]) -> list[Mapping[Any, Any]]:
        """What a statement selects, which is told the kind of database."""
        async with self._engine.connect() as connection:
            found = (await connection.execute(statement(connection.dialect.name))).mappings().all()
        return list(found)

    @asynccontextmanager
    async def _one_state(self) -> AsyncIterator[AsyncConnection]:
        """A connection all of whose statements see the same."""
        async with self._engine.connect() as connection:
            if connection.dialect.name == "postgresql":  # SQLite's transactions are so anyway
                yield await connection.execution_options(isolation_level="REPEATABLE READ")
            else:
                yield connection

    async def attempts(self, asked: AskAttempts, now: float) -> AttemptPage:
        """Single attempts, newest first. Raises ContractError for an ``after`` that is none."""
        async with self._one_state() as connection:
            through = await _through(connection)
            within, those = await self._within(connection, asked), await _arms(connection, asked)
            found: list[Mapping[Any, Any]] = []
            while those and within is not None and len(found) <= asked.limit:
                found += await self._newest(connection, asked, within, those, asked.limit + 1 - len(found))
                within = within.rest
        rows = found[: asked.limit]
        return AttemptPage(
            through=through,
            lag=None if through is None else max(0.0, now - through),
            rows=tuple(_attempt(row) for row in rows),
            after=cursor([rows[-1]["at"], rows[-1]["id"]]) if len(found) > len(rows) else None,
        )

    async def _within(self, connection: AsyncConnection, asked: AskAttempts) -> Within | None:
        """The period to look in; ``None``: there is nothing. Raises ContractError for an ``after`` that is none."""
        before = None if asked.after is None else read_cursor(asked.after, (float, int))[0]
        told = first_asked(asked)
        if told is None:
            return Within(asked.since, asked.until, asked.since)
        statement = Statement(told, connection.dialect.name)
        groups = [statement.read(row) for row in (await connection.execute(statement.groups())).mappings()]
        return narrowed(asked, {one.keys["month"]: one.sums for one in groups}, before=before)

    async def _newest(
        self,
        connection: AsyncConnection,
        asked: AskAttempts,
        within: Within,
        those: Sequence[tuple[int, bool] | None],
        limit: int,
    ) -> list[Mapping[Any, Any]]:
        """The newest of a period; of several arms each by itself, and of each those that won and those that did not,
        for of these an index has them in their order.
        """
        statement, found = self._attempts(asked, within).limit(limit), list[Mapping[Any, Any]]()
        for part in those:
            of_part = statement
            if part is not None:
                of_part = statement.where(attempts.c.arm == part[0], attempts.c.won == part[1])
            found += (await connection.execute(of_part)).mappings()
        if len(those) > 1:
            found.sort(key=lambda row: (row["at"], row["id"]), reverse=True)
        return found[:limit]

    def _attempts(self, asked: AskAttempts, within: Within) -> Select[Any]:
        told = select(
            attempts.c.id,
            *(attempts.c[name] for name in (*_OF_ATTEMPT, "cost", "reserved", "tags")),
            *(sources.c[name] for name in _OF_SOURCE),
            arms.c.experiment,
            arms.c.name.label("arm"),
        )
        told = told.join(sources, sources.c.id == attempts.c.source).outerjoin(arms, arms.c.id == attempts.c.arm)
        names = names_of(asked)
        if names:
            fitting = select(sources.c.id).where(*(sources.c[name] == value for name, value in names.items()))
            told = told.where(attempts.c.source.in_(fitting))
        told = told.where(attempts.c.at >= within.since)
        if within.until is not None:
            told = told.where(attempts.c.at < within.until)
        for name in ("reason", "failure", "won"):
            value = getattr(asked, name)
            if value is not None:
                told = told.where(attempts.c[name] == value)
        if asked.priced is not None:
            told = told.where(attempts.c.cost.is_not(None) if asked.priced else attempts.c.cost.is_(None))
        if asked.job is not None:
            own = [attempt_name(asked.project or "", asked.job, number) for number in range(1, NUMBERS + 1)]
            told = told.where(attempts.c.attempt.in_(own))
        if asked.tag is not None:
            told = told.where(self._tagged(asked.tag, asked.tag_value))
        if asked.after is not None:
            at, number = read_cursor(asked.after, (float, int))
            told = told.where(or_(attempts.c.at < at, and_(attempts.c.at == at, attempts.c.id < number)))
            told = told.where(attempts.c.at <= at)  # says nothing new, but an index can begin there
        return told.order_by(attempts.c.at.desc(), attempts.c.id.desc())

    def _tagged(self, name: str, value: str | None) -> Any:
        """Whether an attempt has a tag, with a value if one is named; the name is data, never a part of a path."""
        if self._engine.dialect.name == "sqlite":
            each = func.json_each(attempts.c.tags).table_valued("key", "value")
            same = [] if value is None else [each.c.value == value]
            return exists(select(column("key")).select_from(each).where(each.c.key == name, *same))
        found = func.json_extract_path_text(cast(attempts.c.tags, JSON), cast(name, String))
        return found.is_not(None) if value is None else found == value


def sums_of(group: Group) -> Sums:
    """A group's sums as they travel."""
    return Sums(**_told(group.sums))


def total_of(groups: Sequence[Group]) -> Sums:
    """Sums of all of them."""
    return Sums(**_told({name: sum(one.sums[name] for one in groups) for name in (*COUNTS, *AMOUNTS)}))


def refuse_zeros(asked: Wire) -> None:
    """Raise ContractError where a text holds the character 0, which no database text can hold."""
    for field, value in asked:
        if isinstance(value, str) and "\0" in value:
            raise ContractError(f"{field}: it holds a character 0", field=field, remedy="leave it out")


async def _arms(connection: AsyncConnection, asked: AskAttempts) -> list[tuple[int, bool] | None]:
    """Ids of the arms that are asked for, with those that won and that did not; none where no arm is called so;
    ``[None]``: of arms nothing is asked.
    """
    if asked.experiment is None:
        return [None]
    same = [arms.c.experiment == asked.experiment, *([] if asked.arm is None else [arms.c.name == asked.arm])]
    ends = (True, False) if asked.won is None else (asked.won,)
    return [(arm, won) for arm in (await connection.execute(select(arms.c.id).where(*same))).scalars() for won in ends]


async def _through(connection: AsyncConnection) -> float | None:
    found = await connection.execute(select(positions.c.at).where(positions.c.stream == subjects.LEDGER))
    at: float | None = found.scalar_one_or_none()
    return at


def _told(sums: Mapping[str, int]) -> dict[str, Any]:
    return {**sums, "cost": dollars(sums["cost"]), "waste": dollars(sums["waste"])}


def _attempt(row: Mapping[Any, Any]) -> Attempt:
    return Attempt(
        **{name: row[name] for name in (*_OF_ATTEMPT, *_OF_SOURCE, "experiment", "arm")},
        cost=None if row["cost"] is None else dollars(row["cost"]),
        reserved=None if row["reserved"] is None else dollars(row["reserved"]),
        tags=json.loads(row["tags"]) if row["tags"] else {},
    )
