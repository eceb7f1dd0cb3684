"""Whatever order facts come in, and however often, attempts, sums and entries are what a plain fold says they are."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from job_contracts.facts import AttemptFact
from ledger.bookings import booking
from ledger.database import Database
from ledger.store import Moved, Store
from ledger.tables import attempts, metadata, positions
from tests.support.ledger_facts import HOSTILE, check, fact, facts

_MANY = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_MANY
@given(batches=st.lists(st.lists(facts, max_size=5), min_size=1, max_size=5))
def test_sums_and_entries_are_the_fold_of_all_facts(database_url: str, batches: list[list[AttemptFact]]) -> None:
    async def run() -> None:
        database = Database(database_url, pooled=False)
        await database.migrate()
        async with database.writing() as connection:
            for table in reversed(metadata.sorted_tables):
                await connection.execute(delete(table))
        store, told = Store(database), list[AttemptFact]()
        for seq, batch in enumerate(batches):
            told += batch
            await store.store([booking(one) for one in batch], before=seq, through=seq + 1, at=1.0)
            if seq % 2:  # another process goes on
                store = Store(database)
        assert await store.position() == len(batches)
        await check(database, told)
        again = Store(database)
        await again.begin_anew(len(batches))
        await again.store([booking(one) for one in told], before=0, through=1, at=1.0)
        await check(database, told)
        await database.close()

    asyncio.run(run())


async def test_of_two_ledgers_at_one_place_one_stores_and_the_other_is_told(database: Database) -> None:
    told = [[booking(fact(ledger * 10 + number)) for number in range(5)] for ledger in range(6)]

    async def one(ledger: int) -> bool:
        try:
            await Store(database).store(told[ledger], before=0, through=7, at=1.0)
        except Moved:
            return False
        return True

    assert sum(await asyncio.gather(*map(one, range(6)))) == 1
    async with database.engine.connect() as connection:
        assert len((await connection.execute(select(attempts.c.id))).all()) == 5
        assert (await connection.execute(select(positions.c.seq))).scalar_one() == 7


async def test_text_that_looks_like_sql_or_that_no_database_holds_is_stored_as_text(database: Database) -> None:
    told = [
        fact(number, attempt=f"{number}{text}", project=text, route=text, model=text, key=text, tags={text: text})
        for number, text in enumerate(HOSTILE)
    ]
    await Store(database).store([booking(one) for one in told], before=0, through=1, at=1.0)
    await check(database, told)


async def test_the_file_and_what_lies_beside_it_are_its_owners_alone(tmp_path: Path) -> None:
    database = Database("sqlite:///ledger.db", tmp_path)
    await database.migrate()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    await database.close()
    assert modes == dict.fromkeys(("ledger.db", "ledger.db-wal", "ledger.db-shm"), 0o600)


async def test_a_relative_file_lies_beside_the_configuration(tmp_path: Path) -> None:
    database = Database("sqlite:///sub.db", tmp_path, pooled=False)
    await database.migrate()
    await database.close()
    assert (tmp_path / "sub.db").exists()


@pytest.mark.parametrize("many", [3_000])
async def test_a_batch_may_be_large(database: Database, many: int) -> None:
    told = [fact(number, route=f"route-{number % 300}", tags={"team": str(number % 700)}) for number in range(many)]
    stored = await Store(database).store([booking(one) for one in told], before=0, through=1, at=1.0)
    assert stored.new == many
    await check(database, told)
