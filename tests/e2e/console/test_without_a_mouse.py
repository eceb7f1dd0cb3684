"""Jobs, letters, the playground and keys by keyboard alone; at each step the focus is in sight."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser

from job_contracts.key_asking import AskKeys
from job_contracts.keys import key_id
from tests.support.acting import are_dead, became, ended_so, jobs, matching, said, shown_key, status
from tests.support.browsing import tab
from tests.support.eventually import eventually
from tests.support.keyboard import Keyboard
from tests.support.staged import BROKEN, PROJECT, STUCK, Stage

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(240)]


async def test_jobs_letters_keys_and_the_playground_without_a_mouse(browser: Browser, stage: Stage) -> None:
    (stuck,) = await jobs(stage, 1, STUCK, "by-keys")
    (dead,) = await jobs(stage, 1, BROKEN, "by-keys")
    await eventually(lambda: are_dead(stage, [dead]), within=30.0)
    await eventually(lambda: matching(stage, "by-keys", 1), within=15.0)
    async with tab(browser, stage.origin) as seen:
        keyboard = Keyboard(seen.page)
        await seen.go("/login")
        await seen.page.wait_for_function("document.activeElement.localName === 'input'")  # with the first frame
        await keyboard.type(stage.key("admin"))
        await keyboard.press("Enter")
        await seen.page.wait_for_url("**/overview")

        await keyboard.press("g", "j")
        await seen.page.wait_for_url("**/jobs")
        await keyboard.press("/")
        await keyboard.to(id="f-tag")
        await keyboard.type("run=by-keys")
        await keyboard.press("Enter")
        await seen.page.wait_for_url("**tag=run*")
        await keyboard.press("j")
        assert (await keyboard.at())["words"] == stuck
        await keyboard.press("Enter")
        await seen.page.wait_for_url("**/job?*")
        await keyboard.to(id="cancel-this")
        await keyboard.press("Enter")
        await seen.page.wait_for_selector("[role=status]")
        await eventually(lambda: ended_so(stage, [stuck], "cancelled"), within=15.0)

        await keyboard.press("g", "d")
        await seen.page.wait_for_url("**/dead")
        await keyboard.press("/")
        await keyboard.to(name="route")
        await keyboard.type(BROKEN)
        await keyboard.press("Enter")
        await seen.page.wait_for_url("**route=*")
        await keyboard.to(words="Replay 1 letter")
        await keyboard.press("Enter")
        await seen.page.wait_for_url("**do=replay*")
        await keyboard.to(name="onto")
        await keyboard.choose("fast")
        await keyboard.to(words="Replay 1 letter")
        await keyboard.press("Enter")
        await seen.page.wait_for_selector("[role=status]")
        await became(stage, [dead], "fast")

        await keyboard.press("g", "y")
        await seen.page.wait_for_url("**/playground")
        await keyboard.press("/")
        await keyboard.choose(PROJECT)
        await keyboard.press("Tab", "Enter")
        await seen.page.wait_for_url("**project=*")
        await keyboard.to(name="model_1")
        await keyboard.choose("fast")
        await keyboard.to(name="prompt")
        await keyboard.type("[[say by keys]]")
        await keyboard.to(words="Play")
        await keyboard.press("Enter")
        await seen.page.get_by_text("1 of 1 have ended.").wait_for()
        assert await seen.words("#answers .text") == "by keys"

        await keyboard.press("g", "k")
        await seen.page.wait_for_url("**/keys")
        await keyboard.press("/")
        await keyboard.to(name="project", tag="select")
        await keyboard.choose(PROJECT)
        await keyboard.to(name="name")
        await keyboard.type("made by keys")
        await keyboard.press("Enter")
        await seen.page.wait_for_selector("[role=status]")
        made = shown_key(await said(seen))
        assert await status(stage, made) == 200
        keys = (await stage.edges.keys(AskKeys(id=key_id(made)))).keys
        assert [key.name for key in keys] == ["made by keys"]
        assert not seen.amiss
