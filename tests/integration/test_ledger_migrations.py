"""Steps make the tables that the code speaks of, and go back; two at once are one; a failed one changes nothing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, insert, inspect, select, text
from sqlalchemy.exc import SQLAlchemyError

import ledger.database as room
from job_contracts.trials import Trial
from ledger.__main__ import FAILED
from ledger.bookings import booking
from ledger.database import BadRevision, Database
from ledger.retention import forget
from ledger.store import Store
from ledger.tables import forgotten, metadata, statements
from tests.support.ledger_book import Book, tables
from tests.support.ledger_facts import fact

ROOT = Path(__file__).parents[2]
TOLD = {
    "providers": {"openai": {"base_url": "http://127.0.0.1:9", "key": "${OPENAI_KEY}", "slots": 4}},
    "routes": {"chat": {"deployments": ["openai/gpt"]}},
}
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


LATER = '''"""One table more, or one less."""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "{revision}", "{down}"
def upgrade() -> None:
    """Make it."""
    op.create_table("t{revision}", sa.Column("id", sa.Integer))
def downgrade() -> None:
    """Let it go."""
    op.drop_table("t{revision}")
'''


async def names(database: Database) -> set[str]:
    async with database.engine.connect() as connection:
        return set(await connection.run_sync(lambda plain: inspect(plain).get_table_names()))


async def test_the_steps_make_the_tables_that_the_code_speaks_of(database: Database) -> None:
    def differences(connection: Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection), metadata)

    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


def test_the_steps_are_read_in_the_order_in_which_alembic_runs_them() -> None:
    script = ScriptDirectory(str(room.STEPS), version_locations=[str(room.BEFORE), str(room.AFTER)])
    theirs = [(step.revision, Path(step.path).parent) for step in script.walk_revisions()]
    assert room._steps() == theirs


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


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two versions' steps beyond ours: after ours, before the next one's deployment, after it."""
    newest = room.usable()[0]
    folders = {name: tmp_path / name for name in ("before", "after")}
    for name, folder in folders.items():
        folder.mkdir()
        for step in getattr(room, name.upper()).glob("step_*.py"):
            (folder / step.name).write_text(step.read_text())
    made = ["9001", "9002", "9003"]
    for revision, down, name in zip(made, [newest, *made], ("after", "before", "after"), strict=False):
        (folders[name] / f"step_{revision}_later.py").write_text(LATER.format(revision=revision, down=down))
    monkeypatch.setattr(room, "BEFORE", folders["before"])
    monkeypatch.setattr(room, "AFTER", folders["after"])
    return made


async def test_steps_before_and_after_a_deployment_are_one_chain_that_is_walked_in_two_goes(
    database_url: str, chain: list[str]
) -> None:
    database = Database(database_url, pooled=False)
    assert await database.migrate() == "9002"  # and what ran after the deployment before it
    assert await database.wrong() is None
    assert {"t9001", "t9002"} <= await names(database)
    assert "t9003" not in await names(database)
    assert await database.migrate(after=True) == "9003"
    assert await database.wrong() is None
    assert await database.migrate() == "9003"  # a version that is told to again leaves it
    for revision in ("9002", "9001"):
        assert await database.downgrade(revision) == revision
    assert {name for name in await names(database) if name.startswith("t9")} == {"t9001"}
    assert "run python -m ledger migrate" in (await database.wrong() or "")
    assert await database.downgrade("base") == "base"
    assert await names(database) == {"alembic_version"}
    assert await database.migrate(after=True) == "9003"
    await database.close()


async def test_tables_that_a_newer_version_made_are_refused_in_words_and_left_alone(database: Database) -> None:
    async with database.writing() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    before = await names(database)
    assert "a newer version has been here" in (await database.wrong() or "")
    with pytest.raises(BadRevision, match="revision 9999, which this version does not know"):
        await database.migrate()
    with pytest.raises(BadRevision, match="from which no step leads back to base"):
        await database.downgrade("base")
    async with database.writing() as connection:
        await connection.execute(text("INSERT INTO alembic_version VALUES ('0001')"))
    assert "0001 and 9999" in (await database.wrong() or "")
    with pytest.raises(BadRevision):
        await database.migrate()
    assert await names(database) == before


async def test_a_way_back_to_where_no_step_leads_is_refused_in_words(database: Database) -> None:
    with pytest.raises(BadRevision, match=r"there is no revision '0000'; there are .*base"):
        await database.downgrade("0000")


def told(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "ledger", "migrate", "--config", str(config), *words)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_goes_both_ways_and_says_what_is_wrong_without_a_traceback(
    database_url: str, tmp_path: Path
) -> None:
    config = tmp_path / "penstock.yaml"
    config.write_text(yaml.safe_dump({**TOLD, "ledger": {"database": database_url}}))
    newest = room.usable()[0]
    for words, answer in (
        (("--before",), room.usable()[-1]),
        (("--after",), newest),
        (("--to", "base"), "base"),
        ((), room.usable()[-1]),
    ):
        done = told(config, *words)
        assert (done.returncode, done.stdout) == (0, f"the ledger's tables are at revision {answer}\n"), done.stderr
    refused = told(config, "--to", "0000")
    assert refused.returncode == 1
    assert refused.stderr.startswith("nothing was changed: there is no revision '0000'")
    assert "Traceback" not in refused.stderr


async def test_a_step_that_fails_changes_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, revision = await names(database), await database.revision()
    book = await filled(database)
    monkeypatch.setattr(room, "BEFORE", failing(tmp_path, revision))
    with pytest.raises(SQLAlchemyError):
        await database.migrate()
    assert (await names(database), await database.revision()) == (before, revision)
    assert "this version needs 9999" in (await database.wrong() or "")
    assert await tables(database) == book.expected()


def failing(folder: Path, revision: str | None) -> Path:
    """The steps, and one more that stumbles."""
    steps = folder / "before"
    steps.mkdir()
    for step in room.BEFORE.glob("step_*.py"):
        (steps / step.name).write_text(step.read_text())
    (steps / "step_9999_failing.py").write_text(FAILING.format(head=revision))
    return steps


async def filled(database: Database) -> Book:
    """A ledger in use: attempts, one corrected, a statement, a project that was forgotten."""
    told = [fact(n, project="gone" if n == 9 else "default", tags={"team": str(n % 2)}) for n in range(1, 10)]
    told.append(fact(3, told_by="statement", won=False, stated=True))
    store, book = Store(database), Book()
    await store.store([booking(one) for one in told], before=0, through=7, at=1.0)
    book.hear(told)
    now = told[0].at + 1.0
    await forget(database, "gone", now)
    book.forget("gone", now)
    row = {"provider": "openai", "digest": "d", "at": 1.0, "first_day": 0, "last_day": 0, "drift": 0.5, "over": True}
    async with database.writing() as connection:
        await connection.execute(insert(statements).values(row))
    assert await tables(database) == book.expected()
    return book


async def test_the_way_back_and_forth_keeps_what_the_earlier_step_had_a_table_for(database: Database) -> None:
    book = await filled(database)
    position = 7
    for earlier in ("0002", "0001"):
        assert await database.downgrade(earlier) == earlier
        assert await tables(database) == book.expected((1, 24)), "there are no months yet"
        assert await Store(database).position() == position
        assert await database.migrate() == room.usable()[-1]
        position -= 1  # the version before has to look at the revision
        assert await Store(database).position() == position
        assert await database.wrong() is None
        assert await tables(database) == book.expected()
        async with database.engine.connect() as connection:
            of_step_two = [(await connection.execute(select(func.count()).select_from(one))).scalar_one()
                           for one in (statements, forgotten)]  # fmt: skip
        assert of_step_two == ([1, 2] if earlier == "0002" else [0, 0])
    more = fact(20)
    await Store(database).store([booking(more)], before=position, through=8, at=2.0)
    book.hear([more])
    assert await tables(database) == book.expected()


async def file_of_attempts(database: Database) -> object:
    """Which file Postgres has them in: another one once they have been written anew."""
    if database.kind == "sqlite":
        return None
    async with database.engine.connect() as connection:
        return (await connection.execute(text("SELECT pg_relation_filenode('attempts')"))).scalar_one()


async def test_attempts_of_an_earlier_version_stay_where_they_are_in_no_arm_and_those_that_come_have_theirs(
    database: Database,
) -> None:
    book = await filled(database)
    assert await database.downgrade("0005") == "0005"
    where = await file_of_attempts(database)
    assert await database.migrate() == room.usable()[-1]
    assert await file_of_attempts(database) == where
    assert await tables(database) == book.expected()
    more = [fact(number, trial=Trial(experiment="exp", arm="ab"[number % 2], bucket=1)) for number in (2, 20, 21)]
    more += [fact(20, told_by="statement", won=False, stated=True)]  # which knows of no experiment
    await Store(database).store([booking(one) for one in more], before=7, through=8, at=2.0)
    book.hear(more)
    assert await tables(database) == book.expected()
    assert sum(row[-2] is not None for row in book.expected().attempts.values()) == 2


def configured(folder: Path, url: str) -> Path:
    """The operator's file."""
    config = folder / "penstock.yaml"
    config.write_text(yaml.safe_dump({**TOLD, "ledger": {"database": url, "wait": 20}}))
    return config


async def migrator(config: Path, *more: str) -> tuple[int, str]:
    """Run ``python -m ledger migrate``; its status and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ledger", "migrate", "--config", str(config), *more),
        cwd=ROOT,
        env={**os.environ},  # noqa: TID251 - the child needs what the tests have
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode()


async def test_processes_that_migrate_at_once_wait_for_each_other(database_url: str, tmp_path: Path) -> None:
    config = configured(tmp_path, database_url)
    ended = await asyncio.gather(*(migrator(config) for _ in range(3)))
    assert ended == [(0, f"the ledger's tables are at revision {room.usable()[-1]}\n")] * 3
    database = Database(database_url, pooled=False)
    assert await database.wrong() is None
    await filled(database)
    await database.close()


STUMBLING = """
import sys
from pathlib import Path

import ledger.database as room
from ledger.__main__ import main

room.BEFORE = Path(sys.argv[1])
sys.exit(main(sys.argv[2:]))
"""
"""The ledger's command with another folder of steps: a process of its own, because it takes over what is logged."""


def test_a_migration_that_fails_says_what_the_database_said_and_that_nothing_was_changed(
    database_url: str, tmp_path: Path
) -> None:
    config = configured(tmp_path, database_url)
    assert told(config).returncode == 0
    steps = failing(tmp_path, room.usable()[-1])
    ways = [
        ("migrate",),
        *([()] if database_url.startswith("sqlite") else []),
    ]  # a ledger that starts does it by itself
    for way in ways:
        command = (sys.executable, "-c", STUMBLING, str(steps), *way, "--config", str(config))
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == FAILED, done
        assert "nothing was changed" in done.stderr
        assert "there_is_no_such_table" in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr


async def test_a_step_that_there_is_not_is_told_in_words(database_url: str, tmp_path: Path) -> None:
    config = configured(tmp_path, database_url)
    assert (await migrator(config))[0] == 0
    status, words = await migrator(config, "--to", "1234")
    assert status == FAILED
    assert "1234" in words
    assert "Traceback" not in words
