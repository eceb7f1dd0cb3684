"""The ledger's database: its engine, the wait until it answers, and the revision its tables are of.

Money and order depend on one writer at a time: a transaction that writes says so (``writing``), which takes SQLite's
only write lock at once instead of failing half way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, event, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

__all__ = ["BadAddress", "Database", "NoDatabase", "address"]

T = TypeVar("T")

STEPS = Path(__file__).parents[1] / "migrations"
BEFORE, AFTER = STEPS / "before", STEPS / "after"
LOCK = 7_315_524_883
"""Number of the advisory lock under which one process alone changes the tables."""
PATIENCE = 10.0
"""Seconds a connection may take."""
BUSY = 30.0
"""Seconds that SQLite waits for another writer."""
AGAIN = 0.5
"""Seconds between two tries to reach the database."""


class BadAddress(ValueError):
    """``ledger.database`` is no address of a database that the ledger can use; the text holds no password."""


class NoDatabase(Exception):
    """The database did not answer in the time it was given."""


def address(url: str, folder: Path | None = None) -> URL:
    """What SQLAlchemy connects to. A relative SQLite file begins at ``folder``. Raises BadAddress."""
    try:
        told = make_url(url)
    except (ArgumentError, ValueError):
        raise BadAddress("ledger.database is no address; write sqlite:///FILE or postgresql://user@host/name") from None
    if told.drivername == "sqlite":
        if not told.database or told.database == ":memory:":
            raise BadAddress("ledger.database names no file; write sqlite:///FILE")
        return told.set(drivername="sqlite+aiosqlite", database=str((folder or Path()) / told.database))
    if told.drivername in {"postgresql", "postgres"}:
        return told.set(drivername="postgresql+asyncpg")
    raise BadAddress(f"ledger.database: {told.drivername!r:.40} is not known; write sqlite:///FILE or postgresql://…")


class Database:
    """One database; ``pooled=False`` connects anew each time, so that each loop of a test may use it."""

    def __init__(self, url: str, folder: Path | None = None, *, pooled: bool = True) -> None:
        where = address(url, folder)
        more: dict[str, Any] = {} if pooled else {"poolclass": NullPool}
        if where.drivername.startswith("sqlite"):
            self.engine: AsyncEngine = create_async_engine(where, connect_args={"timeout": BUSY}, **more)
            event.listen(self.engine.sync_engine, "do_connect", partial(_private, Path(where.database or "")))
            event.listen(self.engine.sync_engine, "connect", _set_up)
            event.listen(self.engine.sync_engine, "begin", _begin)
        else:
            told = {"timeout": PATIENCE, "server_settings": {"jit": "off", "application_name": "penstock ledger"}}
            if pooled:
                more = {"pool_pre_ping": True, "pool_size": 8}
            self.engine = create_async_engine(where, connect_args=told, **more)

    @property
    def kind(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes: all of it is stored, or none."""
        async with self.engine.connect() as plain:
            connection = await plain.execution_options(writes=True)
            async with connection.begin():
                yield connection

    async def wait(self, seconds: float) -> None:
        """Until the database answers. Raises NoDatabase after ``seconds``."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            try:
                async with asyncio.timeout(PATIENCE), self.engine.connect() as connection:
                    await connection.execute(text("SELECT 1"))
            except (OSError, SQLAlchemyError) as error:
                if loop.time() >= until:
                    raise NoDatabase(type(error).__name__) from error
                await asyncio.sleep(AGAIN)
            else:
                return

    async def close(self) -> None:
        """Give all connections back."""
        await self.engine.dispose()

    # -- revisions

    async def revision(self) -> str | None:
        """The step that the tables are at; ``None`` before the first."""
        async with self.engine.connect() as connection:
            return await connection.run_sync(_revision)

    async def wrong(self) -> str | None:
        """``None`` if the tables are what this version needs, else what is wrong with them."""
        found, fitting = await self.revision(), usable()
        if found in fitting:
            return None
        return f"the database is at revision {found or 'none'}, this version needs {' or '.join(fitting)}"

    async def migrate(self, *, after: bool = False) -> str:
        """Bring the tables to the newest step, without those of ``migrations/after`` unless told; the new revision.

        One process does it, another waits. A step that fails leaves the tables as they were.
        """
        return await self._move(lambda connection: _upgrade(connection, usable()[0 if after else -1]))

    async def downgrade(self, to: str) -> str:
        """Back to a step (``base``: no tables)."""
        return await self._move(lambda connection: _downgrade(connection, to))

    async def _move(self, move: Callable[[Connection], None]) -> str:
        async with self.writing() as connection:
            if self.kind == "postgresql":
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            await connection.run_sync(move)
            return await connection.run_sync(_revision) or "base"


def usable() -> list[str]:
    """The revisions that this version works with, newest first: the last step before a deployment, and all after it."""
    script, found = _script(), list[str]()
    for step in script.walk_revisions():
        found.append(step.revision)
        if Path(step.path).parent.name != AFTER.name:
            break
    return found


def _script() -> ScriptDirectory:
    return ScriptDirectory(str(STEPS), version_locations=[str(BEFORE), str(AFTER)])


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _upgrade(connection: Connection, to: str) -> None:
    script = _script()
    known = [step.revision for step in script.walk_revisions()]
    at = _revision(connection)
    if at in known and known.index(at) <= known.index(to):
        return  # a newer version has been here
    _run(connection, script, lambda revision, _: script._upgrade_revs(to, revision))  # noqa: SLF001 - it has no other name


def _downgrade(connection: Connection, to: str) -> None:
    script = _script()
    _run(connection, script, lambda revision, _: script._downgrade_revs(to, revision))  # noqa: SLF001 - as above


def _run(connection: Connection, script: ScriptDirectory, steps: Callable[[Any, Any], Any]) -> None:
    context = MigrationContext.configure(connection, opts={"fn": steps, "script": script, "transactional_ddl": True})
    with Operations.context(context):
        context.run_migrations()


def _private(file: Path, *_: object) -> None:
    """The file is made readable by its owner alone; what SQLite lays beside it has the same rights."""
    with contextlib.suppress(OSError):  # SQLite will say what is wrong with the place
        file.touch(mode=0o600)


def _set_up(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where we say so, changes of tables included
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
