"""What pages and commands say is what SQL, the broker, the leader and the providers' own meter say, to the last digit.

In a quiet moment everything is held against everything; while jobs flow, a page against what two looks that agree say.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest
from playwright.async_api import Browser

from console.pages import money, number, size
from job_contracts import subjects
from job_contracts.codec import decode
from job_contracts.facts import Facts
from job_contracts.finding import AskFind
from job_contracts.letters import DeadLetter
from job_contracts.money import dollars, window_start
from job_contracts.operating import AskAudit
from runtime.clock import SystemClock
from simulator.reports import BillReport
from tests.integration.test_console_agrees import limits_differ, pools_differ
from tests.support.agreement import Agreement, agreement
from tests.support.browsing import Tab, tab
from tests.support.eventually import eventually
from tests.support.staged import Stage

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(240)]

SUMS = (
    "COALESCE(SUM(cost), 0), COALESCE(SUM(CASE WHEN won THEN 0 ELSE cost END), 0), COUNT(*), COALESCE(SUM(won), 0), "
    "COALESCE(SUM(input), 0), COALESCE(SUM(cache_read), 0), COALESCE(SUM(output), 0), COALESCE(SUM(cost IS NULL), 0)"
)
"""In the order of the columns of the page of spend."""
FROM = "FROM attempts JOIN sources ON sources.id = attempts.source"
OWED = (
    "SELECT SUM(CASE WHEN credit = :account THEN amount ELSE 0 END) - "
    "SUM(CASE WHEN debit = :account THEN amount ELSE 0 END) FROM entries"
)
USAGE = f"{subjects.PREFIX}.usage.>"
MOST = 100_000
"""Messages of a stream that are read."""


def asked(stage: Stage, sql: str, **values: object) -> list[tuple[Any, ...]]:
    """Of the ledger's database itself."""
    with closing(stage.sql()) as book:
        return book.execute(sql, values).fetchall()


def cells(row: tuple[Any, ...]) -> list[str]:
    """Sums as the page of spend writes them."""
    cost, waste, *counts = row
    return [money(dollars(cost)), money(dollars(waste)), *map(number, counts)]


def spent(stage: Stage) -> list[str]:
    """Of everything."""
    (row,) = asked(stage, f"SELECT {SUMS} {FROM}")
    return cells(row)


def of_figures(shown: dict[str, str]) -> list[str]:
    """The same as the page's figures say it; those that won are in its table alone."""
    names = ("cost", "waste", "attempts", "tokens-in", "tokens-out", "unpriced")
    return [shown[name].replace("\n", " ") for name in names]


def figured(row: list[str]) -> list[str]:
    """What of the sums the figures say."""
    return [row[place] for place in (0, 1, 2, 4, 6, 7)]


async def lying(stage: Stage, stream: str, subject: str = ">") -> list[Any]:
    return list(await stage.bus.run(stream, 1, subject, limit=MOST, size=2**30))


async def open_letters(stage: Stage) -> Counter[str]:
    """What DEAD holds, by cause."""
    every = [decode(DeadLetter, one.data) for one in await lying(stage, subjects.DEAD, subjects.letters_of("*"))]
    return Counter(letter.fingerprint for letter in every if letter.state == "open")


async def compared(stage: Stage) -> Agreement:
    """LEDGER's facts beside the providers' bills."""
    facts = [fact for one in await lying(stage, subjects.LEDGER, USAGE) for fact in decode(Facts, one.data).facts]
    bills = BillReport.model_validate(await stage.appliance.simulator("/bills"))
    assert not bills.forgotten
    return agreement(facts, bills.lines)


async def penstock(stage: Stage, *words: str) -> list[dict[str, Any]]:
    """What a command says as JSON, line by line, in another process."""
    own = ("--url", str(stage.appliance.card["gateway_url"]), "--admin-key", stage.key("admin"))
    where = own if words[0] == "spend" else ("--url", stage.operators)
    command = (sys.executable, "-m", "producer_sdk.cli", *words, "--json", *where)
    done = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    said, amiss = await done.communicate()
    assert done.returncode == 0, amiss
    return [json.loads(line) for line in said.splitlines()]


async def plain(seen: Tab, path: str) -> str:
    """A page as it is sent."""
    answer = await seen.context.request.get(f"{seen.origin}{path}")
    assert answer.ok, path
    return await answer.text()


# ------------------------------------------------------------------------------------------------------ a quiet moment


async def test_in_a_quiet_moment_every_page_says_what_its_sources_say(browser: Browser, stage: Stage) -> None:
    """One moment for all of it: making it quiet is what takes long."""
    async with tab(browser, stage.origin, stage.key("admin")) as seen:
        await seen.go("/spend?by=provider&period=all")
        await stage.burst(48)
        await eventually(lambda: asked(stage, "SELECT COUNT(*) > 50 FROM attempts")[0][0], within=60.0)
        await eventually(lambda: Decimal(spent(stage)[1]), within=60.0, says="nothing is wasted")
        async with stage.quiet():
            await _spend_agrees(stage, seen)
            await _attempts_agree(stage, seen)
            await _models_agree(stage, seen)
            await _jobs_agree(stage, seen)
            await _letters_agree(stage, seen)
            await _commands_agree(stage, seen)
            await _workers_and_streams_agree(stage, seen)
            await _keys_drafts_and_a_job_agree(stage, seen)
            await _arms_agree(stage, seen)
            await _the_audit_agrees(stage, seen)
        assert not seen.amiss


async def _spend_agrees(stage: Stage, seen: Tab) -> None:
    """The page that stood open all the time says it by itself; by project, it is opened."""
    total = spent(stage)
    wanted = figured(total)
    await seen.page.wait_for_function(
        "told => document.getElementById('cost').innerText === told[0]"
        " && document.querySelector('#attempts').innerText === told[1]",
        arg=[wanted[0], wanted[2]],
    )
    for by in ("provider", "project", "route"):
        if by != "provider":
            await seen.go(f"/spend?by={by}&period=all")
        assert of_figures(await seen.figures()) == wanted
        groups = {name: cells(tuple(row)) for name, *row in asked(stage, f"SELECT {by}, {SUMS} {FROM} GROUP BY 1")}
        shown = {row[0]: row[2:] for name, row in (await seen.rows()).items() if name.startswith("row-")}
        assert list(shown.values()) == [groups[_as_written(groups, name)] for name in shown]
        assert len(shown) == len(groups)
        if by == "provider":
            for name, row in groups.items():
                assert money(dollars(asked(stage, OWED, account=f"provider:{name}")[0][0])) == row[0], name
    found = await compared(stage)
    assert not found.wrong, found.wrong
    told = sum((guess.told.cost or Decimal(0) for guess in found.guesses), Decimal(0))
    billed = sum((guess.billed.cost or Decimal(0) for guess in found.guesses), Decimal(0))
    meter = await stage.appliance.simulator("/meter")
    assert money(Decimal(meter["total"]["cost_usd"]) - billed + told) == total[0]
    assert Decimal(meter["total"]["cost_usd"]) > billed, "nothing of it is more than a guess"
    await seen.go("/overview")
    day = window_start("day", SystemClock().wall())
    ((today,),) = asked(stage, "SELECT SUM(cost) FROM attempts WHERE at >= :day", day=day)
    assert (await seen.figures())["spent-today"] == money(dollars(today))


def _as_written(groups: dict[str, Any], shown: str) -> str:
    """A name as it is stored: a page writes characters that hide or turn others so that they are seen."""
    return next(name for name in groups if " ".join(name.split()) == shown)


async def _attempts_agree(stage: Stage, seen: Tab) -> None:
    columns = "attempt, project, route, deployment, input, cache_read, output, cost"
    every = asked(stage, f"SELECT {columns} {FROM} ORDER BY at DESC, attempts.id DESC")
    await seen.go("/attempts?period=all")
    shown = await seen.rows()
    assert list(shown) == [f"attempt-{row[0]}" for row in every[:100]]
    for attempt, project, route, deployment, taken, cached, given, cost in every[:100]:
        row = shown[f"attempt-{attempt}"]
        assert row[6:9] == [project, " ".join(route.split()), deployment]
        assert row[10].removesuffix(" (estimated)") == number(taken)
        assert row[11:13] == [number(cached), number(given)]
        priced = "not priced" if cost is None else money(dollars(cost))
        assert " ".join(row[5].split()).removesuffix(" (stated)") == priced
    sheet = list(csv.DictReader(io.StringIO(await plain(seen, "/attempts/attempts.csv?period=all"))))
    assert [line["attempt"] for line in sheet] == [row[0] for row in every]
    assert sum(Decimal(line["cost"] or 0) for line in sheet) == dollars(sum(row[-1] or 0 for row in every))


async def _models_agree(stage: Stage, seen: Tab) -> None:
    hours = asked(
        stage,
        f"SELECT deployment, CAST(at / 3600 AS INTEGER) * 3600, COUNT(*), SUM(NOT won) {FROM} GROUP BY 1, 2",
    )
    attempts, lost = Counter[str](), Counter[str]()
    for name, _, count, without in hours:
        attempts[name], lost[name] = attempts[name] + count, lost[name] + without
    await seen.go("/models")
    shown = {name.removeprefix("model-"): row for name, row in (await seen.rows()).items()}
    assert set(attempts) <= set(shown)
    for name, row in shown.items():
        assert row[4:6] == [number(attempts[name]), number(lost[name])], name
    (fullest, _), *_ = attempts.most_common(1)
    told = await plain(seen, f"/models?on={fullest}")
    of_one = [(begin, count, without) for name, begin, count, without in hours if name == fullest]
    table = [row for row in re.findall(r"<tr>(.*?)</tr>", told, re.DOTALL) if "<time>" in row]
    numbers = [[int(one) for one in re.findall(r'class="n">\s*(?:<a [^>]*>)?(\d+)', row)] for row in table]
    assert [each for each in numbers if each[0]] == [[count, without] for _, count, without in reversed(of_one)]


async def _jobs_agree(stage: Stage, seen: Tab) -> None:
    now, told = await stage.leader.overview(), await stage.leader.jobs(AskFind(limit=50))
    await seen.go("/jobs")
    shown = await seen.rows()
    assert await seen.words("#matching") == number(now.known)
    assert list(shown) == [f"job-{one.project}-{one.job}" for one in told.jobs]
    held = {subjects.project_and_job(one.subject) for one in await lying(stage, subjects.stream_name(subjects.SUBMIT))}
    assert len(held) == now.known
    assert {(one.project, one.job) for one in told.jobs} <= held
    assert {row[2] for row in shown.values()} <= {"queued", "held"}
    commanded = await penstock(stage, "jobs", "list", "--limit", "100000")
    assert {(one["project"], one["job"]) for one in commanded} == held
    await seen.go("/jobs?view=ended")
    ended = await seen.rows()
    assert ended
    for name, row in ended.items():
        job = name.removeprefix("job-demo-")
        of = f"%.{job}.%"
        ((cost, known),) = asked(
            stage, "SELECT SUM(cost), COUNT(cost) = COUNT(*) FROM attempts WHERE attempt LIKE :of", of=of
        )
        won = asked(stage, "SELECT input, output FROM attempts WHERE attempt LIKE :of AND won", of=of)
        assert row[9] == (money(dollars(cost)) if cost is not None and known else "–"), row
        if won:
            assert row[7:9] == [number(one) for one in won[0]]


async def _letters_agree(stage: Stage, seen: Tab) -> None:
    causes = await open_letters(stage)
    await seen.go("/dead")
    shown = {name.removeprefix("cause-"): int(row[1]) for name, row in (await seen.rows()).items()}
    assert shown == causes
    assert await seen.words("#count") == number(causes.total())
    commanded = await penstock(stage, "dead", "list", "--all-projects")
    assert {one["fingerprint"]: one["count"] for one in commanded} == causes


async def _workers_and_streams_agree(stage: Stage, seen: Tab) -> None:
    now = await stage.leader.overview()
    figures, lanes = await _overview(seen)
    queued = sum(lane.queued for lane in now.lanes)
    told = {"known": now.known, "in-flight": now.in_flight, "queued": queued, "unread": now.unread}
    assert {name: figures[name] for name in told} == {name: number(count) for name, count in told.items()}
    assert lanes == {lane.name: number(lane.queued) for lane in now.lanes}
    counts = seen.page.locator("#shown a[href^='/jobs']")
    led = await counts.evaluate_all("all => all.map(one => [one.getAttribute('href'), one.innerText.split(/\\s/)[0]])")
    assert len(led) > len(now.pools)
    for path, count in led:
        assert f'<strong id="matching">{count}<' in await plain(seen, path), path
    await seen.go("/workers")
    assert {name: row[3:5] for name, row in (await seen.rows()).items()} == {
        f"worker-{pool.name}-{one.name}": [number(one.attempts), number(one.slots)]
        for pool in now.pools
        for one in pool.workers
    }
    await seen.go("/health")
    shown = await seen.rows()
    for stream in (subjects.LEDGER, subjects.DEAD, subjects.RES, subjects.stream_name(subjects.SUBMIT)):
        state = await stage.bus.stream_state(stream)
        assert [shown[f"stream-{stream}"][place] for place in (4, 6)] == [number(state.messages), size(state.bytes)]
    ((count,),) = asked(stage, "SELECT COUNT(*) FROM attempts")
    figures = await seen.figures()
    assert (figures["ledger-attempts"], figures["ledger-unread"]) == (number(count), "0")


async def _overview(seen: Tab) -> tuple[dict[str, str], dict[str, str]]:
    await seen.go("/overview")
    rows = await seen.rows()
    return await seen.figures(), {row[0]: row[2] for name, row in rows.items() if name.startswith("lane-")}


async def _keys_drafts_and_a_job_agree(stage: Stage, seen: Tab) -> None:
    await seen.go("/keys")
    used = asked(stage, f"SELECT key, COUNT(*), SUM(cost) {FROM} WHERE key != '' GROUP BY 1")
    counted = {f"key-{key}": [number(count), money(dollars(cost or 0))] for key, count, cost in used}
    shown = {name: row[10:12] for name, row in (await seen.rows()).items() if name.startswith("key-")}
    assert shown == {name: counted.get(name, ["0", "0.00"]) for name in shown}
    assert set(counted) <= set(shown)
    await seen.go("/drafts")
    beside = f"SELECT reason, route, COUNT(*), SUM(cost) {FROM} WHERE reason IN ('shadow', 'verify') GROUP BY 1, 2"
    told = {
        f"aside-{why}-{route}": [number(count), money(dollars(cost))]
        for why, route, count, cost in asked(stage, beside)
    }
    assert told
    assert {name: row[3:5] for name, row in (await seen.rows()).items() if name.startswith("aside-")} == told
    ((failed,), *_) = asked(stage, f"SELECT attempt {FROM} WHERE route = 'failing' ORDER BY at DESC, attempts.id DESC")
    job = failed.split(".")[1]
    await seen.go(f"/job?project=demo&id={job}")
    wanted = "attempt, deployment, failure, input, output, cost"
    every = asked(stage, f"SELECT {wanted} {FROM} WHERE attempt LIKE :of ORDER BY attempt", of=f"demo.{job}.%")
    assert {name: [row[1], row[2], *row[6:9]] for name, row in (await seen.rows()).items()} == {
        f"attempt-{attempt.rpartition('.')[2]}": [
            deployment,
            failure,
            number(taken),
            number(given),
            money(None if cost is None else dollars(cost)),
        ]
        for attempt, deployment, failure, taken, given, cost in every
    }


async def _arms_agree(stage: Stage, seen: Tab) -> None:
    booked = "FROM attempts JOIN arms ON arms.id = attempts.arm WHERE experiment = 'small' AND name = :arm"
    for arm in ("control", "small"):
        those = asked(stage, f"SELECT attempt, won, cost {booked} ORDER BY at DESC, attempts.id DESC", arm=arm)
        jobs, wins = len({attempt.rpartition(".")[0] for attempt, *_ in those}), sum(won for _, won, _ in those)
        cost = dollars(sum(cost for *_, cost in those))
        await seen.go("/experiments")
        shown = (await seen.rows())[f"arm-small-{arm}"]
        assert shown[2:5] == [number(jobs), number(jobs - wins), f"{cost / jobs:.6f}"]
        await seen.page.locator(f"#arm-small-{arm} td:nth-child(3) a").click()
        await seen.page.wait_for_url("**/attempts?experiment=small**")
        assert list(await seen.rows()) == [f"attempt-{attempt}" for attempt, *_ in those[:100]]


async def _the_audit_agrees(stage: Stage, seen: Tab) -> None:
    lie = await lying(stage, subjects.AUDIT)
    await seen.go("/audit")
    shown = list(await seen.rows())
    assert shown == [f"audit-{one.seq}" for one in reversed(lie)][: AskAudit().limit]


async def _commands_agree(stage: Stage, seen: Tab) -> None:
    spend, pools, limits = await asyncio.gather(
        penstock(stage, "spend", "--by", "provider"), penstock(stage, "pools"), penstock(stage, "limits")
    )
    page = await plain(seen, "/pools")
    assert pools_differ(page, "\n".join(map(json.dumps, pools))) == []
    assert limits_differ(page, "\n".join(map(json.dumps, limits))) == []
    await seen.go("/spend?by=provider")
    shown = {row[0]: row[2:] for name, row in (await seen.rows()).items() if name.startswith("row-")}
    commanded = {
        row["provider"]: [
            *(money(Decimal(row[one])) for one in ("cost", "waste")),
            *(number(row[one]) for one in ("attempts", "won", "input", "cache_read", "output", "unpriced")),
        ]
        for row in spend[0]["rows"]
    }
    assert shown == commanded


# ------------------------------------------------------------------------------------------------------ while jobs flow


async def test_while_jobs_flow_a_page_says_what_two_looks_that_agree_say(browser: Browser, stage: Stage) -> None:
    async with tab(browser, stage.origin, stage.key("viewer")) as seen:

        async def spend() -> bool:
            was = spent(stage)
            page = await plain(seen, "/spend?period=all")
            if spent(stage) != was:
                return False
            figures = re.findall(r'<dd id="([a-z-]+)">(?:<a [^>]*>)?([\d.,]+)', page)
            assert of_figures(dict(figures)) == figured(was)
            return True

        async def jobs() -> bool:
            was = (await stage.leader.overview()).known
            page = await plain(seen, "/jobs")
            if (await stage.leader.overview()).known != was:
                return False
            assert f'<strong id="matching">{number(was)}<' in page
            return True

        async def dead() -> bool:
            was = await open_letters(stage)
            page = await plain(seen, "/dead")
            if await open_letters(stage) != was:
                return False
            shown = re.findall(r'<tr id="cause-([^"]+)">.*?<td class="n"><a [^>]*>([\d,]+)<', page, re.DOTALL)
            assert {name: int(count.replace(",", "")) for name, count in shown} == was
            return True

        before = len(stage.jobs)
        for same in (spend, jobs, dead):
            await eventually(same, within=20.0)
        await eventually(lambda: len(stage.jobs) > before, within=5.0)  # they did flow
