"""Jobs in the console over a real leader: page, command and leader agree, and cancels hit what was counted alone."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from html import unescape
from typing import Any

from console.asking import OPERATOR
from job_contracts import subjects
from job_contracts.finding import AskFind, JobPage
from job_contracts.jobs import JobState
from job_contracts.operating import AskAudit
from runtime.broker import Broker
from runtime.bus.memory import MemoryBroker
from tests.support.console_browser import ACCESS, browsing
from tests.support.eventually import eventually
from tests.support.world import World, config, world

SECTIONS: dict[str, Any] = {
    "gateway": ACCESS,
    "projects": {"demo": {}, "other": {}},
}


async def known(demo: World, count: int) -> None:
    board = demo.scheduler.board
    assert board is not None
    await eventually(lambda: board.known == count, within=8.0, says="not all submissions were read, or jobs ended")


def rows(page: str) -> list[list[str]]:
    """Cells of the jobs on a page."""
    found = re.findall(r'<tr id="job-[^"]+"[^>]*>(.*?)</tr>', page, re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in found]
    return [[" ".join(unescape(re.sub(r"<[^>]+>", " ", one)).split()) for one in row] for row in cells]


def matches(page: str, told: JobPage) -> bool:
    """Whether a page says what the leader said."""
    shown = [(row[0], row[1], row[2], row[5], row[8], row[3]) for row in rows(page)]
    return shown == [
        (one.job, one.project, one.state.value, one.route, one.lane, one.waiting_for or "–") for one in told.jobs
    ]


async def test_the_page_is_the_leaders_and_all_that_were_counted_are_cancelled_and_no_later_one() -> None:
    broker = MemoryBroker()
    async with world(broker.bus(inbox_prefix="_INBOX_demo"), **SECTIONS) as demo:
        await demo.pool("alpha", answering=lambda _: None, slots=3)
        for number in range(12):
            project = "other" if number % 3 == 0 else "demo"
            await demo.submit(f"a-{number}", project=project, tags={"run": "7" if number % 2 else "8"})
        await known(demo, 12)
        async with browsing(config(**SECTIONS), broker.bus(inbox_prefix=subjects.inbox_prefix(OPERATOR))) as (
            browser,
            asking,
        ):

            async def same() -> bool:
                told = await asking.jobs(AskFind(project="demo"))
                page = (await browser.get("/jobs?project=demo")).text
                return len(told.jobs) == 8 and matches(page, told)

            await eventually(same, within=10.0, says="the page is not the leader's")
            page = (await browser.get("/jobs?tag=run%3D7&project=demo&ask=cancel")).text
            hidden = re.findall(
                r'<input type="hidden" name="([a-z_]+)" value="([^"]*)">', page.partition('id="cancel"')[2]
            )
            form = {name: unescape(value) for name, value in hidden}
            assert form["counted"] == "4"
            for number in range(12, 16):
                await demo.submit(f"a-{number}", tags={"run": "7"})
            await known(demo, 16)
            await browser.post("/jobs/cancel_all?tag=run%3D7&project=demo", data={**form, "why": "wrong prompt"})
            counted = ["a-1", "a-5", "a-7", "a-11"]
            for job in counted:
                assert (await demo.result(job)).state == JobState.CANCELLED
            await known(demo, 12)
            left = {one.job for one in (await asking.jobs(AskFind())).jobs}
            assert left == {f"a-{number}" for number in range(16)} - set(counted)
            assert [row[0] for row in rows((await browser.get("/jobs?tag=run%3D7&project=demo")).text)] == [
                f"a-{number}" for number in range(12, 16)
            ]
            ended = rows((await browser.get("/jobs?view=ended")).text)
            assert {row[0] for row in ended} == set(counted)
            assert {row[2] for row in ended} == {"cancelled"}
            one = (await browser.get("/job?project=demo&id=a-1")).text
            assert "cancelled by admin: wrong prompt" in one
            lines = (await asking.audit(AskAudit(did="cancel all"))).lines
            assert [(line.entry.name, line.entry.detail.get("cancelled")) for line in lines] == [
                ("ended", "4"),
                ("begun", None),
            ]


async def test_the_command_and_the_page_list_the_same_jobs(own_broker: Broker, open_bus: Callable[..., Any]) -> None:
    async with world(await open_bus(own_broker.url, inbox_prefix="_INBOX_demo"), **SECTIONS) as demo:
        for number in range(6):
            await demo.submit(f"a-{number}", lane="batch" if number % 2 else "std", key="k1")
        await known(demo, 6)
        operators = await open_bus(own_broker.url, inbox_prefix=subjects.inbox_prefix(OPERATOR))
        async with browsing(config(**SECTIONS), operators) as (browser, _):
            page = (await browser.get("/jobs?lane=batch&key=k1")).text
            await demo.cancel("a-0", "token-a-0")
            await demo.result("a-0")
            await known(demo, 5)
            assert [row[0] for row in rows((await browser.get("/jobs?view=ended")).text)] == ["a-0"]
        words = ("jobs", "list", "--lane", "batch", "--key", "k1", "--json", "--url", own_broker.url)
        command = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "producer_sdk.cli", *words, stdout=PIPE, stderr=PIPE
        )
        out, _ = await command.communicate()
        listed = [json.loads(line) for line in out.decode().splitlines()]
        shown = [(row[0], row[1], row[2], row[3], row[10]) for row in rows(page)]
        assert [(one["job"], one["project"], one["state"], one["waiting_for"], one["key"]) for one in listed] == shown
        assert [row[0] for row in shown] == ["a-1", "a-3", "a-5"]
