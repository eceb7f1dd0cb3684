"""What the ledger says of its database, of both kinds, and that it says so of one without tables."""

from __future__ import annotations

from sqlalchemy import insert, text

from job_contracts import subjects
from ledger.database import Database
from ledger.state import state
from ledger.tables import missed
from tests.support.ledger_rows import READ, Told, put


async def test_the_database_is_told_as_it_is(database: Database) -> None:
    await put(database.engine, [Told() for _ in range(7)])
    async with database.writing() as connection:
        for first, last, at in ((1, 3, 10.0), (8, 8, 20.0)):
            await connection.execute(insert(missed).values(stream=subjects.LEDGER, first=first, last=last, at=at))
        if database.kind == "postgresql":
            await connection.execute(text("ANALYZE attempts"))
    told = await state(database.engine, READ + 5)
    assert (told.kind, told.revision, told.wrong) == (database.kind, await database.revision(), None)
    assert (told.attempts, told.through, told.lag) == (7, READ, 5.0)
    assert [(one.first, one.last, one.at) for one in told.missed] == [(8, 8, 20.0), (1, 3, 10.0)]
    assert told.missed_messages == 4
    assert told.bytes is not None
    assert told.bytes > 10_000


async def test_what_nobody_counted_is_not_told_as_nothing(database: Database) -> None:
    told = await state(database.engine, 1.0)
    assert told.attempts in ({0} if database.kind == "sqlite" else {None, 0})
    assert (told.through, told.lag, told.position, told.missed) == (None, None, 0, ())


async def test_a_database_without_tables_says_what_to_do(database_url: str) -> None:
    bare = Database(database_url, pooled=False)
    told = await state(bare.engine, 1.0)
    await bare.close()
    assert told.revision is None
    assert told.wrong is not None
    assert told.wrong.endswith("run python -m ledger migrate")
