"""Budgets of keys that are made, rotated and revoked while everything runs: the ledger's alerts know them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from catalogue.load import providers
from job_contracts import subjects
from job_contracts.codec import encode
from job_contracts.keys import KeyRecord, Scope
from job_contracts.money import Budget
from ledger.alerts import Alerts
from ledger.bookings import booking
from ledger.database import Database
from ledger.key_budgets import KeyBudgets
from ledger.store import Store
from ledger.watching import Watch
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Message
from runtime.clock import SystemClock
from runtime.settings import Config
from runtime.settings.services import Alerting
from runtime.telemetry import Telemetry
from tests.support.clock import ManualClock
from tests.support.edge import ADMIN, RunningEdge, edge
from tests.support.eventually import eventually
from tests.support.gateway import Gateway, gateway
from tests.support.ledger_facts import fact
from tests.support.stand_in import PROJECT

VALUES: dict[str, Any] = {
    "providers": {"openai": {"key": "sk-one", "base_url": "http://127.0.0.1:9/v1"}},
    "routes": {"chat": {"deployments": ["openai/gpt-4o-mini"]}},
}
CONFIG = Config.model_validate(VALUES)
DAYS = 86_400.0


@dataclass
class Site:
    """An edge that makes keys, and a ledger's alerts on the same broker."""

    whole: Gateway
    one: RunningEdge
    keys: KeyBudgets
    alerts: Alerts
    store: Store
    number: int = 0

    async def asked(self, method: str, path: str, **said: Any) -> dict[str, Any]:
        answered = await self.one.client.request(method, path, headers={"authorization": f"Bearer {ADMIN}"}, **said)
        assert answered.status_code < 300, answered.text
        return dict(answered.json())

    async def known(self, key: str) -> None:
        await eventually(lambda: key in {payer.name for payer in self.keys.payers()}, within=5)

    async def spend(self, key: str, cost: str) -> None:
        self.number += 1
        one = fact(self.number, project=PROJECT, key=key, cost=Decimal(cost), started=SystemClock().wall())
        before = await self.store.position()
        await self.store.store([booking(one)], before=before, through=before + 1, at=1.0)

    async def told(self) -> list[tuple[str, str, float]]:
        return [(one.data["name"], one.data["label"], one.data["share"]) for one in await self.alerts.look()]


@asynccontextmanager
async def running(folder: Path, database: Database) -> AsyncIterator[Site]:
    async with gateway(folder, VALUES, providers()) as whole, edge(whole) as one:
        telemetry, clock = Telemetry(), SystemClock()
        keys = KeyBudgets(whole.bus, clock, telemetry, one.config)
        watch = Watch(database, CONFIG, keys.payers)
        await keys.start()
        try:
            yield Site(whole, one, keys, Alerts(database, watch, clock, telemetry, Alerting()), Store(database))
        finally:
            await keys.stop()


async def test_a_key_made_at_run_time_is_told_of_and_so_are_the_one_after_it_and_a_revoked_one(
    tmp_path: Path, database: Database
) -> None:
    async with running(tmp_path, database) as site:
        wish = {"project": PROJECT, "name": "ci", "budget": {"total": "1.00"}}
        old = (await site.asked("POST", "/v1/keys", json=wish))["id"]
        await site.known(old)
        await site.spend(old, "0.55")
        assert await site.told() == [(old, "ci", 0.5)]

        new = (await site.asked("POST", f"/v1/keys/{old}/rotate", json={"overlap": "60s"}))["id"]
        await site.known(new)
        await site.spend(new, "0.85")
        assert await site.told() == [(new, "ci", 0.5), (new, "ci", 0.8)], "a rotated key has a whole budget"

        await site.asked("DELETE", f"/v1/keys/{old}")
        await site.spend(old, "0.30")
        assert await site.told() == [(old, "ci", 0.8)], "its jobs may still be under way"
        assert await site.told() == []


def record(key: str, **over: Any) -> KeyRecord:
    told: dict[str, Any] = {"id": key, "project": "demo", "hash": "0" * 64, "created": 1.0, "name": "ci"}
    return KeyRecord(**{**told, "scope": Scope(budget=Budget(total=Decimal(1))), **over})


@dataclass
class Reader:
    """Key budgets without a broker."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(wall=100 * DAYS))

    def __post_init__(self) -> None:
        named = {"gateway": {"pepper": "p", "keys": {"static": {"project": "default", "hash": "1" * 64}}}}
        self.config = Config.model_validate({**VALUES, **named})
        self.keys = KeyBudgets(MemoryBroker().bus(), self.clock, Telemetry(), self.config)

    def hear(self, key: str, data: bytes) -> None:
        self.keys.hear(Message(subjects.key_record(key), data, seq=1))

    def names(self) -> list[tuple[str, str]]:
        return [(one.name, one.label) for one in self.keys.payers()]


def test_only_records_that_say_what_a_key_may_spend_count() -> None:
    site = Reader()
    for key, told in {
        "one": record("one"),
        "other": record("one"),
        "none": record("none", scope=Scope()),
        "static": record("static"),
        "ended": record("ended", static=True),
    }.items():
        site.hear(key, encode(told))
    site.hear("bad", b"{}")
    assert site.names() == [("one", "ci")]


def test_a_renamed_key_goes_by_its_new_name_and_what_cannot_be_read_changes_nothing() -> None:
    site = Reader()
    site.hear("one", encode(record("one")))
    site.hear("one", encode(record("one", name="nightly")))
    site.hear("one", b'{"version":"1.0","id":"one","scope":{"colour":1}}')
    assert site.names() == [("one", "nightly")]


async def test_keys_that_ended_long_ago_are_let_go_and_a_missing_stream_stops_nothing() -> None:
    site = Reader()
    site.hear("gone", encode(record("gone", revoked=9 * DAYS)))
    site.hear("late", encode(record("late", until=11 * DAYS)))
    await site.keys.start()
    await eventually(lambda: site.names() == [("late", "ci")])
    await site.keys.stop()
