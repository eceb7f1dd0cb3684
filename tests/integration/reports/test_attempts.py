"""The attempts behind a sum are those that a look at each of them finds, whatever is asked, however pages are cut."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import delete, event, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from job_contracts.spend import AskAttempts
from ledger.narrowing import first_asked, narrowed
from ledger.reports import NUMBERS, Reports
from ledger.tables import attempts as rows_of
from ledger.tables import sources
from tests.support.ledger_rows import READ, Told, put

BEGIN = 1_790_000_000.0
some = settings(max_examples=12, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
moments = st.integers(0, 200 * 24).map(lambda hour: BEGIN + hour * 3_600.0 + 60.0)
names = st.sampled_from(["a", "b", ""])
told = st.builds(
    Told,
    at=moments,
    project=names,
    key=names,
    model=names,
    reason=st.sampled_from(["user", "failed", "shadow"]),
    failure=st.sampled_from([None, "timeout"]),
    won=st.booleans(),
    cost=st.none() | st.just(5),
    experiment=st.sampled_from(["exp", "other"]),
    arm=st.sampled_from([None, "control", "b"]),
    tags=st.dictionaries(st.sampled_from(["team", "te'am"]), names, max_size=2),
)
questions = st.fixed_dictionaries(
    {},
    optional={
        "project": names,
        "key": names,
        "model": names,
        "reason": st.sampled_from(["user", "failed", "shadow", "verify"]),
        "failure": st.just("timeout"),
        "won": st.booleans(),
        "priced": st.booleans(),
        "tag": st.just("team"),
        "since": moments,
    },
)
trials = st.sampled_from(
    [
        *[{}] * 3,
        *({"experiment": name} for name in ("exp", "never")),
        *({"experiment": "exp", "arm": name} for name in ("control", "b", "never")),
    ]
)


def fits(one: Told, asked: AskAttempts) -> bool:
    same = all(
        getattr(one, name) == value
        for name in ("project", "key", "model", "reason", "failure", "won")
        if (value := getattr(asked, name)) is not None
    )
    tagged = asked.tag is None or one.tags.get(asked.tag, ...) in (
        {asked.tag_value} if asked.tag_value is not None else {*one.tags.values()}
    )
    of_arm = one.arm is not None and one.experiment == asked.experiment and asked.arm in {None, one.arm}
    tried = asked.experiment is None or of_arm
    priced = asked.priced is None or asked.priced is (one.cost is not None)
    return same and tagged and tried and priced and asked.since <= one.at < (asked.until or READ)


async def every(reports: Reports, asked: AskAttempts) -> list[str]:
    """The attempts of all pages."""
    page = await reports.attempts(asked, READ)
    found = [one.attempt for one in page.rows]
    while page.after is not None:
        assert len(page.rows) == asked.limit
        page = await reports.attempts(asked.model_copy(update={"after": page.after}), READ)
        found += [one.attempt for one in page.rows]
    return found


@some
@given(
    stored=st.lists(told, max_size=25),
    asked=questions,
    value=st.none() | names,
    trial=trials,
    until=st.none() | moments,
    limit=st.integers(1, 4),
)
def test_pages_have_all_that_fit_newest_first(
    engine: AsyncEngine,
    *,
    stored: list[Told],
    asked: dict[str, object],
    value: str | None,
    trial: dict[str, str],
    until: float | None,
    limit: int,
) -> None:
    if "tag" in asked and value is not None:
        asked = {**asked, "tag_value": value}
    if until is not None and until >= float(str(asked.get("since", 0.0))):
        asked = {**asked, "until": until}
    question = AskAttempts.model_validate({**asked, **trial, "limit": limit})

    async def look() -> list[str]:
        await put(engine, stored)
        return await every(Reports(engine), question)

    order = sorted(enumerate(stored, 1), key=lambda one: (-one[1].at, -one[0]))
    assert asyncio.run(look()) == [f"{one.project}.job-{n}.1" for n, one in order if fits(one, question)]


async def test_the_attempts_of_a_job_are_those_of_its_project_alone_and_all_of_them(engine: AsyncEngine) -> None:
    await put(engine, [Told(at=BEGIN + n, project="a" if n < 5 else "b") for n in range(8)])
    named = {
        1: "a.a-1.1",
        2: "a.a-1.2",
        3: f"a.a-1.{NUMBERS}",
        4: "a.a-11.1",
        5: "a.a-1_.1",
        6: "b.a-1.1",
        7: "b.a-1.2",
    }
    async with engine.begin() as connection:
        for number, name in named.items():
            await connection.execute(update(rows_of).where(rows_of.c.id == number).values(attempt=name))
    reports = Reports(engine)
    assert await every(reports, AskAttempts(project="a", job="a-1", limit=2)) == [named[3], named[2], named[1]]
    assert await every(reports, AskAttempts(project="b", job="a-1")) == [named[7], named[6]]
    assert await every(reports, AskAttempts(project="a", job="a-1", since=BEGIN + 1)) == [named[3], named[2]]
    assert not await every(reports, AskAttempts(project="a", job="%"))


async def test_the_same_job_submitted_anew_is_found_both_times(engine: AsyncEngine) -> None:
    await put(engine, [Told(at=BEGIN)])
    async with engine.begin() as connection:
        first = (await connection.execute(rows_of.select())).mappings().one()
        again = {**first, "id": 2, "submitted": 5, "at": BEGIN + 9}
        await connection.execute(insert(rows_of).values(**again))
    found = await Reports(engine).attempts(AskAttempts(project="default", job="job-1"), READ)
    assert [one.at for one in found.rows] == [BEGIN + 9, BEGIN]


def test_a_job_without_its_project_is_no_question() -> None:
    with pytest.raises(ValidationError, match="name the project"):
        AskAttempts(job="a-1")


async def test_attempts_that_have_gone_hide_no_others(engine: AsyncEngine) -> None:
    gone = [Told(at=APR + number, project="forgotten") for number in range(8)]
    kept = [Told(at=moment + number, project="kept") for moment in (JAN, FEB, APR) for number in range(3)]
    await put(engine, [*gone, *kept])
    forgotten = select(sources.c.id).where(sources.c.project == "forgotten")
    async with engine.begin() as connection:  # sums stay when a project is forgotten, and when attempts are old
        await connection.execute(delete(rows_of).where(rows_of.c.source.in_(forgotten)))
    found = await every(Reports(engine), AskAttempts(provider="openai", limit=5))
    assert len(found) == len(kept)


async def test_a_rare_arm_is_found_by_an_index_in_its_order_and_an_unknown_one_is_not_looked_for(
    engine: AsyncEngine,
) -> None:
    rare = [Told(at=BEGIN - 9.0 * number, experiment="exp", arm="b") for number in range(4)]
    await put(engine, [*(Told(at=BEGIN + number) for number in range(3_000)), *rare])
    if engine.dialect.name == "postgresql":  # which does so by itself; SQLite has to do without
        async with engine.begin() as connection:
            await connection.exec_driver_sql("ANALYZE")
    asked: list[tuple[str, tuple[object, ...]]] = []

    def executing(_: object, __: object, statement: str, parameters: tuple[object, ...], *___: object) -> None:
        if "FROM attempts" in statement:
            asked.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", executing)
    question = AskAttempts(experiment="exp", arm="b", limit=2)
    page = await Reports(engine).attempts(question, READ)
    assert [(one.experiment, one.arm, one.at) for one in page.rows] == [
        ("exp", "b", BEGIN),
        ("exp", "b", BEGIN - 9.0),
    ]
    assert len(await every(Reports(engine), question)) == len(rare)
    looks = len(asked)
    assert not await every(Reports(engine), AskAttempts(experiment="exp", arm="never"))
    assert len(asked) == looks
    kind = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    for statement, parameters in asked[:4]:  # two of each page, the second page goes on where the first ended
        async with engine.connect() as connection:
            rows = await connection.exec_driver_sql(f"{kind} {statement}", parameters)
            plan = "\n".join(str(row[-1]) for row in rows)
        assert "ix_attempts_arm_won_at_id" in plan, plan
        assert not re.search("Sort|TEMP B-TREE|Seq Scan on attempts|SCAN attempts", plan), plan


JAN, FEB, MAR, APR = 1_767_225_600, 1_769_904_000, 1_772_323_200, 1_775_001_600


def month(attempts: int, won: int = 0, unpriced: int = 0) -> dict[str, int]:
    return {"attempts": attempts, "won": won, "unpriced": unpriced}


@pytest.mark.parametrize(
    ("asked", "before", "since", "until"),
    [
        ({"project": "a"}, None, FEB, APR),  # the newest 100 are in two months
        ({"project": "a", "limit": 300}, None, JAN, APR),
        ({"project": "a", "limit": 10}, None, MAR, APR),
        ({"project": "a", "limit": 10}, MAR + 5.0, FEB, APR),  # who knows how many of March are left
        ({"project": "a", "limit": 10, "since": MAR + 9.0}, None, MAR + 9.0, APR),
        ({"won": False}, None, JAN, MAR),  # in March all won
        ({"priced": False}, None, JAN, FEB),
        ({"won": True, "priced": False}, None, JAN, FEB),
        ({"project": "a", "experiment": "exp", "limit": 10}, None, JAN, APR),  # nor how many are in an experiment
        ({"tag": "team", "reason": "user", "limit": 10}, None, JAN, APR),  # not how many: sums by tag have no reason
    ],
)
def test_sums_say_where_to_look(asked: dict[str, object], before: float | None, since: float, until: float) -> None:
    months = {JAN: month(5, won=2, unpriced=1), FEB: month(90, won=30), MAR: month(50, won=50)}
    found = narrowed(AskAttempts.model_validate(asked), months, before=before)
    assert found is not None
    assert (found.since, found.until) == (since, until)


def test_where_sums_say_nothing_there_is_nothing() -> None:
    assert narrowed(AskAttempts(project="a"), {}, before=None) is None
    assert narrowed(AskAttempts(priced=False), {JAN: month(5, won=5)}, before=None) is None


@pytest.mark.parametrize(
    "asked",
    [{}, {"project": "a", "job": "a-1"}, {"failure": "timeout", "project": "a"}, {"experiment": "exp", "arm": "b"}],
)
def test_sums_are_not_asked_where_an_index_leads(asked: dict[str, object]) -> None:
    assert first_asked(AskAttempts.model_validate(asked)) is None
