"""The ledger's process beside a real broker: killed in the middle, and with its database away, it loses nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import yaml

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
CONFIG = Config.model_validate(TOLD)


async def opened(broker: Broker) -> NatsBus:
    bus = await connect(settings(broker.url))
    await bus.ensure(declared(CONFIG))
    return bus


def batches(count: int) -> Iterator[tuple[AttemptFact, ...]]:
    """Facts of ten attempts each; some are told again, some corrected later."""
    for number in range(count):
        first = number * 8
        yield tuple(fact(first + one, won=number % 3 > 0, tags={"team": str(one)}) for one in range(10))


async def tell(bus: NatsBus, told: tuple[AttemptFact, ...]) -> int:
    return (await bus.append(subjects.usage("openai", "w1"), encode(Facts(facts=told)))).seq


async def reached(database: Database, seq: int) -> bool:
    return await database.wrong() is None and await Store(database).position() >= seq


async def test_a_ledger_killed_again_and_again_counts_each_attempt_once(
    own_broker: Broker, database_url: str, tmp_path: Path
) -> None:
    bus = await opened(own_broker)
    config = tmp_path / "penstock.yaml"
    nats = {"url": own_broker.url, "max_queue_bytes": 64 * 1024**2}
    own = {"database": database_url, "auto_migrate": True, "batch": 20, "linger": 0}
    config.write_text(yaml.safe_dump({**TOLD, "nats": nats, "ledger": own}))
    die, facts, seq = random.Random(6), list[AttemptFact](), 0
    for batch in batches(120):
        facts += batch
        seq = await tell(bus, batch)
    seq = (await bus.append(subjects.barrier(subjects.LEDGER, 0), b"")).seq
    database = Database(database_url, pooled=False)
    for part in (die.randrange(2, 40), die.randrange(50, 100)):
        async with ledger_process(config) as process:
            await process.ready()
            await eventually(partial(reached, database, part), within=20)  # it is killed then, in the middle
    async with ledger_process(config) as process:
        await process.ready()
        await eventually(lambda: reached(database, seq), within=30, says=lambda: str(process.lines[-3:]))
        process.child.terminate()
        assert await process.ended() == 0
    await check(database, facts)
    await database.close()
    await bus.close()


async def test_a_database_that_is_away_is_waited_for_and_nothing_is_lost(
    own_broker: Broker, own_postgres: Postgres
) -> None:
    """Killed, this one also loses its last commits (``synchronous_commit`` is off), as after a failover."""
    bus = await opened(own_broker)
    url = await asyncio.to_thread(fresh, own_postgres)
    database = Database(url)
    await database.migrate()
    ledger = Ledger(bus, database, LedgerSettings(linger=0.01), SystemClock(), Telemetry())
    await ledger.start()
    told = list(batches(30))
    await tell(bus, told[0])
    await eventually(lambda: ledger.ready is None and ledger.position == 1, within=10)
    await asyncio.to_thread(own_postgres.stop)
    for batch in told[1:]:
        seq = await tell(bus, batch)
    await eventually(lambda: ledger.ready is not None, within=20)
    await asyncio.to_thread(own_postgres.start)
    await eventually(lambda: ledger.ready is None and ledger.position == seq, within=30)
    await ledger.stop()
    await database.close()
    after = Database(url, pooled=False)
    await check(after, [one for batch in told for one in batch])
    await bus.close()


async def test_what_cannot_be_read_or_kept_is_told_and_holds_nothing_up(own_broker: Broker, database: Database) -> None:
    bus, telemetry = await opened(own_broker), Telemetry()
    unreadable: list[int] = []
    telemetry.on("ledger.unreadable", lambda fields: unreadable.append(fields["seq"]))
    ledger = Ledger(bus, database, LedgerSettings(linger=0.01), SystemClock(), telemetry)
    await bus.append(subjects.usage("openai", "w1"), b"no facts")
    bad = fact(1, usage=fact().usage.model_copy(update={"input": -1}))
    await tell(bus, (bad, fact(2)))
    await ledger.start()
    await eventually(lambda: ledger.position == 2, within=10)
    await ledger.stop()
    assert unreadable == [1, 2]
    await check(database, [fact(2)])
    await bus.close()


async def test_tables_of_another_revision_keep_it_from_being_ready(own_broker: Broker, database: Database) -> None:
    bus = await opened(own_broker)
    await database.downgrade("base")
    ledger = Ledger(bus, database, LedgerSettings(linger=0.01), SystemClock(), Telemetry())
    await tell(bus, (fact(1),))
    await ledger.start()
    await eventually(lambda: "revision none" in (ledger.ready or ""), within=10)
    await database.migrate()
    await eventually(lambda: ledger.ready is None and ledger.position == 1, within=10)
    await ledger.stop()
    await check(database, [fact(1)])
    await bus.close()
