"""A ledger's database with its tables and nothing in them, of either kind."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from ledger.tables import metadata


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncEngine:
    """Connects anew each time, so each loop of a test may use it."""
    url = f"sqlite+aiosqlite:///{tmp_path}/ledger.db" if request.param == "sqlite" else os.environ["REPORTS_PG"]
    made = create_async_engine(url, poolclass=NullPool)

    async def tables() -> None:
        async with made.begin() as connection:
            await connection.run_sync(metadata.drop_all)
            await connection.run_sync(metadata.create_all)

    asyncio.run(tables())
    return made
