"""Dead letters in the console: whose anybody sees, what is asked before anything is done, and what is said of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest

from console.panels import dead as panel
from job_contracts import subjects
from job_contracts.codec import Wire, decode, encode
from job_contracts.dead import (
    AskCauses,
    AskDeadLetter,
    AskDeadLetters,
    AskHandle,
    Cause,
    Causes,
    DeadLetters,
    FoundDead,
    HandledOf,
    HandledUpTo,
    of_project,
)
from job_contracts.desk import Refusal
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import BlobRef, Ticket
from job_contracts.letters import DeadLetter
from job_contracts.operating import AskNote
from job_contracts.results import AttemptRecord
from producer_sdk.letters import RATE
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Message
from tests.support.console import ADMIN, MADE, OPERATOR, VIEWER, Served, config, record, served, stored

NASTY = '"><script src=//evil></script><img src=x onerror=alert(1)>'
FAILED = Failure(kind=FailureKind.INTERNAL, message=NASTY, code=NASTY, status=500)


def letter(**over: object) -> DeadLetter:
    """One with something of everything, and content where content is."""
    ticket = Ticket(route="fast", submitted=1.0, token="t", body_hash="0" * 64, input_estimate=3, replay_of="z-1")
    attempt = AttemptRecord(
        number=1, deployment="openai/gpt-5", provider="openai", model="gpt-5", started=1.0, seconds=0.5, failure=FAILED
    )
    made = DeadLetter(
        project="acme",
        job="a-1",
        reason="exhausted",
        detail=NASTY,
        fingerprint="f00",
        at=1e9,
        stream="SUBMIT_0",
        attempts=1,
        failure=FAILED,
        ticket=ticket,
        history=(attempt,),
        blob=BlobRef(chunks=1, size=1234, sha256="0" * 64),
        kept_until=1.1e9,
    )
    return made.model_copy(update=over)


def group(**over: object) -> Cause:
    made = Cause(
        fingerprint="f00",
        reason="exhausted",
        kind="internal",
        detail=NASTY,
        count=1243,
        replayable=1240,
        first=1e9,
        last=1.1e9,
        projects=("acme", "beta"),
        routes=("fast",),
        deployments=("openai/gpt-5",),
        sample="a-1",
        sample_project="acme",
    )
    return made.model_copy(update=over)


@dataclass
class Dead:
    """A desk that answers about dead letters what the test says."""

    asked: list[Wire] = field(default_factory=list)
    causes: list[Causes] = field(default_factory=lambda: [Causes(causes=(group(),), after=90, more=False, last=90)])
    letter: DeadLetter | None = field(default_factory=letter)
    handled: list[HandledUpTo | Refusal] = field(default_factory=lambda: [HandledUpTo(done=1240, after=90, more=False)])

    async def open(self, bus: MemoryBus) -> None:
        for name in ("dead_causes", "dead_letters", "dead_letter", "dead_handle"):
            await bus.respond(subjects.api("-", name), getattr(self, name))

    async def dead_causes(self, message: Message) -> bytes:
        self.asked.append(asked := decode(AskCauses, message.data))
        return encode(self.causes[min(int(asked.after > 0), len(self.causes) - 1)])

    async def dead_letters(self, message: Message) -> bytes:
        self.asked.append(decode(AskDeadLetters, message.data))
        listed = (of_project("acme", letter(), 17, "a-1"),)
        return encode(DeadLetters(letters=listed, after=17, more=False, last=90))

    async def dead_letter(self, message: Message) -> bytes:
        self.asked.append(decode(AskDeadLetter, message.data))
        return encode(FoundDead(letter=self.letter, seq=17))

    async def dead_handle(self, message: Message) -> bytes:
        self.asked.append(decode(AskHandle, message.data))
        return encode(self.handled.pop(0))

    def orders(self) -> list[AskHandle]:
        return [one for one in self.asked if isinstance(one, AskHandle)]


@pytest.fixture
async def console() -> AsyncIterator[Served]:
    async with served() as made:
        yield made


@pytest.fixture
async def dead(console: Served) -> Dead:
    made = Dead()
    await made.open(console.bus)
    return made


async def acted(console: Served, browser: httpx.AsyncClient, page: str, **over: str) -> str:
    """Press the button of the form that a page ends with; returns what the next page says first."""
    text = (await browser.get(page)).text
    form = text[text.index('<form method="post" action="/dead/') :]
    path = re.search(r'action="([^"]+)"', form)
    assert path is not None
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', form))
    answer = await browser.post(path[1].replace("&amp;", "&"), data={**fields, **over}, headers=console.own)
    assert answer.status_code == 303, answer.text
    said = re.search(r'role="status">([^<]*)<', (await browser.get(answer.headers["location"])).text)
    assert said is not None
    return said[1]


async def test_causes_letters_and_a_letter_lead_from_one_to_the_next(console: Served, dead: Dead) -> None:
    async with console.browser(VIEWER) as browser:
        page = (await browser.get("/dead")).text
        assert "1,243" in page
        assert 'href="/dead?fingerprint=f00"' in page
        page = (await browser.get("/dead?fingerprint=f00&project=acme")).text
        assert 'href="/dead?project=acme&amp;fingerprint=f00&amp;job=a-1"' in page
        page = (await browser.get("/dead?job=a-1&project=acme")).text
    for text in ("exhausted: internal", "1.2 KiB", "openai/gpt-5", "2004-11-09", "it can be replayed", "z-1"):
        assert text in page, text
    pages = [one for one in dead.asked if isinstance(one, AskDeadLetters)]
    assert [(one.project, one.fingerprint, one.after, one.limit) for one in pages] == [("acme", "f00", 0, 50)]
    assert dead.asked[-1] == AskDeadLetter(project="acme", job="a-1")


async def test_what_failures_said_is_text_and_never_markup(console: Served, dead: Dead) -> None:
    dead.letter = letter(why=NASTY, state="discarded", closed=1e9)
    async with console.browser(ADMIN) as browser:
        for page in ("/dead?letters=all", "/dead?job=a-1&project=acme", "/dead?do=replay", f"/dead?route={NASTY}"):
            text = (await browser.get(page)).text
            assert "<img" not in text
            assert re.findall(r"<script[^>]*>", text) == ['<script src="/static/console.js">']


async def test_a_project_sees_and_acts_on_its_own_letters_alone_whatever_it_asks_for() -> None:
    async with served(config(project_role="operator")) as console, console.browser() as browser:
        dead = Dead(handled=[HandledUpTo(done=1, after=90, more=False)] * 2)
        await dead.open(console.bus)
        await stored(console.bus, record(MADE))
        await browser.post("/login", data={"key": MADE}, headers=console.own)
        for page in ("/dead", "/dead?project=beta", "/dead?project=-&letters=all", "/dead?project=beta&job=a-1"):
            answer = await browser.get(page)
            assert answer.status_code == 200
            assert '<th scope="col">projects' not in answer.text
        await acted(console, browser, "/dead?do=replay&project=beta", project="beta")
        await acted(console, browser, "/dead?job=a-1&do=replay&project=beta", project="beta")
    assert {getattr(one, "project", None) for one in dead.asked} == {"acme"}


async def test_a_key_of_some_routes_replays_to_those_alone() -> None:
    async with served(config(project_role="operator")) as console, console.browser() as browser:
        dead = Dead()
        await dead.open(console.bus)
        await stored(console.bus, record(MADE, scope={"routes": ["fast"]}))
        await browser.post("/login", data={"key": MADE}, headers=console.own)
        assert "<option>slow" not in (await browser.get("/dead?do=replay")).text
        for onto in ("", "slow"):
            said = await acted(console, browser, "/dead?do=replay", onto=onto)
            assert said == "Not done: choose the route: one of fast."
        assert not dead.orders()
        await acted(console, browser, "/dead?do=replay", onto="fast")
        assert [order.onto for order in dead.orders()] == ["fast"]


async def test_nothing_is_done_before_it_was_asked_with_the_count(console: Served, dead: Dead) -> None:
    async with console.browser(OPERATOR) as browser:
        page = (await browser.get("/dead?fingerprint=f00")).text
        assert 'href="/dead?fingerprint=f00&amp;do=replay&amp;until=90#act">Replay 1,240 letters</a>' in page
        assert "Discard 1,243 letters" in page
        assert 'action="/dead/replay' not in page
        page = (await browser.get("/dead?fingerprint=f00&do=replay&until=90")).text
        assert "Replay these 1,240 letters?" in page
        assert "3 letters more hold no job and stay" in page
        said = await acted(console, browser, "/dead?fingerprint=f00&do=replay&until=90", onto="slow", why="repaired")
        assert said == "replayed 1,240 letters"
    assert [one.until for one in dead.asked if isinstance(one, AskCauses)][1:3] == [None, 90]
    wanted = AskHandle(do="replay", fingerprint="f00", until=90, onto="slow", why="repaired")
    assert dead.orders() == [wanted]
    notes = [one for one in console.desk.asked if isinstance(one, AskNote) and one.on == "letters"]
    about = {"fingerprint": "f00", "until": "90", "onto": "slow", "letters": "1240"}
    assert [(one.by, one.did, one.name, one.why) for one in notes] == [
        ("otto", "replay", "f00", "repaired"),
        ("otto", "replayed", "f00", "repaired"),
    ]
    assert [one.detail for one in notes] == [about, {**about, "done": "1240", "already": "0", "failed": "0"}]


async def test_one_letter_is_acted_on_as_it_was_shown(console: Served, dead: Dead) -> None:
    dead.handled = [HandledUpTo(done=1, after=17, more=False)]
    async with console.browser(OPERATOR) as browser:
        page = "/dead?job=a-1&project=acme&do=discard&until=17"
        assert "Discard this letter?" in (await browser.get(page)).text
        assert await acted(console, browser, page) == "Not done: say why they are discarded: it stays with the letters."
        assert await acted(console, browser, page, why="obsolete") == "discarded 1 letter"
    assert dead.orders() == [AskHandle(do="discard", project="acme", job="a-1", until=17, why="obsolete")]


async def test_one_request_goes_on_for_its_time_and_says_what_remains(
    console: Served, dead: Dead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel, "SPEND", 0.0)
    failed = HandledOf(
        project="acme", job="a-2", done="refused", failure=Failure(kind=FailureKind.QUEUE_FULL, message="full")
    )
    dead.handled = [HandledUpTo(done=40, already=9, failed=1, failures=(failed,), after=60, more=True)]
    async with console.browser(OPERATOR) as browser:
        said = await acted(console, browser, "/dead?do=replay&until=90")
    assert said == (
        "replayed 40 letters; 9 had changed before; 1 stay as they were (full); 1,190 remain: press again to go on"
    )


async def test_answers_follow_each_other_no_faster_than_the_rate(
    console: Served, dead: Dead, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert panel.RATE == RATE
    monkeypatch.setattr(panel, "RATE", 100.0)
    dead.handled = [HandledUpTo(done=10, after=place, more=place < 30) for place in (10, 20, 30)]
    clock = asyncio.get_running_loop().time
    begun = clock()
    async with console.browser(OPERATOR) as browser:
        assert await acted(console, browser, "/dead?do=replay&until=90") == "replayed 30 letters"
    assert clock() - begun >= 0.2
    assert [order.after for order in dead.orders()] == [0, 10, 20]


async def test_what_was_done_is_said_although_the_desk_went_away(console: Served, dead: Dead) -> None:
    gone = Refusal(refused=Failure(kind=FailureKind.INTERNAL, message="the broker did not answer"))
    dead.handled = [HandledUpTo(done=5, after=10, more=True), gone]
    async with console.browser(OPERATOR) as browser:
        said = await acted(console, browser, "/dead?do=replay&until=90")
    assert said.startswith("replayed 5 letters; then the broker did not answer; 1,235 remain")
    notes = [one.detail for one in console.desk.asked if isinstance(one, AskNote) and one.did == "replayed"]
    assert [note["done"] for note in notes] == ["5"]


async def test_what_the_audit_does_not_take_is_not_done(console: Served, dead: Dead) -> None:
    async with console.browser(OPERATOR) as browser:
        await browser.get("/dead")
        console.desk.silent = True
        said = await acted(console, browser, "/dead?do=replay&until=90")
    assert said.startswith("Not done: the audit did not take it, and nothing was done")
    assert not dead.orders()


async def test_a_viewer_looks_and_does_nothing(console: Served, dead: Dead) -> None:
    async with console.browser(VIEWER) as browser:
        for page in ("/dead", "/dead?do=replay&until=90", "/dead?job=a-1&project=acme&do=discard&until=17"):
            assert 'action="/dead/' not in (await browser.get(page)).text
        word = re.search(r'name="forms" value="([^"]+)"', (await browser.get("/dead")).text)
        assert word is not None
        for path in ("/dead/replay", "/dead/discard"):
            answer = await browser.post(path, data={"forms": word[1], "until": "90", "why": "w"}, headers=console.own)
            assert answer.status_code == 403
    assert not dead.orders()


@pytest.mark.parametrize("over", [{"until": ""}, {"until": "x"}, {"until": "9" * 30}, {"onto": "nowhere"}])
async def test_a_form_that_makes_no_sense_does_nothing(console: Served, dead: Dead, over: dict[str, str]) -> None:
    async with console.browser(OPERATOR) as browser:
        assert (await acted(console, browser, "/dead?do=replay&until=90", **over)).startswith("Not done:")
    assert not dead.orders()


@pytest.mark.parametrize(
    "query", ["state=odd", "until=x&do=replay", "do=explode", "after=-1&letters=all", "route=" + "x" * 999]
)
async def test_an_address_that_makes_no_sense_shows_what_it_can(console: Served, dead: Dead, query: str) -> None:
    async with console.browser(ADMIN) as browser:
        assert (await browser.get(f"/dead?{query}")).status_code == 200


async def test_counting_that_was_ended_is_said_and_what_is_asked_is_what_was_counted(
    console: Served, dead: Dead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel, "MOST_CAUSES", 1)
    dead.causes = [Causes(causes=(group(),), after=50, more=True, last=90)]
    async with console.browser(OPERATOR) as browser:
        assert "at least 1,243" in (await browser.get("/dead")).text
        page = (await browser.get("/dead?do=replay")).text
        assert "Replay these 1,240 letters?" in page
        assert "These are the first ones" in page
        assert 'name="until" value="50"' in page


async def test_parts_of_a_cause_are_one_and_the_later_part_tells_the_words(console: Served, dead: Dead) -> None:
    later = group(count=7, replayable=0, last=1.2e9, first=1.15e9, projects=("gamma",), detail="later")
    dead.causes = [
        Causes(causes=(group(),), after=50, more=True, last=90),
        Causes(causes=(later,), after=90, more=False, last=99),
    ]
    async with console.browser(VIEWER) as browser:
        page = (await browser.get("/dead")).text
    for text in ("1,250", "1,240", "2001-09-09", "2008-01-10", "acme", "beta", "gamma", ">later<"):
        assert text in page, text
    assert [one.until for one in dead.asked if isinstance(one, AskCauses)] == [None, 90]


async def test_without_letters_the_page_says_how_they_come_here(console: Served, dead: Dead) -> None:
    dead.causes = [Causes(causes=(), after=0, more=False, last=0)]
    dead.letter = None
    async with console.browser(OPERATOR) as browser:
        assert "No letter is here." in (await browser.get("/dead")).text
        assert "Nothing is left to replay" in (await browser.get("/dead?do=replay&until=90")).text
        assert "There is no dead letter of a-1" in (await browser.get("/dead?job=a-1&project=acme")).text
