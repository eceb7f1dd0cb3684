"""Whatever period is asked for, the figures are those of summing the single attempts that the store was told of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from job_contracts.facts import AttemptFact
from job_contracts.money import dollars, window_end
from job_contracts.spend import AskForecast, AskSpend, Dimension, Spend
from ledger.bookings import Booking, booking
from ledger.budgets import Forecaster
from ledger.database import Database
from ledger.periods import HOUR, MONTHLY, segments, whole_hours
from ledger.reports import Reports, total_of
from ledger.store import Moved, Store
from ledger.sums import Question
from ledger.tables import spend
from ledger.watching import Watch
from runtime.settings import Config
from tests.support.ledger_facts import check, fact, folded

BEGIN = int(datetime(2026, 1, 20, 5, tzinfo=UTC).timestamp())
HOURS = 100 * 24
NOW = BEGIN + HOURS * HOUR + 900.0
some = settings(max_examples=30, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
CONFIG = Config.model_validate(
    {
        "providers": {"openai": {"key": "k", "dialect": "openai_chat", "base_url": "http://127.0.0.1"}},
        "routes": {"r1": {"deployments": ["openai/gpt"], "budget": {"week": 9, "total": 90}}},
        "projects": {
            "p0": {
                "budget": {"hour": 1, "day": 1, "month": 9, "total": 9},
                "tags": {"team=red": {"month": 1, "week": 2}},
            }
        },
    }
)


def facts() -> list[AttemptFact]:
    """Some two hundred attempts, in clusters and alone; a part of them is told twice, the second time heavier."""
    made = Random(7)
    told = []
    for number in range(200):
        hour = made.choice([made.randrange(HOURS), made.randrange(30), HOURS - made.randrange(30)])
        over: dict[str, Any] = {
            "started": BEGIN + hour * HOUR + made.random() * 3_598,
            "seconds": 0.5,
            "project": f"p{number % 3}",
            "route": f"r{number % 2}",
            "model": f"m{number % 5}",
            "cost": Decimal(made.randrange(10**12)).scaleb(-12),
            "reason": made.choice(["user", "failed"]),
            "tags": {"team": made.choice(["red", "blue", ""])} if number % 4 else {},
        }
        told.append(fact(number, **over, won=False))
        if number % 5 == 0:
            told.append(fact(number, **over | {"cost": Decimal("0.25"), "reason": "user"}))
    return told


BOOKED = [booking(one) for one in folded(facts()).values()]


async def _fill(url: str) -> Database:
    made = Database(url, pooled=False)
    await made.migrate()
    store, told = Store(made), [booking(one) for one in facts()]
    for number, at in enumerate(range(0, len(told), 50)):
        await store.store(told[at : at + 50], before=number, through=number + 1, at=NOW)
    return made


@pytest.fixture
def filled(database_url: str) -> Iterator[Database]:
    """A ledger that was told of ``facts``."""
    made = asyncio.run(_fill(database_url))
    yield made
    asyncio.run(made.close())


def name(one: Booking, dimension: str) -> Any:
    if dimension == "tag":
        return dict(one.tags).get("team")
    if dimension in {"hour", "day", "month"}:
        when = datetime.fromtimestamp(one.at, UTC).replace(minute=0, second=0, microsecond=0)
        when = when if dimension == "hour" else when.replace(hour=0)
        return int((when.replace(day=1) if dimension == "month" else when).timestamp())
    return one.reason if dimension == "reason" else getattr(one.source, dimension)


def summed(told: Iterable[Booking], by: Sequence[Dimension]) -> dict[tuple[Any, ...], tuple[int, Decimal]]:
    """Attempts and dollars of each group, one attempt after the other."""
    found: dict[tuple[Any, ...], tuple[int, Decimal]] = {}
    for one in told:
        key = tuple(name(one, dimension) for dimension in by)
        count, cost = found.get(key, (0, Decimal(0)))
        found[key] = count + 1, cost + dollars(one.cost or 0)
    return found


hours = st.integers(-30, HOURS + 30).map(lambda hour: float(BEGIN + hour * HOUR))
groupings = st.lists(
    st.sampled_from(["model", "route", "project", "tag", "reason", "hour", "day", "month"]), max_size=4, unique=True
)


@some
@given(since=hours, until=st.none() | hours, by=groupings, limit=st.sampled_from([1, 3, 20, 1_000]))
def test_any_period_by_anything_is_the_sum_of_its_attempts_and_so_is_the_total_on_each_page(
    filled: Database, since: float, until: float | None, by: list[Dimension], limit: int
) -> None:
    by = [one for one in by if not ("tag" in by and one == "reason")]
    until = None if until is None else max(since, until)
    asked = AskSpend(by=tuple(by), since=since, until=until, tag="team" if "tag" in by else None, limit=limit)
    start, end = whole_hours(since, until)
    seen = [one for one in BOOKED if start <= one.at and (end is None or one.at < end)]

    async def pages() -> list[Spend]:
        reports = Reports(filled.engine)
        told = [await reports.spend(asked, NOW)]
        while told[-1].after is not None and len(told) < 40:
            told.append(await reports.spend(asked.model_copy(update={"after": told[-1].after}), NOW))
        return told

    told = asyncio.run(pages())
    rows = [row for page in told for row in page.rows]
    keys = [tuple(getattr(row, one) for one in by) for row in rows]
    expected = summed(seen, by)
    ordered = sorted(expected, key=lambda key: [(part is not None, part or type(part)()) for part in key])
    assert keys == ordered[: len(keys)]
    assert told[-1].after is not None or len(keys) == len(expected)
    assert all((row.attempts, row.cost) == expected[key] for key, row in zip(keys, rows, strict=True))
    total = summed(seen, []).get((), (0, Decimal(0)))
    assert all((page.total.attempts, page.total.cost) == total for page in told)


def payers(one: Booking) -> set[tuple[str, str]]:
    """Whose budgets it counts for."""
    tagged = one.source.project == "p0" and dict(one.tags).get("team") == "red"
    told = {("project", one.source.project), ("route", one.source.route), ("all", "")}
    return told | ({("tag", "team=red")} if tagged else set())


async def test_what_a_forecast_says_was_spent_is_what_the_attempts_in_its_window_cost(filled: Database) -> None:
    rows = (await Forecaster(Reports(filled.engine), CONFIG).forecast(AskForecast(), NOW)).rows
    assert {(row.payer, row.window) for row in rows} >= {("all", "month"), ("route", "total"), ("tag", "week")}
    for row in rows:
        mine = [one for one in BOOKED if (row.payer, row.name) in payers(one) and one.at >= row.start]
        assert row.spent == sum((dollars(one.cost or 0) for one in mine), Decimal(0)), row
        if row.payer == "tag":
            continue  # it has begun to spend less than 24 hours ago
        lately = [one for one in BOOKED if (row.payer, row.name) in payers(one)]
        lately = [one for one in lately if NOW // HOUR - 24 <= one.at // HOUR < NOW // HOUR]
        assert abs(row.rate * 24 - sum((dollars(one.cost or 0) for one in lately), Decimal(0))) < Decimal("1e-10")
    alone = (await Forecaster(Reports(filled.engine), CONFIG).forecast(AskForecast(project="p0"), NOW)).rows
    (month,) = (row for row in alone if (row.payer, row.window) == ("all", "month"))
    mine = [one for one in BOOKED if one.source.project == "p0" and one.at >= month.start]
    assert month.spent == sum((dollars(one.cost or 0) for one in mine), Decimal(0))


async def test_what_alerts_say_was_spent_is_what_the_attempts_in_the_window_cost(filled: Database) -> None:
    spending = (await Watch(filled, CONFIG).look(NOW)).spending
    assert {one.window for one in spending} == {"hour", "day", "week", "month", "total"}
    for seen in spending:
        end = window_end(seen.window, seen.start)
        mine = [one for one in BOOKED if (seen.payer, seen.name) in payers(one) and seen.start <= one.at < end]
        assert seen.spent == sum(one.cost or 0 for one in mine), seen


async def test_what_a_comparison_has_seen_is_the_sum_of_the_attempts_of_its_period(filled: Database) -> None:
    since, until = BEGIN + 40 * 86_400.0, BEGIN + 75 * 86_400.0 + 5 * HOUR
    base = Question(segments(since, until), by=("project", "route", "deployment"))
    seen = total_of(await Reports(filled.engine).groups(base))
    mine = [one for one in BOOKED if since <= one.at < until]
    assert (seen.attempts, seen.cost) == (len(mine), sum((dollars(one.cost or 0) for one in mine), Decimal(0)))
    assert (seen.input, seen.output) == (sum(one.input for one in mine), sum(one.output for one in mine))


async def test_the_step_that_makes_months_makes_those_that_facts_would_have_made(filled: Database) -> None:
    """And the version that knows no months, and still runs, does not store beside them."""
    await check(filled, facts())
    old = Store(filled)
    position = await old.position()
    await filled.downgrade("0003")
    async with filled.engine.connect() as connection:
        kept = await connection.execute(select(func.count()).where(spend.c.grain == MONTHLY))
        assert kept.scalar_one() == 0
    await filled.migrate()
    await check(filled, facts())
    with pytest.raises(Moved):
        await old.store([booking(fact(999))], before=position, through=position + 1, at=NOW)
    again = [booking(one) for one in facts()[-10:]]
    stored = await old.store(again, before=position - 1, through=position, at=NOW)
    assert (stored.new, stored.replaced) == (0, 0)
    await check(filled, facts())
