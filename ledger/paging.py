"""A page of groups and the total of all of them, without reading a whole period hour by hour to show its beginning.

Where the question is by the hour or the day, a page is some of many groups. The total comes from months; so do the
names that lie before the time in the order of the groups. Of one such name after the other as much time is summed as
fills the page. Where that finds few groups, the rest of the page is asked for at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ledger.periods import DAY, HOUR, HOURLY, MONTHLY, Segment, begun, following, segments
from ledger.sums import NAMES, Group, Question, Statement, coarsest, sort_keys

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from job_contracts.spend import Dimension

TRIES = 4
"""Statements for parts of a page at most; then one for what is missing."""
GROWTH = 4
"""By how much longer the next part is if one was not enough."""
SHARE = 8
"""Where each hour or day has groups of its own, this part of the page's length is tried first."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """What is the same in the groups' names before their time, and the months (UTC) in which there is something."""

    prefix: tuple[Any, ...]
    start: int
    end: int


async def answered(connection: AsyncConnection, asked: Question) -> tuple[Group, list[Group]]:
    """The total, and the page. Takes several statements: the connection's transaction must see one state throughout.

    ``asked.segments`` are the coarsest there are.
    """
    finest = coarsest(asked.by)
    if finest == MONTHLY or asked.limit is None:
        statement = Statement(asked, connection.dialect.name)
        rows = (await connection.execute(statement.sql())).mappings().all()
        total, *groups = (statement.read(row) for row in rows)
        return total, groups
    (total,) = await _read(connection, _whole(asked), "total")
    return total, await _Page(connection, asked, finest).read(asked.limit)


class _Page:
    def __init__(self, connection: AsyncConnection, asked: Question, finest: int) -> None:
        self._connection = connection
        self._asked = replace(asked, segments=_within(asked.segments, finest))
        self._months = asked.segments
        self._lead = next(at for at, one in enumerate(asked.by) if one in {"hour", "day"})
        self._unit = HOUR if asked.by[self._lead] == "hour" else DAY
        self._parted = 24 if finest == HOURLY and self._unit == DAY else 1
        """How many groups a unit has at least, where there is something at all times."""

    async def read(self, limit: int) -> list[Group]:
        """The page's groups."""
        found: list[Group] = []
        alone = self._lead == len(self._asked.by) - 1
        length = limit if alone else max(1, limit // SHARE // self._parted)
        tries = 0
        for piece in _joined(await self._pieces(limit + 1)):  # of the first one, nothing may be left
            start = max(piece.start, self._months[0].start, self._earliest(piece.prefix))
            last = self._months[-1].end
            until = piece.end if last is None else min(piece.end, last)
            while start < until:
                if tries == TRIES:
                    return found + await self._rest(found, limit - len(found))
                end = min(until, (start // self._unit + length) * self._unit)
                part = self._part(piece.prefix, start, end, limit - len(found))
                found += await _read(self._connection, part, "page")
                if len(found) >= limit:
                    return found
                tries, length, start = tries + 1, length * GROWTH, end
        return found

    async def _pieces(self, limit: int) -> list[_Piece]:
        """Those from the page's beginning on; ``limit`` of them fill it."""
        before = self._asked.by[: self._lead]
        by: tuple[Dimension, ...] = before if "month" in before else (*before, "month")
        after = self._asked.after
        if after is not None:
            keys = list(after[: _width(before)])
            after = keys if by == before else [*keys, begun(MONTHLY, after[_width(before)])]
        query = replace(self._asked, by=by, segments=self._months, limit=limit, after=after, at_it=True)
        groups = await _read(self._connection, query, "page")
        return [
            _Piece(tuple(one.keys[name] for name in before), month, following(MONTHLY, month))
            for one, month in ((one, one.keys["month"]) for one in groups)
        ]

    def _earliest(self, prefix: tuple[Any, ...]) -> int:
        """Where a piece begins that the page before ended in."""
        after, before = self._asked.after, self._asked.by[: self._lead]
        if after is None or list(after[: _width(before)]) != sort_keys(before, dict(zip(before, prefix, strict=True))):
            return 0
        return int(after[_width(before)])

    def _part(self, prefix: tuple[Any, ...], start: int, end: int, limit: int) -> Question:
        """The question for what has this prefix, from ``start`` to ``end``."""
        told = dict(zip(self._asked.by, prefix, strict=False))
        names = {**(self._asked.names or {}), **{name: value for name, value in told.items() if name in NAMES}}
        cut = tuple(
            Segment(one.grain, max(one.start, start), end if one.end is None else min(one.end, end))
            for one in self._asked.segments
        )
        segs = tuple(one for one in cut if one.end is None or one.start < one.end)
        part = replace(self._asked, names=names, segments=segs, limit=limit)
        if told.get("reason") is not None:
            part = replace(part, reason=told["reason"])
        if told.get("tag") is not None:
            part = replace(part, tag_value=told["tag"])
        elif "tag" in told and self._asked.tag_value is None:
            part = replace(part, only="untagged")
        return part

    async def _rest(self, found: Sequence[Group], limit: int) -> list[Group]:
        by = self._asked.by
        after = sort_keys(by, found[-1].keys) if found else self._asked.after
        return await _read(self._connection, replace(self._asked, after=after, limit=limit), "page")


async def _read(connection: AsyncConnection, question: Question, what: str) -> list[Group]:
    statement = Statement(question, connection.dialect.name)
    query = statement.total() if what == "total" else statement.page()
    return [statement.read(row) for row in (await connection.execute(query)).mappings()]


def _whole(asked: Question) -> Question:
    """The same without groups."""
    everything = "tag" in asked.by and asked.tag_value is None
    return replace(asked, by=(), after=None, limit=None, tag=None if everything else asked.tag)


def _within(coarse: tuple[Segment, ...], finest: int) -> tuple[Segment, ...]:
    """The same period in sums that are not too coarse."""
    if not coarse:
        return ()
    return segments(coarse[0].start, coarse[-1].end, coarsest=finest)


def _width(by: Sequence[Dimension]) -> int:
    """How many sort keys they have."""
    return len(by) + ("tag" in by)


def _joined(pieces: Sequence[_Piece]) -> Iterator[_Piece]:
    """Months of the same prefix as one."""
    last: _Piece | None = None
    for piece in pieces:
        if last is not None and last.prefix == piece.prefix:
            last = replace(last, end=piece.end)
            continue
        if last is not None:
            yield last
        last = piece
    if last is not None:
        yield last
