"""The ledger's database of either kind: ``database_url`` with nothing in it, ``database`` with the ledger's tables."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ledger.database import Database
from tests.support.postgres import Postgres, fresh, own_postgres, postgres

__all__ = ["database", "database_url", "own_postgres", "postgres"]


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
