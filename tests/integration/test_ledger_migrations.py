"""Steps make the tables that the code speaks of, and go back; two at once are one; a failed one changes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import SQLAlchemyError

import ledger.database as room
from ledger.database import Database
from ledger.tables import metadata

FAILING = '''"""Fails half way."""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9999", "{head}"
def upgrade() -> None:
    """Make one table, and stumble."""
    op.create_table("half", sa.Column("id", sa.Integer))
    op.execute("SELECT * FROM there_is_no_such_table")
def downgrade() -> None:
    """Nothing."""
'''


async def names(database: Database) -> set[str]:
    async with database.engine.connect() as connection:
        return set(await connection.run_sync(lambda plain: inspect(plain).get_table_names()))


async def test_the_steps_make_the_tables_that_the_code_speaks_of(database: Database) -> None:
    def differences(connection: Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection), metadata)

    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_the_way_back_leaves_no_table_and_the_way_forward_is_open_again(database: Database) -> None:
    assert await database.wrong() is None
    assert await database.downgrade("base") == "base"
    assert await names(database) == {"alembic_version"}
    assert await database.wrong() is not None
    assert await database.migrate() == room.usable()[-1]
    assert await database.wrong() is None


async def test_two_migrators_at_once_are_as_good_as_one(database_url: str) -> None:
    both = [Database(database_url, pooled=False) for _ in range(4)]
    assert set(await asyncio.gather(*(each.migrate() for each in both))) == {room.usable()[-1]}
    assert "attempts" in await names(both[0])


async def test_a_step_that_fails_changes_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, revision = await names(database), await database.revision()
    steps = tmp_path / "before"
    steps.mkdir()
    for step in room.BEFORE.glob("step_*.py"):
        (steps / step.name).write_text(step.read_text())
    (steps / "step_9999_failing.py").write_text(FAILING.format(head=revision))
    monkeypatch.setattr(room, "BEFORE", steps)
    with pytest.raises(SQLAlchemyError):
        await database.migrate()
    assert (await names(database), await database.revision()) == (before, revision)
    assert "this version needs 9999" in (await database.wrong() or "")
