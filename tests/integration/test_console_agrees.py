"""Over one real leader, the commands and the console's pages name the same numbers: pools, limits, weights, audit."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Callable
from typing import Any

import pytest

from console.asking import OPERATOR, Asking
from console.pages import moment, number
from job_contracts import subjects
from job_contracts.attempts import Assignment
from job_contracts.operating import AskOrder, AuditLine, Rates, ToldLimit, ToldPool
from runtime.broker import Broker
from runtime.bus.port import Bus
from runtime.connection import declared
from runtime.settings import Config
from tests.integration.test_console import rows
from tests.support.console_browser import ACCESS, browsing
from tests.support.eventually import eventually
from tests.support.world import World, config, scheduler_on

BASE = {"dialect": "openai_chat", "base_url": "http://127.0.0.1:1", "key": "k"}
SECTIONS: dict[str, Any] = {
    "gateway": ACCESS,
    "providers": {"alpha": {**BASE, "limits": {"rpm": 6_000, "concurrency": 3}}, "beta": BASE},
    "routes": {"fast": {"strategy": "weighted", "deployments": ["alpha/m", "beta/m"], "weights": {"alpha/m": 3}}},
    "projects": {"demo": {"limits": {"concurrency": 50}}},
}
ORDERS = (
    AskOrder(do="pause", aim="pool", name="beta", by="ann", why="<i>repairs</i>", lasts=7_200),
    AskOrder(do="weigh", aim="weight", name="alpha/m", by="bob", why="slow", factor=0.5, lasts=3_600),
    AskOrder(do="override", aim="limit", name="project:demo", by="ann", limits=Rates(rpm=600), lasts=3_600),
    AskOrder(do="override", aim="limit", name="alpha", by="ann", limits=Rates(rpm=1_200), lasts=3_600),
    AskOrder(do="restore", aim="limit", name="alpha", by="ann"),
)


async def penstock(url: str, *words: str) -> str:
    command = (sys.executable, "-m", "producer_sdk.cli", *words, "--url", url)
    done = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
    said, _ = await done.communicate()
    assert done.returncode == 0, said
    return said.decode()


def holding(_: Assignment) -> None:
    """Takes work and never answers."""


def pools_differ(page: str, told: str) -> list[str]:
    found, shown = [], rows(page)
    for line in told.splitlines():
        pool = ToldPool.model_validate_json(line)
        section = re.search(rf'<section id="pool-{pool.name}">(.*?)</section>', page, re.DOTALL)
        assert section is not None, pool.name
        words = " ".join(re.sub(r"<[^>]+>", " ", section[1]).split())
        waiting = sum(pool.queued.values())
        for wanted in (
            f"{pool.name} {pool.state}",
            f"{number(pool.in_flight)} in flight of {number(pool.slots)} slots; {number(waiting)} ",
        ):
            found += [] if wanted in words else [f"{pool.name}: {wanted!r} is not in {words!r}"]
        for one in pool.deployments:
            cells = shown[f"deployment-{one.name}"]
            weights = ", ".join(f"{route} {weight:g}" for route, weight in one.weights.items())
            if (cells[1], cells[2]) != (number(one.in_flight), one.limit) or not cells[4].startswith(weights):
                found.append(f"{one}: {cells}")
            if one.weighed is not None and f"times {one.weighed.standing.factor:g}" not in cells[4]:
                found.append(f"{one.weighed}: {cells}")
        for worker in pool.workers:
            cells = shown[f"worker-{pool.name}-{worker.name}"]
            if cells[1:3] != [number(worker.attempts), number(worker.slots)]:
                found.append(f"{worker}: {cells}")
    return found


def limits_differ(page: str, told: str) -> list[str]:
    found, shown = [], rows(page)
    for line in told.splitlines():
        limit = ToldLimit.model_validate_json(line)
        for unit in limit.units:
            cells = shown.pop(f"limit-{limit.name}-{unit.unit}")
            if cells[4:6] != [number(unit.reserved), number(unit.size)]:
                found.append(f"{unit}: {cells}")
            if unit.unit == "concurrency" and (cells[3], cells[6]) != (number(unit.used), number(unit.available)):
                found.append(f"{unit}: {cells}")  # what refills has moved on between the two looks
            configured = "" if unit.configured in {None, unit.limit} else f"(configured: {number(unit.configured)})"
            if not cells[7].startswith(number(unit.limit)) or configured not in cells[7]:
                found.append(f"{unit}: {cells}")
    return found + [f"{name} is shown, and no command tells it" for name in shown if name.startswith("limit-")]


def audit_differs(page: str, told: str) -> list[str]:
    found, shown = [], rows(page)
    for line in told.splitlines():
        record = AuditLine.model_validate_json(line)
        cells, entry = shown.pop(f"audit-{record.seq}"), record.entry
        wanted = [str(record.seq), moment(entry.at), entry.by, entry.did, f"{entry.on} {entry.name}".strip()]
        if cells[:5] != wanted or not cells[7].startswith(entry.why or "–"):
            found.append(f"{wanted}: {cells}")
        after = entry.after
        if after is not None and after.until is not None and f"until {moment(after.until)}" not in cells[6]:
            found.append(f"{after}: {cells}")
        if after is not None and after.factor is not None and f"times {after.factor:g}" not in cells[6]:
            found.append(f"{after}: {cells}")
    return found + [f"{name} is shown, and no command tells it" for name in shown]


@pytest.fixture
def settings() -> Config:
    return config(**SECTIONS)


async def test_commands_and_pages_name_the_same_numbers(
    settings: Config, own_broker: Broker, open_bus: Callable[..., Any]
) -> None:
    bus: Bus = await open_bus(own_broker.url)
    await bus.ensure(declared(settings))
    operators: Bus = await open_bus(own_broker.url, inbox_prefix=subjects.inbox_prefix(OPERATOR))
    async with scheduler_on(bus, settings) as world, browsing(settings, operators) as (browser, _):
        await world.pool("alpha", holding, slots=4)
        for order in ORDERS:
            await Asking(operators).order(order)
        for place in range(7):
            await world.submit(f"a-{place}")
        await eventually(lambda: flights(world) == 3, within=8.0)
        pools, limits, audit = await asyncio.gather(
            *(penstock(own_broker.url, *words, "--json") for words in (("pools",), ("limits",), ("audit",)))
        )
        page, audited = (await browser.get("/pools")).text, (await browser.get("/audit")).text
    assert [json.loads(line)["state"] for line in pools.splitlines()] == ["running", "paused"]
    assert [json.loads(line)["name"] for line in limits.splitlines()] == ["alpha", "beta", "project:demo"]
    assert len(audit.splitlines()) == len(ORDERS) + 1, "the orders, and who is logged in"
    assert pools_differ(page, pools) == []
    assert limits_differ(page, limits) == []
    assert audit_differs(audited, audit) == []
    assert "<i>repairs" not in page + audited


def flights(world: World) -> int:
    return 0 if world.scheduler.leading is None else len(world.scheduler.leading.lifeline.flights)
