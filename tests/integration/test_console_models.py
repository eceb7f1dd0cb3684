"""Pages of models and drafts over a real ledger: every number is what its database holds, by a fold without SQL."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import httpx
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine

from console.pages import money, number, percent
from job_contracts.followups import MARK, OF_ROUTE
from job_contracts.money import dollars
from ledger.tables import attempts
from runtime.settings import Config
from tests.support.clock import ManualClock
from tests.support.console import MADE, VIEWER, Served, config, record, served, stored
from tests.support.console_rows import cells, words
from tests.support.ledger_desk import ledger_desk
from tests.support.ledger_rows import Told, folded, put

HOUR, DAY = 3_600, 86_400
NOW = ManualClock().wall()
BEGIN = int(NOW) // HOUR * HOUR - 23 * HOUR
MODELS = ("gpt-5-mini", "gpt-5-nano", "gpt-5")
TAGS = {MARK: "verify", OF_ROUTE: "fast"}


def settings() -> Config:
    """Routes of which one is verified and copied."""
    ours = config()
    verify = {"by": "premium", "mode": "after", "when": "all", "budget": {"day": 1}}
    shadow = {"to": "next", "share": 0.1, "budget": {"day": 1}}
    raw = {
        "providers": {"openai": {"key": "k"}},
        "routes": {
            "fast": {"deployments": ["openai/gpt-5-mini"], "verify": verify, "shadow": shadow},
            "next": {"deployments": ["openai/gpt-5-nano"]},
            "premium": {"deployments": ["openai/gpt-5"]},
        },
        "projects": {"acme": {}, "other": {}},
    }
    return Config.model_validate(raw).model_copy(update={"gateway": ours.gateway, "console": ours.console})


def history() -> list[Told]:
    """Some of it within the last 24 hours, some before; of two projects; some failed, some of it aside."""
    dice, told = random.Random(11), list[Told]()
    for _ in range(400):
        model = dice.choice(MODELS[:2])
        won = dice.random() < 0.8
        told.append(
            Told(
                at=NOW - dice.random() * 3 * DAY,
                project=dice.choice(("acme", "other")),
                route="fast" if model == "gpt-5-mini" else "next",
                model=model,
                reason="shadow" if model == "gpt-5-nano" else "user" if won else "failed",
                won=won,
                cost=dice.randrange(10**9, 10**10),
            )
        )
    told += [
        Told(at=NOW - n * HOUR, project="acme", route="premium", model="gpt-5", reason="verify", tags=TAGS)
        for n in range(40)
    ]
    return told


VERDICTS = ("accept", "accept", "correct", "replace", "accept", "unread", "accept", "accept")


async def _judged(engine: AsyncEngine, told: Sequence[Told]) -> list[str]:
    """Give each verification a verdict, in turns; returns them."""
    said: list[str] = []
    async with engine.begin() as connection:
        for place, one in enumerate(told, 1):
            if one.reason == "verify":
                said.append(VERDICTS[len(said) % len(VERDICTS)])
                await connection.execute(update(attempts).where(attempts.c.id == place).values(verdict=said[-1]))
    return said


@asynccontextmanager
async def over(told: Sequence[Told], directory: Path) -> AsyncIterator[tuple[Served, list[str]]]:
    """A console and a ledger that holds this, on one bus, by one clock."""
    async with (
        served(settings()) as console,
        ledger_desk(console.bus, settings(), directory, clock=console.clock) as engine,
    ):
        await put(engine, told)
        await stored(console.bus, record(MADE))
        yield console, await _judged(engine, told)


async def _page(browser: httpx.AsyncClient, address: str) -> str:
    answer = await browser.get(address)
    assert answer.status_code == 200, answer.text
    return answer.text


def _hours(page: str) -> list[list[str]]:
    """The table behind the sparklines: cells of each hour."""
    text = page[page.index("As a table") :].partition("<tbody>")[2].partition("</tbody>")[0]
    return [words(row).split(" UTC ")[1].split() for row in text.split("</tr>") if "<td" in row]


async def test_health_of_each_hour_is_what_the_ledger_holds(tmp_path: Path) -> None:
    told = history()
    async with over(told, tmp_path) as (console, _):
        for key, project in ((VIEWER, None), (MADE, "acme")):
            recent = [one for one in told if one.at >= BEGIN and project in {None, one.project}]
            sums = folded(recent, ("deployment", "hour"))
            async with console.browser(key) as browser:
                page = await _page(browser, "/models")
            shows = cells(page)
            hours = _hours(page)
            names = [f"openai/{model}" for model in sorted(MODELS)]
            assert len(hours) == 24
            for column, name in enumerate(names):
                for place, row in enumerate(hours):
                    start = BEGIN + (23 - place) * HOUR
                    count, won = sums.get((name, start), [0, 0])[:2]
                    assert row[2 * column : 2 * column + 2] == [number(count), number(count - won)], (name, start)
                every = [group for (of, _), group in sums.items() if of == name]
                attempted, won = (sum(group[at] for group in every) for at in (0, 1))
                assert attempted > 0
                assert shows[f"model-{name}"]["attempts"] == number(attempted)
                assert shows[f"model-{name}"]["did not win"] == number(attempted - won)


async def test_drafts_and_what_ran_aside_are_what_the_ledger_holds(tmp_path: Path) -> None:
    told = history()
    async with over(told, tmp_path) as (console, said):
        async with console.browser(VIEWER) as browser:
            page, day = await _page(browser, "/drafts?days=30"), await _page(browser, "/drafts?days=1")
        async with console.browser(MADE) as browser:
            own = await _page(browser, "/drafts?days=30")
    row = cells(page)["draft-fast"]
    counts = {name: said.count(name) for name in ("accept", "correct", "replace", "unread")}
    assert {name: row[name] for name in counts} == {name: number(count) for name, count in counts.items()}
    read = len(said) - counts["unread"]
    assert row["agreement"] == percent(counts["accept"] / read).replace("\N{NO-BREAK SPACE}", " ")
    drafts = [one for one in told if one.route == "fast"]
    paid, checked = (_cost(those) for those in (drafts, [one for one in told if one.reason == "verify"]))
    assert [row[name] for name in ("answers", "their cost, USD", "verification, USD", "both, USD")] == [
        *(number(len(drafts)), money(paid), money(checked), money(paid + checked)),
    ]
    for shown, since, project in ((page, 0, None), (day, BEGIN - HOUR, None), (own, 0, "acme")):
        those = [one for one in told if one.at >= since and project in {None, one.project}]
        for reason, route in (("shadow", "next"), ("verify", "premium")):
            aside = [one for one in those if one.reason == reason]
            told_of = cells(shown)[f"aside-{reason}-{route}"]
            assert (told_of["attempts"], told_of["cost, USD"]) == (number(len(aside)), money(_cost(aside)))
            assert f"{reason}, in all {number(len(aside))} {money(_cost(aside))}" in words(shown)


def _cost(told: Sequence[Told]) -> Decimal:
    return dollars(sum(one.cost or 0 for one in told))
