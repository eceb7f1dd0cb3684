"""What goes when: old attempts in steps, a forgotten project for good, content never there at all."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from job_contracts.facts import AttemptFact
from ledger import retention
from ledger.bookings import booking
from ledger.database import Database
from ledger.retention import DAY, Gone, Retention, forget, scrub
from ledger.store import Store, Stored
from ledger.tables import attempts, entries, forgotten, sources, spend, spend_tags, tags
from runtime.telemetry import Telemetry
from tests.support.clock import ManualClock
from tests.support.databases import raw
from tests.support.ledger_facts import fact

AT = 1_790_000_000.0


async def stored(store: Store, *facts: AttemptFact) -> Stored:
    before = await store.position()
    return await store.store([booking(one) for one in facts], before=before, through=before + 1, at=AT)


async def one(database: Database, query: Any) -> Any:
    async with database.engine.connect() as connection:
        return (await connection.execute(query)).scalar()


async def total(database: Database) -> tuple[int, int]:
    query = select(func.sum(spend.c.cost), func.sum(spend.c.attempts)).where(spend.c.grain == 24)
    async with database.engine.connect() as connection:
        cost, count = (await connection.execute(query)).one()
    return int(cost), int(count)


async def test_old_attempts_go_in_steps_and_their_sums_stay(database: Database, monkeypatch: Any) -> None:
    monkeypatch.setattr(retention, "STEP", 2)
    store = Store(database)
    await stored(store, *(fact(n, started=AT - 500 * DAY) for n in range(1, 6)), fact(6, started=AT))
    before = await total(database)
    duty = Retention(database, ManualClock(wall=AT), Telemetry(), keep_days=400)
    assert [(await duty.step()).attempts for _ in range(4)] == [2, 2, 1, 0]
    assert await one(database, select(func.count()).select_from(attempts)) == 1
    kept = select(attempts.c.id)
    assert not await one(database, select(func.count()).where(entries.c.attempt.not_in(kept)))
    assert await total(database) == before


async def test_nothing_goes_that_the_stream_could_tell_again(database: Database) -> None:
    await stored(Store(database), fact(1, started=AT - 30 * DAY))
    duty = Retention(database, ManualClock(wall=AT), Telemetry(), keep_days=1)
    assert await duty.step() == Gone()


async def test_a_forgotten_project_leaves_sums_that_are_nobodys(database: Database, monkeypatch: Any) -> None:
    monkeypatch.setattr(retention, "STEP", 2)
    store = Store(database)
    mine = [fact(n, project="gone", key="k-1", tags={"person": "ada"}, started=AT - n * 4_000) for n in range(1, 8)]
    await stored(store, *mine, fact(20, project="stays", tags={"team": "red"}, started=AT))
    before = await total(database)

    gone = await forget(database, "gone", AT + 1)
    assert (gone.attempts, gone.entries > 7, gone.sums) == (7, True, 7)  # an hour each
    assert await total(database) == before
    assert await one(database, select(func.count()).where(sources.c.project == "gone")) == 0
    assert await one(database, select(func.count()).where(tags.c.project == "gone")) == 0
    assert await one(database, select(func.count()).select_from(attempts)) == 1
    assert await one(database, select(func.count()).select_from(spend_tags)) == 3
    nobody = select(sources.c.key, sources.c.route).where(sources.c.project == "")
    async with database.engine.connect() as connection:
        assert (await connection.execute(nobody)).all() == [("", "")]

    assert await forget(database, "gone", AT + 1) == Gone()
    async with database.engine.connect() as connection:
        audit = (await connection.execute(select(forgotten.c.what, forgotten.c.attempts))).all()
    assert [tuple(row) for row in audit] == [("begun", 0), ("done", 7), ("begun", 0), ("done", 0)]


async def test_nothing_that_singles_a_project_out_is_left_on_disk(database: Database, database_url: str) -> None:
    """But its name, in the list of those who are not to come back."""
    marks = ("mark-of-key", "mark-of-route", "mark-of-tag", "mark-of-value")
    told = {"key": marks[0], "route": marks[1], "tags": {marks[2]: marks[3]}}
    mine = [
        fact(n, attempt=f"gone.mark-of-job-{n}.1", project="gone", **told, started=AT - n * 9_000) for n in range(40)
    ]
    await stored(Store(database), *mine, fact(99, started=AT))
    there = raw(database_url)
    assert all(mark.encode() in there for mark in marks)
    await forget(database, "gone", AT + 1)
    assert await scrub(database)
    assert b"mark-of-" not in raw(database_url)


async def test_facts_that_are_read_again_do_not_bring_a_project_back_and_later_ones_count(database: Database) -> None:
    store = Store(database)
    mine = [fact(n, project="gone", tags={"a": "b"}, started=AT) for n in range(1, 4)]
    await stored(store, *mine, fact(9, started=AT))
    await forget(database, "gone", AT + 1)
    before = await total(database)
    for again in (store, Store(database)):
        assert (await stored(again, *mine)).new == 0
        assert await total(database) == before
    later = fact(5, project="gone", tags={"a": "b"}, started=AT + 2)
    assert (await stored(store, later, fact(10, started=AT))).new == 2
    assert await one(database, select(func.count()).where(sources.c.project == "gone")) == 1
    assert (await total(database))[1] == before[1] + 2


async def test_what_comes_in_while_a_project_is_forgotten_stays_its_own_in_every_sum(database: Database) -> None:
    store = Store(database)
    hour = AT - AT % 3_600
    mine = [fact(n, project="gone", tags={"a": "b"}, started=hour - n) for n in range(3)]
    await stored(store, *mine, fact(9, project="gone", tags={"a": "b"}, started=hour + 3_600))
    before = await total(database)
    await forget(database, "gone", hour + 1)
    assert await total(database) == before
    async with database.engine.connect() as connection:
        for table in (spend, spend_tags):
            own = select(table.c.grain, table.c.attempts, table.c.cost > 0).join(
                sources, sources.c.id == table.c.source
            )
            own = own.where(sources.c.project == "gone").order_by(table.c.grain)
            found = [tuple(row) for row in await connection.execute(own)]
            assert found == [(1, 1, True), (24, 1, True), (720, 1, True)]


async def test_a_project_whose_name_is_a_trap_is_forgotten_alone(database: Database) -> None:
    store = Store(database)
    hostile = "x' OR 1=1; --"
    await stored(store, fact(1, project=hostile, started=AT), fact(2, project="stays", started=AT))
    assert (await forget(database, hostile, AT + 1)).attempts == 1
    assert await one(database, select(func.count()).where(sources.c.project == "stays")) == 1
