"""Alerts from the ledger's sums to whoever listens: told once whatever happens, posted until taken, signed."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select

from job_contracts.spend import AskForecast
from ledger import webhook
from ledger.alerts import Alerts
from ledger.bookings import booking
from ledger.budgets import Forecaster
from ledger.database import Database
from ledger.instruments import INSTRUMENTS
from ledger.reports import Reports
from ledger.store import Store
from ledger.tables import alerts
from ledger.watching import Watch
from ledger.webhook import BadWebhook, Round, Webhook, check, signature
from runtime.settings import Config
from runtime.settings.services import Alerting
from runtime.telemetry import Metrics, Telemetry
from tests.support.clock import ManualClock
from tests.support.ledger_facts import fact
from tests.support.upstream import Do, Step, response, upstream

AT = 1_790_000_000.0
"""A Monday, 14:13:20 UTC."""
DAY = 86_400.0


def config(url: str | None = None) -> Config:
    return Config.model_validate(
        {
            "providers": {"openai": {}},
            "routes": {"chat": {"deployments": ["openai/gpt"], "budget": {"week": "1000"}}},
            "projects": {
                "default": {"budget": {"day": "1.00", "total": "100"}, "tags": {"team=red": {"hour": "0.50"}}},
                "other": {"budget": {"day": "1.00", "soft": True}},
            },
            "ledger": {"alerts": {"webhook": url, "secret": "s3cret" if url else ""}},
        }
    )


class Site:
    """A ledger's alerts over one database."""

    def __init__(self, database: Database, url: str | None = None, *, wall: float = AT) -> None:
        self.database = database
        self.clock = ManualClock(wall=wall)
        self.telemetry, self.metrics = Telemetry(), Metrics("ledger")
        self.metrics.listen(self.telemetry, INSTRUMENTS)
        self.store = Store(database)
        self.rules = config(url)
        watch = Watch(database, self.rules)
        self.alerts = Alerts(database, watch, self.clock, self.telemetry, self.rules.ledger.alerts)
        self.number = 0

    async def spend(self, cost: str | None, **over: Any) -> None:
        self.number += 1
        at = over.pop("at", self.clock.wall())
        one = fact(self.number, cost=None if cost is None else Decimal(cost), started=at, **over)
        before = await self.store.position()
        await self.store.store([booking(one)], before=before, through=before + 1, at=at)

    async def told(self) -> list[tuple[Any, ...]]:
        found = await self.alerts.look()
        return [(one.kind, one.data.get("name"), one.data.get("window"), one.data.get("share")) for one in found]

    def scraped(self) -> str:
        return self.metrics.exposition()[1].decode()


async def test_a_budget_is_told_once_at_each_share_also_after_a_restart_and_anew_in_the_next_window(
    database: Database,
) -> None:
    site = Site(database)
    await site.spend("0.49", tags={"team": "blue"})
    assert await site.told() == []
    await site.spend("0.31", tags={"team": "blue"}, route="another")
    assert await site.told() == [("budget", "default", "day", 0.5), ("budget", "default", "day", 0.8)]
    assert await site.told() == []
    again = Site(database)
    again.number = site.number
    assert await again.told() == []
    await again.spend("0.50", tags={"team": "red"})
    assert set(await again.told()) == {
        ("budget", "default", "day", 1.0),
        ("budget", "team=red", "hour", 0.5),
        ("budget", "team=red", "hour", 0.8),
        ("budget", "team=red", "hour", 1.0),
    }
    again.clock.advance(DAY)
    await again.spend("0.60")
    assert await again.told() == [("budget", "default", "day", 0.5)]
    assert 'penstock_alerts_total{kind="budget"} 5.0' in again.scraped()
    assert 'penstock_alert_active{kind="budget"} 1.0' in again.scraped()


async def test_what_follows_a_job_is_not_told_as_its_projects_spend(database: Database) -> None:
    site = Site(database)
    for reason in ("shadow", "verify"):
        await site.spend("5.00", reason=reason)
    assert await site.told() == []
    forecast = await Forecaster(Reports(database.engine), site.rules).forecast(AskForecast(), AT + 60)
    spent = {(row.payer, row.name, row.window): row.spent for row in forecast.rows}
    assert (spent["project", "default", "day"], spent["all", "", "day"]) == (Decimal(0), Decimal(10))


async def test_what_was_reached_at_the_very_end_of_a_window_is_told_after_it(database: Database) -> None:
    site = Site(database, wall=AT - AT % DAY + DAY + 60)
    await site.spend("0.55", at=site.clock.wall() - 61)
    assert await site.told() == [("budget", "default", "day", 0.5)]


async def test_two_ledgers_that_look_at_once_tell_each_alert_once(database: Database) -> None:
    sites = [Site(database), Site(database)]
    await sites[0].spend("1.00")
    found = await asyncio.gather(*(site.alerts.look() for site in sites))
    assert sorted(one.data["share"] for told in found for one in told) == [0.5, 0.8, 1.0]


async def test_an_hour_that_costs_many_times_the_usual_is_told(database: Database) -> None:
    site = Site(database)
    for day in range(1, 6):
        await site.spend("0.01", project="free", at=AT - day * DAY)
    await site.spend("0.99", project="free")
    assert await site.told() == []
    await site.spend("0.01", project="free")
    assert [kind for kind, *_ in await site.told()] == ["anomaly"]


async def test_attempts_of_unknown_price_are_told_once_a_day(database: Database) -> None:
    site = Site(database)
    await site.spend(None, project="free")
    await site.spend(None, project="free")
    (alert,) = await site.alerts.look()
    assert (alert.kind, alert.data["deployment"], alert.data["attempts"]) == ("unpriced", "openai/gpt", 2)
    await site.spend(None, project="free")
    assert await site.told() == []
    site.clock.advance(DAY)
    await site.spend(None, project="free")
    assert [kind for kind, *_ in await site.told()] == ["unpriced"]


# -- the webhook


@asynccontextmanager
async def posting(site: Site, *, timeout: float = 5.0) -> AsyncIterator[Webhook]:
    duty = Webhook(site.database, site.clock, site.telemetry, site.rules.ledger.alerts)
    duty.timeout = timeout
    await duty.opened()
    try:
        yield duty
    finally:
        await duty.closed()


async def waiting(database: Database) -> int:
    async with database.engine.connect() as connection:
        query = select(func.count()).select_from(alerts).where(alerts.c.due.is_not(None))
        return (await connection.execute(query)).scalar_one()


async def test_an_alert_is_posted_once_signed_and_as_it_was_told(database: Database) -> None:
    async with upstream([response(b"")]) as server:
        site = Site(database, f"{server.url}/hook")
        await site.spend("0.60")
        (alert,) = await site.alerts.look()
        async with posting(site) as duty:
            assert await duty.post_due() == Round(posted=1)
            assert await duty.post_due() == Round()
        (asked,) = server.asked
        header = asked.header("penstock-signature") or ""
        assert header == signature("s3cret", int(AT), asked.body)
        body = json.loads(asked.body)
        assert (body["id"], body["kind"], body["at"], body["words"]) == (alert.id, "budget", AT, alert.words)
        assert body["data"]["spent"] == "0.6"


@pytest.mark.parametrize(
    "script",
    [
        [response(b"no", status=500)],
        [response(b"", status=302, extra="location: /elsewhere\r\n")],
        [Do.CLOSE],
        [Do.RESET],
        [Do.HANG],
        [b"HTTP/1.1 nonsense\r\n\r\n"],
    ],
    ids=["fails", "redirects", "closes", "resets", "hangs", "garbage"],
)
async def test_a_post_that_is_not_taken_is_tried_again_later_and_after_a_restart(
    database: Database, script: list[Step]
) -> None:
    async with upstream(script, [response(b"ok")]) as server:
        site = Site(database, f"{server.url}/hook")
        await site.spend("0.60")
        await site.alerts.look()
        async with posting(site, timeout=2.0) as duty:  # what is given up sooner may not have been asked
            assert await duty.post_due() == Round(failed=1)
            assert await duty.post_due() == Round()
        assert await waiting(database) == 1
        later = Site(database, f"{server.url}/hook", wall=AT + 2.5)
        async with posting(later) as duty:
            assert await duty.post_due() == Round(posted=1)
        first, second = server.asked
        assert json.loads(first.body)["id"] == json.loads(second.body)["id"]
        assert [one.line.split()[1] for one in server.asked] == ["/hook", "/hook"]
        assert await waiting(database) == 0


async def test_nobody_there_is_tried_ever_more_rarely_and_given_up_in_the_end(database: Database) -> None:
    async with upstream([response(b"")]) as server:
        url = f"{server.url}/hook"
    site = Site(database, url)
    await site.spend("0.60")
    await site.alerts.look()
    rounds, waits = 0, 0.0
    async with posting(site) as duty:
        while await waiting(database):
            done = await duty.post_due()
            rounds += done.failed + done.given_up
            site.clock.advance(1_000.0)
            waits += 1_000.0
    assert rounds == webhook.MOST_TRIES
    assert 10 * 3_600 < waits < 24 * 3_600
    assert "penstock_alerts_given_up_total 1.0" in site.scraped()


async def test_without_an_address_nothing_waits_to_be_posted(database: Database) -> None:
    site = Site(database)
    await site.spend("0.60")
    assert await site.told()
    assert await waiting(database) == 0


@pytest.mark.parametrize("url", ["ftp://x/", "nonsense", "http://", "https://x:port/"])
def test_an_address_that_cannot_be_posted_to_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(BadWebhook):
        check(Alerting.model_validate({"webhook": url, "secret": "s"}))


def test_a_webhook_without_a_secret_is_refused_at_the_start() -> None:
    with pytest.raises(BadWebhook, match="secret"):
        check(Alerting(webhook="https://example.org/hook"))


def test_the_signature_is_what_the_page_says() -> None:
    assert signature("key", 1, b"{}") == f"t=1,v1={hmac.new(b'key', b'1.{}', 'sha256').hexdigest()}"
