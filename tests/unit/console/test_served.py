"""The console as browsers meet it: who is let in, what they see, what they may do."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from console.guarding import HEADERS, MAX_FORM, Headed
from console.panels.all import PANELS
from job_contracts.operating import AskAudit, AskNote, AskOrder, Rates
from tests.support.console import ADMIN, MADE, OPERATOR, STATIC, VIEWER, Served, config, record, served, stored

OPEN = {
    "/login",
    "/livez",
    "/readyz",
    "/static/console.css",
    "/static/console.js",
    "/static/console.svg",
    "/static/playground.js",
}
PAUSE = {"on": "pool:openai", "do": "pause", "why": "repairs", "lasts": "5", "unit": "min"}


@pytest.fixture
async def console() -> AsyncIterator[Served]:
    async with served() as made:
        yield made


async def word(browser: httpx.AsyncClient, page: str = "/pools") -> str:
    """What a page's forms carry."""
    found = re.search(r'name="forms" value="([^"]+)"', (await browser.get(page)).text)
    assert found is not None
    return found[1]


async def test_no_route_but_the_few_open_ones_answers_without_a_session(console: Served) -> None:
    application = console.made.application
    assert isinstance(application, Headed)
    inner = application._application
    assert isinstance(inner, Starlette)
    routes = [route for route in inner.routes if isinstance(route, Route)]
    assert len(routes) == len(inner.routes) > 8
    async with console.browser() as browser:
        for route in routes:
            for method in sorted((route.methods or set()) - {"HEAD"}):  # the same without a body
                answer = await browser.request(method, route.path, headers=console.own)
                for name, value in HEADERS.items():
                    assert answer.headers[name] == value
                if route.path in OPEN:
                    assert answer.status_code in {200, 403}
                else:
                    closed = answer.text.startswith("event: gone\n") or answer.headers.get("location", "").startswith(
                        "/login"
                    )
                    assert closed, f"{method} {route.path}: {answer.status_code}"
    assert console.desk.asked == []
    assert console.desk.looks == 0


async def test_paths_that_are_not_routes_have_the_headers_too(console: Served) -> None:
    async with console.browser() as browser:
        answer = await browser.get("/nothing")
        assert answer.status_code == 404
        assert answer.headers["content-security-policy"] == HEADERS["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"


async def test_a_wrong_key_is_refused_and_is_nowhere_to_be_read(console: Served) -> None:
    async with console.browser() as browser:
        answer = await browser.post("/login", data={"key": "psa_canary"}, headers=console.own)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
        assert "psa_canary" not in answer.text
    assert [event.name for event in console.events] == ["console.listening", "console.refused"]
    assert "canary" not in str(console.events)


async def test_no_key_is_told_to_log_page_or_audit(console: Served) -> None:
    await stored(console.bus, record(MADE))
    for key in (ADMIN, OPERATOR, STATIC, MADE):
        async with console.browser(key) as browser:
            page = await browser.get("/", follow_redirects=True)
            assert key not in page.text
            assert key not in str(console.events) + str(console.desk.asked)


async def test_the_cookie_is_kept_from_scripts_and_from_other_sites(console: Served) -> None:
    async with console.browser() as browser:
        answer = await browser.post("/login", data={"key": ADMIN}, headers=console.own)
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert "max-age" not in cookie


async def test_behind_https_the_cookie_goes_over_nothing_else_and_forms_come_from_there_alone() -> None:
    async with served(config(origin="https://console.example")) as console, console.browser() as browser:
        assert (await browser.post("/login", data={"key": ADMIN}, headers=console.own)).status_code == 403
        answer = await browser.post("/login", data={"key": ADMIN}, headers={"origin": "https://console.example"})
        assert answer.status_code == 303
        assert answer.headers["set-cookie"].startswith("__Host-penstock=")
        assert "secure" in answer.headers["set-cookie"].lower()


async def test_every_number_of_the_overview_is_the_desks(console: Served) -> None:
    async with console.browser(VIEWER) as browser:
        page = (await browser.get("/overview")).text
    words = re.sub(r"<[^>]+>", " ", page)
    for number in ("100,004", "1,234", "98,770", "77", "98,765", "64", "50", "12.5", "87.5", "600", "500", "42"):
        assert re.search(rf"(?<![\d,.]){re.escape(number)}(?![\d,])", words), number
    for text in (
        "paused",
        "3 min 20 s",
        "overloaded",
        "asked to",
        "&lt;b&gt;repairs&lt;/b&gt;",
        "idle",
    ):
        assert text in page, text


async def test_every_count_of_jobs_leads_to_those_jobs(console: Served) -> None:
    async with console.browser(VIEWER) as browser:
        shown = [(await browser.get(path)).text for path in ("/overview", "/pools")]
    led = [dict(re.findall(r'<a href="(/jobs[^"]*)">([\d,]+)', page)) for page in shown]
    of_pools = {"/jobs?pool=idle&amp;state=dispatched": "0", "/jobs?pool=idle&amp;state=in_line": "0"}
    assert (
        led[0].items()
        >= {
            "/jobs": "100,004",
            "/jobs?state=dispatched": "1,234",
            "/jobs?state=in_line": "98,770",
            "/jobs?lane=rt&amp;state=in_line": "5",
            "/jobs?lane=batch&amp;state=in_line": "98,765",
            **of_pools,
        }.items()
    )
    assert led[1].items() >= {"/jobs?deployment=openai/gpt-5&amp;state=dispatched": "3", **of_pools}.items()


async def test_a_page_is_no_older_than_its_request(console: Served) -> None:
    async with console.browser(VIEWER) as browser:
        await browser.get("/overview")
        console.desk.now = console.desk.now.model_copy(update={"known": 31_337})
        assert "31,337" in (await browser.get("/overview")).text


async def test_while_nobody_answers_nothing_is_shown_as_if_it_were_known(console: Served) -> None:
    async with console.browser(VIEWER) as browser:
        console.desk.silent = True
        answer = await browser.get("/overview")
        assert answer.status_code == 503
        assert "nothing is known" in answer.text
        assert "100,004" not in answer.text


async def test_a_page_is_kept_current_by_pushes(console: Served) -> None:
    async with console.browser(VIEWER) as browser, browser.stream("GET", "/overview/live") as stream:
        lines = stream.aiter_lines()
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert await anext(lines) == "event: state"
        console.desk.now = console.desk.now.model_copy(update={"known": 31_337})
        async for line in lines:
            if "31,337" in line:
                break
        console.desk.silent = True
        async for line in lines:
            if line == "event: unknown":
                break
        assert "nothing is known" in await anext(lines)


async def test_a_page_that_is_left_open_ends_with_its_session(console: Served) -> None:
    async with console.browser(VIEWER) as browser, browser.stream("GET", "/overview/live") as stream:
        lines = stream.aiter_lines()
        await anext(lines)
        console.clock.advance(1_800.0)
        assert [line async for line in lines if line.startswith("event: gone")] == ["event: gone"]
    assert (await _again(console, browser)).text.startswith("event: gone\n")


async def _again(console: Served, browser: httpx.AsyncClient) -> httpx.Response:
    async with httpx.AsyncClient(base_url=console.url, verify=False, cookies=browser.cookies) as other:
        return await other.get("/overview/live")


async def test_an_operator_orders_in_their_own_name(console: Served) -> None:
    async with console.browser(OPERATOR) as browser:
        fields = {**PAUSE, "forms": await word(browser)}
        answer = await browser.post("/pools/order", data=fields, headers=console.own)
        assert (answer.status_code, answer.headers["location"]) == (303, "/pools")
        page = (await browser.get("/pools")).text
        assert "pause openai: in force (audit 8)" in page
        assert "in force (audit 8)" not in (await browser.get("/pools")).text
    orders = [one for one in console.desk.asked if isinstance(one, AskOrder)]
    assert orders == [AskOrder(do="pause", aim="pool", name="openai", by="otto", why="repairs", lasts=300.0)]


async def test_a_limit_is_overridden_for_a_while(console: Served) -> None:
    async with console.browser(ADMIN) as browser:
        fields = {"on": "limit:openai/gpt-5", "do": "override", "rpm": "90", "lasts": "1", "unit": "h"}
        await browser.post("/pools/order", data={**fields, "forms": await word(browser)}, headers=console.own)
    (order,) = [one for one in console.desk.asked if isinstance(one, AskOrder)]
    assert (order.limits, order.lasts, order.by) == (Rates(rpm=90), 3_600.0, "admin")


async def test_a_deployment_is_weighed_for_a_while(console: Served) -> None:
    async with console.browser(OPERATOR) as browser:
        page = (await browser.get("/pools?on=weight:openai/gpt-5")).text
        assert '<option value="weight:openai/gpt-5" selected>' in page
        assert "fast 0.25</a>" in page
        assert "times 0.5" in page
        fields = {"on": "weight:openai/gpt-5", "do": "weigh", "factor": "0.1", "lasts": "2", "unit": "h"}
        await browser.post("/pools/order", data={**fields, "forms": await word(browser)}, headers=console.own)
        fields = {"on": "limit:project:acme", "do": "override", "tpm": "9", "lasts": "2", "unit": "h"}
        await browser.post("/pools/order", data={**fields, "forms": await word(browser)}, headers=console.own)
    weighed, held = [one for one in console.desk.asked if isinstance(one, AskOrder)]
    assert weighed == AskOrder(do="weigh", aim="weight", name="openai/gpt-5", by="otto", lasts=7_200.0, factor=0.1)
    assert (held.aim, held.name, held.limits) == ("limit", "project:acme", Rates(tpm=9))


@pytest.mark.parametrize(
    "over",
    [
        {"do": "explode"},
        {"do": "weigh", "factor": "much"},
        {"do": "weigh", "factor": "-1"},
        {"on": "nothing"},
        {"on": "pool:"},
        {"lasts": "long"},
        {"unit": "years"},
        {"lasts": "-1"},
    ],
)
async def test_a_form_that_makes_no_sense_orders_nothing(console: Served, over: dict[str, str]) -> None:
    async with console.browser(OPERATOR) as browser:
        fields = {**PAUSE, **over, "forms": await word(browser)}
        await browser.post("/pools/order", data=fields, headers=console.own)
        assert "Not done:" in (await browser.get("/pools")).text
    assert not [one for one in console.desk.asked if isinstance(one, AskOrder)]


async def test_what_the_desk_declines_or_leaves_open_is_said(console: Served) -> None:
    async with console.browser(OPERATOR) as browser:
        forms = await word(browser)
        console.desk.refuses = "there is no such pool"
        await browser.post("/pools/order", data={**PAUSE, "forms": forms}, headers=console.own)
        console.desk.refuses = ""
        assert "Not done: there is no such pool" in (await browser.get("/pools")).text
        console.desk.silent = True
        await browser.post("/pools/order", data={**PAUSE, "forms": forms}, headers=console.own)
        console.desk.silent = False
        assert "Not known whether it was done" in (await browser.get("/pools")).text


async def test_a_viewer_sees_no_form_and_may_order_nothing(console: Served) -> None:
    async with console.browser(VIEWER) as browser:
        page = (await browser.get("/pools")).text
        assert 'action="/pools/order"' not in page
        fields = {**PAUSE, "forms": await word(browser)}
        answer = await browser.post("/pools/order", data=fields, headers=console.own)
        assert answer.status_code == 403
    assert not [one for one in console.desk.asked if isinstance(one, AskOrder)]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "{own}", "sec-fetch-site": "cross-site"},
        {"origin": "{own}", "sec-fetch-site": "same-site"},
    ],
)
async def test_another_site_cannot_order_in_somebodys_name(console: Served, headers: dict[str, str]) -> None:
    told = {name: value.replace("{own}", console.url) for name, value in headers.items()}
    async with console.browser(OPERATOR) as browser:
        forms = await word(browser)
        for path, fields in (("/pools/order", PAUSE), ("/logout", {})):
            answer = await browser.post(path, data={**fields, "forms": forms}, headers=told)
            assert answer.status_code in {303, 403}
        assert (await browser.get("/pools")).status_code == 200, "still logged in"
        assert (await browser.post("/login", data={"key": ADMIN}, headers=told)).status_code == 403
    assert not [one for one in console.desk.asked if isinstance(one, AskOrder)]


@pytest.mark.parametrize("forms", [None, "", "guess"])
async def test_a_form_without_its_sessions_word_does_nothing(console: Served, forms: str | None) -> None:
    async with console.browser(OPERATOR) as browser:
        fields = PAUSE if forms is None else {**PAUSE, "forms": forms}
        assert (await browser.post("/pools/order", data=fields, headers=console.own)).status_code == 403
    assert not [one for one in console.desk.asked if isinstance(one, AskOrder)]


async def test_a_body_that_is_no_form_or_too_large_is_refused(console: Served) -> None:
    async with console.browser(OPERATOR) as browser:
        assert (await browser.post("/pools/order", json=PAUSE, headers=console.own)).status_code == 403
        large = {**PAUSE, "forms": await word(browser), "why": "x" * MAX_FORM}
        assert (await browser.post("/pools/order", data=large, headers=console.own)).status_code == 403


async def test_logging_out_ends_the_session(console: Served) -> None:
    async with console.browser(OPERATOR) as browser:
        cookies = dict(browser.cookies)
        answer = await browser.post("/logout", data={"forms": await word(browser)}, headers=console.own)
        assert answer.headers["location"] == "/login"
        browser.cookies.update(cookies)
        assert (await browser.get("/overview")).status_code == 303
    noted = [(one.by, one.did) for one in console.desk.asked if isinstance(one, AskNote)]
    assert noted == [("otto", "login"), ("otto", "logout")]


async def test_who_may_look_does_not_depend_on_the_scheduler(console: Served) -> None:
    console.desk.silent = True
    async with console.browser(ADMIN) as browser:
        assert (await browser.get("/overview")).status_code == 503
    assert "console.not_noted" in {event.name for event in console.events}


async def test_a_projects_key_shows_that_project_and_nothing_of_the_others(console: Served) -> None:
    await stored(console.bus, record(MADE, scope={"routes": ["fast"], "rpm": 60}))
    async with console.browser(MADE) as browser:
        page = await browser.get("/", follow_redirects=True)
        assert page.url.path == "/project"
        assert "fast" in page.text
        assert "slow" not in page.text
        assert "5.00 US dollars a day" in page.text
        for panel in PANELS:
            if panel.seen_by == "operators":
                assert (await browser.get(f"/{panel.name}")).status_code == 403
                assert (await browser.get(f"/{panel.name}/live")).status_code in {204, 404}
    assert console.desk.looks == 0


async def test_a_revoked_key_ends_its_sessions(console: Served) -> None:
    await stored(console.bus, record(MADE))
    async with console.browser(MADE) as browser:
        assert (await browser.get("/project")).status_code == 200
        await stored(console.bus, record(MADE, revoked=5.0))
        console.clock.advance(15.0)
        assert (await browser.get("/project")).status_code == 303


async def test_the_audit_is_asked_by_what_the_address_says(console: Served) -> None:
    async with console.browser(VIEWER) as browser:
        page = (await browser.get("/audit?by=otto&below=12&name=")).text
        assert "&lt;i&gt;" in page
        assert 'href="/audit?below=8&amp;by=otto"' in page
        await browser.get("/audit?below=x")
    asked = [one for one in console.desk.asked if isinstance(one, AskAudit)]
    assert asked == [AskAudit(by="otto", below=12), AskAudit()]


async def test_the_page_that_was_wanted_comes_after_the_login(console: Served) -> None:
    async with console.browser() as browser:
        asked = await browser.get("/pools?on=pool:openai")
        answer = await browser.post(asked.headers["location"], data={"key": VIEWER}, headers=console.own)
        assert answer.headers["location"] == "/pools?on=pool:openai"
