"""Facts for the ledger, and what it should make of them by a fold that knows no SQL."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import func, select

from job_contracts.chat import Usage
from job_contracts.facts import AttemptFact
from job_contracts.trials import Trial
from ledger.bookings import booking
from ledger.database import Database
from ledger.deltas import MEASURES, deltas
from ledger.tables import arms, attempts, entries, spend, spend_tags

HOSTILE = ("'; DROP TABLE attempts; --", "nul\0nul", "\ud800", "x" * 900, "%s :name {x} $1", "ü\u202e\U0001f600", "")


def fact(number: int = 1, **over: Any) -> AttemptFact:
    """One attempt that won and cost a cent."""
    told: dict[str, Any] = {
        "attempt": f"default.key-{number:032x}.1",
        "project": "default",
        "route": "chat",
        "deployment": "openai/gpt",
        "provider": "openai",
        "model": "gpt",
        "started": 1_790_000_000.0,
        "seconds": 1.5,
        "usage": Usage(input=10, output=5),
        "cost": Decimal("0.01"),
        "reserved": Decimal("0.02"),
        "reason": "user",
        "won": True,
    }
    return AttemptFact.model_construct(**{**told, **over})


_texts = st.sampled_from(HOSTILE) | st.text(max_size=8)
facts = st.builds(
    fact,
    st.integers(1, 6),
    project=st.sampled_from(["default", "other"]),
    submitted=st.sampled_from([0.0, 1_789_999_999.123]),
    route=_texts,
    model=st.sampled_from(["gpt", "claude"]),
    provider=st.sampled_from(["openai", "anthropic"]),
    key=st.none() | st.just("key-1"),
    started=st.sampled_from([1_790_000_000.0, 1_790_003_600.0, 1_790_090_000.5]),
    cost=st.none() | st.decimals(0, 5, places=12),
    reserved=st.none() | st.decimals(0, 5, places=12),
    usage=st.builds(Usage, input=st.integers(0, 9), output=st.integers(0, 9), reported=st.booleans()),
    won=st.booleans(),
    told_by=st.sampled_from(["worker", "leader"]),
    reason=st.sampled_from(["user", "failed"]),
    trial=st.none() | st.builds(Trial.model_construct, experiment=_texts, arm=_texts),
    tags=st.dictionaries(_texts, _texts, max_size=2),
)


def folded(told: Iterable[AttemptFact]) -> dict[tuple[str, float], AttemptFact]:
    """The fact of each attempt that counts."""
    found: dict[tuple[str, float], AttemptFact] = {}
    for one in told:
        before = found.get((one.attempt, one.submitted))
        if before is None:
            found[one.attempt, one.submitted] = one
        elif one.outweighs(before):  # an arm that it does not tell of is the same as before
            found[one.attempt, one.submitted] = one.model_copy(update={"trial": one.trial or before.trial})
    return found


async def check(database: Database, told: Sequence[AttemptFact]) -> None:
    """Attempts, sums and entries are those of the fold, and every account balances."""
    counted = [booking(one) for one in folded(told).values()]
    by_source, by_tag = deltas(counted)
    async with database.engine.connect() as connection:
        query = select(attempts.c.attempt, attempts.c.cost, attempts.c.won, arms.c.experiment, arms.c.name)
        rows = (await connection.execute(query.outerjoin(arms, arms.c.id == attempts.c.arm))).all()
        assert Counter(map(tuple, rows)) == Counter(
            (one.attempt, one.cost, one.won, *(one.arm or (None, None))) for one in counted
        )
        assert await _sums(connection, spend) == _by_start(by_source)
        assert await _sums(connection, spend_tags) == _by_start(by_tag)
        booked = (await connection.execute(select(entries.c.debit, entries.c.credit, entries.c.amount))).all()
    balance: Counter[str] = Counter()
    for debit, credit, amount in booked:
        assert amount > 0
        balance[debit] += amount
        balance[credit] -= amount
    assert sum(balance.values()) == 0
    cost: Counter[str] = Counter()
    for one in counted:
        cost[f"cost:{one.source.project}"] += one.cost or 0
        cost[f"provider:{one.source.provider}"] -= one.cost or 0
    assert {name: amount for name, amount in balance.items() if amount} == {n: a for n, a in cost.items() if a}


async def _sums(connection: Any, table: Any) -> dict[tuple[int, int], tuple[int, ...]]:
    columns = (func.sum(table.c[name]) for name in MEASURES)
    found = await connection.execute(
        select(table.c.grain, table.c.start, *columns).group_by(table.c.grain, table.c.start)
    )
    sums = {(grain, start): tuple(int(one) for one in rest) for grain, start, *rest in found}
    return {key: value for key, value in sums.items() if any(value)}


def _by_start(told: dict[Any, list[int]]) -> dict[tuple[int, int], tuple[int, ...]]:
    found: defaultdict[tuple[int, int], list[int]] = defaultdict(lambda: [0] * len(MEASURES))
    for key, sums in told.items():
        for at, amount in enumerate(sums):
            found[key[0], key[1]][at] += amount
    return {key: tuple(value) for key, value in found.items()}
