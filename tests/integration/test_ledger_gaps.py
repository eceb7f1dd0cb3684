"""What LEDGER let go before it was read is in no sum: that is told, counted and kept, and the rest is read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import select

from job_contracts import subjects
from job_contracts.codec import encode
from job_contracts.facts import AttemptFact, Facts
from ledger import service
from ledger.bookings import booking
from ledger.database import Database
from ledger.instruments import INSTRUMENTS
from ledger.service import Ledger
from ledger.store import Moved, Store
from ledger.tables import missed
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import Bus
from runtime.clock import SystemClock
from runtime.connection import declared
from runtime.settings import Config
from runtime.settings.services import LedgerSettings
from runtime.telemetry import Metrics, Telemetry
from tests.support.eventually import eventually
from tests.support.ledger_facts import check, fact

CONFIG = Config.model_validate(
    {
        "providers": {"openai": {"base_url": "http://127.0.0.1:9", "key": "${OPENAI_KEY}", "slots": 4}},
        "routes": {"chat": {"deployments": ["openai/gpt"]}},
    }
)


class Reading:
    """A ledger that reads, and what it tells."""

    def __init__(self, bus: Bus, database: Database) -> None:
        self.telemetry = Telemetry()
        self.metrics = Metrics("ledger")
        self.metrics.listen(self.telemetry, INSTRUMENTS)
        self.told: list[tuple[int, int]] = []
        self.telemetry.on("ledger.facts_missed", lambda f: self.told.append((f["position"] + 1, f["first"] - 1)))
        self.replaced: list[int] = []
        self.telemetry.on("ledger.replaced", lambda f: self.replaced.append(f["position"]))
        self.ledger = Ledger(bus, database, LedgerSettings(linger=0.01), SystemClock(), self.telemetry)

    @property
    def counted(self) -> float:
        lines = self.metrics.exposition()[1].decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("penstock_ledger_facts_missed_total"))


@asynccontextmanager
async def reading(bus: Bus, database: Database, until: int) -> AsyncIterator[Reading]:
    made = Reading(bus, database)
    await made.ledger.start()
    try:
        await eventually(lambda: made.ledger.ready is None and made.ledger.position == until, within=10)
        yield made
    finally:
        await made.ledger.stop()


async def tell(bus: Bus, facts: Sequence[AttemptFact]) -> None:
    for one in facts:
        await bus.append(subjects.usage("openai", "w1"), encode(Facts(facts=(one,))))


async def kept(database: Database) -> list[tuple[int, int]]:
    async with database.engine.connect() as connection:
        rows = await connection.execute(select(missed.c.first, missed.c.last).order_by(missed.c.first))
        return [(first, last) for first, last in rows]


async def fresh() -> Bus:
    """One of a broker that holds nothing."""
    made = MemoryBroker().bus()
    await made.ensure(declared(CONFIG))
    return made


@pytest.fixture
async def bus() -> Bus:
    return await fresh()


@pytest.mark.parametrize("read", [0, 2])
@pytest.mark.parametrize("left", [0, 3])
async def test_a_gap_is_told_counted_and_kept_whether_anything_was_read_or_is_left(
    bus: Bus, database: Database, read: int, left: int
) -> None:
    told = [fact(number) for number in range(8)]
    if read:
        await tell(bus, told[:read])
        async with reading(bus, database, read):
            pass
        await tell(bus, told[read:])
    else:
        await tell(bus, told)
    await bus.purge(subjects.LEDGER, below=9 - left)
    async with reading(bus, database, 8) as made:
        gap = (read + 1, 8 - left)
        assert made.told == [gap]
        assert made.counted == gap[1] - gap[0] + 1
        assert made.ledger.behind == 0
    await check(database, told[:read] + told[8 - left :])
    async with reading(bus, database, 8) as made:  # another process does not find it again
        assert made.told == []
    assert await kept(database) == [gap]


async def test_a_gap_that_opens_between_two_looks_is_found_by_what_is_read(
    bus: Bus, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LOOK", 3600.0)
    async with reading(bus, database, 0) as made:
        for number in range(3):  # the memory bus answers at once: nobody reads in between
            await tell(bus, [fact(number)])
            await bus.purge(subjects.LEDGER, below=3)
        await eventually(lambda: made.ledger.position == 3, within=10)
        assert made.told == [(1, 2)]
    await check(database, [fact(2)])


async def test_a_stream_that_was_made_anew_is_no_gap(bus: Bus, database: Database) -> None:
    await Store(database).store([booking(fact(1))], before=0, through=50, at=1.0)
    await tell(bus, [fact(1), fact(2), fact(3)])
    await bus.purge(subjects.LEDGER, below=2)
    async with reading(bus, database, 3) as made:
        assert made.told == []
    await check(database, [fact(1), fact(2), fact(3)])
    assert await kept(database) == []


@pytest.mark.parametrize("more", [0, 8])
async def test_a_stream_that_was_made_anew_and_has_grown_to_the_old_place_is_read_from_its_beginning(
    bus: Bus, database: Database, more: int
) -> None:
    told = [fact(number) for number in range(5)]
    await tell(bus, told)
    async with reading(bus, database, 5) as made:
        assert made.replaced == []
    other = await fresh()
    after = [told[0], *(fact(100 + number) for number in range(4 + more))]  # one that is known is told again
    await tell(other, after)
    async with reading(other, database, len(after)) as made:
        assert made.replaced == [5]
        assert made.told == []
    await check(database, [*told, *after[1:]])
    async with reading(other, database, len(after)) as made:  # another process does not find it again
        assert made.replaced == []
    assert await kept(database) == []


async def test_a_stream_that_was_made_anew_between_two_looks_is_found_by_the_next(
    bus: Bus, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LOOK", 3600.0)
    told = [fact(number) for number in range(13)]
    await tell(bus, told[:5])
    async with reading(bus, database, 5) as made:
        assert isinstance(bus, MemoryBus)
        other = await fresh()
        assert isinstance(other, MemoryBus)
        await tell(other, told[5:])
        bus.broker.streams[subjects.LEDGER] = other.broker.streams[subjects.LEDGER]
        await eventually(lambda: made.ledger.position == 8, within=10)  # what lies before was not read
        monkeypatch.setattr(service, "LOOK", 0.0)

        async def whole() -> bool:
            await check(database, told)
            return True

        await eventually(whole, within=10)
        assert made.replaced == [8]


async def test_an_older_ledgers_place_is_taken_to_be_of_the_stream_that_is_there(bus: Bus, database: Database) -> None:
    told = [fact(number) for number in range(4)]
    await tell(bus, told)
    await Store(database).store([booking(one) for one in told[:2]], before=0, through=2, at=1.0)
    async with reading(bus, database, 4) as made:
        assert made.replaced == []
    await check(database, told)
    other = await fresh()
    await tell(other, [fact(number) for number in range(10, 16)])
    async with reading(other, database, 6) as made:
        assert made.replaced == [4]
    await check(database, [*told, *(fact(number) for number in range(10, 16))])


async def test_what_the_streams_limits_removed_makes_it_no_other_stream(bus: Bus, database: Database) -> None:
    told = [fact(number) for number in range(6)]
    await tell(bus, told[:4])
    async with reading(bus, database, 4):
        pass
    await bus.purge(subjects.LEDGER, below=5)
    async with reading(bus, database, 4) as made:
        assert (made.replaced, made.told) == ([], [])
    await tell(bus, told[4:])
    await bus.delete(subjects.LEDGER, 6)
    async with reading(bus, database, 5) as made:
        await tell(bus, [fact(7)])
        await eventually(lambda: made.ledger.position == 7, within=10)
        assert made.replaced == []


async def test_of_two_ledgers_the_one_that_finds_it_later_goes_on_where_the_other_is(
    bus: Bus, database: Database
) -> None:
    store = Store(database)
    await store.store([booking(fact(1))], before=0, through=5, at=1.0)
    await store.note_made(10.0)
    await store.begin_anew(5, 0, 20.0)
    with pytest.raises(Moved):
        await Store(database).begin_anew(5, 0, 15.0)
    assert (await store.position(), await store.made_at()) == (0, 20.0)
    await store.note_made(30.0)
    assert await store.made_at() == 20.0
