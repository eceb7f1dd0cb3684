"""What the ledger says was spent is what a fold of the same attempts says, whatever is asked and whenever it ran."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from job_contracts.codec import ContractError
from job_contracts.money import picodollars
from job_contracts.spend import AskAttempts, AskSpend, Dimension, Spend, SpendRow, Sums
from ledger.periods import HOUR, whole_hours
from ledger.reports import Reports
from tests.support.ledger_rows import MEASURES, READ, Told, folded, put

NOW = READ + 3.0
some = settings(max_examples=12, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
BEGIN = int(datetime(2026, 10, 24, 22, tzinfo=UTC).timestamp())  # clocks are changed in Europe on the next day

moments = st.integers(0, 6 * 24 * 4).map(lambda quarter: BEGIN + quarter * 900.0) | st.floats(
    BEGIN, BEGIN + 45 * 86_400
)
names = st.sampled_from(["a", "b", "B", "ä", "a b", "'; drop table spend; --", "", "%", "_"])
told = st.builds(
    Told,
    at=moments,
    project=names,
    key=names,
    route=names,
    provider=st.sampled_from(["openai", "x"]),
    model=names,
    reason=st.sampled_from(["user", "failed", "cancelled"]),
    won=st.booleans(),
    reported=st.booleans(),
    input=st.integers(0, 10**6),
    output=st.integers(0, 10**6),
    cost=st.none() | st.integers(0, 9 * 10**18 // 40),
    tags=st.dictionaries(st.sampled_from(["team", "te'am"]), names, max_size=2),
)
groupings = st.lists(
    st.sampled_from(
        ["provider", "model", "deployment", "route", "project", "key", "tag", "reason", "hour", "day", "month"]
    ),
    max_size=4,
    unique=True,
)


def measured(row: Sums) -> list[int]:
    """In the order and the units of ``MEASURES``."""
    return [picodollars(value) if isinstance(value := getattr(row, name), Decimal) else value for name in MEASURES]


def keyed(row: SpendRow, by: Sequence[str]) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in by)


async def every(reports: Reports, asked: AskSpend) -> list[Spend]:
    pages = [await reports.spend(asked, NOW)]
    while pages[-1].after is not None:
        pages.append(await reports.spend(asked.model_copy(update={"after": pages[-1].after}), NOW))
    return pages


@some
@given(
    attempts=st.lists(told, max_size=25),
    by=groupings,
    since=moments,
    until=st.none() | moments,
    limit=st.integers(1, 5),
)
def test_sums_are_those_of_a_fold_for_every_dimension_and_window_and_pages_neither_skip_nor_repeat(
    engine: AsyncEngine,
    *,
    attempts: list[Told],
    by: list[Dimension],
    since: float,
    until: float | None,
    limit: int,
) -> None:
    tagged = "tag" in by
    by = [one for one in by if not (tagged and one == "reason")]
    until = None if until is None else max(since, until)
    asked = AskSpend(by=tuple(by), since=since, until=until, tag="te'am" if tagged else None, limit=limit)

    async def answered() -> list[Spend]:
        await put(engine, attempts)
        return await every(Reports(engine), asked)

    pages = asyncio.run(answered())
    start, end = whole_hours(since, until)
    counted = [one for one in attempts if start <= one.at and (end is None or one.at < end)]
    rows = [row for page in pages for row in page.rows]
    expected = folded(counted, by, "te'am")
    assert len(rows) == len(expected)
    assert {keyed(row, by): measured(row) for row in rows} == expected
    whole = folded(counted, []).get((), [0] * len(MEASURES))
    assert all(measured(page.total) == whole for page in pages)


@some
@given(attempts=st.lists(told, max_size=25), which=told, tagged=st.booleans(), day=st.booleans())
def test_filters_leave_what_fits_in_all_of_them(
    engine: AsyncEngine, attempts: list[Told], which: Told, tagged: bool, day: bool
) -> None:
    attempts = [*attempts, which]
    wish = {name: getattr(which, name) for name in ("project", "key", "route", "provider", "model", "deployment")}
    value = which.tags.get("team")
    tag = {"tag": "team", "tag_value": value} if tagged and value is not None else {"reason": which.reason}
    asked = AskSpend(by=("day",) if day else (), limit=1_000, **wish, **tag)

    async def answered() -> Spend:
        await put(engine, attempts)
        return await Reports(engine).spend(asked, NOW)

    found = asyncio.run(answered())
    fitting = [
        one
        for one in attempts
        if all(getattr(one, name) == wanted for name, wanted in wish.items())
        and (one.tags.get("team") == value if "tag" in tag else one.reason == which.reason)
    ]
    assert {keyed(row, asked.by): measured(row) for row in found.rows} == folded(fitting, asked.by)
    assert measured(found.total) == folded(fitting, [])[()]


async def test_an_empty_ledger_says_nothing_was_spent_and_that_it_has_read_nothing(engine: AsyncEngine) -> None:
    await put(engine, [], read=None)
    found = await Reports(engine).spend(AskSpend(by=("model", "day")), NOW)
    assert (found.rows, found.total, found.through, found.lag, found.after) == ((), Sums(), None, None, None)
    assert (await Reports(engine).spend(AskSpend(until=5.0), NOW)).rows == ()


async def test_the_answer_says_how_far_the_ledger_has_read_and_which_hours_are_summed(engine: AsyncEngine) -> None:
    await put(engine, [Told()])
    found = await Reports(engine).spend(AskSpend(since=1_789_999_201.0, until=1_790_000_001.0), NOW)
    assert (found.through, found.lag) == (READ, 3.0)
    assert found.since % HOUR == 0
    assert found.until is not None
    assert (found.until % HOUR, found.until - found.since) == (0, HOUR)
    assert found.total.attempts == 1


async def test_a_second_before_midnight_belongs_to_the_day_before_in_utc_also_where_clocks_change(
    engine: AsyncEngine,
) -> None:
    midnight = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    october = datetime(2026, 10, 1, tzinfo=UTC).timestamp()
    await put(engine, [Told(at=midnight - 0.001), Told(at=midnight, cost=5), Told(at=midnight - 86_400 * 6)])
    reports = Reports(engine)
    days = (await reports.spend(AskSpend(by=("day",)), NOW)).rows
    assert [row.day for row in days] == [midnight - 6 * 86_400, midnight - 86_400, midnight]
    months = (await reports.spend(AskSpend(by=("month",)), NOW)).rows
    assert [(row.month, picodollars(row.cost)) for row in months] == [(october, 2_000), (midnight, 5)]


async def test_amounts_are_exact_to_the_picodollar_beyond_what_a_column_can_hold(engine: AsyncEngine) -> None:
    most = 2**63 - 1
    await put(engine, [Told(model=f"m{number}", cost=most, won=False) for number in range(3)])
    found = (await Reports(engine).spend(AskSpend(), NOW)).total
    assert found.cost == found.waste == Decimal(3 * most).scaleb(-12)


NASTY = [
    "' OR '1'='1",
    "'; DROP TABLE spend; --",
    '" OR ""="',
    "a' UNION SELECT name FROM sqlite_master --",
    "$1",
    ":name",
    "%s",
    "%(name)s",
    "\\'; SELECT pg_sleep(9); --",
    '$."x" OR 1=1',
    "🎈",
    "a\nb",
]


@pytest.mark.parametrize("text", NASTY)
async def test_whatever_a_text_says_it_is_a_value_and_no_part_of_a_statement(engine: AsyncEngine, text: str) -> None:
    odd = Told(project=text, key=text, route=text, model=text, reason="user", tags={text: text})
    await put(engine, [odd, Told(cost=7)])
    reports = Reports(engine)
    for name in ("project", "key", "route", "model"):
        found = await reports.spend(AskSpend.model_validate({name: text, "by": (name,)}), NOW)
        assert [(getattr(row, name), row.attempts) for row in found.rows] == [(text, 1)]
        behind = await reports.attempts(AskAttempts.model_validate({name: text}), NOW)
        assert [getattr(row, name) for row in behind.rows] == [text]
    for name in ("provider", "deployment", "reason"):
        assert not (await reports.spend(AskSpend.model_validate({name: text}), NOW)).rows
        assert not (await reports.attempts(AskAttempts.model_validate({name: text}), NOW)).rows
    assert not (await reports.attempts(AskAttempts(failure=text), NOW)).rows
    by_tag = await reports.spend(AskSpend(by=("tag",), tag=text), NOW)
    assert [(row.tag, row.attempts) for row in by_tag.rows] == [(None, 1), (text, 1)]
    assert (await reports.spend(AskSpend(tag=text, tag_value=text), NOW)).total.attempts == 1
    behind = await reports.attempts(AskAttempts(tag=text, tag_value=text), NOW)
    assert [row.tags for row in behind.rows] == [{text: text}]
    assert len((await reports.attempts(AskAttempts(tag=text), NOW)).rows) == 1
    assert (await reports.spend(AskSpend(), NOW)).total.attempts == 2


@pytest.mark.parametrize(
    "after", ["", "x", "W10=", "WzFd", "WyJhIiwxXQ==", "bnVsbA==", "eyJhIjoxfQ==", "WyJcdTAwMDAiXQ==", "ü", "=" * 4_000]
)
async def test_a_page_that_nobody_ended_is_refused(engine: AsyncEngine, after: str) -> None:
    await put(engine, [Told()])
    with pytest.raises(ContractError, match="after"):
        await Reports(engine).spend(AskSpend(by=("model",), after=after), NOW)


async def test_a_group_that_appears_between_two_pages_moves_no_other(engine: AsyncEngine) -> None:
    first = [Told(model=name) for name in "bdf"]
    await put(engine, first)
    reports = Reports(engine)
    page = await reports.spend(AskSpend(by=("model",), limit=2), NOW)
    await put(engine, [*(Told(model=name) for name in "ace"), *(replace(one, cost=9) for one in first)])
    rest = await reports.spend(AskSpend(by=("model",), after=page.after), NOW)
    assert [row.model for row in (*page.rows, *rest.rows)] == ["b", "d", "e", "f"]
