"""The console over a real leader: every number on a page is the leader's, every order is in force and in the audit."""

from __future__ import annotations

import re
from html import unescape

import httpx

from console.asking import OPERATOR, Asking
from job_contracts import subjects
from job_contracts.operating import AskAudit, Overview
from runtime.bus.memory import MemoryBroker
from runtime.settings import Config
from tests.support.console_browser import ACCESS, browsing
from tests.support.eventually import eventually
from tests.support.world import config, world

SECTIONS = {
    "gateway": ACCESS,
    "providers": {
        "alpha": {"dialect": "openai_chat", "base_url": "http://127.0.0.1:1", "key": "k", "limits": {"rpm": 6_000}}
    },
}
JOBS = 7


def rows(page: str) -> dict[str, list[str]]:
    """The rows of all tables that have an id: their cells, as they are read."""
    found = re.findall(r'<tr id="([^"]+)"[^>]*>(.*?)</tr>', page, re.DOTALL)
    return {
        name: [_words(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)] for name, row in found
    }


def _words(cell: str) -> str:
    return " ".join(unescape(re.sub(r"<svg.*?</svg>|<[^>]+>", " ", cell, flags=re.DOTALL)).split())


def _matches(page: str, now: Overview) -> bool:
    """Whether a page says what the leader said; what grows by the second aside."""
    shown = rows(page)
    for pool in now.pools:
        cells = shown[f"pool-{pool.name}"]
        waiting = sum(pool.queued.values())
        told = [f"{pool.in_flight:,}", f"{pool.slots:,}", str(len(pool.workers)), f"{waiting:,}"]
        if [cells[3], *(cell.split(" ")[0] for cell in cells[4:7])] != told or not cells[1].startswith(pool.state):
            return False
    for lane in now.lanes:
        if shown[f"lane-{lane.name}"][2] != f"{lane.queued:,}":
            return False
    for limit in now.limits:
        for unit in limit.units:
            cells = shown[f"limit-{limit.name}-{unit.unit}"]
            if (cells[4], cells[5]) != (f"{unit.reserved:,.0f}", f"{unit.size:,.0f}"):
                return False
    figures = dict(re.findall(r'<dd id="([a-z-]+)">(?:<a [^>]*>)?([\d,]+)<', page))
    return (figures["known"], figures["in-flight"]) == (f"{now.known:,}", f"{now.in_flight:,}")


async def _same(browser: httpx.AsyncClient, asking: Asking) -> bool:
    """The page between two equal moments of the leader."""
    before = await asking.overview()
    page = (await browser.get("/overview")).text
    return before.known == JOBS and _matches(page, before)


async def test_what_operators_see_is_what_the_leader_has_and_what_they_order_is_done() -> None:
    broker = MemoryBroker()
    bus = broker.bus(inbox_prefix="_INBOX_demo")
    operators = broker.bus(inbox_prefix=subjects.inbox_prefix(OPERATOR))
    settings: Config = config(**SECTIONS)
    async with world(bus, **SECTIONS) as demo:
        await demo.pool("alpha", answering=lambda _: None, slots=4)
        for number in range(JOBS):
            await demo.submit(f"a-{number}")
        async with browsing(settings, operators) as (browser, asking):
            await eventually(lambda: _same(browser, asking), within=15.0)
            page = (await browser.get("/pools")).text
            forms = re.search(r'name="forms" value="([^"]+)"', page)
            assert forms is not None
            order = {
                "forms": forms[1],
                "on": "pool:beta",
                "do": "pause",
                "why": "repairs",
                "lasts": "1",
                "unit": "h",
            }
            await browser.post("/pools/order", data=order)
            said = (await browser.get("/pools")).text
            assert "pause beta: in force" in said
            now = await asking.overview()
            assert {pool.name: pool.state for pool in now.pools} == {"alpha": "running", "beta": "paused"}
            assert rows((await browser.get("/overview")).text)["pool-beta"][1] == "paused"
            audit = await asking.audit(AskAudit())
            assert [(line.entry.by, line.entry.did, line.entry.name) for line in audit.lines][:2] == [
                ("admin", "pause", "beta"),
                ("admin", "login", "admin"),
            ]
            shown = rows((await browser.get("/audit")).text)
            assert set(shown) == {f"audit-{line.seq}" for line in audit.lines}
