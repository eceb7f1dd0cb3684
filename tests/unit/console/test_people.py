"""Who holds a key."""

from __future__ import annotations

import pytest
import yaml

from console.__main__ import made_key
from console.people import People, Person, hashed
from job_contracts import subjects
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import Message, NotFound, Unreachable
from runtime.settings.console import Console, Login
from tests.support.clock import ManualClock
from tests.support.console import ADMIN, KEYS_STREAM, MADE, OPERATOR, PEPPER, STATIC, VIEWER, config, record, stored


@pytest.fixture
async def bus() -> MemoryBus:
    made = MemoryBroker().bus()
    await made.ensure([{"kind": "stream", "config": KEYS_STREAM}])
    return made


class Listening(MemoryBus):
    """Tells what is asked of it, and that there is nothing."""

    def __init__(self) -> None:
        super().__init__(MemoryBroker(), inbox_prefix="_INBOX", chunk=1024, max_blob=1024)
        self.asked: list[str] = []
        self.away = False

    async def last(self, stream: str, subject: str) -> Message:
        self.asked.append(subject)
        if self.away:
            raise Unreachable("away")
        raise NotFound(subject)


async def test_the_admin_and_people_are_known_by_their_keys(bus: MemoryBus) -> None:
    people = People(config(), bus, ManualClock())
    assert await people.holder(ADMIN) == Person("admin", "admin")
    assert await people.holder(VIEWER) == Person("vera", "viewer")
    assert await people.holder(OPERATOR) == Person("otto", "operator")


async def test_a_projects_keys_let_in_to_that_project_alone(bus: MemoryBus) -> None:
    people = People(config(project_role="operator"), bus, ManualClock())
    await stored(bus, record(MADE))
    for key in (STATIC, MADE):
        found = await people.holder(key)
        assert found is not None
        assert (found.project, found.role) == ("acme", "operator")


async def test_a_key_that_ended_lets_nobody_in(bus: MemoryBus) -> None:
    people, clock = People(config(), bus, ManualClock()), ManualClock()
    for over in ({"revoked": 5.0}, {"until": clock.wall()}, {"scope": {"expires": clock.wall() - 1}}):
        await stored(bus, record(MADE, **over))
        assert await people.holder(MADE) is None
    await stored(bus, record(STATIC, id="first", static=True, revoked=5.0))
    assert await people.holder(STATIC) is None


async def test_a_record_that_cannot_be_read_or_says_no_more_than_an_end_lets_nobody_in(bus: MemoryBus) -> None:
    people = People(config(), bus, ManualClock())
    await stored(bus, record(MADE, static=True))
    assert await people.holder(MADE) is None
    await bus.append(subjects.key_record(record(MADE).id), b"{")
    assert await people.holder(MADE) is None
    await bus.append(subjects.key_record("first"), b"{")
    assert await people.holder(STATIC) is None


@pytest.mark.parametrize(
    "key", ["", "x", "' OR '1'='1", "psk_acme_*", "psk_acme_>", "psk_acme_a.b", "\ud800", MADE[:-1] + "0", "k" * 300]
)
async def test_what_is_no_key_is_not_asked_about(key: str) -> None:
    bus = Listening()
    assert await People(config(), bus, ManualClock()).holder(key) is None
    assert bus.asked == []


async def test_nobody_is_let_in_while_only_the_broker_could_say() -> None:
    bus = Listening()
    bus.away = True
    people = People(config(), bus, ManualClock())
    for key in (STATIC, MADE):
        with pytest.raises(Unreachable):
            await people.holder(key)
    assert await people.holder(ADMIN) is not None


async def test_without_a_pepper_nobody_is_known(bus: MemoryBus) -> None:
    bare = config().model_copy(
        update={"gateway": config().gateway.model_copy(update={"pepper": type(config().gateway.pepper)("")})}
    )
    assert await People(bare, bus, ManualClock()).holder(ADMIN) is None


def test_a_key_for_a_person_is_printed_once_and_its_hash_is_what_the_configuration_holds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert made_key(config(), "anna") == 0
    told = capsys.readouterr()
    key = told.out.strip()
    assert key.startswith("psc_")
    assert key not in told.err
    login = Console.model_validate(yaml.safe_load(told.err)["console"]).people["anna"]
    assert login == Login(hash=hashed(key, PEPPER), role="operator")
