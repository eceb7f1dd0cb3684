"""A ledger that answers on a bus: SQLite in a folder, with nothing in it until a test puts it there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from catalogue.load import providers
from ledger.desk import Desk
from ledger.tables import metadata
from runtime.bus.port import Bus
from runtime.clock import Clock
from runtime.settings import Config
from runtime.telemetry import Telemetry


@dataclass(frozen=True)
class Opened:
    """What a desk needs of a database."""

    engine: AsyncEngine


@asynccontextmanager
async def ledger_desk(
    bus: Bus, config: Config, directory: Path, *, clock: Clock | None = None
) -> AsyncIterator[AsyncEngine]:
    """Answers until the end; yields the database."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{directory}/desk.db", poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    desk = Desk(bus, Opened(engine), providers(), config, Telemetry(), clock=clock)
    await desk.start()
    try:
        yield engine
    finally:
        await desk.stop()
        await desk.stop()
