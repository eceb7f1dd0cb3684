"""What is done on the pages, done in a real browser while jobs flow, and looked at where it is in force."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from playwright.async_api import APIResponse, Browser

from console.panels.all import PANELS
from job_contracts.finding import AskJob
from job_contracts.keys import key_id
from job_contracts.operating import AskAudit, ToldDeployment, ToldLimit
from job_contracts.spend import AskAttempts
from job_contracts.trials import AskExperiments
from tests.support.acting import (
    are_dead,
    audited,
    became,
    ended,
    ended_so,
    found_by,
    jobs,
    letters,
    matching,
    person,
    said,
    shown_key,
    status,
)
from tests.support.browsing import Tab, tab
from tests.support.eventually import eventually
from tests.support.staged import BROKEN, PROJECT, SLOW, STUCK, Stage

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(240)]


# ---------------------------------------------------------------------------------------------------------------- jobs


async def test_jobs_are_cancelled_one_by_one_and_all_that_were_counted(browser: Browser, stage: Stage) -> None:
    one, *others = await jobs(stage, 5, STUCK, "calls-off")
    await eventually(lambda: matching(stage, "calls-off", 5), within=15.0)
    async with person(browser, stage, "operator") as seen:
        here = f"/jobs?route={STUCK}&tag=run%3Dcalls-off"
        await seen.go(here)
        assert await seen.words("#matching") == "5"
        await seen.page.get_by_role("button", name=f"Cancel {one}", exact=True).click()
        assert f"{one}: the cancel is recorded" in await said(seen)
        assert seen.page.url == f"{seen.origin}{here}"
        await eventually(lambda: ended_so(stage, [one], "cancelled"), within=15.0)
        await audited(seen, "cancel", "otto", f"job {PROJECT}/{one}")

        await seen.go(here)
        await seen.page.get_by_role("link", name="Cancel all that match…").click()
        assert await seen.words("#counted") == "4"
        (late,) = await jobs(stage, 1, STUCK, "calls-off")
        await eventually(lambda: matching(stage, "calls-off", 5), within=15.0)
        await seen.page.get_by_label("Why").fill("no longer wanted")
        await seen.page.get_by_role("button", name="Cancel all of them").click()
        assert "4 cancels are recorded" in await said(seen)
        await eventually(lambda: ended_so(stage, others, "cancelled"), within=15.0)
        left = await found_by(stage, "calls-off")
        assert [row.job for row in left.jobs] == [late]
        await seen.go(here)
        assert await seen.words("#matching") == "1"
        await audited(seen, "cancel all", "otto", "ended", "no longer wanted", "counted: 4", "cancelled: 4")

        await seen.go(f"/job?project={PROJECT}&id={late}")
        await seen.page.get_by_role("button", name="Cancel this job").click()
        assert f"{late}: the cancel is recorded" in await said(seen)
        await seen.page.wait_for_function("document.getElementById('state').innerText === 'cancelled'")  # by itself
        assert await ended(stage, late) == "cancelled"


# -------------------------------------------------------------------------------------------------------- dead letters


async def test_letters_are_replayed_alone_and_by_group_and_discarded(browser: Browser, stage: Stage) -> None:
    broken = await jobs(stage, 4, BROKEN, "dies")
    await eventually(lambda: are_dead(stage, broken), within=30.0)
    async with person(browser, stage, "operator") as seen:
        one = broken[0]
        await seen.go(f"/dead?project={PROJECT}&job={one}")
        await seen.page.get_by_role("link", name="Replay 1 letter").click()
        await seen.page.locator("[name=onto]").select_option("smart")
        await seen.page.get_by_role("button", name="Replay 1 letter").click()
        assert "replayed 1 letter" in await said(seen)
        await became(stage, [one], "smart")
        assert await seen.words("#state") == "replayed"
        await audited(seen, "replayed", "otto", f"letters {one}", "onto: smart", "done: 1")

        await seen.go(f"/dead?route={BROKEN}")
        assert await seen.words("#count") == "3"
        await seen.page.get_by_role("link", name="Replay 3 letters").click()
        await seen.page.locator("[name=onto]").select_option("weighted")
        await seen.page.get_by_label("Why").fill("it was down")
        after = await jobs(stage, 2, BROKEN, "dies")
        await eventually(lambda: are_dead(stage, after), within=30.0)
        await seen.page.get_by_role("button", name="Replay 3 letters").click()
        assert "replayed 3 letters" in await said(seen)
        await became(stage, broken[1:], "weighted")
        await audited(seen, "replayed", "otto", "it was down", "onto: weighted", "letters: 3", "done: 3", "failed: 0")

        await seen.go(f"/dead?route={BROKEN}")
        assert await seen.words("#count") == "2", "what came after the count"
        await seen.page.get_by_role("link", name="Discard 2 letters").click()
        await seen.page.get_by_label("Why").fill("not needed")
        await seen.page.get_by_role("button", name="Discard 2 letters").click()
        assert "discarded 2 letters" in await said(seen)
        lie = await letters(stage, after)
        assert {(lie[job].state, lie[job].why) for job in after} == {("discarded", "not needed")}
        await audited(seen, "discarded", "otto", "not needed", "done: 2")
        await seen.go(f"/dead?route={BROKEN}")
        assert await seen.words("#count") == "0"


# ---------------------------------------------------------------------------------------------------------------- keys


async def test_a_key_is_made_shown_once_used_rotated_and_revoked(browser: Browser, stage: Stage) -> None:
    async with person(browser, stage, "admin") as seen:
        await seen.go(f"/keys?project={PROJECT}")
        form = seen.page.locator("form#create")
        await form.get_by_label("Called").fill("nightly")
        await form.get_by_label("Routes, with commas").fill("fast, smart")
        await form.get_by_label("Why").fill("the nightly run")
        await form.get_by_role("button", name="Make the key").click()
        first = shown_key(await said(seen))
        assert await status(stage, first) == 200
        assert await status(stage, first, "cheap") == 403
        await seen.page.reload()
        assert first not in await seen.page.content()
        assert key_id(first) in await seen.words("#shown")
        await audited(seen, "create", "admin", f"key {key_id(first)}", "the nightly run", "called: nightly")

        await seen.go(f"/keys?id={key_id(first)}")
        await seen.page.locator("[name=overlap]").fill("1")
        await seen.page.get_by_role("button", name="Rotate").click()
        second = shown_key(await said(seen))
        assert [await status(stage, key) for key in (first, second)] == [200, 200]
        await seen.page.reload()
        assert second not in await seen.page.content()
        await audited(seen, "rotate", "admin", f"key {key_id(first)}", key_id(second))

        for key in (first, second):
            await seen.go(f"/keys?id={key_id(key)}")
            await seen.page.locator("[name=sure]").fill(key_id(key))
            await seen.page.get_by_role("button", name="Revoke").click()
            assert f"{key_id(key)} is revoked" in await said(seen)
            await eventually(lambda key=key: _refused(stage, key), within=10.0)  # type: ignore[misc]
            assert "revoked" in await seen.words(f"#key-{key_id(key)}")
            await audited(seen, "revoke", "admin", f"key {key_id(key)}")
        lines = (await stage.leader.audit(AskAudit(on="key", limit=100))).model_dump_json()
        assert key_id(first) in lines
        assert not any(key.rpartition("_")[2] in lines for key in (first, second))


async def _refused(stage: Stage, key: str) -> bool:
    return await status(stage, key) == 401


# ------------------------------------------------------------------------------------------------ pools and experiments


async def deployment(stage: Stage, name: str) -> ToldDeployment:
    now = await stage.leader.overview()
    return next(one for pool in now.pools for one in pool.deployments if one.name == name)


async def limit(stage: Stage, name: str) -> ToldLimit:
    now = await stage.leader.overview()
    return next(one for one in (*now.limits, *now.projects) if one.name == name)


async def ordered(seen: Tab, on: str, do: str, **fields: str) -> None:
    await seen.go(f"/pools?on={quote(on)}")
    form = seen.page.locator("form#order")
    await form.locator("[name=do]").select_option(do)
    for name, value in fields.items():
        await form.locator(f"[name={name}]").fill(value)
    await form.get_by_role("button").click()
    assert "in force" in await said(seen)


async def test_weights_and_a_projects_limit_are_ordered_for_a_while_and_restored(
    browser: Browser, stage: Stage
) -> None:
    weight = "openai/gpt-4.1-mini"
    async with person(browser, stage, "operator") as seen:
        await ordered(seen, f"weight:{weight}", "weigh", factor="0.5", lasts="30", why="slow today")
        weighed = (await deployment(stage, weight)).weighed
        assert weighed is not None
        assert weighed.standing.factor == 0.5
        assert weighed.standing.until is not None
        cells = (await seen.rows())[f"deployment-{weight}"]
        assert any("times 0.5" in cell and "slow today" in cell for cell in cells), cells
        await audited(seen, "weigh", "otto", weight, "times 0.5", "until", "slow today")
        await ordered(seen, f"weight:{weight}", "restore")
        assert (await deployment(stage, weight)).weighed is None
        await audited(seen, "restore", "otto", weight)

        project = f"project:{PROJECT}"
        at = (await stage.leader.overview()).at
        await ordered(seen, f"limit:{project}", "override", rpm="30000", lasts="5", why="a calm hour")
        found = await limit(stage, project)
        (unit,) = [one for one in found.units if one.unit == "requests"]
        assert (unit.limit, unit.configured) == (30_000, 60_000)
        assert found.order is not None
        assert found.order.standing.until is not None
        assert at <= found.order.standing.until - 300 <= (await stage.leader.overview()).at
        cells = (await seen.rows())[f"limit-{project}-requests"]
        assert "30,000" in cells[7]
        assert "(configured: 60,000)" in cells[7]
        assert "until" in cells[8]
        await audited(seen, "override", "otto", project, "30,000", "a calm hour")

        await ordered(seen, f"limit:{project}", "override", rpm="20000", lasts="0.02", why="a moment")
        await eventually(lambda: _as_configured(stage, project), within=15.0)  # by itself, when its time is up


async def _as_configured(stage: Stage, name: str) -> bool:
    return all(unit.configured in {None, unit.limit} for unit in (await limit(stage, name)).units)


async def test_an_arm_is_stopped_for_good(browser: Browser, stage: Stage) -> None:
    async with person(browser, stage, "operator") as seen:
        await seen.go("/experiments")
        await seen.page.locator("#arm-small-small").get_by_role("link", name="running; stop it").click()
        form = seen.page.locator("form#stop")
        assert await form.locator("[name=on]").input_value() == "small/small"
        await form.get_by_label("Why").fill("worse answers")
        await form.get_by_role("button").click()
        assert "small of small is stopped" in await said(seen)
        (experiment,) = (await stage.leader.experiments(AskExperiments())).experiments
        (arm,) = [arm for arm in experiment.arms if arm.name == "small"]
        assert "worse answers" in (arm.stopped or "")
        assert (await seen.rows())["arm-small-small"][6] == arm.stopped
        assert await seen.page.locator("form#stop").count() == 0
        await audited(seen, "stop_arm", "otto", "small/small", "worse answers")


# ---------------------------------------------------------------------------------------------------------- playground


async def test_two_models_answer_side_by_side_and_stop_cancels(browser: Browser, stage: Stage) -> None:
    async with person(browser, stage, "operator") as seen:
        await seen.go(f"/playground?project={PROJECT}")
        await seen.page.locator("[name=model_1]").select_option("fast")
        await seen.page.locator("[name=model_2]").select_option("smart")
        await seen.page.locator("[name=prompt]").fill("[[say a secret word]]")
        await seen.page.get_by_role("button", name="Play").click()
        await seen.page.get_by_text("2 of 2 have ended.").wait_for()
        asked = [await _job(seen, place) for place in range(2)]
        for place, job in enumerate(asked):
            part = seen.page.locator("#answers section").nth(place)
            assert await part.locator(".text").inner_text() == "a secret word"
            told = (await stage.leader.job(AskJob(project=PROJECT, job=job))).result
            assert told is not None
            assert f"{told.cost:f}" in await part.locator(".figured").inner_text()
            (row,) = await eventually(lambda job=job: _stored(stage, job), within=15.0)  # type: ignore[misc]
            assert row == told.cost

        for place in (1, 2):
            await seen.page.locator(f"[name=model_{place}]").select_option(SLOW)
        await seen.page.locator("[name=prompt]").fill("Tell a long story of a secret")
        await seen.page.get_by_role("button", name="Play").click()
        for place in range(2):  # both stream at once
            await seen.page.wait_for_function(
                "place => document.querySelectorAll('#answers .text')[place]?.innerText.length > 10", arg=place
            )
        slow = [await _job(seen, place) for place in range(2)]
        await seen.page.get_by_role("button", name="Stop").click()
        await seen.page.get_by_text("Stopped: what had not ended is cancelled.").wait_for()
        await eventually(lambda: ended_so(stage, slow, "cancelled"), within=15.0)
        await audited(seen, "play", "otto", f"playground {PROJECT}", *slow, f"models: {SLOW}, {SLOW}")
        await audited(seen, "play", "otto", *asked, "models: fast, smart", at=1)
        assert "secret" not in await seen.words("#shown")


async def _job(seen: Tab, place: int) -> str:
    href = await seen.page.locator("#answers section").nth(place).locator("a.job").get_attribute("href")
    assert href is not None
    return href.rpartition("id=")[2]


async def _stored(stage: Stage, job: str) -> list[object]:
    page = await stage.ledger.attempts(AskAttempts(project=PROJECT, job=job))
    return [row.cost for row in page.rows]


# --------------------------------------------------------------------------------------------------------------- roles


@pytest.mark.parametrize("role", ["viewer", "project", "operator"])
async def test_what_a_role_may_not_do_is_not_offered_and_refused_if_it_is_sent_by_hand(
    browser: Browser, stage: Stage, role: str
) -> None:
    """With the word of the session's own forms, which logging out carries on every page."""
    before = (await stage.leader.audit(AskAudit(limit=1))).lines[0].seq
    async with tab(browser, stage.origin, stage.key(role)) as seen:
        word = await seen.page.locator("header [name=forms]").input_value()
        beyond = [
            f"/{panel.name}/{name}"
            for panel in PANELS
            for name, action in panel.actions.items()
            if not stage.person(role).may(action.role) or not panel.shows(stage.person(role))
        ]
        beyond += [
            f"/{panel.name}/{name}"
            for panel in PANELS
            for name, stream in panel.streams.items()
            if not stream.may(stage.person(role))
        ]
        assert beyond
        own = {"origin": seen.origin}

        async def sent(path: str, word: str, headers: dict[str, str]) -> APIResponse:
            return await seen.context.request.post(f"{seen.origin}{path}", form={"forms": word}, headers=headers)

        for path in beyond:
            answer = await sent(path, word, own)
            assert answer.status == 403, path
            assert "That takes" in await answer.text(), path
        for words, headers in (("x", own), (word, {"origin": "http://elsewhere.example"})):
            answer = await sent("/pools/order", words, headers)
            assert answer.status == 403
            assert "came from elsewhere" in await answer.text()
        if role != "operator":
            for panel in PANELS:
                if panel.letter and panel.shows(stage.person(role)) and not (panel.streams and role == "project"):
                    await seen.go(f"/{panel.name}")
                    assert await seen.page.locator("main form[method=post]").count() == 0, panel.name
        held = [(one["name"], one["value"]) for one in await seen.context.cookies()]
        await seen.page.get_by_role("button", name="Log out").click()
        for name, value in held:  # as whoever had taken them would
            await seen.context.add_cookies([{"name": name, "value": value, "url": seen.origin}])
        await seen.go("/spend")
        assert "/login" in seen.page.url, "the session has ended where it is kept"
    done = [line.entry.did for line in (await stage.leader.audit(AskAudit(limit=100))).lines if line.seq > before]
    assert set(done) <= {"login", "logout"}
