"""Each change of a key where its write, or the answer to it, is lost or refused: what is known, and what is said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from gateway.bodies.failures import Failed
from gateway.key_desk import KeyDesk
from gateway.key_store import KeyStore
from gateway.keys import Book, Keys, hashed
from job_contracts import subjects
from job_contracts.codec import encode
from job_contracts.keys import KeyRecord, Scope
from runtime.bus.manifest import StreamLimits, manifest
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import Unreachable, WrongSequence
from runtime.settings.services import Edge
from runtime.telemetry import Telemetry
from tests.support.clock import ManualClock
from tests.support.eventually import eventually

STATIC = "psk_demo_static"
SETTINGS = Edge.model_validate(
    {"pepper": "p", "keys": {"first": {"project": "demo", "hash": hashed(STATIC, "p")}}, "admin_hash": hashed("a", "p")}
)


@dataclass
class Desk:
    """One edge's knowledge of keys, over a broker in memory."""

    bus: MemoryBus
    clock: ManualClock
    book: Book
    store: KeyStore
    desk: KeyDesk
    keys: Keys

    def lets_in(self, key: str) -> bool:
        try:
            self.keys.caller(key, self.clock.wall())
        except Failed:
            return False
        return True

    async def records(self) -> int:
        return (await self.bus.stream_state(subjects.KEYS)).messages


async def opened(broker: MemoryBroker, clock: ManualClock) -> Desk:
    bus, book, telemetry = broker.bus(), Book(SETTINGS), Telemetry()
    store = KeyStore(bus, book, clock, telemetry, SETTINGS)
    keys = Keys(SETTINGS, book, monotonic=clock.monotonic, fresh=store.fresh, share=lambda _: (1.0, 0.0))
    await store.start()
    desk = KeyDesk(SETTINGS, book, store, bus=bus, clock=clock, telemetry=telemetry)
    return Desk(bus, clock, book, store, desk, keys)


@pytest.fixture
async def broker() -> MemoryBroker:
    made = MemoryBroker()
    await made.bus().ensure(manifest(StreamLimits()))
    return made


@pytest.fixture
async def here(broker: MemoryBroker) -> AsyncIterator[Desk]:
    made = await opened(broker, ManualClock())
    yield made
    await made.store.stop()


@pytest.mark.parametrize("lost", ["writes_lost", "replies_lost"])
async def test_a_key_is_made_once_though_writes_and_answers_are_lost(here: Desk, lost: str) -> None:
    setattr(here.bus.faults, lost, 2)
    key, record = await here.desk.create("demo", "", Scope())
    assert here.lets_in(key)
    assert [one.id for one in here.desk.all()] == ["first", record.id]
    assert await here.records() == 1


async def test_a_key_of_which_nothing_is_known_is_said_to_be_so_and_named(here: Desk) -> None:
    here.bus.faults.writes_lost = 100
    with pytest.raises(Failed, match=r"has not said whether the change of key \w{12} is stored; look with penstock"):
        await here.desk.create("demo", "", Scope())
    assert await here.records() == 0


async def test_a_key_that_was_refused_is_said_to_be_not_stored(here: Desk) -> None:
    here.bus.faults.refusals.append(Unreachable("down"))
    with pytest.raises(Failed, match="is not stored: the broker does not answer"):
        await here.desk.create("demo", "", Scope())


@pytest.mark.parametrize("lost", ["writes_lost", "replies_lost"])
async def test_a_rotation_happens_once_though_writes_and_answers_are_lost(here: Desk, lost: str) -> None:
    key, record = await here.desk.create("demo", "ci", Scope())
    setattr(here.bus.faults, lost, 2)
    new, made, old = await here.desk.rotate(record.id, 60.0)
    assert (old.replaced_by, made.replaces) == (made.id, record.id)
    assert here.lets_in(key)
    assert here.lets_in(new)
    assert await here.records() == 2


async def test_a_rotation_that_was_not_stored_leaves_the_old_key_alone(here: Desk) -> None:
    key, record = await here.desk.create("demo", "ci", Scope())
    here.bus.faults.writes_lost = 100
    with pytest.raises(Failed, match="has not said"):
        await here.desk.rotate(record.id, 60.0)
    assert await here.records() == 1
    assert here.desk.find(record.id).replaced_by is None
    assert here.lets_in(key)


@pytest.mark.parametrize("lost", ["writes_lost", "replies_lost"])
async def test_a_revocation_is_tried_until_it_is_known(here: Desk, lost: str) -> None:
    key, record = await here.desk.create("demo", "", Scope())
    setattr(here.bus.faults, lost, 2)
    assert (await here.desk.revoke(record.id)).revoked is not None
    assert not here.lets_in(key)
    assert await here.records() == 1


async def test_a_revocation_that_is_not_known_says_so(here: Desk) -> None:
    _, record = await here.desk.create("demo", "", Scope())
    here.bus.faults.writes_lost = 100
    with pytest.raises(Failed, match="has not said whether the change"):
        await here.desk.revoke(record.id)


async def test_who_loses_a_race_for_a_key_looks_again(here: Desk) -> None:
    _, record = await here.desk.create("demo", "", Scope())
    here.bus.faults.refusals.append(WrongSequence("somebody was faster"))
    assert (await here.desk.revoke(record.id)).revoked is not None


async def test_a_rotation_never_makes_a_key_live_longer(here: Desk) -> None:
    expires = here.clock.wall() + 10
    _, record = await here.desk.create("demo", "", Scope(expires=expires))
    _, new, old = await here.desk.rotate(record.id, 3_600.0)
    assert (old.end, new.scope.expires) == (expires, expires)


async def test_a_key_that_was_revoked_elsewhere_cannot_be_rotated_here(broker: MemoryBroker, here: Desk) -> None:
    there = await opened(broker, here.clock)
    _, record = await here.desk.create("demo", "", Scope())
    here.bus.disconnect()
    await eventually(lambda: there.book.find(record.id) is not None)
    await there.desk.revoke(record.id)
    here.bus.reconnect()
    with pytest.raises(Failed, match="is revoked"):
        await here.desk.rotate(record.id, 60.0)
    await there.store.stop()


async def test_what_was_not_heard_for_too_long_lets_nobody_in_but_the_admin(here: Desk) -> None:
    key, _ = await here.desk.create("demo", "", Scope())
    here.bus.disconnect()
    here.clock.advance(14.9)
    assert here.lets_in(key)
    here.clock.advance(0.2)
    with pytest.raises(Failed, match="has not heard lately"):
        here.keys.caller(key, here.clock.wall())
    with pytest.raises(Failed, match="has not heard lately"):
        here.keys.caller("psk_demo_unknown", here.clock.wall())
    assert here.keys.caller("a", here.clock.wall()).admin


async def test_a_record_for_a_key_of_the_configuration_lets_nobody_in_when_that_is_gone(broker: MemoryBroker) -> None:
    here = await opened(broker, ManualClock())
    await here.desk.rotate("first", 3_600.0)
    assert here.lets_in(STATIC)
    empty = Book(SETTINGS.model_copy(update={"keys": {}}))
    record = KeyRecord(id="first", project="demo", hash=hashed(STATIC, "p"), static=True, created=0.0, until=9e9)
    assert empty.apply("first", 1, record) is None
    assert empty.with_hash(record.hash) is None
    await here.store.stop()


async def test_a_revocation_of_an_older_key_of_the_same_name_does_not_end_the_newer(here: Desk) -> None:
    other = KeyRecord(id="first", project="demo", hash="0" * 64, static=True, created=0.0, revoked=1.0)
    await here.bus.append(subjects.key_record("first"), encode(other))
    await eventually(lambda: here.book.find("first") == (here.desk.find("first"), 1))
    assert here.lets_in(STATIC)


async def test_records_of_what_ended_long_ago_are_forgotten(here: Desk) -> None:
    _, record = await here.desk.create("demo", "", Scope())
    await here.desk.revoke(record.id)
    here.book.prune(here.clock.wall() - 1)
    assert here.book.find(record.id) is not None
    here.book.prune(here.clock.wall() + 1)
    assert here.book.find(record.id) is None
    assert here.book.find("first") is not None, "what is configured is never forgotten"
