"""The ledger's book as one would keep it by hand: one fact after the other, whole picodollars, no SQL.

``Book`` is what must be in the tables, ``tables`` reads what is in them, both in the same words.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, TypeAlias

from sqlalchemy import inspect, select

from job_contracts.facts import AttemptFact
from ledger.database import Database
from ledger.tables import arms, attempts, entries, sources, spend, spend_tags, tags

MEASURES = (
    *("attempts", "won", "unpriced", "estimated"),
    *("input", "cache_read", "cache_write", "output", "reasoning", "cost", "waste"),
)
GRAINS = (1, 24, 720)
NAMES = ("project", "key", "route", "provider", "model", "deployment")

Name: TypeAlias = "tuple[str, int]"
"""An attempt and the milliseconds of its job's submission."""
Sums: TypeAlias = "dict[tuple[Any, ...], tuple[int, ...]]"


def pico(amount: object) -> int:
    """Exact, or it fails."""
    exact = Fraction(str(amount)) * 10**12
    assert exact.denominator == 1
    return exact.numerator


def name_of(fact: AttemptFact) -> Name:
    """Which attempt a fact is of."""
    return fact.attempt, round(fact.submitted * 1000)


def beginnings(at: float) -> dict[int, int]:
    """By grain, when the hour, day and month began."""
    hour = datetime.fromtimestamp(at, UTC).replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    return {1: int(hour.timestamp()), 24: int(day.timestamp()), 720: int(day.replace(day=1).timestamp())}


def weight(fact: AttemptFact) -> tuple[int, ...]:
    """As decision 0036 and the contract say it: the statement's word, then the winner's, then the provider's."""
    return fact.told_by == "statement", fact.won, fact.usage.reported, fact.told_by == "worker"


@dataclass(frozen=True)
class Tables:
    """What there is, by names instead of ids; sums that are nothing are left out."""

    attempts: dict[Name, tuple[Any, ...]]
    balances: dict[Name, dict[str, int]]
    """Of each attempt the accounts that its entries leave with something."""
    by_source: Sums
    by_tag: Sums


@dataclass
class Book:
    """Kept by ``hear``, ``remove`` and ``forget`` in the order in which that happened."""

    counted: dict[Name, AttemptFact] = field(default_factory=dict)
    removed: list[AttemptFact] = field(default_factory=list)
    """Gone for their age; their sums stay."""
    nobodys: list[AttemptFact] = field(default_factory=list)
    """Of projects that were forgotten; their sums stay without a name."""
    until: dict[str, float] = field(default_factory=dict)

    def hear(self, facts: Iterable[AttemptFact]) -> None:
        """The heaviest counts, of equals the first; nothing counts of a project's time before it was forgotten."""
        for fact in facts:
            if fact.at <= self.until.get(fact.project, -1.0):
                continue
            known = self.counted.get(name_of(fact))
            if known is None:
                self.counted[name_of(fact)] = fact
            elif weight(fact) > weight(known):
                stays = {"verdict": fact.verdict or known.verdict, "trial": fact.trial or known.trial}
                self.counted[name_of(fact)] = fact.model_copy(update=stays)

    def remove(self, before: float) -> None:
        """Attempts older than that go."""
        gone = [name for name, fact in self.counted.items() if fact.at < before]
        self.removed += [self.counted.pop(name) for name in gone]

    def forget(self, project: str, now: float) -> None:
        """Nothing of a project is left until now, but sums."""
        self.until[project] = max(now, self.until.get(project, now))
        gone = [name for name, fact in self.counted.items() if fact.project == project]
        self.nobodys += [self.counted.pop(name) for name in gone]
        self.nobodys += [fact for fact in self.removed if fact.project == project]
        self.removed = [fact for fact in self.removed if fact.project != project]

    def expected(self, grains: Collection[int] = GRAINS) -> Tables:
        """What the tables must say, with sums of these grains."""
        by_source: defaultdict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
        by_tag: defaultdict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
        for named, facts in ((True, [*self.counted.values(), *self.removed]), (False, self.nobodys)):
            for fact in facts:
                source = _source(fact, named=named)
                for grain in grains:
                    start = beginnings(fact.at)[grain]
                    by_source[grain, start, *source, fact.reason].update(_measures(fact))
                    for tag in fact.tags.items() if named else ():
                        by_tag[grain, start, fact.project, *tag, *source].update(_measures(fact))
        return Tables(
            attempts={name: _attempt(fact) for name, fact in self.counted.items()},
            balances={name: _balances(fact) for name, fact in self.counted.items()},
            by_source=_nonzero(by_source),
            by_tag=_nonzero(by_tag),
        )


async def tables(database: Database) -> Tables:
    """Everything that is stored. Fails where an entry is none, or belongs to no attempt."""
    names = [sources.c[name] for name in NAMES]
    measures = [spend.c[name] for name in MEASURES]
    tagged = [spend_tags.c[name] for name in MEASURES]
    async with database.engine.connect() as connection:
        found = await connection.run_sync(lambda sync: inspect(sync).get_columns("attempts"))
        there = [attempts.c[column["name"]] for column in found]  # of an earlier step there are fewer
        rows = await connection.execute(select(*there, *names).join(sources, sources.c.id == attempts.c.source))
        stored = list(rows.mappings())
        tried = any(column["name"] == "arm" for column in found)
        named = (await connection.execute(select(arms))).all() if tried else []
        of_arm = {one.id: (one.experiment, one.name) for one in named}
        booked = (await connection.execute(select(entries).order_by(entries.c.id))).mappings().all()
        query = select(spend.c.grain, spend.c.start, *names, spend.c.reason, *measures)
        by_source = (await connection.execute(query.join(sources, sources.c.id == spend.c.source))).all()
        query = select(spend_tags.c.grain, spend_tags.c.start, tags.c.project, tags.c.name, tags.c.value, *names)
        query = query.add_columns(*tagged).join(tags, tags.c.id == spend_tags.c.tag)
        by_tag = (await connection.execute(query.join(sources, sources.c.id == spend_tags.c.source))).all()
    of: dict[int, Name] = {row["id"]: (row["attempt"], row["submitted"]) for row in stored}
    balances: dict[Name, Counter[str]] = {name: Counter() for name in of.values()}
    for entry in booked:
        assert entry["amount"] > 0
        assert entry["debit"] != entry["credit"]
        balances[of[entry["attempt"]]][entry["debit"]] += entry["amount"]
        balances[of[entry["attempt"]]][entry["credit"]] -= entry["amount"]
    assert not any(sum(accounts.values()) for accounts in balances.values())
    return Tables(
        attempts={of[row["id"]]: _row({**row, "arm": of_arm.get(row.get("arm"))}) for row in stored},
        balances={name: {a: n for a, n in accounts.items() if n} for name, accounts in balances.items()},
        by_source=_read(by_source),
        by_tag=_read(by_tag),
    )


def total(sums: Sums) -> dict[int, tuple[int, ...]]:
    """By grain, whoever it was."""
    found: dict[int, tuple[int, ...]] = {}
    for (grain, *_), amounts in sums.items():
        found[grain] = tuple(map(sum, zip(found.get(grain, (0,) * len(amounts)), amounts, strict=True)))
    return found


def _read(rows: Iterable[Any]) -> Sums:
    found: Sums = {}
    for row in rows:
        key, amounts = tuple(row[: -len(MEASURES)]), tuple(map(int, row[-len(MEASURES) :]))
        assert key not in found
        if any(amounts):
            found[key] = amounts
    return found


def _nonzero(sums: dict[tuple[Any, ...], Counter[str]]) -> Sums:
    found = {key: tuple(amounts[name] for name in MEASURES) for key, amounts in sums.items()}
    return {key: amounts for key, amounts in found.items() if any(amounts)}


def _source(fact: AttemptFact, *, named: bool) -> tuple[str, ...]:
    own = (fact.project, fact.key or "", fact.route) if named else ("", "", "")
    return (*own, fact.provider, fact.model, fact.deployment)


def _measures(fact: AttemptFact) -> dict[str, int]:
    usage, cost = fact.usage, 0 if fact.cost is None else pico(fact.cost)
    return {
        "attempts": 1,
        "won": int(fact.won),
        "unpriced": int(fact.cost is None),
        "estimated": int(not usage.reported),
        **{name: getattr(usage, name) for name in MEASURES[4:9]},
        "cost": cost,
        "waste": 0 if fact.won else cost,
    }


def _balances(fact: AttemptFact) -> dict[str, int]:
    """What was reserved has been given back; what it cost is owed."""
    cost = pico(fact.cost or 0)
    return {f"cost:{fact.project}": cost, f"provider:{fact.provider}": -cost} if cost else {}


def _attempt(fact: AttemptFact) -> tuple[Any, ...]:
    usage = fact.usage
    return (
        *_source(fact, named=True),
        *(fact.at, fact.seconds, fact.reason, fact.failure, fact.won, fact.told_by, usage.reported, fact.stated),
        *(usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning),
        *(None if amount is None else pico(amount) for amount in (fact.cost, fact.reserved)),
        fact.verdict,
        None if fact.trial is None else (fact.trial.experiment, fact.trial.arm),
        tuple(sorted(fact.tags.items())),
    )


def _row(row: Any) -> tuple[Any, ...]:
    told = json.loads(row["tags"]) if row["tags"] else {}
    plain = ("at", "seconds", "reason", "failure", "won", "told_by", "reported", "stated")
    counts = ("input", "cache_read", "cache_write", "output", "reasoning", "cost", "reserved")
    numbers = (row[name] for name in (*NAMES, *plain, *counts))
    return (*numbers, row.get("verdict"), row["arm"], tuple(sorted(told.items())))
