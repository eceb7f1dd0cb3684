"""The ledger's process dies wherever it can, and its database goes away under load: each fact is counted, once."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import event

from job_contracts import subjects
from job_contracts.codec import encode
from job_contracts.facts import AttemptFact, Facts
from ledger.database import Database
from ledger.service import Ledger
from ledger.store import Store
from runtime.broker import Broker
from runtime.bus import NatsBus, connect
from runtime.clock import SystemClock
from runtime.connection import declared
from runtime.crash import VARIABLE
from runtime.settings import Config
from runtime.settings.services import LedgerSettings
from runtime.telemetry import Telemetry
from tests.support.broker import settings
from tests.support.eventually import eventually
from tests.support.ledger_facts import check, fact
from tests.support.postgres import Postgres, fresh
from tests.support.worker_process import ledger_process

TOLD = {
    "providers": {"openai": {"base_url": "http://127.0.0.1:9", "key": "${OPENAI_KEY}", "slots": 4}},
    "routes": {"chat": {"deployments": ["openai/gpt"]}},
    "nats": {"max_queue_bytes": 64 * 1024**2},
}
LEDGERS_DIE = ("ledger.read", "ledger.written", "ledger.stored")
"""The points at which a ledger dies."""
AWAY = float(os.environ.get("PENSTOCK_AWAY", "4"))  # noqa: TID251 - the proof asks for 60, a test has less time
"""Seconds for which a database is away while facts come."""
RATE = 200
"""Facts a second that come meanwhile."""


@asynccontextmanager
async def opened(broker: Broker) -> AsyncIterator[NatsBus]:
    bus = await connect(settings(broker.url))
    await bus.ensure(declared(Config.model_validate(TOLD)))
    yield bus
    await bus.close()


async def tell(bus: NatsBus, *told: AttemptFact) -> int:
    return (await bus.append(subjects.usage("openai", "w1"), encode(Facts(facts=told)))).seq


async def reached(database: Database, seq: int) -> bool:
    return await database.wrong() is None and await Store(database).position() >= seq


@pytest.mark.parametrize("point", LEDGERS_DIE)
async def test_a_ledger_that_dies_at_any_point_counts_each_fact_once(
    own_broker: Broker, database_url: str, tmp_path: Path, point: str
) -> None:
    config = tmp_path / "penstock.yaml"
    own = {"database": database_url, "auto_migrate": True, "batch": 10, "linger": 0}
    config.write_text(
        yaml.safe_dump({**TOLD, "nats": {"url": own_broker.url, "max_queue_bytes": 64 * 1024**2}, "ledger": own})
    )
    database = Database(database_url, pooled=False)
    async with opened(own_broker) as bus:
        told: list[AttemptFact] = []
        for number in range(12):  # some are told again, some are corrected
            batch = [fact(number * 4 + one, won=number % 3 > 0, tags={"team": str(one)}) for one in range(5)]
            told += batch
            seq = await tell(bus, *batch)
        async with ledger_process(config, environ={VARIABLE: f"{point}:2"}) as process:
            assert await process.ended(30) == -9
            assert process.other == [f"{VARIABLE}={point}\n"]
        assert await Store(database).position() == (4 if point == "ledger.stored" else 2)
        async with ledger_process(config) as process:
            await eventually(lambda: reached(database, seq), within=30)
    await check(database, told)
    await database.close()


class Load:
    """Facts that come at a steady rate, whatever becomes of the database."""

    def __init__(self, bus: NatsBus) -> None:
        self._bus = bus
        self.told: list[AttemptFact] = []
        self.seq = 0

    async def run(self, seconds: float) -> None:
        begun = time.monotonic()
        while (now := time.monotonic() - begun) < seconds:
            while len(self.told) < now * RATE:
                batch = [fact(len(self.told) + one, tags={"team": str(one)}) for one in range(20)]
                self.told += batch
                self.seq = await tell(self._bus, *batch)
            await asyncio.sleep(0.02)


async def outlived(
    bus: NatsBus, database: Database, away: Callable[[], Awaitable[Any]], back: Callable[[], Awaitable[Any]]
) -> None:
    """Under load the database goes and comes back; the ledger says so meanwhile, and misses nothing."""
    load, telemetry = Load(bus), Telemetry()
    await database.migrate()
    ledger = Ledger(bus, database, LedgerSettings(linger=0.01), SystemClock(), telemetry)
    await ledger.start()
    loading = asyncio.create_task(load.run(AWAY + 2.0))
    await eventually(lambda: ledger.ready is None and ledger.position > 0, within=20)
    await away()
    gone = time.monotonic()
    await eventually(lambda: ledger.ready == "the database does not answer", within=20)
    position = ledger.position
    while time.monotonic() - gone < AWAY:
        assert (ledger.ready, ledger.position) == ("the database does not answer", position)
        await asyncio.sleep(0.05)
    await back()
    await loading
    await eventually(lambda: ledger.ready is None and ledger.position == load.seq, within=60)
    await ledger.stop()
    await check(database, load.told)
    await database.close()


@pytest.mark.timeout(60 + 3 * AWAY)
async def test_a_server_that_dies_under_load_and_comes_back_has_every_fact(
    own_broker: Broker, own_postgres: Postgres
) -> None:
    database = Database(await asyncio.to_thread(fresh, own_postgres), command=1.0, connect=1.0)
    stop, start = partial(asyncio.to_thread, own_postgres.stop), partial(asyncio.to_thread, own_postgres.start)
    async with opened(own_broker) as bus:
        await outlived(bus, database, stop, start)


@pytest.mark.timeout(60 + 3 * AWAY)
async def test_a_file_that_another_process_holds_under_load_has_every_fact(own_broker: Broker, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    other = Database(url, pooled=False)
    await other.migrate()
    holding = other.writing()
    async with opened(own_broker) as bus:
        held = Database(url, command=0.2)
        await outlived(bus, held, holding.__aenter__, partial(holding.__aexit__, None, None, None))


@pytest.mark.timeout(60 + 3 * AWAY)
async def test_a_file_that_may_not_grow_under_load_has_every_fact(own_broker: Broker, tmp_path: Path) -> None:
    """As on a disk that is full: a write that needs another page fails."""
    database, most = Database(f"sqlite:///{tmp_path}/ledger.db"), [2**30]

    def limit(connection: Any, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count={most[-1]}").close()

    event.listen(database.engine.sync_engine, "checkout", limit)

    async def bounded(pages: int) -> None:
        most.append(pages)

    async with opened(own_broker) as bus:
        await outlived(bus, database, partial(bounded, 1), partial(bounded, 2**30))
