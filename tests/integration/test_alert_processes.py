"""Alerts of a ledger that runs as it does in production: told in the log, as a metric and to a webhook that fails.

The webhook is a server of ours that refuses, hangs up and says nothing before it takes anything.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy import func, select

from job_contracts import subjects
from job_contracts.codec import encode
from job_contracts.facts import AttemptFact, Facts
from job_contracts.keys import KeyRecord, Scope
from job_contracts.money import Budget
from ledger.database import Database
from ledger.store import Store
from ledger.tables import attempts, spend
from runtime.broker import Broker
from runtime.bus import NatsBus, connect
from runtime.connection import declared
from runtime.settings import Config
from tests.support.broker import settings
from tests.support.eventually import eventually
from tests.support.ledger_facts import fact
from tests.support.plant import ROOT
from tests.support.upstream import Asked, Do, Upstream, response, upstream
from tests.support.worker_process import Process, ledger_process

pytestmark = pytest.mark.timeout(240)

SECRET = "a secret of this test"
DAY = 86_400.0
TAKEN = [response(b"")]
KEY = "0123abcd4567"


class Site:
    """A broker, a database, a webhook; the ledger's processes come and go."""

    def __init__(self, bus: NatsBus, database: Database, hook: Upstream, path: Path) -> None:
        self.bus, self.database, self.hook, self.path = bus, database, hook, path
        self.number = 0

    async def spend(self, cost: str | None, *, days: float = 0.0, **over: Any) -> None:
        """Tell of one attempt, and wait until it is stored."""
        self.number += 1
        amount = None if cost is None else Decimal(cost)
        one: AttemptFact = fact(self.number, cost=amount, started=time.time() - days * DAY, **over)
        seq = (await self.bus.append(subjects.usage("openai", "w1"), encode(Facts(facts=(one,))))).seq

        async def stored() -> bool:
            return await self.database.wrong() is None and await Store(self.database).position() >= seq

        await eventually(stored, within=15, says="the ledger does not read on")

    def posts(self, *kinds: str) -> list[dict[str, Any]]:
        """The bodies of all posts whose signature is right."""
        found = []
        for asked in self.hook.asked:
            assert genuine(asked), asked
            found.append(json.loads(asked.body))
        return [one for one in found if not kinds or one["kind"] in kinds]

    async def posted(self, alerts: Iterable[str], within: float = 40.0) -> None:
        """Wait until all of these have been posted."""
        wanted = set(alerts)
        await eventually(
            lambda: wanted <= {one["id"] for one in self.posts()}, within=within, says=lambda: f"not posted: {wanted}"
        )

    async def count(self, query: Any) -> int:
        async with self.database.engine.connect() as connection:
            return int((await connection.execute(query)).scalar() or 0)

    async def reconcile(self, text: str) -> int | None:
        """A statement, by the command."""
        file = self.path.parent / "statement.csv"
        file.write_text(text, encoding="utf-8")
        told = ["reconcile", str(file), "--provider", "openai", "--config", str(self.path)]
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ledger", *told, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL
        )
        return await child.wait()


def genuine(asked: Asked) -> bool:
    """As somebody checks it who has only read the page: HMAC-SHA256 over time, dot and body."""
    parts = dict(part.split("=", 1) for part in (asked.header("penstock-signature") or "").split(","))
    signed = f"{parts['t']}.".encode() + asked.body
    expected = hmac.new(SECRET.encode(), signed, sha256).hexdigest()
    return parts["v1"] == expected and abs(time.time() - int(parts["t"])) < 120


@asynccontextmanager
async def running(broker: Broker, database_url: str, folder: Path) -> AsyncIterator[Site]:
    async with upstream(TAKEN) as hook:
        told = {
            "providers": {"openai": {"base_url": "http://127.0.0.1:9", "key": "k"}},
            "routes": {"chat": {"deployments": ["openai/gpt"]}},
            "projects": {"default": {"budget": {"total": "1.00"}}, "free": {}},
            "nats": {"url": broker.url, "max_queue_bytes": 64 * 1024**2},
            "ledger": {
                "database": database_url,
                "auto_migrate": True,
                "linger": 0.01,
                "alerts": {"every": 0.3, "webhook": f"{hook.url}/hook", "secret": SECRET},
            },
        }
        path = folder / "penstock.yaml"
        path.write_text(yaml.safe_dump(told), encoding="utf-8")
        bus = await connect(settings(broker.url))
        await bus.ensure(declared(Config.model_validate(told)))
        database = Database(database_url, pooled=False)
        try:
            yield Site(bus, database, hook, path)
        finally:
            await database.close()
            await bus.close()


def told(process: Process, kind: str | None = None) -> list[dict[str, Any]]:
    """What its log says."""
    return [line for line in process.said("alert.told") if kind in {None, line["kind"]}]


async def metrics(port: int) -> str:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(f"http://127.0.0.1:{port}/metrics")).text


async def test_each_kind_is_told_in_the_log_as_a_metric_and_to_a_webhook_that_fails_before_it_takes_them(
    own_broker: Broker, database_url: str, tmp_path: Path
) -> None:
    async with running(own_broker, database_url, tmp_path) as site, ledger_process(site.path) as process:
        port = await process.ready()
        site.hook.play([response(b"no", status=500)], [Do.CLOSE], [Do.HANG], TAKEN)
        for share in ("0.50", "0.30", "0.20"):
            await site.spend(share)
        await eventually(lambda: len(told(process, "budget")) == 3, within=15)
        assert [line["share"] for line in told(process, "budget")] == [0.5, 0.8, 1.0]

        await eventually(lambda: len(site.hook.asked) >= 3, within=30, says="it is not tried again")
        for day in range(1, 6):  # while the webhook says nothing, the ledger reads on and decides
            await site.spend("0.01", project="free", days=day)
        await site.spend("1.50", project="free")
        await site.spend(None, project="free")
        record = KeyRecord(
            id=KEY, project="free", hash="0" * 64, name="ci", created=1.0, scope=Scope(budget=Budget(total=Decimal(2)))
        )
        await site.bus.append(subjects.key_record(KEY), encode(record))
        await site.spend("1.20", project="free", key=KEY)
        today = time.strftime("%Y-%m-%d", time.gmtime())
        lines = f"date,model,requests,input_tokens,output_tokens\n{today},gpt,90,900,450\n"
        assert await site.reconcile(lines) == 1
        kinds = ("budget", "anomaly", "unpriced", "drift")
        await eventually(lambda: {line["kind"] for line in told(process)} == set(kinds), within=20)
        await eventually(lambda: len(told(process, "budget")) == 4, within=20)
        of_key = told(process, "budget")[-1]
        assert (of_key["payer"], of_key["name"], of_key["label"], of_key["share"]) == ("key", KEY, "ci", 0.5)

        logged = {line["alert"]: line["kind"] for line in told(process)}
        assert len(logged) == len(told(process)), "each is told once"
        await site.posted(logged)
        assert {one["id"]: one["kind"] for one in site.posts()} == logged, "what comes again has the same id"
        scraped = await metrics(port)
        for kind in kinds:
            assert f'penstock_alerts_total{{kind="{kind}"}}' in scraped
            assert f'penstock_alert_active{{kind="{kind}"}} ' in scraped
        assert "penstock_alerts_post_failures_total 3.0" in scraped
        process.child.terminate()
        assert await process.ended() == 0


async def test_an_alert_survives_its_ledger_and_is_posted_by_the_next_one_under_the_same_id(
    own_broker: Broker, database_url: str, tmp_path: Path
) -> None:
    async with running(own_broker, database_url, tmp_path) as site:
        async with ledger_process(site.path) as process:
            await process.ready()
            await site.spend("0.01", days=500)
            site.hook.play([Do.HANG])
            await site.spend("0.60")
            await eventually(lambda: bool(site.hook.asked), within=15)
            process.child.kill()  # decided, and the webhook has not answered
            await process.ended()
            first = {line["alert"] for line in told(process)}
            assert len(first) == 1
        site.hook.play(TAKEN)
        async with ledger_process(site.path) as process:
            await process.ready()
            await eventually(lambda: len(site.hook.asked) == 2, within=15)
            assert not told(process), "it is no new one"
            assert {one["id"] for one in site.posts()} == first

            old = select(func.count()).select_from(attempts).where(attempts.c.at < time.time() - 400 * DAY)

            async def gone() -> bool:
                return await site.count(old) == 0

            await eventually(gone, within=20, says="what is older than its time is still there")
            sums = select(func.sum(spend.c.attempts)).where(spend.c.grain == 24)
            assert await site.count(sums) == 2, "sums stay"

            task = asyncio.create_task(site.spend("0.25"))
            await eventually(lambda: bool(told(process)), within=15, every=0.001)
            process.child.kill()  # decided this very moment
            await process.ended()
            await task
            second = {line["alert"] for line in told(process)}
        async with ledger_process(site.path) as process:
            await process.ready()
            await site.posted(second, within=15)
            assert {line["alert"] for line in told(process)} <= second
            assert {one["id"] for one in site.posts()} == first | second
