"""What people share of a console, and what they do not: states, places, and what an ended key may still do."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest

from console import live, turns
from console.asking import NoAnswer
from console.live import Feeds
from console.people import Person
from console.turns import AT_ONCE_OF_PROJECT, IN_LINE, Turns
from job_contracts.finding import AskCancels, JobRow
from job_contracts.keys import Scope, written
from tests.support.console import MADE, OPERATOR, VIEWER, config, record, served, stored
from tests.support.eventually import eventually

OTHER = written("acme", "f" * 64)
VERA, KEY = Person("vera", "viewer"), Person("acme/1", "viewer", "acme", "1", Scope())


async def state(browser: httpx.AsyncClient, path: str) -> str:
    """The first one that is pushed; its stream stays open meanwhile."""
    found: list[str] = []
    async with browser.stream("GET", path) as stream:
        async for line in stream.aiter_lines():
            if not line:
                break
            found.append(line)
    return "\n".join(found)


@pytest.mark.parametrize("first", [MADE, OTHER], ids=["one", "other"])
async def test_two_keys_of_a_project_are_not_pushed_one_anothers_pages(first: str) -> None:
    async with served() as console:
        await stored(console.bus, record(MADE, scope={"routes": ["fast"]}))
        await stored(console.bus, record(OTHER, scope={"routes": ["slow"]}))
        second = OTHER if first == MADE else MADE
        async with (
            console.browser(first) as one,
            console.browser(second) as two,
            one.stream("GET", "/models/live") as open_,
        ):
            assert await anext(open_.aiter_lines()) == "event: state"
            told = await state(two, "/models/live")
    assert ("openai/gpt-5-mini" in told) is (second == MADE)
    assert ('id="model-openai/gpt-5"' in told) is (second == OTHER)


async def test_a_key_that_was_revoked_a_moment_ago_does_nothing_more() -> None:
    async with served(config(project_role="operator")) as console:
        await stored(console.bus, record(MADE))
        async with console.browser(MADE) as browser:
            page = (await browser.get("/jobs")).text
            found = re.search(r'name="forms" value="([^"]+)"', page)
            assert found is not None
            await stored(console.bus, record(MADE, revoked=5.0))
            fields = {"job": "acme/j/t", "forms": found[1]}
            answer = await browser.post("/jobs/cancel", data=fields, headers=console.own)
            assert answer.headers["location"] == "/login"
            assert (await browser.post("/playground/play", data=fields, headers=console.own)).status_code == 403
            assert (await browser.get("/jobs")).status_code == 303, "and its session has ended"
        assert not [one for one in console.desk.asked if isinstance(one, AskCancels)]


async def test_keys_of_a_project_take_turns_with_one_another_and_nobody_else() -> None:
    line, done = Turns(), asyncio.Event()
    within: list[str] = []

    async def asking(person: Person) -> None:
        async with line.turn(person):
            within.append(person.name)
            await done.wait()

    other = Person("acme/2", "viewer", "acme", "2", Scope())
    tasks = [
        asyncio.create_task(asking(KEY if number % 2 else other)) for number in range(AT_ONCE_OF_PROJECT + IN_LINE)
    ]
    await eventually(lambda: len(within) == AT_ONCE_OF_PROJECT)
    with pytest.raises(NoAnswer):
        await asking(KEY)
    tasks.append(asyncio.create_task(asking(VERA)))
    await eventually(lambda: "vera" in within)
    done.set()
    await asyncio.gather(*tasks)
    assert len(within) == len(tasks)
    assert line._lines == {}


async def test_who_goes_while_it_waits_gives_up_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "AT_ONCE_OF_PROJECT", 1)
    line = Turns()
    async with line.turn(KEY):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), line.turn(KEY):
                raise AssertionError
    async with line.turn(KEY):
        pass
    assert line._lines == {}


async def test_pages_of_one_project_that_are_kept_current_leave_room_for_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "MOST_OF_PROJECT", 1)

    async def made() -> bytes:
        return b"state"

    feeds = Feeds(every=60.0)
    states = feeds.states("page", made, project="acme")
    await anext(states)
    assert (feeds.full("acme"), feeds.full("others"), feeds.full()) == (True, False, False)
    await states.aclose()
    assert not feeds.full("acme")


async def test_whoever_comes_later_is_not_given_what_was_before_their_page() -> None:
    count = 0

    async def made() -> bytes:
        nonlocal count
        count += 1
        return str(count).encode()

    feeds = Feeds(every=0.0)
    early = feeds.states("page", made, every=60.0)
    assert await anext(early) == b"1"
    late = feeds.states("page", made, every=60.0)
    assert await anext(late) == b"2"
    assert await anext(early) == b"2", "and so does who was there"
    for one in (early, late):
        await one.aclose()


@pytest.mark.parametrize(("key", "acts"), [(VIEWER, False), (OPERATOR, True)], ids=["viewer", "operator"])
async def test_what_cancels_a_job_is_on_no_page_of_those_who_may_not(key: str, *, acts: bool) -> None:
    async with served() as console, console.browser(key) as browser:
        row = JobRow.model_validate(
            {"place": 1, "project": "acme", "job": "j", "token": "t" * 32, "state": "queued"}
            | {"route": "fast", "lane": "std", "submitted": 1e9}
        )
        console.desk.rows = [row]
        for told in ((await browser.get("/jobs")).text, await state(browser, "/jobs/live")):
            assert 'id="job-acme-j"' in told
            assert ("t" * 32 in told) is acts
