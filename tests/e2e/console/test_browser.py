"""Every page of the console in a real browser, over a running appliance; a panel that is added is looked at as well."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

import pytest
from playwright.async_api import Browser

from console.panels import Panel
from console.panels.all import PANELS
from tests.support.browsing import NARROW, WIDE, Scheme, Tab, paths, tab
from tests.support.staged import MARK, NASTY, Stage

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(240)]

ROLES = ("admin", "operator", "viewer", "project")
LOOKS: tuple[tuple[int, Scheme], ...] = ((WIDE, "light"), (NARROW, "dark"))
"""Both widths and both schemes, in half of the looks."""
MOST = 150
"""Links of one person's pages that are followed, at most."""


def shown_to(stage: Stage, role: str) -> list[Panel]:
    return [panel for panel in PANELS if panel.shows(stage.person(role))]


async def links(seen: Tab) -> list[str]:
    hrefs = await seen.page.locator("#page a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    return paths(hrefs)


def addresses(panels: list[Panel], found: list[str]) -> dict[str, str]:
    """Where each panel is; to one that is not in the navigation others must lead."""
    made = {}
    for panel in panels:
        led = [path for path in found if path.partition("?")[0] == f"/{panel.name}"]
        assert panel.letter or led, f"nothing leads to {panel.name}"
        made[panel.name] = f"/{panel.name}" if panel.letter else led[0]
    return made


@pytest.mark.parametrize("role", ROLES)
async def test_pages_are_whole_and_barrier_free_wide_and_narrow_light_and_dark(
    browser: Browser, stage: Stage, role: str
) -> None:
    wrong: list[str] = []
    async with tab(browser, stage.origin, stage.key(role)) as seen:
        found: list[str] = []
        for panel in sorted(shown_to(stage, role), key=lambda one: not one.letter):  # those to which others lead last
            path = addresses([panel], found)[panel.name]
            assert await seen.go(path) == 200, path
            found += await links(seen)
            for width, scheme in LOOKS if role in {"admin", "project"} else LOOKS[1:]:
                await seen.looks(width, scheme)
                wrong += [f"{path} at {width}, {scheme}: {each}" for each in await seen.barriers()]
                if await seen.sideways() > 0:
                    wrong.append(f"{path} at {width} is {await seen.sideways()} pixels too wide")
        for path in list(dict.fromkeys(found))[:MOST]:
            answer = await seen.context.request.get(f"{seen.origin}{path}")
            if not answer.ok:
                wrong.append(f"{path}, to which a page leads, answers {answer.status}")
            await answer.dispose()
        wrong += seen.amiss
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("role", ["admin", "project"])
async def test_nothing_that_others_wrote_becomes_code(browser: Browser, stage: Stage, role: str) -> None:
    """Without the policy that would stop it: escaping alone must do."""
    wrong: list[str] = []
    read = ""
    async with tab(browser, stage.origin, stage.key(role), bypass_csp=True) as seen:
        owned: list[str] = []
        await seen.page.expose_function("owned", lambda: owned.append(seen.page.url))
        found: list[str] = []
        for panel in sorted(shown_to(stage, role), key=lambda one: not one.letter):
            path = addresses([panel], found)[panel.name]
            for asked in (path, await _echoing(seen, path)):
                await seen.go(asked)
                await seen.page.locator("h1").wait_for()
                read += await seen.words()
                found += await links(seen)
                if await seen.page.locator(f"[{MARK}]").count():
                    wrong.append(f"{asked}: words became elements")
                if await seen.page.locator("a[href^='javascript:' i]").count():
                    wrong.append(f"{asked}: words became a script's address")
        wrong += [f"{url}: words were run" for url in owned]
        wrong += [each for each in seen.amiss if "status of 400" not in each]  # a filter may refuse nonsense
    assert not wrong, "\n".join(wrong)
    if role == "admin":
        assert all(words in read for words in NASTY[:2]), "nothing nasty was shown, so nothing was tried"


async def _echoing(seen: Tab, path: str) -> str:
    """The same page with nasty words in each of its filters."""
    await seen.go(path)
    fields = seen.page.locator("form[method=get] [name]")
    names = await fields.evaluate_all("all => all.map(one => one.name)")
    nasty = {name: NASTY[number % len(NASTY)] for number, name in enumerate([*names, "q", "on", "id"])}
    plain, _, query = path.partition("?")
    return f"{plain}?{urlencode({**dict(parse_qsl(query)), **nasty})}"
