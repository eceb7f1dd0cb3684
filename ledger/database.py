"""The ledger's database: its engine, the wait until it answers, and the revision its tables are of.

Money and order depend on one writer at a time: a transaction that writes says so (``writing``), which takes SQLite's
only write lock at once instead of failing half way.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from sqlite3 import SQLITE_BUSY, OperationalError
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, event, inspect, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.util import await_only

from ledger.addresses import BadAddress, address, place

__all__ = ["BadAddress", "BadRevision", "Database", "NoDatabase", "address"]

T = TypeVar("T")

STEPS = Path(__file__).parents[1] / "migrations"
BEFORE, AFTER = STEPS / "before", STEPS / "after"
LOCK = 7_315_524_883
"""Number of the advisory lock under which one process alone changes the tables."""
CONNECT = 10.0
"""Seconds a connection may take, unless it is told otherwise."""
COMMAND = 30.0
"""Seconds a statement may take, or SQLite wait for another writer, unless it is told otherwise."""
SERVER = {"jit": "off", "work_mem": "32MB", "random_page_cost": "1.1", "application_name": "penstock ledger"}
"""What a session of Postgres is told: compiling takes longer than it saves, sums fit into memory (four reports are made
at once), and to read by an index costs little, as it does wherever there is no turning disk."""
AGAIN = 0.5
"""Seconds between two tries to reach the database."""
HELD = 0.01
"""Seconds between two tries to say how a new file is written, while another process holds it."""


class NoDatabase(Exception):
    """The database did not answer in the time it was given."""


class BadRevision(Exception):
    """The tables are at a step that this version does not know, or are to go to one."""


class Database:
    """One database; ``pooled=False`` connects anew each time, so that each loop of a test may use it.

    ``connect`` and ``command``: seconds a connection and a statement may take; a migration takes as long as it needs.
    """

    def __init__(
        self,
        url: str,
        folder: Path | None = None,
        *,
        pooled: bool = True,
        connect: float = CONNECT,
        command: float = COMMAND,
    ) -> None:
        where = place(url, folder)
        self._patience = connect
        self.connections = 0
        """How many were made. A new one may lead to a server that has lost its last commits."""
        if where.url.drivername.startswith("sqlite"):
            more: dict[str, Any] = {} if pooled else {"poolclass": NullPool}
            self.engine: AsyncEngine = _engine(where.url, {"timeout": command}, more)
            self._slow = self.engine
            event.listen(self.engine.sync_engine, "do_connect", partial(_private, Path(where.url.database or "")))
            event.listen(self.engine.sync_engine, "connect", partial(_set_up, command))
            event.listen(self.engine.sync_engine, "begin", _begin)
        else:
            told = {"timeout": connect, "server_settings": SERVER, **where.told}
            more = {"pool_pre_ping": True, "pool_size": 8} if pooled else {"poolclass": NullPool}
            self.engine = _engine(where.url, {**told, "command_timeout": command}, more)
            self._slow = _engine(where.url, told, {"poolclass": NullPool})
        event.listen(self.engine.sync_engine, "connect", self._connected)

    def _connected(self, *_: object) -> None:
        self.connections += 1

    @property
    def kind(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes: all of it is stored, or none."""
        async with _writing(self.engine) as connection:
            yield connection

    async def wait(self, seconds: float) -> None:
        """Until the database answers. Raises NoDatabase after ``seconds``."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            try:
                async with asyncio.timeout(self._patience), self.engine.connect() as connection:
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
        await self._slow.dispose()

    # -- revisions

    async def revision(self) -> str | None:
        """The step that the tables are at; ``None`` before the first."""
        async with self.engine.connect() as connection:
            return await connection.run_sync(revision_of)

    async def wrong(self) -> str | None:
        """``None`` if the tables are what this version needs, else what is wrong with them, and what to do."""
        return unfit(await self.revision())

    async def migrate(self, *, after: bool = False) -> str:
        """Bring the tables to the newest step, without those of ``migrations/after`` unless told; the new revision.

        One process does it, another waits. A step that fails leaves the tables as they were. Raises BadRevision.
        """
        return await self._move(lambda connection: _upgrade(connection, usable()[0 if after else -1]))

    async def downgrade(self, to: str) -> str:
        """Back to a step (``base``: no tables). Raises BadRevision."""
        return await self._move(lambda connection: _downgrade(connection, to))

    async def _move(self, move: Callable[[Connection], None]) -> str:
        async with _writing(self._slow) as connection:
            if self.kind == "postgresql":
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            await connection.run_sync(move)
            return await connection.run_sync(revision_of) or "base"


def _engine(where: URL, told: dict[str, Any], more: dict[str, Any]) -> AsyncEngine:
    """Its errors name no parameter: they hold what clients wrote."""
    return create_async_engine(where, connect_args=told, hide_parameters=True, **more)


@asynccontextmanager
async def _writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with engine.connect() as plain:
        connection = await plain.execution_options(writes=True)
        async with connection.begin():
            yield connection


def unfit(found: str | None) -> str | None:
    """What is wrong with tables at a revision, and what to do; ``None`` if this version works with them."""
    fitting = usable()
    if found in fitting:
        return None
    need = f"the database is at revision {found or 'none'}, this version needs {' or '.join(fitting)}"
    if found is None or found in _known():
        return f"{need}: run python -m ledger migrate"
    return f"{need} and does not know that one: a newer version has been here, run that one"


def usable() -> list[str]:
    """The revisions that this version works with, newest first: the last step before a deployment, and all after it."""
    found = list[str]()
    for revision, folder in _steps():
        found.append(revision)
        if folder == BEFORE:
            break
    return found


def _known() -> list[str]:
    """All steps of this version, newest first."""
    return [revision for revision, _ in _steps()]


def _steps() -> list[tuple[str, Path]]:
    """All steps and the folders they lie in, newest first. They are read, not run: running them takes alembic."""
    following: dict[str | None, tuple[str, Path]] = {}
    for folder in (BEFORE, AFTER):
        for file in folder.glob("*.py"):
            said = _said(file)
            if "revision" in said:
                following[said["down_revision"]] = said["revision"], folder
    found, at = list[tuple[str, Path]](), None
    while at in following:
        found.append(following[at])
        at = found[-1][0]
    return found[::-1]


def _said(file: Path) -> dict[str, Any]:
    """The names of a module that are given constants, one by one or several in a line."""
    found: dict[str, Any] = {}
    for line in ast.parse(file.read_bytes()).body:
        if isinstance(line, ast.Assign):
            with contextlib.suppress(ValueError):
                value, (target, *_) = ast.literal_eval(line.value), line.targets
                names, values = (target.elts, value) if isinstance(target, ast.Tuple) else ([target], [value])
                found.update(
                    {name.id: one for name, one in zip(names, values, strict=True) if isinstance(name, ast.Name)}
                )
    return found


def revision_of(connection: Connection) -> str | None:
    """The step that the tables are at, ``None`` before the first.

    Several at once, which somebody else's chain has, are one that nobody knows.
    """
    if not inspect(connection).has_table("alembic_version"):
        return None
    rows = connection.execute(text("SELECT version_num FROM alembic_version"))
    return " and ".join(sorted(rows.scalars())) or None


def _upgrade(connection: Connection, to: str) -> None:
    known, at = _known(), revision_of(connection)
    if at is not None and at not in known:
        raise BadRevision(f"the tables are at revision {at}, which this version does not know: run the one that does")
    if at is not None and known.index(at) <= known.index(to):
        return  # a step that follows has been run
    from ledger import moving  # noqa: PLC0415 - slow to load, and seldom needed

    moving.upgrade(connection, [BEFORE, AFTER], to)


def _downgrade(connection: Connection, to: str) -> None:
    at = revision_of(connection)
    known = [*_known(), "base"]
    if to not in known:
        raise BadRevision(f"there is no revision {to!r:.40}; there are {', '.join(known)}")
    if (at or "base") not in known or known.index(at or "base") > known.index(to):
        raise BadRevision(f"the tables are at revision {at or 'base'}, from which no step leads back to {to}")
    from ledger import moving  # noqa: PLC0415 - as above

    moving.downgrade(connection, [BEFORE, AFTER], to)


def _private(file: Path, *_: object) -> None:
    """The file is made readable by its owner alone; what SQLite lays beside it has the same rights."""
    with contextlib.suppress(OSError):  # SQLite will say what is wrong with the place
        file.touch(mode=0o600)


def _set_up(patience: float, connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where we say so, changes of tables included
    cursor = connection.cursor()
    _log_ahead(cursor, patience)
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _log_ahead(cursor: Any, patience: float) -> None:
    """Readers beside a writer. A new file is told so once, and SQLite fails who comes while another tells it."""
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != SQLITE_BUSY or loop.time() >= until:
                raise
            await_only(asyncio.sleep(HELD))
        else:
            return


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
