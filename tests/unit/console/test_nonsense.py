"""Addresses and forms that no page of ours would send: every one is answered, and none with a bug."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.asking import Declined
from console.filters import PERIODS, at, period, tagged, wanted
from console.finding import asked, narrowed, of_ended
from console.panels.all import PANELS
from console.people import Person
from console.spending import Question, Told, beginnings, over_time
from job_contracts import subjects
from job_contracts.codec import Wire, encode
from job_contracts.dead import Causes, DeadLetters, FoundDead
from job_contracts.key_asking import KeyPage
from job_contracts.operating import AskNote
from job_contracts.spend import AttemptPage, Comparison, DraftReport, Forecast, LedgerState, Spend, SpendRow, Sums
from job_contracts.trials import ToldExperiments
from producer_sdk.testing import FakeGateway
from runtime.bus.port import Message
from tests.support.console import ADMIN, STATIC, Served, config, served

SPENT = ("project", "model", "key", "reason", "tag", "by", "unit", "since", "until", "period", "show")
READS = {
    "/jobs": ("project", "lane", "state", "tag", "age", "submitted_before", "after", "before", "view", "ask", "below"),
    "/job": ("project", "id"),
    "/dead": ("project", "route", "fingerprint", "state", "letters", "after", "job", "do", "until"),
    "/spend": SPENT,
    "/spend/spend.csv": SPENT,
    "/attempts": (*SPENT, "job", "failure", "won", "priced", "after"),
    "/attempts/attempts.csv": ("project", "job", "failure", "since"),
    "/models": ("on",),
    "/drafts": ("days",),
    "/playground": ("project",),
    "/experiments": ("on",),
    "/pools": ("on",),
    "/keys": ("project", "id", "state", "after"),
    "/audit": ("by", "did", "on", "name", "below"),
    "/config": ("under", "only"),
    "/login": ("then",),
}
"""What each page reads of its address."""
FORMS = {
    "/pools/order": {"on": "pool:openai", "do": "override", "lasts": "5", "unit": "min", "rpm": "5", "factor": "1"},
    "/keys/create": {"project": "acme", "name": "n", "routes": "fast", "rpm": "5", "budget:day": "5", "expires": "5"},
    "/keys/rotate": {"id": "abc", "overlap": "5", "why": "y"},
    "/keys/revoke": {"id": "abc", "sure": "abc", "why": "y"},
    "/dead/replay": {"project": "acme", "fingerprint": "f", "job": "j", "until": "5", "count": "5", "onto": "fast"},
    "/dead/discard": {"project": "acme", "fingerprint": "f", "job": "j", "until": "5", "count": "5", "why": "x"},
    "/jobs/cancel": {"job": "acme/j/t"},
    "/job/cancel": {"job": "acme/j/t"},
    "/jobs/cancel_all": {"project": "acme", "lane": "rt", "tag": "a=b", "until": "5", "age": "5", "why": "x"},
    "/experiments/stop": {"on": "e/a", "why": "x"},
    "/playground/play": {"project": "acme", "model_1": "fast", "prompt": "p", "max_tokens": "5", "temperature": "1"},
}
"""What each form sends."""
VALUES = ("", "nan", "1e400", "-1", "²", "9" * 19, "x" * 3_000, "\0\u2028\U0001f600", "acme/" + "x" * 300 + "/t")
WELL = {200, 303, 400, 403, 503}


def answers() -> dict[str, Wire]:
    """Of the desks but the leader's, whatever they are asked."""
    sums = {"attempts": 1, "cost": Decimal("0.1")}
    row = SpendRow.model_validate({**sums, "hour": 999_997_200, "day": 999_993_600, "month": 999_302_400})
    total = Sums.model_validate(sums)
    return {
        subjects.ledger_desk("spend"): Spend(since=0.0, rows=(row,), total=total),
        subjects.ledger_desk("attempts"): AttemptPage(rows=()),
        subjects.ledger_desk("compare"): Comparison(since=0.0, seen=total, rows=(), approximated=()),
        subjects.ledger_desk("drafts"): DraftReport(since=0.0, rows=(), approximated=()),
        subjects.ledger_desk("forecast"): Forecast(at=1e9, rows=(), method="so"),
        subjects.ledger_desk("state"): LedgerState(at=1e9, kind="sqlite"),
        subjects.key_desk("keys"): KeyPage(),
        subjects.api("-", "experiments"): ToldExperiments(experiments=()),
        subjects.api("-", "dead_causes"): Causes(causes=(), after=0, more=False, last=0),
        subjects.api("-", "dead_letters"): DeadLetters(letters=(), after=0, more=False, last=0),
        subjects.api("-", "dead_letter"): FoundDead(),
    }


@pytest.fixture
def heard() -> list[dict[str, Any]]:
    """What these were asked."""
    return []


@pytest.fixture
async def console(heard: list[dict[str, Any]]) -> AsyncIterator[Served]:
    async with served(config(project_role="operator"), queue=FakeGateway()) as made:
        for subject, answer in answers().items():

            async def told(message: Message, data: bytes = encode(answer)) -> bytes:
                heard.append(json.loads(message.data))
                return data

            await made.bus.respond(subject, told)
        yield made


@asynccontextmanager
async def inside(console: Served, key: str) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    """Somebody who is logged in, their forms' word, and no network between: what a page raises is raised here."""
    async with console.browser(key) as browser:
        found = re.search(r'name="forms" value="([^"]+)"', (await browser.get("/playground")).text)
        assert found is not None
        cookies, transport = dict(browser.cookies), httpx.ASGITransport(console.made.application)
        async with httpx.AsyncClient(transport=transport, base_url=console.url, cookies=cookies) as within:
            yield within, found[1]


def test_every_page_that_reads_its_address_is_tried_and_every_form() -> None:
    assert {path for path in READS if path != "/login"} <= {f"/{one.name}" for one in PANELS} | {
        f"/{one.name}/{name}" for one in PANELS for name in one.sheets
    }
    assert set(FORMS) == {f"/{one.name}/{name}" for one in PANELS for name in (*one.actions, *one.streams)}


@pytest.mark.parametrize("key", [ADMIN, STATIC], ids=["admin", "project"])
async def test_no_address_is_answered_with_a_bug(console: Served, key: str) -> None:
    async with inside(console, key) as (browser, _):
        for path, names in READS.items():
            for name, value in itertools.product(names, VALUES):
                answer = await browser.get(path, params={name: value})
                assert answer.status_code in WELL, (path, name, value[:20])
            for value in VALUES:
                answer = await browser.get(path, params=dict.fromkeys(names, value))
                assert answer.status_code in WELL, (path, value[:20])


@pytest.mark.parametrize("key", [ADMIN, STATIC], ids=["admin", "project"])
async def test_no_form_is_answered_with_a_bug(console: Served, key: str) -> None:
    async with inside(console, key) as (browser, word):
        for path, usual in FORMS.items():
            for name, value in itertools.product(usual, VALUES):
                fields = {**usual, name: value, "forms": word}
                answer = await browser.post(path, data=fields, headers=console.own)
                assert answer.status_code in WELL, (path, name, value[:20])
    assert "console.failed" not in {event.name for event in console.events}


@pytest.mark.parametrize("value", ["others", "-", "*", "others.>", "acme,others"])
async def test_whatever_a_key_holder_sends_only_their_project_is_asked_for(
    console: Served, heard: list[dict[str, Any]], value: str
) -> None:
    async with inside(console, STATIC) as (browser, word):
        for path, names in READS.items():
            for query in ({"project": value}, dict.fromkeys(names, value), {"project": value, "key": "k", "id": "k"}):
                await browser.get(path, params=query)
        for path, usual in FORMS.items():
            for fields in ({**usual, "project": value}, {**usual, "job": f"{value}/j/t", "project": value}):
                await browser.post(path, data={**fields, "forms": word}, params={"project": value}, headers=console.own)
    told = [*heard, *(json.loads(encode(one)) for one in console.desk.asked if not isinstance(one, AskNote))]
    assert len(told) > 20
    for one in told:
        named = {job["project"] for job in one["jobs"]} if "jobs" in one else {one["project"]}
        assert named == {"acme"}, one
    notes = [one for one in console.desk.asked if isinstance(one, AskNote)]
    assert {one.by for one in notes} == {"acme/first"}
    assert not {one.on for one in notes} & {"key", "experiment"}


@pytest.mark.parametrize("headers", [{"host": "["}, {"host": "[::", "origin": "http://["}, {"origin": "//["}])
async def test_headers_that_are_no_addresses_are_answered(console: Served, headers: dict[str, str]) -> None:
    async with inside(console, ADMIN) as (browser, word):
        assert (await browser.get("/pools?on=x", headers=headers)).status_code == 200
        answer = await browser.post("/pools/order", data={"forms": word}, headers=headers)
        assert answer.status_code == 403
        assert (await browser.post("/login", data={"key": "x"}, headers=headers)).status_code == 403


texts = st.one_of(st.text(max_size=12), st.sampled_from([*VALUES, *PERIODS, "hour", "month", "day", "custom"]))
moments = st.one_of(texts, st.datetimes().map(str), st.dates().map(str), st.floats(-1e12, 1e12).map(str))
queries = st.dictionaries(
    st.sampled_from(("project", "key", "tag", "age", "after", "before", "view", "period", "unit")), texts
).flatmap(lambda one: st.fixed_dictionaries({"since": moments, "until": moments}).map(lambda ends: {**one, **ends}))
WHO = Person("vera", "viewer")


@given(queries, st.floats(0, 4e9))
def test_a_period_is_one_or_is_declined_and_has_few_columns(query: dict[str, str], now: float) -> None:
    try:
        found = period(query, now, "30d")
    except Declined:
        return
    question = Question(found, "model", wanted(query, WHO), {})
    told = Told(Spend(since=found.since, until=found.until, rows=(), total=Sums()), (), cut=False, times={}, series=())
    lines = over_time(told, beginnings(found, told, now), found.unit)
    assert 1 <= len(lines) <= 12_000 if found.unit == "month" else len(lines) <= 105
    assert at(found.since) is not None
    try:
        question.spend(found.unit)
    except Declined:
        return


@given(queries)
def test_a_question_about_jobs_can_be_asked_or_is_declined(query: dict[str, str]) -> None:
    assert narrowed(query).startswith("/jobs")
    assert set(tagged(query)) <= {"tag", "tag_value"}
    for ask in (lambda: encode(asked(WHO, query, 1e9)), lambda: of_ended(WHO, query)):
        try:
            ask()
        except Declined:
            continue
