"""A real Postgres for tests, from the programs of the machine's package: one a session, a database a test."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from appliance.ports import free_port
from tests.support.needed import missing

USER = "postgres"
"""Whom the programs run as where we are root: they refuse to run as root themselves."""

FIRST_TRIES = 3
TAKEN = "Address already in use"
"""What the log says of a port on which somebody listens already."""


def programs() -> Path:
    """The newest version's folder of programs; without any the test cannot run."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda each: int(each.parts[-3]))
    if found:
        return found[-1].parent
    there = shutil.which("initdb")
    if there is None:
        missing("Postgres, on which the ledger is tested, is", "postgresql")
    return Path(there).resolve().parent


@dataclass
class Postgres:
    """A server on a port of its own; what it stores need not outlive the machine."""

    bin: Path = field(default_factory=programs)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="penstock-pg-")))
    port: int = 0
    _names: count[int] = field(default_factory=lambda: count(1))

    def make(self, *more: str, password: str = "") -> None:
        """Prepare its files; with ``more`` options of initdb, and a password of the superuser's."""
        if os.geteuid() == 0:
            shutil.chown(self.folder, USER)
        told = ("-D", "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        if password:
            (self.folder / "password").write_text(password)
            more = ("--pwfile", "password", *more)
        self._run("initdb", *told, *more)

    def start(self, *more: str) -> None:
        """Returns when it answers; ``more`` are settings, ``name=value``. What was started once keeps its port."""
        for left in reversed(range(1 if self.port else FIRST_TRIES)):
            port = self.port or free_port()
            try:
                self._start(port, *more)
            except AssertionError:
                # Somebody may have taken the port meanwhile.
                if not left or TAKEN not in (self.folder / "log").read_text(encoding="utf-8", errors="replace"):
                    raise
            else:
                self.port = port
                return

    def _start(self, port: int, *more: str) -> None:
        told = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        told += " -c synchronous_commit=off -c max_connections=60"
        told += "".join(f" -c {one}" for one in more)
        self._run("pg_ctl", "-D", "data", "-w", "-t", "60", "-l", "log", "-o", told, "start")

    def stop(self, how: str = "immediate") -> None:
        """As by a crash (``immediate``), or in order (``fast``)."""
        self._run("pg_ctl", "-D", "data", "-w", "-m", how, "stop", check=False)

    def remove(self) -> None:
        """Stop it and leave nothing behind."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, name: str = USER) -> str:
        """As ``ledger.database`` is written."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    async def new(self) -> str:
        """The address of a database with nothing in it."""
        name = f"test_{os.getpid()}_{next(self._names)}"
        plain = self.url().replace("postgresql:", "postgresql+asyncpg:")
        engine = create_async_engine(plain, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        async with engine.connect() as connection:
            await connection.execute(text(f"CREATE DATABASE {name} STRATEGY file_copy"))
        await engine.dispose()
        return self.url(name)

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        user = ("runuser", "-u", USER, "--") if os.geteuid() == 0 else ()
        with (self.folder.parent / f"{self.folder.name}.out").open("w+b") as out:
            done = subprocess.run(
                (*user, str(self.bin / program), *arguments), cwd=self.folder, stdout=out, stderr=out, check=False
            )
            out.seek(0)
            said = out.read().decode(errors="replace")
        Path(out.name).unlink()
        assert not check or done.returncode == 0, f"{program}: {said}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Shared by the session: take a database with ``new()``, and never stop it."""
    server = Postgres()
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """For one test alone: it may be stopped and started again."""
    server = Postgres()
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.remove()


def fresh(server: Postgres) -> str:
    """``new()`` where no loop runs."""
    return asyncio.run(server.new())
