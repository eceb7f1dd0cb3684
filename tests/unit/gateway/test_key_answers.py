"""Keys by message: what operators are told and may have done, and that nobody else is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from gateway.key_answers import OPERATOR, KeyAnswers
from gateway.key_desk import KeyDesk
from gateway.key_store import KeyStore
from gateway.keys import Book, Keys, hashed
from job_contracts import subjects
from job_contracts.codec import Wire, decode, encode
from job_contracts.configured import Configured
from job_contracts.desk import Refusal
from job_contracts.failures import FailureKind
from job_contracts.key_asking import (
    AskKeys,
    AskNewKey,
    AskRevocation,
    AskRotation,
    KeyDone,
    KeyPage,
    ToldEdge,
    ToldEdges,
)
from job_contracts.keys import Scope, key_id, written
from runtime.bus.manifest import StreamLimits, manifest
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import OutcomeUnknown
from runtime.settings import Config
from runtime.telemetry import Telemetry
from tests.support.clock import ManualClock

CONFIG = Config.model_validate(
    {
        "providers": {"openai": {"key": "k"}},
        "routes": {"fast": {"deployments": ["openai/gpt-5-mini"]}},
        "projects": {"acme": {}, "other": {}},
        "gateway": {"pepper": "p", "keys": {"first": {"project": "acme", "hash": hashed("psk_acme_static", "p")}}},
    }
)
EDGES = (
    ToldEdge(name="edge b", silent=1.0),
    ToldEdge(name="edge a", silent=0.0, configured=Configured(parts={"routes": "0f0f0f0f"}, since=1.0)),
)
KEY, NEXT = written("acme", "a" * 64), written("acme", "b" * 64)
A = TypeVar("A", bound=Wire)


@dataclass
class Site:
    """An edge's answers, and the operator who asks."""

    bus: MemoryBus
    operator: MemoryBus
    producer: MemoryBus
    clock: ManualClock
    keys: Keys
    store: KeyStore
    answers: KeyAnswers

    async def ask(self, operation: str, asked: Wire | None, kind: type[A]) -> A:
        data = b"{}" if asked is None else encode(asked)
        return decode(kind, (await self.operator.request(subjects.key_desk(operation), data, timeout=2)).data)

    async def refused(self, operation: str, asked: Wire) -> tuple[FailureKind, str]:
        failure = (await self.ask(operation, asked, Refusal)).refused
        return failure.kind, failure.message


def new(key: str = KEY, **over: Any) -> AskNewKey:
    return AskNewKey.model_validate({"id": key_id(key), "hash": hashed(key, "p"), "project": "acme", **over})


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    broker, clock, telemetry, settings = MemoryBroker(), ManualClock(), Telemetry(), CONFIG.gateway
    bus, book = broker.bus(), Book(settings)
    await bus.ensure(manifest(StreamLimits()))
    store = KeyStore(bus, book, clock, telemetry, settings)
    keys = Keys(settings, book, monotonic=clock.monotonic, fresh=store.fresh, share=lambda _: (1.0, 0.0))
    await store.start()
    desk = KeyDesk(settings, book, store, bus=bus, clock=clock, telemetry=telemetry)
    answers = KeyAnswers(desk, CONFIG, bus=bus, clock=clock, fresh=store.fresh, edges=lambda: EDGES)
    await answers.start()
    await answers.start()
    operator = broker.bus(inbox_prefix=subjects.inbox_prefix(OPERATOR))
    producer = broker.bus(inbox_prefix=subjects.inbox_prefix("acme"))
    yield Site(bus, operator, producer, clock, keys, store, answers)
    await answers.stop()
    await store.stop()


async def test_a_key_that_somebody_else_made_is_taken_in_once_and_works(site: Site) -> None:
    asked = new(name="night", scope=Scope(routes=("fast",), rpm=60))
    first = await site.ask("create", asked, KeyDone)
    again = await site.ask("create", asked, KeyDone)
    assert first == again
    assert first.key.name == "night"
    caller = site.keys.caller(KEY, site.clock.wall())
    assert (caller.project, caller.scope) == ("acme", asked.scope)
    page = await site.ask("keys", AskKeys(), KeyPage)
    assert [one.id for one in page.keys] == [key_id(KEY), "first"]
    assert (page.total, page.in_force, page.after) == (2, {"acme": 2}, None)


async def test_no_answer_holds_a_key_or_its_hash(site: Site) -> None:
    await site.ask("create", new(), KeyDone)
    for operation, asked in (("keys", AskKeys()), ("create", new()), ("revoke", AskRevocation(id=key_id(KEY)))):
        told = (await site.operator.request(subjects.key_desk(operation), encode(asked), timeout=2)).data.decode()
        assert KEY not in told
        assert hashed(KEY, "p") not in told


async def test_a_rotation_is_done_once_though_it_is_asked_twice(site: Site) -> None:
    await site.ask("create", new(name="night"), KeyDone)
    asked = AskRotation(id=key_id(NEXT), hash=hashed(NEXT, "p"), old=key_id(KEY), overlap=60)
    done = await site.ask("rotate", asked, KeyDone)
    assert done == await site.ask("rotate", asked, KeyDone)
    assert done.old is not None
    assert (done.key.replaces, done.key.name) == (key_id(KEY), "night")
    assert (done.old.replaced_by, done.old.end) == (key_id(NEXT), site.clock.wall() + 60)
    assert site.keys.caller(KEY, site.clock.wall()).project == site.keys.caller(NEXT, site.clock.wall()).project
    third = written("acme", "c" * 64)
    refused = await site.refused("rotate", asked.model_copy(update={"id": key_id(third), "hash": hashed(third, "p")}))
    assert refused == (FailureKind.BAD_REQUEST, f"key {key_id(KEY)} is replaced by {key_id(NEXT)} already")


async def test_a_revoked_key_is_told_as_such_and_found_by_what_is_asked(site: Site) -> None:
    await site.ask("create", new(), KeyDone)
    await site.ask("create", new(written("other", "d" * 64), project="other"), KeyDone)
    done = await site.ask("revoke", AskRevocation(id=key_id(KEY)), KeyDone)
    assert (done.key.ended, done.key.revoked) == ("revoked", site.clock.wall())
    assert [one.id for one in (await site.ask("keys", AskKeys(valid=False), KeyPage)).keys] == [key_id(KEY)]
    assert (await site.ask("keys", AskKeys(project="acme"), KeyPage)).in_force == {"acme": 1}
    assert [one.project for one in (await site.ask("keys", AskKeys(id="d" * 12), KeyPage)).keys] == ["other"]


async def test_pages_hold_every_key_once(site: Site) -> None:
    for digit in "abcde":
        site.clock.advance(1.0)
        await site.ask("create", new(written("acme", digit * 64)), KeyDone)
    await site.store._looked(1.0)
    seen, after = [], None
    while True:
        page = await site.ask("keys", AskKeys(limit=2, after=after), KeyPage)
        seen += [one.id for one in page.keys]
        after = page.after
        if after is None:
            break
    assert seen == [*(digit * 12 for digit in "edcba"), "first"]
    assert "no key" in (await site.refused("keys", AskKeys(after="nothing")))[1]


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"project": "nobody"}, "there is no project 'nobody'"),
        ({"scope": {"routes": ["none"]}}, "there is no route 'none'"),
        ({"scope": {"routes": []}}, "a key without any route or lane could do nothing"),
        ({"scope": {"expires": 5.0}}, "it is to expire at a moment to come, within ten years"),
        ({"scope": {"budget": {"soft": True}}}, "the budget bounds nothing"),
    ],
)
async def test_what_makes_no_sense_is_refused_and_stored_nowhere(site: Site, over: dict[str, Any], said: str) -> None:
    assert await site.refused("create", new(**over)) == (FailureKind.BAD_REQUEST, said)
    assert (await site.bus.stream_state(subjects.KEYS)).messages == 0


async def test_another_key_of_the_same_name_is_left_alone(site: Site) -> None:
    await site.ask("create", new(), KeyDone)
    kind, said = await site.refused("create", new(hash="0" * 64))
    assert (kind, said) == (FailureKind.BAD_REQUEST, f"another key is called {key_id(KEY)}")
    assert site.keys.caller(KEY, site.clock.wall()).project == "acme"


async def test_that_nothing_is_known_of_a_write_is_said(site: Site) -> None:
    site.bus.faults.writes_lost = 100
    kind, _ = await site.refused("create", new())
    assert kind is FailureKind.INTERNAL


async def test_nobody_but_the_operator_is_answered(site: Site) -> None:
    for operation, asked in (("keys", AskKeys()), ("create", new()), ("revoke", AskRevocation(id="first"))):
        with pytest.raises(OutcomeUnknown):
            await site.producer.request(subjects.key_desk(operation), encode(asked), timeout=0.05)
    assert (await site.bus.stream_state(subjects.KEYS)).messages == 0


async def test_an_edge_that_does_not_know_all_keys_says_so(site: Site) -> None:
    await site.store.stop()
    site.clock.advance(60.0)
    for operation, asked in (("keys", AskKeys()), ("create", new())):
        assert "has not heard lately" in (await site.refused(operation, asked))[1]


async def test_edges_are_told(site: Site) -> None:
    told = await site.ask("edges", None, ToldEdges)
    assert told.edges == (EDGES[1], EDGES[0])
