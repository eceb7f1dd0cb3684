"""What the page of experiments says of an arm is what the attempts come to that its numbers lead to.

The leader, the workers, the ledger (on either database) and the console are the real ones; a simulator plays providers.
"""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from html import unescape
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from catalogue.load import providers
from catalogue.rows import ProviderRow
from console.asking import OPERATOR
from console.assembly import assemble
from console.people import hashed
from job_contracts import subjects
from ledger.database import Database
from ledger.desk import Desk
from ledger.service import Ledger
from producer_sdk.errors import JobFailed
from runtime.bus import BusSettings, connect
from runtime.clock import SystemClock
from runtime.telemetry import Telemetry
from simulator import ProviderSettings, Settings, Simulator
from tests.support.console_rows import cells
from tests.support.eventually import eventually
from tests.support.gateway import Gateway, gateway
from tests.support.stand_in import SECRET, SERVICE

KEY, PEPPER = "psa_" + "a" * 64, "pepper"
JOBS = 40
SERVED: dict[str, dict[str, Any]] = {
    "fast": {"deployments": ["openai/gpt-5+fault=cut@0.5", "openai/gpt-5-mini"]},  # each job costs at two places
    "cheap": {"deployments": ["openai/gpt-5-nano"]},
    "broken": {"deployments": ["openai/gpt-4.1-mini+fault=500"], "max_attempts": 1},
}
ARMS = {"control": "fast", "b": "cheap", "c": "broken"}


PRICES: dict[str, Any] = {"name": "*", "prices": [{"input": 1.0, "output": 4.0}]}
"""Of all models: a job whose cost is not known is in no mean."""


def catalogue() -> dict[str, ProviderRow]:
    row = providers()["openai"].model_dump(exclude_unset=True)
    return {"openai": ProviderRow.model_validate({**row, "models": [PRICES]})}


def values(url: str) -> dict[str, Any]:
    """Three arms: one that is sent on, one that answers, one that fails."""
    challengers = {arm: {"route": route} for arm, route in ARMS.items() if arm != "control"}
    tried = {"route": "fast", "challengers": challengers, "guardrails": [], "ramp": {"steps": [1.0]}}
    return {
        "gateway": {"pepper": PEPPER, "admin_hash": hashed(KEY, PEPPER)},
        "providers": {"openai": {"key": "sk", "base_url": f"{url}/v1"}},
        "routes": SERVED,
        "experiments": {"exp": tried},
    }


@asynccontextmanager
async def browsing(whole: Gateway, database: Database) -> AsyncIterator[tuple[httpx.AsyncClient, Ledger]]:
    """A browser at a console, with a ledger behind it that reads what the gateway tells."""
    async with AsyncExitStack() as stack:
        inbox = subjects.inbox_prefix(OPERATOR)
        login = BusSettings(url=whole.url, user=SERVICE, password=SecretStr(SECRET), inbox_prefix=inbox)
        bus = await connect(login)
        stack.push_async_callback(bus.close)
        clock, telemetry = SystemClock(), Telemetry()
        ledger = Ledger(whole.bus, database, whole.config.ledger, clock, telemetry)
        desk = Desk(whole.bus, database, catalogue(), whole.config, telemetry, clock=clock)
        made = assemble(whole.config, bus=bus, clock=clock, telemetry=telemetry, told=lambda *_: (200, "", b""))
        for duty in (ledger, desk, made.server):
            await duty.start()
            stack.push_async_callback(duty.stop)
        url = f"http://127.0.0.1:{made.server.port}"
        browser = httpx.AsyncClient(base_url=url, headers={"origin": url}, timeout=10.0, verify=False)
        await stack.enter_async_context(browser)
        await browser.post("/login", data={"key": KEY})
        yield browser, ledger


async def behind(browser: httpx.AsyncClient, address: str) -> list[dict[str, str]]:
    """All attempts that an address leads to, from its file."""
    page = (await browser.get(address)).text
    (sheet,) = re.findall(r'<a href="(/attempts/attempts.csv\?[^"]*)"', page)
    return list(csv.DictReader(io.StringIO((await browser.get(unescape(sheet))).text)))


def jobs_of(rows: list[dict[str, str]]) -> set[str]:
    return {row["attempt"].rpartition(".")[0] for row in rows}


async def test_every_number_of_an_arm_is_of_the_attempts_it_leads_to(tmp_path: Path, database: Database) -> None:
    made = Settings(providers=(ProviderSettings(name="openai", dialect="openai"),))
    async with (
        Simulator(made) as simulator,
        gateway(tmp_path, values(simulator.base_url("openai")), catalogue()) as whole,
        browsing(whole, database) as (browser, ledger),
        whole.producer() as producer,
    ):
        handles = await asyncio.gather(
            *(
                producer.submit(model="fast", messages="Hi", session=f"s{number}", max_tokens=20)
                for number in range(JOBS)
            )
        )
        ends = await asyncio.gather(*(one.result() for one in handles), return_exceptions=True)
        assert {type(one) for one in ends if isinstance(one, BaseException)} == {JobFailed}
        outside = await producer.submit(model="fast", messages="Hi", max_tokens=20)
        await outside.result()
        await whole.settled()

        async def told() -> str | None:
            page = (await browser.get("/experiments")).text
            counted = sum(int(cells(page)[f"arm-exp-{arm}"]["jobs"]) for arm in ARMS)
            read = ledger.position == (await whole.bus.stream_state(subjects.LEDGER)).last_seq
            return page if counted == JOBS and read else None

        page = await eventually(told, within=20.0, says="all jobs counted and all attempts booked") or ""
        seen: list[dict[str, str]] = []
        for arm, route in ARMS.items():
            row = re.search(rf'<tr id="arm-exp-{arm}".*?</tr>', page, re.DOTALL)
            assert row is not None
            led = [unescape(one) for one in re.findall(r'href="(/attempts\?experiment=[^"]+)"', row[0])]
            shown = {name: text.replace(",", "") for name, text in cells(page)[f"arm-exp-{arm}"].items()}
            rows = await behind(browser, led[0])
            assert {(one["experiment"], one["arm"], one["route"]) for one in rows} == {("exp", arm, route)}
            assert len(jobs_of(rows)) == int(shown["jobs"])
            won = [one for one in rows if one["won"] == "true"]
            assert len(won) == int(shown["jobs"]) - int(shown["failed"])
            cost = sum((Decimal(one["cost"] or 0) for one in rows), Decimal(0))
            assert shown["mean cost, USD"] == f"{cost / int(shown['jobs']):.6f}"
            others = [await behind(browser, one) for one in led[1:]]
            wins = {address: "won=true" in address for address in led}
            for address, found in zip(led[1:], others, strict=True):
                if "won=" in address:
                    assert found == [one for one in rows if (one["won"] == "true") is wins[address]]
                else:
                    assert found == rows
            if arm == "control":
                assert len(rows) > len(won) == int(shown["jobs"]), "no job was sent on, so nothing of that is compared"
                assert any(Decimal(one["cost"]) for one in rows if one not in won)
            assert (int(shown["failed"]) == int(shown["jobs"])) is (arm == "c")
            seen += rows
        whole_of_it = await behind(browser, "/attempts?experiment=exp&period=all")
        assert sorted(one["attempt"] for one in whole_of_it) == sorted(one["attempt"] for one in seen)
        whole_route = await behind(browser, "/attempts?period=all&route=fast")
        without = [one for one in whole_route if not one["experiment"]]
        assert {one["attempt"].split(".")[1] for one in without} == {outside.id}, "who has no session takes no part"
