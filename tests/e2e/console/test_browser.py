"""Every page of the console in a real browser, over a running appliance; a panel that is added is looked at as well."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from playwright.async_api import Browser, Route

from appliance.http import ask
from console.panels import Panel
from console.panels.all import PANELS
from tests.support.browsing import NARROW, WIDE, Scheme, Tab, paths, tab
from tests.support.eventually import eventually
from tests.support.keyboard import Keyboard
from tests.support.staged import MARK, NASTY, Stage

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(240)]

ROLES = ("admin", "operator", "viewer", "project")
LOOKS: tuple[tuple[int, Scheme], ...] = ((WIDE, "light"), (NARROW, "dark"))
"""Both widths and both schemes, in half of the looks."""
FIRST = ("admin", "project")
"""What operators and viewers see is what an admin sees with fewer forms."""


def shown_to(stage: Stage, role: str) -> list[Panel]:
    return [panel for panel in PANELS if panel.shows(stage.person(role))]


async def links(seen: Tab) -> list[str]:
    hrefs = await seen.page.locator("#page a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    return paths(hrefs)


def kinds(found: list[str]) -> list[str]:
    """One link of each kind: the same page with the same filters, whatever is in them."""
    return list({re.sub(r"=[^&]*", "", path): path for path in found}.values())


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
            for width, scheme in LOOKS:
                await seen.looks(width, scheme)
                if role in FIRST:
                    wrong += [f"{path} at {width}, {scheme}: {each}" for each in await seen.barriers()]
                if await seen.sideways() > 0:
                    wrong.append(f"{path} at {width} is {await seen.sideways()} pixels too wide")
        for path in kinds(found) if role in FIRST else ():
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
        refused = ("status of 400", "does not conform to the required format")  # as nonsense in a filter may be
        wrong += [each for each in seen.amiss if not any(words in each for words in refused)]
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


async def test_pages_are_whole_without_scripts(browser: Browser, stage: Stage) -> None:
    async with tab(browser, stage.origin, stage.key("operator"), java_script_enabled=False) as seen:
        for panel in shown_to(stage, "operator"):
            if panel.letter:
                await seen.page.get_by_role("navigation").get_by_role("link", name=panel.title, exact=True).click()
                assert await seen.words("h1") == panel.title
        await seen.page.get_by_role("button", name="Log out").click()
        assert await seen.page.get_by_label("Your key").is_visible()
        assert not seen.amiss


# ------------------------------------------------------------------------------------------------------ staying current


async def looking(stage: Stage) -> int:
    """How many pages are kept current, as the console measures it."""
    told = (await ask(stage.appliance.card["metrics"]["console"])).body.decode()
    return int(float(told.partition("\npenstock_console_looking ")[2].partition("\n")[0]))


async def turned(seen: Tab, times: int = 1) -> None:
    """Wait until the page has shown further moments of the leader."""
    for _ in range(times):
        before = await seen.words("#shown time >> nth=0")
        await seen.page.wait_for_function("was => document.querySelector('#shown time').innerText !== was", arg=before)


async def hidden(seen: Tab, now: bool) -> None:
    await seen.page.evaluate(
        "now => { Object.defineProperty(document, 'hidden', {get: () => now, configurable: true});"
        " document.dispatchEvent(new Event('visibilitychange')) }",
        now,
    )


async def test_numbers_change_by_themselves_until_nobody_looks(browser: Browser, stage: Stage) -> None:
    async with tab(browser, stage.origin, stage.key("viewer")) as seen:
        await seen.go("/overview")
        await seen.page.evaluate("window.same = true")
        before = await seen.words("#queued")
        await seen.page.wait_for_function("was => document.getElementById('queued').innerText !== was", arg=before)
        assert await seen.words("#beat") == "live"
        for stop, go in (("p", "p"), (True, False)):
            await (seen.page.keyboard.press(stop) if isinstance(stop, str) else hidden(seen, stop))
            await eventually(lambda: _nobody(stage), within=10.0)
            stood = await seen.words("#shown")
            at = (await stage.leader.overview()).at
            await eventually(lambda at=at: _later(stage, at), within=10.0)  # type: ignore[misc]
            assert await seen.words("#shown") == stood
            await (seen.page.keyboard.press(go) if isinstance(go, str) else hidden(seen, go))
            await turned(seen)
        assert await seen.page.evaluate("window.same")
        assert not seen.amiss


async def _nobody(stage: Stage) -> bool:
    return await looking(stage) == 0


async def _later(stage: Stage, at: float) -> bool:
    return (await stage.leader.overview()).at > at + 1


async def test_what_is_not_known_is_dimmed_and_said_and_what_is_looked_at_stays(browser: Browser, stage: Stage) -> None:
    async with tab(browser, stage.origin, stage.key("viewer")) as seen:
        await seen.go("/overview")
        await seen.page.keyboard.press("j")
        await seen.page.evaluate("window.had = document.activeElement")
        await turned(seen, 2)
        assert await seen.page.evaluate("document.activeElement === had && had.isConnected && had.localName === 'a'")
        assert not seen.amiss
        said = "event: unknown\ndata: nobody knows\n\n"
        await seen.context.route("**/live*", lambda route: route.fulfill(body=said, content_type="text/event-stream"))
        await seen.page.reload()
        await seen.page.wait_for_selector("#shown.unknown")
        assert await seen.words("#beat") == "not current"
        assert await seen.page.locator("#amiss").is_visible()
        await seen.context.unroute_all()
        await seen.page.wait_for_selector("#shown:not(.unknown)")  # by itself
        assert await seen.words("#beat") == "live"


async def test_times_are_told_by_the_readers_clock_or_in_utc_and_always_say_which(
    browser: Browser, stage: Stage
) -> None:
    """The clock of Kabul is apart from UTC by half an hour, so no hour alone agrees by chance."""
    read = (
        "() => [document.getElementById('clock').innerText, ...['innerText', 'title'].map("
        "what => document.querySelector('#shown time')[what])]"
    )
    async with tab(browser, stage.origin, stage.key("viewer"), timezone_id="Asia/Kabul") as seen:
        await seen.go("/audit")
        clock, own, whole = await seen.page.evaluate(read)
        assert clock == "Times in Asia/Kabul"
        assert whole.endswith(" UTC")
        moment = datetime.fromisoformat(whole.replace(" UTC", "+00:00"))
        assert own.endswith((moment + timedelta(hours=4, minutes=30)).strftime("%H:%M:%S"))
        await seen.page.keyboard.press("z")
        clock_now, shown, still = await seen.page.evaluate(read)
        assert (clock_now, still) == ("Times in UTC", whole)
        assert shown.endswith(moment.strftime("%H:%M:%S"))
        await seen.page.reload()
        assert (await seen.page.evaluate(read))[0] == "Times in UTC"
        await seen.page.get_by_role("button", name="Times in UTC").click()
        assert await seen.page.evaluate(read) == [clock, own, whole]
        assert not seen.amiss


def _state(rows: str, count: int) -> str:
    lines = "".join(f'<tr id="row-{one}"><td><a href="#{one}">{one}</a> {count}</td></tr>' for one in rows)
    return (
        f"<h2>{count}</h2>{'<p>more</p>' if count > 1 else ''}<details><summary>As a table</summary><p>{count}</p>"
        f"</details><label><input type=checkbox> all</label><table><tbody>{lines}</tbody></table>"
    )


async def test_what_somebody_opened_ticked_or_stands_on_stays_while_rows_come_and_go(
    browser: Browser, stage: Stage
) -> None:
    pushed = [_state("abcd", 1)]

    async def push(route: Route) -> None:
        body = f"retry: 50\nevent: state\ndata: {pushed[-1]}\n\n"
        await route.fulfill(body=body, content_type="text/event-stream")

    async with tab(browser, stage.origin, stage.key("viewer")) as seen:
        await seen.context.route("**/live*", push)
        await seen.go("/overview")
        await seen.page.locator("summary").click()
        await seen.page.locator("[type=checkbox]").check()
        await seen.page.locator("#row-c a").focus()
        await seen.page.evaluate("window.had = document.activeElement")
        for count, rows in enumerate(("bcd", "xbycz", "zyxcb"), 2):
            pushed.append(_state(rows, count))
            await seen.page.wait_for_function(
                "count => document.querySelector('h2').innerText === count", arg=str(count)
            )
            links = await seen.page.locator("tbody a").all_inner_texts()
            assert "".join(links) == rows
            assert await seen.page.evaluate("document.activeElement === had")
            assert await seen.page.locator("details[open] p").inner_text() == str(count)
            assert await seen.page.locator("[type=checkbox]").is_checked()
        pushed.append(_state("ab", 9))
        await seen.page.wait_for_function("() => document.activeElement.id === 'page'")  # its row has gone


async def test_the_overview_says_what_the_leader_says(browser: Browser, stage: Stage) -> None:
    async with tab(browser, stage.origin, stage.key("viewer")) as seen:

        async def same() -> bool:
            """The page between two equal moments."""
            was = await stage.leader.overview()
            await seen.go("/overview")
            shown = [await seen.words(f"#{name}") for name in ("known", "in-flight", "queued", "unread")]
            states = {pool.name: await seen.words(f"#pool-{pool.name} .state") for pool in was.pools}
            now = await stage.leader.overview()
            queued = sum(lane.queued for lane in was.lanes)
            if (was.known, was.in_flight) != (now.known, now.in_flight):
                return False
            assert shown == [f"{number:,}" for number in (was.known, was.in_flight, queued, was.unread)]
            assert all(states[pool.name].startswith(pool.state) for pool in was.pools)
            return True

        await eventually(same, within=20.0)


# --------------------------------------------------------------------------------------------------------------- doing

ORDERS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("pool:openai", "pause", {"lasts": "5"}),
    ("pool:openai", "drain", {}),
    ("pool:openai", "resume", {}),
    ("deployment:openai/gpt-4o-mini", "pause", {}),
    ("deployment:openai/gpt-4o-mini", "resume", {}),
    ("limit:openai", "override", {"lasts": "10", "rpm": "1200"}),
    ("limit:openai", "restore", {}),
)


async def in_force(stage: Stage, on: str) -> str:
    """How the leader has it."""
    aim, _, name = on.partition(":")
    now = await stage.leader.overview()
    if aim == "limit":
        (found,) = (one for limit in now.limits if limit.name == name for one in limit.units if one.unit == "requests")
        return "override" if found.configured is not None and found.limit != found.configured else "restore"
    deployments = {
        one.name: one.order.standing.state if one.order else "running" for p in now.pools for one in p.deployments
    }
    states = {pool.name: str(pool.state) for pool in now.pools} if aim == "pool" else deployments
    return {"paused": "pause", "draining": "drain", "running": "resume"}[states[name]]


async def test_what_is_ordered_on_the_page_is_in_force_and_in_the_audit(browser: Browser, stage: Stage) -> None:
    async with tab(browser, stage.origin, stage.key("operator")) as seen:
        for number, (on, do, more) in enumerate(ORDERS):
            await seen.go(f"/pools?on={quote(on)}")
            form = seen.page.locator("form#order")
            assert await form.locator("[name=on]").input_value() == on
            await form.locator("[name=do]").select_option(do)
            for name, value in more.items():
                await form.locator(f"[name={name}]").fill(value)
            await form.locator("[name=why]").fill(f"because of {number}")
            await form.get_by_role("button").click()
            assert "in force" in await seen.words("[role=status]")
            assert await in_force(stage, on) == do
            await seen.go("/audit")
            newest = await seen.words("tbody tr >> nth=0")
            assert all(part in newest for part in ("otto", do, on.partition(":")[2], f"because of {number}"))
        assert not seen.amiss
    async with tab(browser, stage.origin, stage.key("viewer")) as seen:
        await seen.go("/pools")
        assert await seen.page.locator("main form[method=post]").count() == 0


async def test_all_of_it_without_a_mouse(browser: Browser, stage: Stage) -> None:
    async with tab(browser, stage.origin) as seen:
        keyboard = Keyboard(seen.page)
        await seen.go("/login")
        await seen.page.wait_for_function("document.activeElement.localName === 'input'")  # with the first frame
        await keyboard.type(stage.key("operator"))
        await keyboard.press("Enter")
        await seen.page.wait_for_url("**/overview")
        await keyboard.to(href="#page")
        await keyboard.press("Enter", "Tab")
        assert await seen.page.evaluate("document.getElementById('page').contains(document.activeElement)")
        for do in ("pause", "resume"):
            await keyboard.press("g", "p")
            await seen.page.wait_for_url("**/pools")
            await keyboard.press("/")
            await keyboard.choose("pool:openai")
            await keyboard.to(name="do")
            await keyboard.choose(do)
            await keyboard.to(name="why")
            await keyboard.type(f"{do} by keys")
            await keyboard.press("Enter")
            await seen.page.wait_for_selector("[role=status]")
            assert f"{do} openai: in force" in await seen.words("[role=status]")
            assert await in_force(stage, "pool:openai") == do
            await keyboard.press("g", "o")
            await seen.page.wait_for_url("**/overview")
            assert (await seen.words("#pool-openai .state")).startswith("paused" if do == "pause" else "running")
        await keyboard.press("g", "a")
        await seen.page.wait_for_url("**/audit")
        newest = await seen.words("tbody tr >> nth=0")
        assert "resume by keys" in newest
        await seen.looks(NARROW, "light")
        await keyboard.to(id="more")
        await keyboard.press("Enter")
        await keyboard.to(href="/overview")
        await keyboard.press("Escape")
        assert (await keyboard.at())["id"] == "more"
        await keyboard.press("?")
        await keyboard.to(words="Close")
        await keyboard.press("Enter", "Enter")
        await keyboard.to(words="Log out")
        await keyboard.press("Enter")
        await seen.page.wait_for_url("**/login")
        assert not seen.amiss


@pytest.mark.parametrize("width", [WIDE, NARROW])
async def test_the_focus_is_always_in_sight(browser: Browser, stage: Stage, width: int) -> None:
    async with tab(browser, stage.origin, stage.key("admin")) as seen:
        keyboard = Keyboard(seen.page)
        await seen.looks(width, "light")
        for panel in shown_to(stage, "admin"):
            if panel.letter:
                await seen.go(f"/{panel.name}")
                await keyboard.to(href="#page")
                await keyboard.to(href="#page")  # the whole round
