"""The ledger's database of either kind: ``database_url`` with nothing in it, ``database`` with the ledger's tables."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ledger.database import Database
from tests.support.postgres import Postgres, fresh, own_postgres, postgres, programs

__all__ = ["database", "database_url", "own_postgres", "postgres", "raw"]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """As ``ledger.database`` is written."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    server: Postgres = request.getfixturevalue("postgres")
    return fresh(server)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Connects anew each time, so that each loop of a test may use it."""
    made = Database(database_url, pooled=False)
    await made.migrate()
    yield made
    await made.close()


def raw(url: str) -> bytes:
    """All that a database holds: SQLite's files as they are, free pages and log included, or a dump of Postgres."""
    kind, _, place = url.partition("://")
    if kind == "sqlite":
        path = Path(place[1:])
        return b"".join(each.read_bytes() for each in sorted(path.parent.glob(f"{path.name}*")))
    told = [str(programs() / "pg_dump"), "--dbname", url]
    return subprocess.run(told, check=True, capture_output=True, timeout=60).stdout
