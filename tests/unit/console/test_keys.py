"""Keys and projects: who sees which, and that a key is shown once and is nowhere else."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal

import httpx
import pytest

from console.people import hashed
from job_contracts import subjects
from job_contracts.codec import Wire, decode, encode
from job_contracts.desk import Refusal
from job_contracts.failures import Failure, FailureKind
from job_contracts.key_asking import AskKeys, AskNewKey, AskRevocation, AskRotation, KeyDone, KeyPage, ToldKey
from job_contracts.keys import Scope, key_id
from job_contracts.money import Budget
from job_contracts.operating import AskNote
from job_contracts.spend import AskAttempts, AskSpend, AttemptPage, Spend, SpendRow, Sums
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Message
from tests.support.console import ADMIN, MADE, OPERATOR, PEPPER, VIEWER, Served, record, served, stored

SCOPE = Scope(routes=("fast",), rpm=60, budget=Budget(day=Decimal("2.5")), expires=2e9)
NIGHT = ToldKey(id="0123456789ab", project="acme", name="<b>night</b>", scope=SCOPE, created=1e9, end=2e9)
GONE = ToldKey(id="ba9876543210", project="acme", created=1e9, ended="revoked", revoked=1.1e9, end=1.1e9)
FORM = {"project": "acme", "name": "night", "routes": "fast", "lane:rt": "1", "rpm": "60", "why": "the nightly run"}


@dataclass
class Edge:
    """Answers about keys as a test says."""

    keys: tuple[ToldKey, ...] = (NIGHT, GONE)
    refuses: FailureKind | None = None
    asked: list[Wire] = field(default_factory=list)

    async def open(self, bus: MemoryBus) -> None:
        kinds: tuple[tuple[str, type[Wire]], ...] = (
            ("keys", AskKeys),
            ("create", AskNewKey),
            ("rotate", AskRotation),
            ("revoke", AskRevocation),
        )
        for name, kind in kinds:
            await bus.respond(subjects.key_desk(name), self._answering(kind))
        await bus.respond(subjects.ledger_desk("spend"), self._spend)
        await bus.respond(subjects.ledger_desk("attempts"), self._attempts)

    def _answering(self, kind: type[Wire]):  # type: ignore[no-untyped-def]
        async def answer(message: Message) -> bytes:
            asked = decode(kind, message.data)
            self.asked.append(asked)
            if isinstance(asked, AskKeys):
                return encode(KeyPage(keys=self.keys, total=len(self.keys), in_force={"acme": 1}))
            if self.refuses is not None:
                return encode(Refusal(refused=Failure(kind=self.refuses, message="away")))
            return encode(KeyDone(key=NIGHT))

        return answer

    async def _spend(self, message: Message) -> bytes:
        self.asked.append(decode(AskSpend, message.data))
        row = SpendRow(key=NIGHT.id, attempts=4321, cost=Decimal("1.25"))
        return encode(Spend(since=0.0, rows=(row,), total=Sums()))

    async def _attempts(self, message: Message) -> bytes:
        self.asked.append(decode(AskAttempts, message.data))
        return encode(AttemptPage(rows=()))


@pytest.fixture
async def edge() -> Edge:
    return Edge()


@pytest.fixture
async def console(edge: Edge) -> AsyncIterator[Served]:
    async with served() as made:
        await edge.open(made.bus)
        yield made


async def word(browser: httpx.AsyncClient, page: str = "/keys") -> str:
    found = re.search(r'name="forms" value="([^"]+)"', (await browser.get(page)).text)
    assert found is not None
    return found[1]


async def act(console: Served, browser: httpx.AsyncClient, action: str, **fields: str) -> str:
    """Send a form; what the page that follows says."""
    data = {**fields, "forms": await word(browser)}
    answer = await browser.post(f"/keys/{action}", data=data, headers=console.own)
    assert answer.status_code == 303, answer.text
    return (await browser.get(answer.headers["location"])).text


async def test_every_project_and_key_is_told_with_what_it_may(console: Served) -> None:
    async with console.browser(VIEWER) as browser:
        page = (await browser.get("/keys")).text
    for text in (
        "acme",
        NIGHT.id,
        GONE.id,
        "&lt;b&gt;night&lt;/b&gt;",
        "rpm 60",
        "2.50 a day",
        "revoked",
        "5.00 a day",
    ):
        assert text in page, text
    assert f'<a href="/attempts?key={NIGHT.id}&amp;since=' in page
    assert "4,321" in page
    assert "1.25" in page
    assert 'action="/keys/create"' not in page


async def test_projects_are_shown_though_no_gateway_or_ledger_answers() -> None:
    async with served() as console, console.browser(VIEWER) as browser:
        answer = await browser.get("/keys")
        assert answer.status_code == 200
        assert "Which keys there are is not known: no gateway answers" in answer.text
        assert "5.00 a day" in answer.text


async def test_a_new_key_is_shown_once_and_is_nowhere_else(console: Served, edge: Edge) -> None:
    async with console.browser(ADMIN) as browser:
        said = await act(console, browser, "create", **FORM, **{"budget:day": "2.5", "expires": "30"})
        (key,) = re.findall(r"psk_acme_[0-9a-f]{72}", said)
        others = [await browser.get(path) for path in ("/keys", "/overview", "/audit", "/config")]
    assert all(key not in other.text for other in others)
    (asked,) = [one for one in edge.asked if isinstance(one, AskNewKey)]
    expires = console.clock.wall() + 30 * 86_400
    assert asked == AskNewKey(
        id=key_id(key),
        hash=hashed(key, PEPPER),
        project="acme",
        name="night",
        scope=Scope(routes=("fast",), lanes=("rt",), rpm=60, budget=Budget(day=Decimal("2.5")), expires=expires),
    )
    (note,) = [one for one in console.desk.asked if isinstance(one, AskNote) and one.on == "key"]
    assert (note.by, note.did, note.name, note.why) == ("admin", "create", key_id(key), "the nightly run")
    secret = key.rpartition("_")[2]
    assert secret not in str(console.events) + str(console.desk.asked) + str(edge.asked)
    acted = [event for event in console.events if event.name == "console.acted"]
    assert [(event.fields["action"], event.fields["ended"]) for event in acted] == [("create", "done")]


async def test_what_cannot_be_noted_is_not_done_but_a_revocation_is(console: Served, edge: Edge) -> None:
    async with console.browser(ADMIN) as browser:
        console.desk.silent = True
        assert "psk_" not in await act(console, browser, "create", **FORM)
        await act(console, browser, "rotate", id=NIGHT.id)
        said = await act(console, browser, "revoke", id=NIGHT.id, sure=NIGHT.id)
    assert f"{NIGHT.id} is revoked. The audit does not have it" in said
    assert [one for one in edge.asked if not isinstance(one, AskKeys | AskSpend | AskAttempts)] == [
        AskRevocation(id=NIGHT.id)
    ]


async def test_a_rotation_goes_to_the_same_project_and_says_how_long_the_old_one_goes_on(
    console: Served, edge: Edge
) -> None:
    async with console.browser(ADMIN) as browser:
        said = await act(console, browser, "rotate", id=NIGHT.id, overlap="2", why="it is old")
    (key,) = re.findall(r"psk_acme_[0-9a-f]{72}", said)
    (asked,) = [one for one in edge.asked if isinstance(one, AskRotation)]
    assert asked == AskRotation(id=key_id(key), hash=hashed(key, PEPPER), old=NIGHT.id, overlap=7_200.0)


@pytest.mark.parametrize(
    ("kind", "said", "noted"),
    [
        (FailureKind.BAD_REQUEST, "Not done: away", "create: not done"),
        (FailureKind.INTERNAL, "Not known whether it was done: away", "create: unknown"),
    ],
)
async def test_what_the_gateway_does_not_do_is_said_and_noted_and_shows_no_key(
    console: Served, edge: Edge, kind: FailureKind, said: str, noted: str
) -> None:
    edge.refuses = kind
    async with console.browser(ADMIN) as browser:
        page = await act(console, browser, "create", **FORM)
    assert said in page
    assert "psk_" not in page
    notes = [one.did for one in console.desk.asked if isinstance(one, AskNote) and one.on == "key"]
    assert notes == ["create", noted]


@pytest.mark.parametrize(
    ("action", "over"),
    [
        ("create", {"project": "nobody"}),
        ("create", {"rpm": "many"}),
        ("create", {"rpm": "-1"}),
        ("create", {"budget:day": "NaN"}),
        ("create", {"expires": "soon"}),
        ("create", {"expires": "1", "unit": "years"}),
        ("create", {"name": "x" * 101}),
        ("create", {"why": "x" * 501}),
        ("rotate", {"overlap": "long"}),
        ("rotate", {"overlap": "-1"}),
        ("revoke", {"sure": ""}),
        ("revoke", {"id": "a b", "sure": "a b"}),
    ],
)
async def test_a_form_that_makes_no_sense_does_nothing(
    console: Served, edge: Edge, action: str, over: dict[str, str]
) -> None:
    async with console.browser(ADMIN) as browser:
        said = await act(console, browser, action, **{**FORM, "id": NIGHT.id, "sure": NIGHT.id, **over})
    assert "Not done:" in said
    assert not [one for one in edge.asked if isinstance(one, AskNewKey | AskRotation | AskRevocation)]


@pytest.mark.parametrize("key", [VIEWER, OPERATOR, MADE])
async def test_nobody_but_an_admin_may_change_keys(console: Served, edge: Edge, key: str) -> None:
    await stored(console.bus, record(MADE))
    async with console.browser(key) as browser:
        forms = await word(browser)
        for action in ("create", "rotate", "revoke"):
            data = {**FORM, "id": NIGHT.id, "sure": NIGHT.id, "forms": forms}
            assert (await browser.post(f"/keys/{action}", data=data, headers=console.own)).status_code == 403
    assert not [one for one in edge.asked if isinstance(one, AskNewKey | AskRotation | AskRevocation)]


async def test_who_holds_a_projects_key_sees_that_project_alone(console: Served, edge: Edge) -> None:
    await stored(console.bus, record(MADE))
    async with console.browser(MADE) as browser:
        page = (await browser.get("/keys?project=other&id=x")).text
    assert "acme" in page
    assert {one.project for one in edge.asked if isinstance(one, AskKeys | AskSpend | AskAttempts)} == {"acme"}
    assert hashed(MADE, PEPPER) not in page
