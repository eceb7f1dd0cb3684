"""From facts to figures: what the ledger's own store and process made of facts is what reports tell."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import yaml

from job_contracts import subjects
from job_contracts.codec import decode, encode
from job_contracts.facts import Facts
from job_contracts.spend import AskAttempts, AskSpend, Spend
from ledger.bookings import booking
from ledger.database import Database
from ledger.reports import Reports
from ledger.store import Store
from runtime.broker import Broker
from runtime.bus import connect
from runtime.connection import declared
from runtime.settings import Config
from tests.support.broker import settings
from tests.support.eventually import eventually
from tests.support.ledger_facts import HOSTILE, fact
from tests.support.worker_process import ledger_process

TOLD = {
    "providers": {"openai": {"base_url": "http://127.0.0.1:9", "key": "${OPENAI_KEY}", "slots": 4}},
    "routes": {"chat": {"deployments": ["openai/gpt"]}},
    "nats": {"max_queue_bytes": 64 * 1024**2},
}


async def test_texts_that_no_database_would_take_are_stored_and_asked_for_without_harm(database: Database) -> None:
    told = [
        fact(number, route=text, tags={text or "tag": text, "team": str(number % 2)})
        for number, text in enumerate(HOSTILE)
    ]
    await Store(database).store([booking(one) for one in told], before=0, through=1, at=1.0)
    reports = Reports(database.engine)
    by_route = await reports.spend(AskSpend(by=("route",)), 2.0)
    assert by_route.total.attempts == len(told)
    for row in by_route.rows:
        assert len((await reports.attempts(AskAttempts(route=row.route), 2.0)).rows) == row.attempts
    for value in ("0", "1"):
        sums = await reports.spend(AskSpend(tag="team", tag_value=value), 2.0)
        behind = await reports.attempts(AskAttempts(tag="team", tag_value=value), 2.0)
        assert len(behind.rows) == sums.total.attempts > 0


async def test_a_ledgers_process_answers_what_it_was_told(
    own_broker: Broker, database_url: str, tmp_path: Path
) -> None:
    bus = await connect(settings(own_broker.url))
    await bus.ensure(declared(Config.model_validate(TOLD)))
    config = tmp_path / "penstock.yaml"
    own = {"database": database_url, "auto_migrate": True, "linger": 0}
    nats = {"url": own_broker.url, "max_queue_bytes": 64 * 1024**2}
    config.write_text(yaml.safe_dump({**TOLD, "nats": nats, "ledger": own}))
    facts = tuple(fact(number, won=number % 2 > 0) for number in range(10))
    await bus.append(subjects.usage("openai", "w1"), encode(Facts(facts=facts)))

    async def told() -> Spend | None:
        question = encode(AskSpend(by=("deployment",)))
        answer = decode(Spend, (await bus.request(subjects.ledger_desk("spend"), question, timeout=10)).data)
        return answer if answer.total.attempts == len(facts) else None

    async with ledger_process(config) as process:
        await process.ready()
        found = await eventually(told, within=20, says=lambda: str(process.lines[-3:]))
        assert found is not None
        (row,) = found.rows
        assert (row.deployment, row.won, row.cost, row.waste) == ("openai/gpt", 5, Decimal("0.1"), Decimal("0.05"))
        assert found.through is not None
        process.child.terminate()
        assert await asyncio.wait_for(process.child.wait(), 20) == 0
    await bus.close()
