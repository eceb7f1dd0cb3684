"""Dead letters in console and command line over a real leader: what they say is what DEAD holds, what is counted is
what is replayed.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import httpx
import pytest

from console.asking import OPERATOR
from job_contracts import subjects
from job_contracts.codec import decode, encode
from job_contracts.dead import AskCauses, AskDeadLetter, AskHandle, Causes, FoundDead, HandledUpTo
from job_contracts.desk import Refusal
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from job_contracts.letters import DeadLetter
from runtime.broker import Broker
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Bus
from runtime.connection import declared
from scheduler import dead_desk
from tests.integration.test_console import rows
from tests.support.console_browser import ACCESS, browsing
from tests.support.eventually import eventually
from tests.support.letters import BROKEN, OVER, Cutting, given_up, leader
from tests.support.world import World, config

OTHERWISE = Failure(kind=FailureKind.MODEL_OUTPUT_INVALID, message="an answer without an end")


def settings() -> Any:
    return config(**OVER, gateway=ACCESS)


async def letters(bus: Bus) -> list[tuple[str, str, DeadLetter]]:
    """All there are, with project and name, as they lie in DEAD."""
    found = await bus.run(subjects.DEAD, 1, subjects.letters_of("*"), limit=10_000, size=2**30)
    return [(*subjects.project_and_job(one.subject), decode(DeadLetter, one.data)) for one in found]


async def groups(bus: Bus, state: str = "open") -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for _, _, letter in await letters(bus):
        found[letter.fingerprint] += letter.state == state
    return {name: count for name, count in found.items() if count}


def shown(page: str) -> dict[str, int]:
    """The causes of a page and their letters."""
    causes = {name.removeprefix("cause-"): cells for name, cells in rows(page).items() if name.startswith("cause-")}
    return {name: int(cells[1].replace(",", "")) for name, cells in causes.items()}


async def press(browser: httpx.AsyncClient, asking: str, **over: str) -> str:
    """Send the form that a page ends with; returns what the next page says first."""
    text = (await browser.get(asking)).text
    form = text[text.index('<form method="post" action="/dead/') :]
    path = re.search(r'action="([^"]+)"', form)
    assert path is not None
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', form))
    answer = await browser.post(path[1].replace("&amp;", "&"), data={**fields, **over})
    said = re.search(r'role="status">([^<]*)<', (await browser.get(answer.headers["location"])).text)
    assert said is not None
    return said[1]


async def penstock(*words: str) -> list[dict[str, Any]]:
    """What a command says, line by line."""
    done = await asyncio.create_subprocess_exec(sys.executable, "-m", "producer_sdk.cli", *words, stdout=PIPE)
    said, _ = await done.communicate()
    assert done.returncode == 0, said
    return [json.loads(line) for line in said.splitlines()]


async def some_of_each(world: World) -> None:
    """Two causes in one project, one of them in another as well, and a message that is no job."""

    def by_name(order: Any) -> Failure:
        return OTHERWISE if order.job_id.startswith("o-") else BROKEN

    await world.pool("alpha", by_name)
    for job in ("a-1", "a-2", "o-1"):
        await given_up(world, job)
    await world.submit("a-3", project="other")
    await world.result("a-3", project="other")
    await world.bus.append(subjects.submit("demo", "bad-1"), b"{", headers={subjects.H_TICKET: "{}"})
    await eventually(lambda: _five(world.bus), says="five letters")


async def _five(bus: Bus) -> bool:
    return len(await letters(bus)) == 5


async def test_causes_are_what_the_broker_holds_and_a_replay_takes_exactly_what_was_counted(
    own_broker: Broker, open_bus: Callable[..., Any]
) -> None:
    bus: Bus = await open_bus(own_broker.url, inbox_prefix="_INBOX_demo")
    operators: Bus = await open_bus(own_broker.url, inbox_prefix=subjects.inbox_prefix(OPERATOR))
    await bus.ensure(declared(settings()))
    async with leader(bus) as world, browsing(settings(), operators) as (browser, _):
        await some_of_each(world)
        held = await groups(bus)
        assert sorted(held.values()) == [1, 1, 3]
        page = (await browser.get("/dead")).text
        assert shown(page) == held
        told = await penstock("dead", "list", "--all-projects", "--json", "--url", own_broker.url)
        assert {line["fingerprint"]: line["count"] for line in told} == held
        assert [line["fingerprint"] for line in told] == [*shown(page)], "in the same order"
        common = next(name for name, count in held.items() if count == 3)
        cells = rows(page)[f"cause-{common}"]
        assert (cells[1], cells[2], cells[7], cells[8]) == ("3", "3", "demo , other", "fast")
        told = await penstock("dead", "list", "--all-projects", "-f", common, "--json", "--url", own_broker.url)
        listed = rows((await browser.get(f"/dead?fingerprint={common}")).text)
        assert [f"letter-{one['seq']}" for one in told] == [name for name in listed if name.startswith("letter-")]
        assert [(one["project"], one["job"]) for one in told] == [("demo", "a-1"), ("demo", "a-2"), ("other", "a-3")]

        page = (await browser.get(f"/dead?fingerprint={common}")).text
        found = re.search(rf'href="(/dead\?fingerprint={common}&amp;do=replay[^"#]*)', page)
        assert found is not None, page
        asking = found[1].replace("&amp;", "&")
        await given_up(world, "a-9")  # it comes after it was counted
        beta = await world.pool("beta")
        done = await press(browser, asking, onto="other", why="repaired")
        assert done == "replayed 3 letters"
        states = {(project, name): letter.state for project, name, letter in await letters(bus)}
        assert {key for key, state in states.items() if state == "replayed"} == {
            ("demo", "a-1"),
            ("demo", "a-2"),
            ("other", "a-3"),
        }
        await eventually(lambda: len(beta.seen) == 3)
        assert {order.job.replay_of for order in beta.seen if order.job is not None} == {"a-1", "a-2", "a-3"}
        for project, _, letter in await letters(bus):
            if letter.replay is not None:
                assert (await world.result(letter.replay.job, project=project)).state is JobState.SUCCEEDED
        assert shown((await browser.get("/dead")).text) == await groups(bus)
        assert "Nothing is left to replay" in (await browser.get(asking)).text
        said = await press(browser, "/dead?project=-&do=discard", why="noise")
        assert said == "discarded 1 letter"
        assert [*(await groups(bus, "discarded")).values()] == [1]
        audit = rows((await browser.get("/audit?on=letters")).text)
        assert [(cells[2], cells[3]) for cells in audit.values()] == [
            ("admin", "discarded"),
            ("admin", "discard"),
            ("admin", "replayed"),
            ("admin", "replay"),
        ]
        assert any("done: 3" in cells[7] and "repaired" in cells[7] for cells in audit.values())


@pytest.fixture
async def demo() -> AsyncIterator[tuple[World, Bus]]:
    """A leader in memory, and an operator's connection."""
    broker = MemoryBroker()
    bus = broker.bus(inbox_prefix="_INBOX_demo")
    await bus.ensure(declared(settings()))
    async with leader(bus) as world:
        yield world, broker.bus(inbox_prefix=subjects.inbox_prefix(OPERATOR))


async def asked(bus: Bus, operation: str, question: Any, project: str = OPERATOR) -> bytes:
    return (await bus.request(subjects.api(project, operation), encode(question), timeout=5.0)).data


@pytest.mark.parametrize(("bound", "least"), [("MAX_LOOKED", 1), ("PATIENCE", 0.0)])
async def test_a_sum_in_many_answers_is_the_same_sum(
    demo: tuple[World, Bus], monkeypatch: pytest.MonkeyPatch, bound: str, least: float
) -> None:
    world, operators = demo
    await some_of_each(world)
    whole = decode(Causes, await asked(operators, "dead_causes", AskCauses()))
    assert not whole.more
    monkeypatch.setattr(dead_desk, bound, least)
    parts, after = 0, 0
    counts: dict[str, int] = defaultdict(int)
    while True:
        part = decode(Causes, await asked(operators, "dead_causes", AskCauses(after=after, until=whole.last)))
        for cause in part.causes:
            counts[cause.fingerprint] += cause.count
        parts, after = parts + 1, part.after
        if not part.more:
            break
    assert parts == 5
    assert counts == {cause.fingerprint: cause.count for cause in whole.causes} == await groups(world.bus)
    async with browsing(settings(), operators) as (browser, _):
        assert shown((await browser.get("/dead")).text) == counts


async def test_no_answer_holds_what_was_asked_or_sent(demo: tuple[World, Bus]) -> None:
    world, operators = demo
    await world.bus.append(subjects.submit("demo", "bad-1"), b"{canary", headers={"secret": "canary"})
    (found,) = await eventually(lambda: letters(world.bus)) or []
    assert found[2].body
    question = AskDeadLetter(project="-", job=found[1])
    told = decode(FoundDead, await asked(operators, "dead_letter", question)).letter
    assert told is not None
    assert (told.body, told.headers) == ("", {})


@pytest.mark.parametrize("operation", ["dead_causes", "dead_letters", "dead_letter", "dead_handle"])
async def test_a_project_may_ask_none_of_it(demo: tuple[World, Bus], operation: str) -> None:
    world, _ = demo
    answer = await asked(world.bus, operation, AskHandle(do="discard", until=99), "demo")
    assert decode(Refusal, answer).refused.field == "project"


async def test_a_letter_that_was_replaced_since_it_was_counted_is_left(demo: tuple[World, Bus]) -> None:
    world, operators = demo
    await world.pool("alpha", lambda _: BROKEN)
    await given_up(world)
    last = (await world.bus.stream_state(subjects.DEAD)).last_seq
    (_, _, letter) = (await letters(world.bus))[0]
    newer = letter.model_copy(update={"detail": "another one"})
    await world.bus.append(subjects.dead("demo", "a-1"), encode(newer), headers={"Nats-Rollup": "sub"})
    for job in (None, "a-1"):
        question = AskHandle(do="replay", project="demo", job=job, until=last)
        tally = decode(HandledUpTo, await asked(operators, "dead_handle", question))
        assert (tally.done, tally.failed) == (0, 0)
    assert [one.state for _, _, one in await letters(world.bus)] == ["open"]


async def test_a_replay_that_was_cut_off_goes_on_when_it_is_pressed_again_and_each_runs_once() -> None:
    broker = MemoryBroker()
    bus = Cutting(broker.bus(inbox_prefix="_INBOX_demo"))
    operators = broker.bus(inbox_prefix=subjects.inbox_prefix(OPERATOR))
    await bus.ensure(declared(settings()))
    async with leader(cast("Bus", bus)) as world, browsing(settings(), operators) as (browser, _):
        pool = await world.pool("alpha", lambda _: BROKEN)
        for number in range(3):
            await given_up(world, f"a-{number}")
        before = len(pool.seen)
        pool.answering = lambda _: "done"
        bus.cut = lambda subject, _: subject.startswith(subjects.submit("demo", "replay-x").removesuffix("x"))
        said = await press(browser, "/dead?do=replay")
        assert said.startswith("replayed 0 letters; 3 stay as they were (the broker did not confirm it")
        bus.cut = lambda _, __: False
        assert await press(browser, "/dead?do=replay", onto="other") == "replayed 3 letters"
        assert "Nothing is left to replay" in (await browser.get("/dead?do=replay")).text
        await eventually(lambda: len(pool.seen) == before + 3, says="on the route that was begun, not the other one")
        await world.settled()
        assert len(pool.seen) == before + 3


async def test_what_is_asked_again_after_a_replay_was_cut_off_is_not_told_as_done_before() -> None:
    broker = MemoryBroker()
    bus = Cutting(broker.bus(inbox_prefix="_INBOX_demo"))
    operators = broker.bus(inbox_prefix=subjects.inbox_prefix(OPERATOR))
    await bus.ensure(declared(settings()))
    async with leader(cast("Bus", bus)) as world:
        pool = await world.pool("alpha", lambda _: BROKEN)
        await given_up(world)
        pool.answering = lambda _: "done"
        last = (await world.bus.stream_state(subjects.DEAD)).last_seq
        question = AskHandle(do="replay", project="demo", job="a-1", until=last)
        bus.cut = lambda subject, _: subject.startswith(subjects.submit("demo", "replay-x").removesuffix("x"))
        first = decode(HandledUpTo, await asked(operators, "dead_handle", question))
        assert (first.done, first.already, first.failed) == (0, 0, 1)  # it is begun, and lies behind what was counted
        bus.cut = lambda _, __: False
        again = decode(HandledUpTo, await asked(operators, "dead_handle", question))
        assert (again.done, again.already, again.failed) == (1, 0, 0)
        assert [one.state for _, _, one in await letters(world.bus)] == ["replayed"]
