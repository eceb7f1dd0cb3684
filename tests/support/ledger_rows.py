"""Attempts put straight into the ledger's tables, sums and all, and the same sums by a fold that knows no SQL."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Table, delete, insert
from sqlalchemy.ext.asyncio import AsyncEngine

from job_contracts import subjects
from job_contracts.spend import Dimension
from ledger.tables import arms, attempts, metadata, positions, sources, spend, spend_tags, tags

MEASURES = (
    *("attempts", "won", "unpriced", "estimated"),
    *("input", "cache_read", "cache_write", "output", "reasoning", "cost", "waste"),
)
READ = 1_800_000_000.0
"""The moment up to which such a ledger has read."""


@dataclass(frozen=True)
class Told:
    """One attempt; money in picodollars."""

    at: float = 1_790_000_000.0
    project: str = "default"
    key: str = ""
    route: str = "chat"
    provider: str = "openai"
    model: str = "gpt-4o-mini"
    reason: str = "user"
    failure: str | None = None
    won: bool = True
    reported: bool = True
    input: int = 10
    cache_read: int = 0
    cache_write: int = 0
    output: int = 5
    reasoning: int = 0
    cost: int | None = 1_000
    experiment: str | None = None
    arm: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def deployment(self) -> str:
        return f"{self.provider}/{self.model}"

    def measures(self) -> dict[str, int]:
        """What it adds to each sum."""
        told = {name: getattr(self, name) for name in MEASURES[4:9]}
        cost = self.cost or 0
        return {
            "attempts": 1,
            "won": int(self.won),
            "unpriced": int(self.cost is None),
            "estimated": int(not self.reported),
            **told,
            "cost": cost,
            "waste": 0 if self.won else cost,
        }

    def start(self, of: str) -> int:
        """When its hour, day or month (UTC) began."""
        when = datetime.fromtimestamp(self.at, UTC).replace(minute=0, second=0, microsecond=0)
        if of != "hour":
            when = when.replace(hour=0)
        return int((when.replace(day=1) if of == "month" else when).timestamp())


def folded(told: Iterable[Told], by: Sequence[Dimension], tag: str | None = None) -> dict[tuple[Any, ...], list[int]]:
    """The sums of each group, in the order of ``MEASURES``."""
    found: defaultdict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * len(MEASURES))
    for one in told:
        group = tuple(
            one.start(name)
            if name in {"hour", "day", "month"}
            else one.tags.get(tag or "")
            if name == "tag"
            else getattr(one, name)
            for name in by
        )
        for at, value in enumerate(one.measures().values()):
            found[group][at] += value
    return dict(found)


async def put(engine: AsyncEngine, told: Sequence[Told], *, read: float | None = READ) -> None:
    """Make these the only attempts of a ledger."""
    of_source: dict[tuple[str, ...], int] = {}
    of_tag: dict[tuple[str, ...], int] = {}
    of_arm: dict[tuple[str, ...], int] = {}
    sums, by_tag = _Sums(), _Sums()
    rows = []
    for number, one in enumerate(told, 1):
        named = (one.project, one.key, one.route, one.provider, one.model, one.deployment)
        source = of_source.setdefault(named, len(of_source) + 1)
        tried = (one.experiment or "", one.arm or "")
        arm = of_arm.setdefault(tried, len(of_arm) + 1) if one.arm is not None else None
        rows.append({**_row(number, one, source), "arm": arm})
        for grain, of in ((1, "hour"), (24, "day"), (720, "month")):
            sums.add((grain, one.start(of), source, one.reason), one)
            for name, value in one.tags.items():
                tag = of_tag.setdefault((one.project, name, value), len(of_tag) + 1)
                by_tag.add((grain, one.start(of), tag, source), one)
    filled: tuple[tuple[Table, list[dict[str, Any]]], ...] = (
        (sources, _numbered(of_source, ("project", "key", "route", "provider", "model", "deployment"))),
        (tags, _numbered(of_tag, ("project", "name", "value"))),
        (arms, _numbered(of_arm, ("experiment", "name"))),
        (attempts, rows),
        (spend, sums.rows(("grain", "start", "source", "reason"))),
        (spend_tags, by_tag.rows(("grain", "start", "tag", "source"))),
        (positions, [] if read is None else [{"stream": subjects.LEDGER, "seq": 1, "at": read}]),
    )
    async with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            await connection.execute(delete(table))
        for table, made in filled:
            if made:
                await connection.execute(insert(table), made)


class _Sums:
    def __init__(self) -> None:
        self._groups: defaultdict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * len(MEASURES))

    def add(self, group: tuple[Any, ...], one: Told) -> None:
        for at, value in enumerate(one.measures().values()):
            self._groups[group][at] += value

    def rows(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        return [
            {**dict(zip(keys, key, strict=True)), **dict(zip(MEASURES, group, strict=True))}
            for key, group in self._groups.items()
        ]


def _numbered(found: Mapping[tuple[str, ...], int], keys: Sequence[str]) -> list[dict[str, Any]]:
    return [{**dict(zip(keys, key, strict=True)), "id": number} for key, number in found.items()]


def _row(number: int, one: Told, source: int) -> dict[str, Any]:
    same = ("at", "reason", "failure", "won", "reported", "cost", *MEASURES[4:9])
    return {
        **{name: getattr(one, name) for name in same},
        "id": number,
        "attempt": f"{one.project}.job-{number}.1",
        "source": source,
        "submitted": 0,
        "seconds": 1.5,
        "first_token": 0.25,
        "told_by": "worker",
        "stated": False,
        "price": "2026-01-01",
        "reserved": 2_000,
        "tags": json.dumps(dict(one.tags)) if one.tags else None,
    }
