"""The console over a real ledger: each number on its pages of spend is the ledger's, and leads to rows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from html import unescape
from pathlib import Path

import httpx
import pytest

from job_contracts.money import dollars
from tests.support.clock import ManualClock
from tests.support.console import ADMIN, MADE, STATIC, Served, config, record, served, stored
from tests.support.ledger_desk import ledger_desk
from tests.support.ledger_rows import Told, put

NOW = ManualClock().wall()
HOUR, DAY = 3_600.0, 86_400.0
NASTY = '"><script>alert(1)</script>'
ATTEMPTS = [
    *(
        Told(
            at=NOW - 5 * HOUR * number,
            project="acme" if number % 3 else "other",
            model=f"gpt-{number % 9}",
            won=bool(number % 5),
            failure=None if number % 5 else "timeout",
            reason="user" if number % 5 else "failed",
            cost=None if number % 17 == 0 else 1_234_567_891_011 + number,
            tags={"team": f"t{number % 2}"} if number % 4 else {},
        )
        for number in range(1, 100)
    ),
    Told(at=NOW - 40 * DAY, project="acme", model=NASTY, route=NASTY, tags={NASTY: NASTY}),
]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Served]:
    async with served() as one, ledger_desk(one.bus, config(), tmp_path, clock=one.clock) as engine:
        await put(engine, ATTEMPTS, read=NOW - 2.0)
        yield one


def figures(page: str) -> dict[str, Decimal]:
    found = re.findall(r'<dd id="([a-z-]+)">(?:<a [^>]*>)?([\d.,]+)', page)
    return {name: Decimal(value.replace(",", "")) for name, value in found}


def links(page: str, to: str) -> list[tuple[str, str]]:
    """Addresses of a page, and what stands there."""
    return [(unescape(one), text) for one, text in re.findall(rf'<a href="({to}\?[^"]*)"[^>]*>([^<]*)</a>', page)]


async def behind(browser: httpx.AsyncClient, address: str) -> list[dict[str, str]]:
    """All attempts that an address leads to, from its file."""
    page = await browser.get(address)
    assert page.status_code == 200, page.text
    (sheet,) = [one for one, _ in links(page.text, "/attempts/attempts.csv")]
    return list(csv.DictReader(io.StringIO((await browser.get(sheet)).text)))


@pytest.mark.parametrize(
    "query",
    ["by=model", "by=project&period=all", "by=tag&tag=team", "by=reason&period=7d", "by=key", "by=model&tag=team=t1"],
)
async def test_every_number_is_of_the_attempts_it_leads_to(site: Served, query: str) -> None:
    async with site.browser(ADMIN) as browser:
        page = (await browser.get(f"/spend?{query}")).text
        for name in ("cost", "waste", "attempts", "unpriced"):
            told = re.search(rf'<dd id="{name}"><a href="([^"]+)">([^<]+)</a>', page)
            assert told is not None, name
            rows = await behind(browser, unescape(told[1]))
            number = Decimal(told[2].replace(",", ""))
            assert number == (_cost(rows) if name in {"cost", "waste"} else len(rows)), name
        numbered = re.findall(r'<tr id="(?:row|at)-[^"]+">(.*?)</tr>', page, re.DOTALL)
        assert numbered
        for row in numbered[:2] + numbered[-1:]:
            for address, text in links(row, "/attempts"):
                rows = await behind(browser, address)
                number = Decimal(text.replace(",", ""))
                assert number == (_cost(rows) if "." in text else len(rows)), (address, text)


def _cost(rows: list[dict[str, str]]) -> Decimal:
    return sum((Decimal(row["cost"] or 0) for row in rows), Decimal(0))


async def test_the_table_behind_the_chart_sums_up_to_the_figures(site: Served) -> None:
    async with site.browser(ADMIN) as browser:
        page = (await browser.get("/spend?by=model&period=30d")).text
    since = (NOW // DAY - 29) * DAY
    known = [one for one in ATTEMPTS if one.at >= since]
    assert figures(page)["cost"] == dollars(sum(one.cost or 0 for one in known))
    rows = re.findall(r'<tr id="at-[^"]+">(.*?)</tr>', page, re.DOTALL)
    cells = [[re.sub(r"<[^>]+>", "", one) for one in re.findall(r"<td[^>]*>(.*?)</td>", row)] for row in rows]
    assert len(rows) == 30
    assert sum(Decimal(one[-2].replace(",", "")) for one in cells) == figures(page)["cost"]
    assert sum(int(one[-1]) for one in cells) == len(known)
    assert all(sum(map(Decimal, one[:-2])) == Decimal(one[-2]) for one in cells)
    assert len(re.findall(r"<title>\d\d-\d\d: ", page)) == 30


async def test_a_projects_key_sees_its_project_alone_whatever_the_address_says(site: Served) -> None:
    own = [one for one in ATTEMPTS if one.project == "acme"]
    async with site.browser(STATIC) as browser:
        for said in ("", "&project=other"):
            page = (await browser.get(f"/spend?period=all&by=project{said}")).text
            assert figures(page)["attempts"] == len(own)
            assert 'id="row-2"' not in page
            assert len(await behind(browser, f"/attempts?period=all{said}")) == len(own)
            sheet = (await browser.get(f"/spend/spend.csv?period=all&by=project{said}")).text
            assert [row.split(",")[0] for row in sheet.splitlines()[1:]] == ["acme"]
            budgets = (await browser.get(f"/spend?show=budgets{said}")).text
            rows = re.findall(r'<tr id="budget-.*?</tr>', budgets, re.DOTALL)
            assert rows
            assert not any("other" in row for row in rows)
            assert "project acme" in budgets


async def test_budgets_say_what_is_used_and_expected_and_a_comparison_what_it_approximates(site: Served) -> None:
    async with site.browser(ADMIN) as browser:
        budgets = (await browser.get("/spend?show=budgets")).text
        assert 'id="budget-1"' in budgets
        assert "5.00" in budgets
        assert "each hour to come costs" in budgets
        elsewhere = (await browser.get("/spend?show=comparison&period=all")).text
    assert "openai/gpt-5-mini" in elsewhere
    assert "another model may count the same text as more or fewer" in elsewhere


async def test_attempts_have_pages_and_their_jobs(site: Served) -> None:
    async with site.browser(ADMIN) as browser:
        page = (await browser.get("/attempts?period=all")).text
        assert len(re.findall(r'<tr id="attempt-', page)) == 100
        assert "Older" not in page
        assert ("/job?project=acme&id=job-7", "job-7") in links(page, "/job")
        one = (await browser.get("/attempts?project=acme&job=job-7")).text
        assert re.findall(r'<tr id="(attempt-[^"]+)"', one) == ["attempt-acme.job-7.1"]
        assert NASTY not in page
        failed = await behind(browser, "/attempts?period=all&failure=timeout&won=false")
    assert len(failed) == sum(one.failure is not None for one in ATTEMPTS)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/spend?by=tag", "write the tag"),
        ("/spend?tag=team", "write name=value"),
        ("/spend?tag=team=t1&reason=user", "sums by tag are not kept by reason"),
        ("/spend?since=never", "is no moment"),
        ("/attempts?job=job-1", "name the project whose job is meant"),
        ("/attempts?after=x", "after"),
        ("/attempts?since=2026-01-02&until=2026-01-01", "ends before it begins"),
    ],
)
async def test_what_cannot_be_asked_is_said_above_the_fields_that_mend_it(
    site: Served, address: str, words: str
) -> None:
    async with site.browser(ADMIN) as browser:
        page = await browser.get(address)
    assert page.status_code == 200
    told = re.search(r'<p class="amiss" role="alert">([^<]+)</p>', page.text)
    assert told is not None
    assert words in unescape(told[1])
    assert 'id="filters"' in page.text


async def test_nothing_spent_is_said_and_without_a_ledger_no_number_is_shown(site: Served) -> None:
    async with site.browser(ADMIN) as browser:
        empty = (await browser.get("/spend?project=nobody")).text
        assert "Nothing was spent in this period" in empty
        assert "No attempt fits" in (await browser.get("/attempts?project=nobody")).text
    async with served() as alone, alone.browser(ADMIN) as browser:
        away = await browser.get("/spend")
        assert (away.status_code, "no ledger answers" in away.text) == (503, True)


async def test_many_names_are_drawn_by_the_dearest_and_are_all_in_the_file(site: Served, tmp_path: Path) -> None:
    many = [Told(at=NOW - HOUR, model=f"m{number:04}", cost=number) for number in range(1_200)]
    (tmp_path / "many").mkdir()
    async with served() as one, ledger_desk(one.bus, config(), tmp_path / "many", clock=one.clock) as engine:
        await put(engine, many, read=NOW)
        async with one.browser(ADMIN) as browser:
            page = (await browser.get("/spend?period=today")).text
            sheet = (await browser.get("/spend/spend.csv?period=today")).text
    assert figures(page)["attempts"] == 1_200
    assert "1,150 more are in the file" in page
    drawn = re.findall(r"<title>[^<]*m1199[^<]*</title>", page)
    assert len(drawn) == 1
    assert "all others" in drawn[0]
    assert len(sheet.splitlines()) == 1_201
    assert sheet.splitlines()[1].startswith("m1199,")


async def test_attempts_of_an_arm_are_found_over_pages_and_an_arm_is_shown_where_there_is_one(
    site: Served, tmp_path: Path
) -> None:
    tried = [Told(at=NOW - 60.0 * number, experiment="exp", arm="ab"[number % 2]) for number in range(250)]
    (tmp_path / "tried").mkdir()
    async with site.browser(ADMIN) as browser:
        assert "experiment, arm" not in (await browser.get("/attempts")).text
        unknown = (await browser.get("/attempts?arm=b")).text
        assert "name the experiment whose arm is meant" in unknown
        assert 'id="filter-arm" type="text" value="b"' in unknown, "to be mended"
    async with served() as one, ledger_desk(one.bus, config(), tmp_path / "tried", clock=one.clock) as engine:
        await put(engine, [*ATTEMPTS, *tried], read=NOW)
        async with one.browser(ADMIN) as browser:
            first = (await browser.get("/attempts?experiment=exp&arm=b")).text
            assert first.count('<a href="/experiments#arm-exp-b">exp, b</a>') == 100
            (older,) = [address for address, text in links(first, "/attempts") if text == "Older"]
            rest = (await browser.get(older)).text
            assert rest.count(">exp, b</a>") == 25
            whole = await behind(browser, "/attempts?experiment=exp")
            assert [row["arm"] for row in whole] == [told.arm for told in tried]
        await stored(one.bus, record(MADE))
        async with one.browser(MADE) as browser:
            assert (await browser.get("/attempts?experiment=exp")).text.count("<tr id=") == 0, "of another project"
