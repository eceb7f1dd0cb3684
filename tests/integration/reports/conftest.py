"""The engine of a ledger's database with nothing in it, of either kind; it connects anew each time, for any loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from ledger.database import Database


@pytest.fixture
def engine(database_url: str) -> Iterator[AsyncEngine]:
    """Also for tests that run a loop for each example."""
    made = Database(database_url, pooled=False)
    asyncio.run(made.migrate())
    yield made.engine
    asyncio.run(made.close())
