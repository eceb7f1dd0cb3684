"""A database that does not behave: what it keeps from us, how long it is waited for, what may be known of it after."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select, text
from sqlalchemy.exc import SQLAlchemyError

from ledger.bookings import booking
from ledger.database import Database, NoDatabase
from ledger.store import Store
from ledger.tables import attempts, entries, sources, spend, spend_tags, tags
from tests.support.eventually import eventually
from tests.support.ledger_facts import check, fact
from tests.support.postgres import Postgres, fresh

SECRET = "what only the client may know"


async def test_an_error_tells_nothing_of_what_was_to_be_stored(database: Database) -> None:
    row = {"project": SECRET, "name": SECRET, "value": SECRET, "no_such": SECRET}
    with pytest.raises(SQLAlchemyError) as told:
        async with database.writing() as connection:
            await connection.execute(text("INSERT INTO tags (no_such) VALUES (:no_such)"), row)
    assert SECRET not in str(told.value)
    with pytest.raises(SQLAlchemyError) as told:
        async with database.writing() as connection:
            await connection.execute(insert(tags), {"project": None, "name": SECRET, "value": SECRET})
    assert "hide_parameters" in str(told.value)


async def test_the_id_of_a_source_or_a_tag_that_is_gone_is_nobody_elses(database: Database) -> None:
    async def ids() -> tuple[int, int]:
        async with database.engine.connect() as connection:
            first = (await connection.execute(select(sources.c.id))).scalar_one()
            return first, (await connection.execute(select(tags.c.id))).scalar_one()

    told = booking(fact(1, tags={"team": "a"}))
    await Store(database).store([told], before=0, through=1, at=1.0)
    before = await ids()
    async with database.writing() as connection:
        for table in (spend_tags, spend, entries, attempts, tags, sources):
            await connection.execute(delete(table))
    await Store(database).store([booking(fact(2, route="other", tags={"team": "b"}))], before=1, through=2, at=1.0)
    after = await ids()
    assert after[0] > before[0]
    assert after[1] > before[1]


async def test_what_a_transaction_that_failed_had_numbered_is_not_believed(database_url: str) -> None:
    database = Database(database_url)
    await database.migrate()
    store = Store(database)
    await store.store([booking(fact(1))], before=0, through=1, at=1.0)

    def fail() -> None:
        raise OSError

    told = fact(2, route="new", tags={"team": "new"})
    with pytest.raises(OSError, match=r"^$"):
        await store.store([booking(told)], before=1, through=2, at=1.0, written=fail)
    await check(database, [fact(1)])
    other = [fact(number, route=f"taken-{number}", tags={"team": f"taken-{number}"}) for number in range(3, 6)]
    await Store(database).store([booking(one) for one in other], before=1, through=2, at=1.0)
    await store.store([booking(told)], before=2, through=3, at=1.0)
    await check(database, [fact(1), *other, told])
    async with database.engine.connect() as connection:
        found = await connection.execute(
            select(sources.c.route, tags.c.value).select_from(spend_tags.join(sources).join(tags)).distinct()
        )
        assert {tuple(row) for row in found} == {("new", "new"), *((f"taken-{n}",) * 2 for n in range(3, 6))}
    await database.close()


async def test_after_a_new_connection_ids_are_asked_for_again(own_postgres: Postgres) -> None:
    """A server that was restored may have given them to others since; the place in LEDGER may be the same."""
    database = Database(await asyncio.to_thread(fresh, own_postgres))
    await database.migrate()
    store = Store(database)
    await store.store([booking(fact(1, tags={"team": "a"}))], before=0, through=1, at=1.0)
    async with database.writing() as connection:
        for table in (spend_tags, spend, entries, attempts, tags, sources):
            await connection.execute(delete(table))
        for number, route in ((1, "other"), (2, "chat")):
            row = {"project": "default", "key": "", "route": route, "provider": "openai", "model": "gpt"}
            await connection.execute(insert(sources), {**row, "id": number, "deployment": "openai/gpt"})
    await asyncio.to_thread(own_postgres.stop, "fast")
    await asyncio.to_thread(own_postgres.start)
    await store.store([booking(fact(2, tags={"team": "a"}))], before=1, through=2, at=1.0)
    async with database.engine.connect() as connection:
        query = select(sources.c.route).join(attempts, attempts.c.source == sources.c.id)
        assert (await connection.execute(query)).scalar_one() == "chat"
    await database.close()


async def test_a_statement_that_does_not_end_is_given_up(postgres: Postgres) -> None:
    database = Database(await asyncio.to_thread(fresh, postgres), command=0.2)
    async with asyncio.timeout(5):
        with pytest.raises((TimeoutError, SQLAlchemyError)):
            async with database.engine.connect() as connection:
                await connection.execute(text("SELECT pg_sleep(60)"))

    async def answers() -> bool:
        try:
            async with database.engine.connect() as connection:
                return bool((await connection.execute(text("SELECT 1"))).scalar_one() == 1)
        except TimeoutError:  # of a server that was not let run for so long
            return False

    await eventually(answers)
    await database.close()


async def test_a_server_that_takes_connections_and_says_nothing_is_waited_for_no_longer_than_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        database = Database(f"postgresql://u@127.0.0.1:{mute.getsockname()[1]}/d", pooled=False, connect=0.2)
        async with asyncio.timeout(5):
            with pytest.raises(NoDatabase):
                await database.wait(0.3)
            with pytest.raises(TimeoutError):
                await database.revision()
    await database.close()


async def test_a_server_without_encryption_is_refused_where_the_address_asks_for_it(postgres: Postgres) -> None:
    url = await asyncio.to_thread(fresh, postgres)
    encrypted, either = (Database(f"{url}?sslmode={mode}", pooled=False) for mode in ("require", "prefer"))
    with pytest.raises(NoDatabase):
        await encrypted.wait(0)
    await either.wait(5)
    await encrypted.close()
    await either.close()


async def test_a_file_that_another_writer_holds_is_waited_for_no_longer_than_told(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/ledger.db", pooled=False, command=0.2)
    await database.migrate()
    async with database.writing():
        with pytest.raises(SQLAlchemyError, match="locked"):
            await Store(database).store([booking(fact(1))], before=0, through=1, at=1.0)
    await Store(database).store([booking(fact(1))], before=0, through=1, at=1.0)
    await check(database, [fact(1)])


@pytest.fixture
def taken(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A new file in which another has begun to write: SQLite fails at once who says then how it is written."""
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()


async def test_a_new_file_that_another_begins_is_waited_for(tmp_path: Path, taken: sqlite3.Connection) -> None:
    database = Database(f"sqlite:///{tmp_path}/ledger.db", pooled=False)
    coming = asyncio.create_task(database.migrate())
    done, _ = await asyncio.wait({coming}, timeout=0.1)
    assert not done
    taken.rollback()
    await coming
    await check(database, [])


async def test_a_new_file_that_another_never_gives_back_is_given_up(tmp_path: Path, taken: sqlite3.Connection) -> None:
    database = Database(f"sqlite:///{tmp_path}/ledger.db", pooled=False, command=0.1)
    with pytest.raises(SQLAlchemyError, match="locked"):
        await database.migrate()
    assert taken.in_transaction
