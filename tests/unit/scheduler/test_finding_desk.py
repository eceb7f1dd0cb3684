"""A question over a large backlog is answered in parts, and lets everything else have its turn meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from job_contracts.codec import decode, encode
from job_contracts.finding import AskFind, JobPage
from runtime.bus.memory import MemoryBroker
from runtime.connection import declared
from runtime.telemetry import Telemetry
from scheduler import finding_desk
from scheduler.entries import Entry
from scheduler.finding_desk import MOST, SLICE, FindingDesk
from scheduler.leadership import Lease
from scheduler.policy.board import Board
from scheduler.policy.resolving import rules_from
from scheduler.term import Term
from tests.support.clock import ManualClock
from tests.support.world import CATALOGUE, config
from tests.unit.scheduler_policy import made

JOBS = MOST + 3_000


async def term(jobs: int) -> Term:
    """A leader's state with so many jobs in line."""
    settings, clock, telemetry = config(), ManualClock(), Telemetry()
    bus = MemoryBroker().bus()
    await bus.ensure(declared(settings))
    board = Board(rules_from(settings, CATALOGUE), now=clock.monotonic(), wall=clock.wall())
    found = Term(bus, clock, telemetry, settings, Lease(bus, clock, telemetry, shard=0, owner="s", lease=2.5), board)
    for seq in range(1, jobs + 1):
        board.apply(made.job(seq, project="demo", route="fast"), 0.0)
        entry = Entry(seq, f"t{seq}", "h", 0.0, None, stream=False, blob=None, unsure=False)
        found.submissions.add(("demo", f"j-{seq}"), entry)
    return found


async def ask(desk: FindingDesk, **what: Any) -> JobPage:
    return decode(JobPage, await desk.operations()["jobs"](encode(AskFind(**what))))


async def test_a_large_backlog_is_looked_at_in_parts_and_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding_desk, "PATIENCE", 0.01)  # their submissions are in no stream here
    kept = await term(JOBS)
    desk, turns, over = FindingDesk(kept), 0, False

    async def others() -> None:
        nonlocal turns
        while not over:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    first = await ask(desk, limit=0)
    over = True
    await beside
    assert (first.matching, first.looked, first.more, first.after, first.last) == (MOST, MOST, True, MOST, JOBS)
    assert turns >= MOST // SLICE
    rest = await ask(desk, limit=0, after=first.after, until=first.last)
    assert (rest.matching, rest.more) == (JOBS - MOST, False)
    seldom = await ask(desk, submitted_before=-1e9)
    assert (seldom.jobs, seldom.more, seldom.after) == ((), True, MOST)
    page = await ask(desk, limit=200, after=JOBS - 250)
    assert [row.place for row in page.jobs] == list(range(JOBS - 249, JOBS - 49))
    assert (page.more, page.after) == (True, JOBS - 50)
    assert [row.place for row in (await ask(desk, limit=200, after=page.after)).jobs] == list(
        range(JOBS - 49, JOBS + 1)
    )
    assert [row.read for row in page.jobs] == [False] * 200
    newest = await ask(desk, limit=3, before=JOBS + 1)
    assert [row.place for row in newest.jobs] == [JOBS - 2, JOBS - 1, JOBS]


async def test_to_look_at_jobs_leaves_them_as_small_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding_desk, "PATIENCE", 0.01)
    kept = await term(60)
    await ask(FindingDesk(kept), limit=50)
    assert all(isinstance(one, bytes) for one in kept.submissions.entries._projects["demo"].values())
