"""Jobs in the console: lists that are the leader's, pages, one job whole, and cancels of what was counted alone."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from decimal import Decimal
from html import unescape
from typing import Any

import pytest

from console import records
from console.panels import jobs as panel
from console.panels.workers import why
from console.records import Filter, ended
from console.timeline import timeline
from job_contracts import subjects
from job_contracts.chat import Usage
from job_contracts.codec import encode
from job_contracts.decisions import Choice, Weighed
from job_contracts.failures import Failure, FailureKind
from job_contracts.finding import AskCancels, AskFind, AskJob, FoundJob, JobRow
from job_contracts.jobs import JobState, JobStatus
from job_contracts.operating import AskNote
from job_contracts.results import AttemptRecord, Loss, Result, Settlement, Times
from job_contracts.scaling import PoolScale
from runtime.bus.memory import MemoryBroker, MemoryBus
from tests.support.console import OPERATOR, STATIC, VIEWER, Served, config, served

NASTY = "<script>alert(1)</script>"
RES = {"name": subjects.RES, "subjects": ["penstock.res.*.*.*", "penstock.score.*.*.*.*"], "max_msgs_per_subject": 1}


def row(place: int, **over: Any) -> JobRow:
    said: dict[str, Any] = {
        "place": place,
        "project": "acme" if place % 2 else "other",
        "job": f"a-{place}",
        "token": f"t{place}",
        "state": JobState.HELD,
        "route": "fast",
        "lane": "batch",
        "submitted": 1e9,
        "waiting_for": NASTY,
        "tags": {"team": NASTY},
    }
    return JobRow(**{**said, **over})


def attempt(number: int, **over: Any) -> AttemptRecord:
    said: dict[str, Any] = {
        "number": number,
        "deployment": f"p{number}/m",
        "provider": f"p{number}",
        "model": "m",
        "started": 100.0 + 10 * number,
        "seconds": 4.0,
    }
    return AttemptRecord(**{**said, **over})


FAILED = attempt(1, failure=Failure(kind=FailureKind.OVERLOADED, message=NASTY, status=529), cost=Decimal("0.0001"))
ANSWERED = attempt(
    2,
    first_token=1.5,
    usage=Usage(input=1_200, output=34),
    cost=Decimal("0.00123"),
    losses=(Loss(kind="clamped", field="settings.temperature", detail="1.5 became 1"),),
    decision=Choice(
        strategy="cheapest",
        deployment="p2/m",
        weighed=(Weighed(deployment="p2/m"), Weighed(deployment="p9/m", against="it is benched")),
    ),
)


def result(**over: Any) -> Result:
    said: dict[str, Any] = {
        "job": "a-1",
        "project": "acme",
        "state": JobState.SUCCEEDED,
        "route": "fast",
        "token": "t",
        "body_hash": "h",
        "nonce": "n",
        "deployment": "p2/m",
        "attempts": (FAILED, ANSWERED),
        "times": Times(submitted=100.0, dispatched=119.0, finished=124.0),
        "tags": {"team": NASTY},
        "replay_of": "a-0",
    }
    return Result(**{**said, **over})


@pytest.fixture
async def console() -> AsyncIterator[Served]:
    async with served(config(project_role="operator")) as made:
        made.desk.rows = [row(place) for place in range(1, 121)]
        yield made


def ids(page: str) -> list[int]:
    return [int(one) for one in re.findall(r'<tr id="job-[a-z]+-a-(\d+)"', page)]


def link(page: str, name: str) -> str | None:
    found = re.search(rf'id="{name}" href="([^"]+)"', page)
    return None if found is None else unescape(found[1])


def word(page: str) -> str:
    found = re.search(r'name="forms" value="([^"]+)"', page)
    assert found is not None
    return found[1]


async def test_pages_go_through_all_jobs_in_both_directions(console: Served) -> None:
    async with console.browser(VIEWER) as browser:
        seen: list[list[int]] = []
        page = ""
        here: str | None = "/jobs"
        while here is not None:
            page = (await browser.get(here)).text
            seen.append(ids(page))
            here = link(page, "newer")
        assert seen == [list(range(1, 51)), list(range(51, 101)), list(range(101, 121))]
        back = link(page, "older")
        assert back is not None
        page = (await browser.get(back)).text
        assert ids(page) == list(range(51, 101))
        assert '<strong id="matching">120</strong>' in page
        assert link(page, "newer") is not None
        assert NASTY not in page


async def test_filters_of_the_address_are_what_the_leader_is_asked(console: Served) -> None:
    async with console.browser(VIEWER) as browser:
        wanted = "lane=batch&state=held&pool=p&deployment=p/m&key=k&tag=team%3Dx&age=15m&replay_of=a-7&route=fast"
        page = (await browser.get(f"/jobs?{wanted}&project=acme&after=7")).text
        first = next(one for one in console.desk.asked if isinstance(one, AskFind))
        assert first == AskFind(
            project="acme",
            route="fast",
            lane="batch",
            state="held",
            pool="p",
            deployment="p/m",
            key="k",
            tag="team=x",
            replay_of="a-7",
            submitted_before=console.clock.wall() - 900,
            after=7,
        )
        assert 'value="team=x"' in page
        for bad, says in (("state=nowhere", "state"), ("age=soon", "length of time"), ("lane=x", "lane")):
            answer = await browser.get(f"/jobs?{bad}")
            assert (answer.status_code, says in answer.text) == (400, True)
            assert '<a href="/jobs">Jobs, without filters</a>' in answer.text


async def test_a_projects_key_sees_and_cancels_its_own_jobs_alone(console: Served) -> None:
    console.desk.found = {("other", "a-2"): FoundJob(at=1.0, result=result()), ("acme", "a-1"): FoundJob(at=1.0)}
    async with console.browser(STATIC) as browser:
        page = (await browser.get("/jobs?project=other")).text
        assert ids(page) == list(range(1, 100, 2))
        await browser.get("/job?project=other&id=a-2")
        assert console.desk.asked[-1] == AskJob(project="acme", job="a-2")
        forms = word(page)
        own = console.own
        await browser.post("/jobs/cancel", data={"forms": forms, "job": "other/a-2/t2"}, headers=own)
        assert "another project" in (await browser.get("/jobs")).text
        assert not any(isinstance(one, AskCancels) for one in console.desk.asked)
        await browser.post("/jobs/cancel", data={"forms": forms, "job": "acme/a-1/t1"}, headers=own)
        await browser.post("/jobs/cancel_all", data={"forms": forms, "until": "60", "project": "other"}, headers=own)
        told = [one for ask in console.desk.asked if isinstance(ask, AskCancels) for one in ask.jobs]
        assert {one.project for one in told} == {"acme"}
        assert [one.job for one in told] == ["a-1", *(f"a-{place}" for place in range(3, 60, 2))]


async def test_all_that_match_are_counted_first_and_what_came_later_is_left_alone(console: Served) -> None:
    async with console.browser(OPERATOR) as browser:
        page = (await browser.get("/jobs?project=acme&ask=cancel")).text
        assert '<strong id="counted">60</strong>' in page
        form = dict(
            re.findall(r'<input type="hidden" name="([a-z_]+)" value="([^"]*)">', page.partition('id="cancel" ')[2])
        )
        assert form["until"] == "120"
        console.desk.rows += [row(place) for place in range(121, 131)]
        answer = await browser.post("/jobs/cancel_all?project=acme", data={**form, "why": "spill"}, headers=console.own)
        assert answer.headers["location"] == "/jobs?project=acme"
        assert "60 cancels are recorded" in (await browser.get("/jobs?project=acme")).text
        assert [one.place for one in console.desk.rows if one.project == "acme"] == list(range(121, 131, 2))
        notes = [one for one in console.desk.asked if isinstance(one, AskNote) and one.did == "cancel all"]
        assert [(one.by, one.name, one.why) for one in notes] == [
            ("otto", "begun", "spill"),
            ("otto", "ended", "spill"),
        ]
        assert notes[0].detail == {"project": "acme", "until": "120", "counted": "60"}
        assert notes[1].detail == {**notes[0].detail, "cancelled": "60", "remain": "none"}


async def test_what_takes_too_long_is_told_and_may_be_ordered_again(
    console: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel, "LONGEST", 0.0)
    async with console.browser(OPERATOR) as browser:
        page = (await browser.get("/jobs")).text
        await browser.post("/jobs/cancel_all", data={"forms": word(page), "until": "120"}, headers=console.own)
        assert "0 cancels are recorded; some remain" in (await browser.get("/jobs")).text
        await browser.post("/jobs/cancel_all", data={"forms": word(page)}, headers=console.own)
        assert "Not done: count them first" in (await browser.get("/jobs")).text


async def test_what_was_done_before_nobody_answered_is_told_and_noted(console: Served) -> None:
    console.desk.rows = [row(place) for place in range(1, 301)]
    console.desk.cancels = 1
    async with console.browser(OPERATOR) as browser:
        page = (await browser.get("/jobs")).text
        await browser.post("/jobs/cancel_all", data={"forms": word(page), "until": "300"}, headers=console.own)
        assert "Not known whether it was done: 200 cancels are recorded; then" in (await browser.get("/jobs")).text
    assert len(console.desk.rows) == 100
    notes = [one for one in console.desk.asked if isinstance(one, AskNote) and one.name == "ended"]
    assert [(one.detail["cancelled"], one.detail["remain"]) for one in notes] == [("200", "some")]


async def test_a_viewer_has_no_form_and_may_not_act(console: Served) -> None:
    async with console.browser(VIEWER) as browser, console.browser(OPERATOR) as other:
        page = (await browser.get("/jobs?ask=cancel")).text
        assert 'id="cancel-one"' not in page
        assert 'id="cancel"' not in page
        forms = word(page)  # of the button that logs out
        for action in ("cancel", "cancel_all"):
            answer = await browser.post(f"/jobs/{action}", data={"forms": forms}, headers=console.own)
            assert answer.status_code == 403
        assert 'id="cancel-one"' in (await other.get("/jobs")).text
    assert not any(isinstance(one, AskCancels) for one in console.desk.asked)


async def test_a_job_without_a_result_says_why_it_waits_and_where_it_would_go(console: Served) -> None:
    status = JobStatus(
        job="a-1",
        state=JobState.HELD,
        route="fast",
        lane="std",
        token="t1",
        body_hash="h",
        submitted=100.0,
        attempts=1,
        position=17,
        eta=75.0,
        waiting_for=f"its turn {NASTY}",
        estimated_cost=Decimal("0.0012"),
        decision=ANSWERED.decision,
    )
    console.desk.found = {
        ("acme", "a-1"): FoundJob(at=200.0, status=status, attempts=(FAILED,), key="k1", replay_of="b-2")
    }
    async with console.browser(OPERATOR) as browser:
        page = (await browser.get("/job?project=acme&id=a-1")).text
        assert NASTY not in page
        words = unescape(re.sub(r"<[^>]+>", " ", page))
        for told in ("About 17 jobs", "1 min 15 s", "0.0012", "it is benched", "overloaded", "HTTP 529", "k1"):
            assert told in words, told
        for there in ('href="/job?project=acme&amp;id=b-2"', 'href="/attempts?project=acme&amp;job=a-1"'):
            assert there in page, there
        data = {"forms": word(page), "job": "acme/a-1/t1"}
        await browser.post("/job/cancel?project=acme&id=a-1", data=data, headers=console.own)
        assert [type(one) for one in console.desk.asked[-2:]] == [AskNote, AskCancels]
        assert "the cancel is recorded" in (await browser.get("/job?project=acme&id=a-1")).text


async def test_a_job_that_has_ended_tells_its_attempts_and_what_was_adapted(console: Served) -> None:
    console.desk.found = {("acme", "a-1"): FoundJob(at=200.0, result=result(cost=Decimal("0.00133")), letter="open")}
    async with console.browser(VIEWER) as browser:
        page = (await browser.get("/job?project=acme&id=a-1")).text
        words = unescape(re.sub(r"<[^>]+>", " ", page))
        for told in ("succeeded", "0.00133", "1,200", "settings.temperature", "1.5 became 1", "overloaded", "cheapest"):
            assert told in words, told
        assert 'href="/dead?project=acme&amp;job=a-1"' in page
        assert "cancel-this" not in page
        assert (await browser.get("/job")).status_code == 400
        assert (await browser.get("/job?project=acme&id=z-9")).status_code == 400


def test_the_timeline_parts_a_life_without_holes() -> None:
    line = timeline(FoundJob(at=200.0, result=result()))
    assert line is not None
    assert [(one.kind, one.begin, one.seconds) for one in line.parts] == [
        ("wait", 0.0, 10.0),
        ("failed", 10.0, 4.0),
        ("wait", 14.0, 6.0),
        ("first", 20.0, 1.5),
        ("answer", 21.5, 2.5),
    ]
    assert line.seconds == 24.0
    assert all(one.x >= 240 and one.x + one.width <= 1_000.1 for one in line.parts)
    hedged = result(attempts=(attempt(1, seconds=30.0, failure=FAILED.failure), ANSWERED))
    beside = timeline(FoundJob(at=200.0, result=hedged))
    assert beside is not None
    assert [one.kind for one in beside.parts] == ["wait", "failed", "first", "answer"]
    none = timeline(FoundJob(at=200.0, result=result(attempts=(), times=Times(submitted=100.0, finished=100.0))))
    assert none is not None
    assert timeline(FoundJob(at=1.0)) is None


async def ended_jobs(bus: MemoryBus, count: int) -> None:
    for place in range(1, count + 1):
        project = "acme" if place % 2 else "other"
        told = Settlement(
            state=JobState.FAILED if place % 3 == 0 else JobState.SUCCEEDED,
            token="t",
            body_hash="h",
            attempt=1,
            deployment="p1/m.5" if place % 5 else "p2/n",
            finished=1e9 + place,
        )
        headers = {subjects.H_SETTLEMENT: encode(told).decode()}
        await bus.append(subjects.result(project, f"a-{place}"), b"CANARY", headers=headers)
    await bus.append("penstock.score.acme.a.1.good", b"{}")
    await bus.append(subjects.result("acme", "a-9000"), b"CANARY", headers={subjects.H_SETTLEMENT: "?"})


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Filter(), lambda _: True),
        (Filter(project="other"), lambda place: place % 2 == 0),
        (Filter(state="failed"), lambda place: place % 3 == 0),
        (Filter(deployment="p2/n"), lambda place: place % 5 == 0),
        (Filter(pool="p1", model="m.5", project="acme"), lambda place: place % 5 and place % 2),
    ],
)
async def test_what_has_ended_is_read_newest_first_by_pages(
    wanted: Filter, fits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "FIRST", 7)
    monkeypatch.setattr(records, "MOST", 40)
    bus = MemoryBroker().bus()
    await bus.ensure([{"kind": "stream", "config": RES}])
    await ended_jobs(bus, 90)
    found: list[int] = []
    below: int | None = None
    while True:
        page = await ended(bus, wanted, below=below, limit=11)
        assert len(page.jobs) <= 11
        assert page.looked <= 40
        found += [one.place for one in page.jobs]
        below = page.below
        if below is None:
            break
    assert found == [place for place in range(90, 0, -1) if fits(place)]


async def test_what_is_seldom_is_on_a_page_further_back_where_looking_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(records, "FIRST", 7)
    monkeypatch.setattr(records, "STEP", 9)
    monkeypatch.setattr(records, "LOOKING", 0.0)
    bus = MemoryBroker().bus()
    await bus.ensure([{"kind": "stream", "config": RES}])
    await ended_jobs(bus, 90)
    page = await ended(bus, Filter(state="failed"), below=None, limit=11)
    assert page.looked == 7
    monkeypatch.setattr(records, "LOOKING", 60.0)
    rest = await ended(bus, Filter(state="failed"), below=page.below, limit=90)
    assert [one.place for one in (*page.jobs, *rest.jobs)] == [place for place in range(90, 0, -1) if place % 3 == 0]


@pytest.mark.parametrize(("count", "questions"), [(49, 1), (50, 2), (120, 2)])
async def test_a_page_that_shows_all_that_match_has_counted_them(console: Served, count: int, questions: int) -> None:
    console.desk.rows = [row(place) for place in range(1, count + 1)]
    async with console.browser(VIEWER) as browser:
        for address in ("/jobs", "/jobs?ask=cancel"):
            console.desk.asked.clear()
            page = (await browser.get(address)).text
            assert len([one for one in console.desk.asked if isinstance(one, AskFind)]) == questions
            assert re.search(rf"\b{count}\b", page)
            assert ids(page) == list(range(1, min(count, 50) + 1))


async def test_the_page_of_ended_jobs_shows_no_answer_and_a_projects_key_its_own(console: Served) -> None:
    await console.bus.ensure([{"kind": "stream", "config": RES}])
    await ended_jobs(console.bus, 60)
    async with console.browser(VIEWER) as browser, console.browser(STATIC) as other:
        page = (await browser.get("/jobs?view=ended")).text
        assert ids(page) == list(range(60, 10, -1))
        assert "CANARY" not in page
        older = link(page, "older")
        assert older is not None
        assert ids((await browser.get(older)).text) == list(range(10, 0, -1))
        assert ids((await browser.get("/jobs?view=ended&state=failed&project=other")).text) == list(range(60, 0, -6))
        assert (await browser.get("/jobs?view=ended&project=*")).status_code == 400
        assert ids((await other.get("/jobs?view=ended&project=other")).text) == list(range(59, 0, -2))


def test_how_many_workers_there_should_be_is_said_with_its_reason() -> None:
    scale = PoolScale(pool="p", desired=3, needed=3, workers=2, slots=4, in_flight=8, waiting=40, held_back=30)
    assert why(scale) == (
        "8 calls are under way and 40 jobs wait; about 30 of the jobs wait for a limit, a breaker or their project: "
        "more workers would not help those; each worker takes 4 calls at once."
    )
    assert why(scale.model_copy(update={"needed": 1})).endswith(
        "For this moment alone 1 would do: fewer are wanted once that lasts."
    )
    alone = why(scale.model_copy(update={"in_flight": 1, "waiting": 1}))
    assert alone.startswith("1 call is under way and 1 job waits;")
    assert "not known" in why(None)


async def test_workers_are_told_by_pool(console: Served) -> None:
    async with console.browser(VIEWER) as browser:
        page = (await browser.get("/workers")).text
        assert '<tr id="worker-openai-w-1">' in page
        assert "No worker of this pool was heard of" in page
    async with console.browser(STATIC) as browser:
        assert (await browser.get("/workers")).status_code == 403
