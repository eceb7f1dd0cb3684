"""The playground: who may ask, whose budget pays and within what, and that what is said stays between the two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.requests import Request

from console.pages import ROOM
from console.panels.playground import MAX_FORM, MAX_TEXT
from console.playing import MOST_EACH, Asked, Beyond, Purse, within
from gateway.asking import job_options
from gateway.asking import within as edge_within
from gateway.bodies.asked import Asked as EdgeAsked
from gateway.bodies.failures import Failed
from gateway.call import Call
from gateway.caller import Caller
from job_contracts.failures import FailureKind
from job_contracts.jobs import Bounds
from job_contracts.keys import Scope, key_id
from job_contracts.operating import AskNote
from producer_sdk.testing import FakeGateway, fails, says, silence
from tests.support.console import ADMIN, MADE, OPERATOR, STATIC, VIEWER, Served, config, record, served, stored
from tests.support.eventually import eventually
from tests.support.playground import Heard, asking, played, to_the_end, word

ACME = {"project": "acme"}


@pytest.fixture
async def queue() -> AsyncIterator[FakeGateway]:
    async with FakeGateway(project="acme", routes=("fast", "slow")) as made:
        yield made


@pytest.fixture
async def console(queue: FakeGateway) -> AsyncIterator[Served]:
    async with served(queue=queue) as made:
        yield made


def notes(console: Served) -> list[AskNote]:
    return [one for one in console.desk.asked if isinstance(one, AskNote) and one.did == "play"]


def endings(console: Served) -> list[tuple[int, str]]:
    found = [event.fields for event in console.events if event.name == "console.played"]
    return [(fields["models"], fields["ended"]) for fields in found]


async def test_models_answer_side_by_side_and_the_audit_has_who_where_and_which(
    console: Served, queue: FakeGateway
) -> None:
    queue.script(says("One two", cost=Decimal("0.00012")), says("Three", reasoning="Hm"))
    async with console.browser(OPERATOR) as browser:
        heard = await played(browser, **ACME, model_1="fast", model_3="slow", system="Be brief", max_tokens="50")
    assert [received.job.route for received in queue.jobs] == ["fast", "slow"]
    assert dict(heard.texts) == {0: "One two", 1: "Three"}
    assert heard.words[0, "ended"] == heard.words[1, "ended"] == "succeeded"
    assert heard.figures[0]["cost"] == "0.00012 US dollars"
    assert heard.figures[0]["deployment"] == "fake/fake-1"
    assert "first token, from the press" in heard.figures[1]
    ids = [received.job.id for received in queue.jobs]
    assert heard.jobs == dict(enumerate(ids))
    for received in queue.jobs:
        assert (received.ticket.key, received.ticket.lane) == (None, "rt")
        assert received.job.chat.settings.max_tokens == 50
        assert [turn.role for turn in received.job.chat.messages] == ["system", "user"]
    detail = {"models": "fast, slow", "jobs": " ".join(ids)}
    assert notes(console) == [AskNote(by="otto", did="play", on="playground", name="acme", detail=detail)]
    assert endings(console) == [(2, "done")]


async def test_what_was_asked_and_answered_is_in_no_log_no_note_and_no_address(
    console: Served, queue: FakeGateway
) -> None:
    queue.script(says("canary-answer"), fails(FailureKind.CONTENT_POLICY, "no"))
    async with console.browser(OPERATOR) as browser:
        for _ in range(2):
            await played(browser, **ACME, prompt="canary-prompt", system="canary-system")
        assert "canary" not in (await browser.get("/playground?project=acme")).text
    assert "canary" not in str(console.events) + str(console.desk.asked)


async def test_a_projects_key_asks_as_it_does_over_the_api(console: Served, queue: FakeGateway) -> None:
    scope = {"routes": ["fast"], "lanes": ["std", "batch"], "max_tokens": 100, "max_cost": "0.5", "max_queued": 3}
    await stored(console.bus, record(MADE, scope=scope))
    async with console.browser(MADE) as browser:
        assert "slow" not in (await browser.get("/playground")).text
        heard = await played(browser, project="other", model_2="slow")
        over = await played(browser, max_tokens="101")
    assert heard.texts[0] == "Hello"
    assert heard.words[1, "refused"] == "this key may not use model 'slow'; use one of: fast"
    assert over.words[0, "refused"] == "max_tokens: 101 is more than this key may ask for; ask for at most 100"
    (received,) = queue.jobs
    assert (received.ticket.key, received.ticket.bounds) == (key_id(MADE), Bounds(max_queued=3))
    assert (received.ticket.lane, received.job.chat.settings.max_tokens) == ("std", 100)
    assert received.job.max_cost == Decimal("0.5")
    (note,) = notes(console)
    assert (note.by, note.on, note.name) == (f"acme/{key_id(MADE)}", "own_playground", "acme")


async def test_a_key_is_held_to_its_rate(console: Served, queue: FakeGateway) -> None:
    await stored(console.bus, record(MADE, scope={"rpm": 2}))
    console.clock.advance(60.0)
    async with console.browser(MADE) as browser:
        heard = await played(browser, model_2="fast")
        assert heard.words[1, "refused"] == "this key may send 2 requests a minute; try again in 30 s"
        console.clock.advance(30.0)
        assert (await played(browser)).texts[0] == "Hello"
    assert len(queue.jobs) == 2


async def test_a_viewer_may_not_spend_and_is_told_so(console: Served, queue: FakeGateway) -> None:
    async with console.browser(VIEWER) as browser:
        page = (await browser.get("/playground?project=acme")).text
        assert 'action="/playground/play"' not in page
        assert "takes the role operator" in page
        forms = await word(browser)
        form = {"forms": forms, "model_1": "fast", "prompt": "Hi", **ACME}
        answer = await browser.post("/playground/play", data=form, headers=console.own)
        assert (answer.status_code, "another role" in answer.text) == (403, True)
    assert queue.jobs == []


@pytest.mark.parametrize("who", [OPERATOR, ADMIN, STATIC])
async def test_those_who_may_have_a_form(console: Served, who: str) -> None:
    async with console.browser(who) as browser:
        assert 'action="/playground/play"' in (await browser.get("/playground?project=acme")).text


@pytest.mark.parametrize(
    ("headers", "forms"),
    [
        ({}, "{word}"),
        ({"origin": "https://evil.example"}, "{word}"),
        ({"origin": "{own}", "sec-fetch-site": "cross-site"}, "{word}"),
        ({"origin": "{own}"}, "guess"),
        ({"origin": "{own}"}, ""),
    ],
)
async def test_another_site_cannot_spend(
    console: Served, queue: FakeGateway, headers: dict[str, str], forms: str
) -> None:
    told = {name: value.replace("{own}", console.url) for name, value in headers.items()}
    async with console.browser(OPERATOR) as browser:
        sent = forms.replace("{word}", await word(browser))
        form = {"forms": sent, "model_1": "fast", "prompt": "Hi", **ACME}
        answer = await browser.post("/playground/play", data=form, headers=told)
        assert answer.status_code == 403
        assert answer.text.startswith("event: refused\ndata: This form came from elsewhere")
    assert queue.jobs == []


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({}, "choose the project that pays"),
        ({"project": "other"}, "choose the project that pays"),
        ({**ACME, "model_1": ""}, "choose a model"),
        ({**ACME, "prompt": " "}, "write a prompt"),
        ({**ACME, "max_tokens": "many"}, "a whole number"),
        ({**ACME, "prompt": "x" * (MAX_TEXT + 1)}, "262,145 bytes"),
    ],
)
async def test_a_form_that_makes_no_sense_asks_nothing(
    console: Served, queue: FakeGateway, form: dict[str, str], why: str
) -> None:
    async with console.browser(OPERATOR) as browser:
        heard = await played(browser, **form)
    assert heard.refused.startswith("Nothing was asked: ")
    assert why in heard.refused
    assert (queue.jobs, notes(console)) == ([], [])


async def test_a_large_prompt_is_taken_and_one_too_large_is_not_read(console: Served, queue: FakeGateway) -> None:
    async with console.browser(OPERATOR) as browser:
        heard = await played(browser, **ACME, prompt="é" * (MAX_TEXT // 2))
        assert heard.words[0, "ended"] == "succeeded"
        assert (await _status(console, browser, "x" * MAX_FORM)) == 403
    assert len(queue.jobs) == 1


async def _status(console: Served, browser: Any, prompt: str) -> int:
    form = {"forms": await word(browser), "model_1": "fast", "prompt": prompt, **ACME}
    status: int = (await browser.post("/playground/play", data=form, headers=console.own)).status_code
    return status


async def test_what_cannot_be_noted_is_not_done(console: Served, queue: FakeGateway) -> None:
    async with console.browser(OPERATOR) as browser:
        forms = await word(browser)
        console.desk.silent = True
        heard = await played(browser, **ACME, forms=forms)
    assert heard.refused.startswith("Nothing was asked: ")
    assert queue.jobs == []
    assert endings(console) == [(1, "refused")]


async def test_what_the_queue_refuses_and_what_fails_is_said_in_the_answers_place(
    console: Served, queue: FakeGateway
) -> None:
    queue.script(
        fails(FailureKind.BUDGET, "the budget of project acme a day is used up"),
        says("Second", after=(fails(FailureKind.OVERLOADED, "busy").but(text="Fir"),)),
        fails(FailureKind.OVERLOADED, "busy"),
    )
    async with console.browser(OPERATOR) as browser:
        heard = await played(browser, **ACME, model_1="fast", model_2="slow", model_3="fast", model_4="unknown")
    assert "budget of project acme a day is used up" in heard.words[0, "refused"]
    assert (heard.texts[1], heard.words[1, "ended"]) == ("Second", "succeeded")
    assert "begins anew" in heard.words[1, "switched"]
    assert heard.figures[1]["attempts"] == "2"
    assert (heard.words[2, "ended"], "busy" in heard.words[2, "refused"]) == ("failed", True)
    assert "unknown" in heard.words[3, "refused"]


async def test_a_browser_that_goes_away_cancels_its_jobs(console: Served, queue: FakeGateway) -> None:
    queue.script(silence().but(text="One"), silence().but(text="Two"))
    async with console.browser(OPERATOR) as browser, asking(browser, **ACME, model_2="slow") as told:
        await _both(told)
        assert console.made.playing.under_way == 1
    await eventually(lambda: all(one.cancelled for one in queue.jobs), within=5.0, says="not cancelled")
    assert len(queue.jobs) == 2
    assert console.made.playing.under_way == 0
    assert endings(console) == [(2, "left")]


async def _both(told: AsyncIterator[Heard]) -> None:
    async for heard in told:
        if len(heard.texts) == 2:
            return


async def test_a_console_that_is_told_to_stop_cancels_what_is_being_read(console: Served, queue: FakeGateway) -> None:
    queue.script(silence())
    async with console.browser(OPERATOR) as browser, asking(browser, **ACME) as told:
        await eventually(lambda: bool(queue.jobs), within=5.0)
        stopping = asyncio.create_task(console.made.server.stop())
        assert "The console has ended" in (await to_the_end(told)).refused
    await stopping
    await console.made.playing.stop()
    assert queue.jobs[0].cancelled is not None


async def test_a_revoked_key_ends_its_stream_and_cancels_its_jobs(console: Served, queue: FakeGateway) -> None:
    await stored(console.bus, record(MADE))
    queue.script(silence())
    async with console.browser(MADE) as browser, asking(browser) as told:
        await eventually(lambda: bool(queue.jobs), within=5.0)
        await stored(console.bus, record(MADE, revoked=5.0))
        console.clock.advance(14.0)
        heard = await to_the_end(told)
    assert heard.gone
    await eventually(lambda: queue.jobs[0].cancelled, within=5.0, says="not cancelled")


async def test_a_person_has_so_many_at_once_however_often_they_log_in(console: Served, queue: FakeGateway) -> None:
    queue.always(silence())
    async with console.browser(OPERATOR) as first, console.browser(OPERATOR) as second:
        opened = [asking(first, **ACME) for _ in range(MOST_EACH)]
        for one in opened:
            await one.__aenter__()
        await eventually(lambda: len(queue.jobs) == MOST_EACH, within=5.0)
        assert f"{MOST_EACH} prompts of yours" in (await played(second, **ACME)).refused
        for one in opened:
            await one.__aexit__(None, None, None)
        await eventually(lambda: not console.made.playing.under_way, within=5.0)
    assert endings(console)[0] == (1, "refused")


SCOPES: tuple[dict[str, Any], ...] = (
    {},
    {"routes": ("fast",)},
    {"routes": ("slow",)},
    {"lanes": ("batch",)},
    {"lanes": ("bg",)},
    {"max_tokens": 10},
    {"max_tokens": 100, "max_cost": "0.1"},
    {"tpm": 5.0, "budget": {"day": 1}},
)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("tokens", [None, 50])
@pytest.mark.parametrize("lanes", [("rt", "std"), ("std", "batch"), ("batch",)])
def test_a_key_may_here_what_it_may_at_the_edge(
    scope: dict[str, Any], tokens: int | None, lanes: tuple[str, ...]
) -> None:
    settings = config()
    project = settings.projects["acme"].model_copy(update={"lanes": lanes})
    settings = settings.model_copy(update={"projects": {"acme": project}})
    made = Scope.model_validate(scope)
    request = Request({"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""})
    edge = cast("Any", SimpleNamespace(config=settings, settings=settings.gateway))
    call = Call(edge, request, Caller("acme", "k", made), "req_1", "openai", 0.0)
    asked = EdgeAsked(model="fast", messages=(), settings={} if tokens is None else {"max_tokens": tokens})
    try:
        theirs: dict[str, Any] | str = {**edge_within(made, asked), **job_options(call, asked)}
    except Failed as failed:
        theirs = str(failed)
    try:
        ours: dict[str, Any] | str = within(
            settings, Purse("acme", "k", made), Asked(("fast",), "Hi", "", tokens), "fast"
        )
    except Beyond as beyond:
        ours = str(beyond)
    assert ours == theirs


def test_what_a_model_says_is_put_into_the_page_as_text_alone() -> None:
    script = (ROOM / "static" / "playground.js").read_text(encoding="utf-8")
    assert "textContent" in script
    for name in ("innerHTML", "outerHTML", "insertAdjacentHTML", "DOMParser", "setHTML", "createContextualFragment"):
        assert name not in script
