"""What the page of spend says is what a provider metered: a worker, a simulated provider, a ledger, a console."""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal
from pathlib import Path

from sqlalchemy import func, select

from catalogue.load import providers
from catalogue.prices import Price
from catalogue.rows import ModelRow
from job_contracts import subjects
from job_contracts.codec import decode
from job_contracts.facts import AttemptFact, Facts
from job_contracts.money import dollars
from ledger.bookings import booking
from ledger.database import Database
from ledger.desk import Desk
from ledger.store import Store
from ledger.tables import attempts, entries
from runtime.clock import SystemClock
from runtime.telemetry import Telemetry
from simulator import Settings, Simulator
from tests.support.agreement import agreement, settled
from tests.support.console import ADMIN, config, served
from tests.support.eventually import eventually
from tests.support.worker import bench

MODEL = "gpt-4o-mini"
PRICE = Price(input=Decimal(1), cache_read=Decimal("0.1"), cache_write=Decimal("1.25"), output=Decimal(4))
SUFFIXES = ("", "+tokens=300", "+think=40+tokens=20", "+fault=503", "+fault=cut@0.5+tokens=200", "+fault=400")


async def test_the_page_the_book_and_the_providers_meter_agree_to_the_last_digit(tmp_path: Path) -> None:
    row = providers()["openai"].changed(changes=(ModelRow(name="*", prices=(PRICE,)),))
    async with Simulator(Settings(longest_hold=5.0)) as simulator:
        async with bench(f"{simulator.base_url('openai')}/v1", catalogue={"alpha": row}, slots=32) as worker:
            given = [
                await worker.hand(
                    worker.assignment(
                        deployment=f"alpha/{MODEL}{suffix}", provider="alpha", model=f"{MODEL}{suffix}", stream=stream
                    )
                )
                for suffix in SUFFIXES
                for stream in (False, True)
            ]
            await asyncio.gather(*map(worker.settled, given))
            facts = [fact for one in worker.messages(subjects.LEDGER) for fact in decode(Facts, one.data).facts]
        names = {fact.attempt for fact in facts}
        await eventually(lambda: names <= {line.request_id for line in simulator.control.bills().lines})
        bills = simulator.control.bills().lines
    # what was cut is known from the provider's statement alone, as the ledger has it once that is imported
    counted = settled(facts, bills)
    assert agreement(counted, bills).exact
    metered = sum((line.cost_usd for line in bills), Decimal(0))
    assert metered > 0
    page = await _page(tmp_path, counted, metered)
    shown = {
        name: value.replace(",", "") for name, value in re.findall(r'<dd id="([a-z-]+)">(?:<a [^>]*>)?([\d.,]+)', page)
    }
    assert Decimal(shown["cost"]) == metered
    assert int(shown["attempts"]) == len(given)
    assert int(shown["tokens-out"]) == sum(line.output_tokens for line in bills)


async def _page(tmp_path: Path, facts: tuple[AttemptFact, ...], metered: Decimal) -> str:
    """Of a console over a ledger that has stored these facts, and whose book says what was metered."""
    database = Database(f"sqlite:///{tmp_path}/ledger.db", pooled=False)
    await database.migrate()
    now = SystemClock().wall()
    await Store(database).store([booking(one) for one in facts], before=0, through=1, at=now)
    async with database.engine.connect() as connection:
        (cost,) = (await connection.execute(select(func.sum(attempts.c.cost)))).one()
        owed = select(func.sum(entries.c.amount)).where(entries.c.credit == "provider:alpha")
        (booked,) = (await connection.execute(owed)).one()
    assert dollars(cost) == dollars(booked) == metered
    async with served(clock=SystemClock()) as site:
        desk = Desk(site.bus, database, providers(), config(), Telemetry())
        await desk.start()
        async with site.browser(ADMIN) as browser:
            page = await browser.get("/spend?by=model&period=all")
        await desk.stop()
    await database.close()
    assert page.status_code == 200
    return page.text
