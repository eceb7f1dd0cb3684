"""Configuration, health, and what the overview tells beside the leader's numbers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from console.agreeing import NAMED, Service, in_words
from console.assembly import assemble
from console.effective import effective
from console.pages import size
from console.people import Person
from job_contracts import subjects
from job_contracts.codec import Wire, decode, encode
from job_contracts.configured import Configured
from job_contracts.key_asking import ToldEdge, ToldEdges
from job_contracts.money import window_start
from job_contracts.operating import Overview, ToldStandby
from job_contracts.spend import AskSpend, LedgerState, Missed, Spend, SpendRow, Sums
from runtime.access import completed
from runtime.agreed import configured
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import Message
from runtime.config import load
from runtime.connection import declared
from runtime.telemetry import Telemetry
from tests.integration.test_console import rows
from tests.support.clock import ManualClock
from tests.support.console import ADMIN, MADE, VIEWER, Served, config, overview, record, served, stored

CANARY = "canary-77aa"
OURS = configured(config(), 9e8)
STATE = LedgerState(
    at=1.0, through=1.0, lag=2.0, kind="postgresql", revision="0005", bytes=123_456, attempts=10_000_000, position=0
)


def saying(answer: Wire) -> Callable[[Message], Awaitable[bytes]]:
    async def said(_: Message) -> bytes:
        return encode(answer)

    return said


async def well(bus: MemoryBus, state: LedgerState = STATE) -> None:
    """Everything is there that health asks."""
    del bus.broker.streams[subjects.KEYS]  # made with less than is declared
    await bus.ensure(declared(config()))
    edges = ToldEdges(edges=(ToldEdge(name="edge-1 0f0f", silent=0.5, configured=OURS),))
    await bus.respond(subjects.key_desk("edges"), saying(edges))
    await bus.respond(subjects.ledger_desk("state"), saying(state.model_copy(update={"configured": OURS})))


def agreeing(leader: Configured | None = OURS, worker: Configured | None = OURS) -> Overview:
    """The leader's moment, with what it and its worker tell of their configuration."""
    now = overview()
    told = tuple(one.model_copy(update={"configured": worker}) for one in now.pools[0].workers)
    pools = (now.pools[0].model_copy(update={"workers": told}), *now.pools[1:])
    return now.model_copy(
        update={"leader": now.leader.model_copy(update={"configured": leader}), "pools": pools},
    )


async def standby(message: Message) -> bytes:
    return encode(ToldStandby(owner="scheduler-2", configured=OURS)) if message.data else b"scheduler-2"


async def older_standby(_: Message) -> bytes:
    return b"scheduler-2"


async def lines(console: Served) -> dict[str, list[str]]:
    async with console.browser(VIEWER) as browser:
        return rows((await browser.get("/health")).text)


# -- health


async def test_a_system_that_is_well_is_told_so_with_its_numbers() -> None:
    async with served() as console:
        console.desk.now = agreeing()
        await well(console.bus)
        await console.bus.respond(subjects.standing_by(0), standby)
        await console.bus.append(subjects.usage("openai", "w"), b"x" * 10)
        held = await console.bus.stream_state(subjects.LEDGER)
        found = await lines(console)
        async with console.browser(VIEWER) as browser:
            page = (await browser.get("/health")).text
    told = {name: cells[1:3] for name, cells in found.items() if name.startswith("health-")}
    assert told == {
        "health-broker": ["good", "connected to memory"],
        "health-streams": ["good", "all 15 are there and have room"],
        "health-leader": ["good", "scheduler-1 leads, term 42"],
        "health-standby": ["good", "scheduler-2 stands by"],
        "health-gateways": ["good", "1 is there"],
        "health-ledger": ["good", "1 message is not read yet"],
        "health-configuration": ["good", "the same for all 5 services and this console"],
    }
    assert found["stream-LEDGER"][4:8] == [f"{held.messages}", "–", size(held.bytes), size(held.max_bytes)]
    assert found["consumer-WORK_0-openai"][1:] == ["WORK_0", "0", "0", "0"]
    for text in ("10,000,000", "120.6 KiB", "0005", "postgresql", "edge-1 0f0f"):
        assert text in page, text


async def test_what_does_not_answer_is_bad_in_its_own_line_and_says_what_that_means() -> None:
    async with served() as console:
        console.desk.silent = True
        found = await lines(console)
    told = {name.removeprefix("health-"): cells for name, cells in found.items() if name.startswith("health-")}
    assert told["broker"][1] == "good"
    for name, runbook in (
        ("streams", "PenstockStreamFull"),
        ("leader", "PenstockNoLeader"),
        ("gateways", "PenstockProcessDown"),
        ("ledger", "PenstockLedgerBehind"),
    ):
        assert (told[name][1], told[name][4]) == ("bad", runbook)
        assert told[name][3] != "–"
    assert told["standby"][1:3] == ["watch", "none stands by"]
    assert (Path(__file__).parents[3] / "docs" / "runbooks" / "PenstockNoLeader.md").exists()


async def test_a_stream_that_fills_up_is_to_be_watched_and_then_bad() -> None:
    async with served() as console:
        await well(console.bus)
        stream = console.bus.broker.stream(subjects.AUDIT)
        for share, state in ((0.7, "watch"), (0.9, "bad")):
            stream.config["max_msgs"] = 10
            while (await console.bus.stream_state(subjects.AUDIT)).messages < 10 * share:
                await console.bus.append(subjects.note("x"), b"")
            found = await lines(console)
            assert found["stream-AUDIT"][1] == state
            assert found["health-streams"][1:3] == [state, f"AUDIT: {100 * share:.0f} % of its limit"]


async def test_a_stream_that_drops_the_oldest_may_be_full() -> None:
    async with served() as console:
        await well(console.bus)
        console.bus.broker.stream(subjects.TOK).config["max_msgs"] = 1
        await console.bus.append(subjects.tokens("acme", "a-b"), b"")
        found = await lines(console)
    assert found["stream-TOK"][1:4:2] == ["good drops its oldest", "100 %"]
    assert found["health-streams"][1] == "good"


@pytest.mark.parametrize(
    ("over", "state", "said"),
    [
        ({"wrong": "run python -m ledger migrate"}, "bad", "run python -m ledger migrate"),
        (
            {"missed": (Missed(stream="LEDGER", first=1, last=3, at=1.0),), "missed_messages": 3},
            "watch",
            "3 messages were gone from LEDGER before they were read",
        ),
        ({"lag": 500.0}, "bad", "1 message is not read yet"),
        ({"lag": 500.0, "position": 1}, "good", "it has read all there is"),
    ],
)
async def test_a_ledger_that_is_not_well_says_how(over: dict[str, object], state: str, said: str) -> None:
    async with served() as console:
        await well(console.bus, STATE.model_copy(update=over))
        await console.bus.append(subjects.usage("openai", "w"), b"")
        assert (await lines(console))["health-ledger"][1:3] == [state, said]


# -- configuration


async def test_a_worker_with_another_configuration_is_named_with_what_differs_and_since_when() -> None:
    other = configured(config().model_copy(update={"projects": {}}), 1e9)
    async with served() as console:
        console.desk.now = agreeing(worker=other)
        await well(console.bus)
        await console.bus.respond(subjects.standing_by(0), standby)
        line = (await lines(console))["health-configuration"]
        async with console.browser(VIEWER) as browser:
            page = (await browser.get("/config")).text
    assert line[1:3] == ["watch", "another one than this console's: worker openai w-1 (projects)"]
    assert rows(page)["agreement-worker-openai w-1"] == [
        "worker openai w-1",
        f"another one, {other.fingerprint}",
        "projects",
        "2001-09-09 01:46:40 UTC",
    ]
    assert "4 of 5 services run with this console's configuration" in page
    assert OURS.fingerprint in page
    assert other.fingerprint != OURS.fingerprint


async def test_services_of_an_older_version_are_said_not_to_tell() -> None:
    async with served() as console:
        console.desk.now = agreeing(leader=None)
        await well(console.bus)
        await console.bus.respond(subjects.standing_by(0), older_standby)
        found = await lines(console)
        async with console.browser(VIEWER) as browser:
            page = rows((await browser.get("/config")).text)
    assert found["health-configuration"][1:3] == ["watch", "not told by leader scheduler-1, standby scheduler-2"]
    assert found["health-standby"][1:3] == ["good", "scheduler-2 stands by"]
    silent = ["does not tell, its version is older", "–", "–"]
    assert {name: cells[1:] for name, cells in page.items() if name.startswith("agreement-")} == {
        "agreement-leader-scheduler-1": silent,
        "agreement-standby-scheduler-2": silent,
    }


async def test_the_configuration_is_shown_though_nobody_answers_who_else_has_it() -> None:
    async with served() as console:
        console.desk.silent = True
        line = (await lines(console))["health-configuration"]
        async with console.browser(VIEWER) as browser:
            answer = await browser.get("/config")
    assert line[1:3] == ["watch", "not known of scheduler and workers, gateways, ledger"]
    assert answer.status_code == 200
    assert "Not known of scheduler and workers, gateways, ledger" in answer.text
    assert "routes.fast.deployments[0]" in answer.text


def test_more_services_than_a_sentence_takes_are_counted() -> None:
    other = Configured(parts={"routes": "1"})
    many = tuple(Service("worker", f"openai w-{place}", other, ("routes",)) for place in range(NAMED + 2))
    assert in_words(many).endswith(" and 2 more")
    assert in_words(many).count("(routes)") == NAMED


async def test_the_configuration_is_told_with_its_sources_and_without_its_secrets(tmp_path: Path) -> None:
    file = tmp_path / "penstock.yaml"
    file.write_text(
        f"providers: {{openai: {{key: {CANARY}, limits: {{rpm: 500}}}}}}\n"
        "routes: {fast: {deployments: [openai/gpt-5-mini]}}\n"
        f"nats: {{url: 'nats://u:{CANARY}@127.0.0.1:1'}}\n"
        f"gateway: {{pepper: {CANARY}, admin_hash: {config().gateway.admin_hash}}}\n",
        encoding="utf-8",
    )
    read = load(file, credentials_of=())
    told = effective(read, file, nats=None, access=None)
    assert not told.changed()
    bus = MemoryBroker().bus()
    made = assemble(
        read, bus=bus, clock=ManualClock(), telemetry=Telemetry(), told=lambda _, __: (200, "", b""), effective=told
    )
    panel = next(one for one in made.console.panels if one.name == "config")
    admin = Person("admin", "admin")
    values = await panel.read(made.console.desks, admin, {"under": "providers.openai", "only": "changed"})
    page = made.console.pages.made("config", **values)
    assert [row.path for row in values["rows"]] == ["providers.openai.key", "providers.openai.limits.rpm"]
    assert "penstock.yaml:1" in page
    whole = made.console.pages.made("config", **await panel.read(made.console.desks, admin, {"only": "all"}))
    assert CANARY not in page + whole
    file.write_text("providers: {}", encoding="utf-8")
    assert (await panel.read(made.console.desks, admin, {}))["changed"]


async def test_the_configuration_is_narrowed_by_the_address_and_holds_no_secret() -> None:
    async with served() as console:
        async with console.browser(ADMIN) as browser:
            given = (await browser.get("/config")).text
            whole = (await browser.get("/config?only=all")).text
            bare = (await browser.get("/config?under=telemetry")).text
            fast = (await browser.get("/config?under=routes.fast&only=changed")).text
            none = (await browser.get("/config?under=%3Cb%3E")).text
        await stored(console.bus, record(MADE))
        async with console.browser(MADE) as browser:
            assert (await browser.get("/config")).status_code == 403
    assert "routes.fast.deployments[0]" in fast
    assert "routes.slow" not in fast
    assert "routes.fast.strategy" not in fast
    assert "<b>" not in none
    for secret in (">pepper<", config().gateway.admin_hash, config().gateway.keys["first"].hash):
        assert secret not in whole
    assert "routes.fast.strategy" in whole
    assert "routes.fast.strategy" not in given
    assert "routes.fast.deployments[0]" in given
    assert "Nobody gave any of these values" in bare


# -- overview


async def test_the_overview_tells_what_today_costs_as_the_ledger_has_it() -> None:
    async with served() as console:
        now = console.clock.wall()
        hour, day = window_start("hour", now), window_start("day", now)
        costs = {day: "1.5", hour - 3_600: "0.25", hour: "0.125"}
        asked: list[AskSpend] = []

        async def spend(message: Message) -> bytes:
            asked.append(decode(AskSpend, message.data))
            told = tuple(
                SpendRow(
                    hour=int(at),
                    cost=Decimal(cost),
                    attempts=2_000 if at == hour else 7,
                    won=1_990 if at == hour else 7,
                )
                for at, cost in sorted(costs.items())
            )
            return encode(Spend(since=0.0, lag=3.0, rows=told, total=Sums()))

        await console.bus.respond(subjects.ledger_desk("spend"), spend)
        async with console.browser(VIEWER) as browser:
            page = (await browser.get("/overview")).text
    today = sum(Decimal(cost) for at, cost in costs.items() if at >= day)
    assert f">{today}</a>" in page
    assert '<dd id="spent-hour"><a href="/spend?since=' in page
    assert ">0.125</a>" in page
    assert ">0.25</a>" in page
    ended = page.partition('id="ended-hour"')[2]
    assert re.findall(r">([^<]+)</a>", ended)[:2] == ["2,000", "10 did not win"]
    assert "&amp;won=false" in ended
    assert "(0.5\N{NO-BREAK SPACE}%)" in ended
    assert asked[0].since == min(day, hour - 3_600), datetime.fromtimestamp(now, UTC)
    assert "otto: pause pool openai, &lt;i&gt;" in page


async def test_the_leaders_numbers_are_shown_though_the_ledger_is_silent() -> None:
    async with served() as console:
        never = asyncio.Event()

        async def spend(_: Message) -> bytes:
            await never.wait()
            return b""

        await console.bus.respond(subjects.ledger_desk("spend"), spend)
        async with console.browser(VIEWER) as browser:
            answer = await browser.get("/overview")
    assert answer.status_code == 200
    assert "100,004" in answer.text
    assert "What is spent is not known" in answer.text


async def test_what_the_file_of_access_and_the_command_line_say_is_told_as_such(tmp_path: Path) -> None:
    held = {
        "pepper": CANARY,
        "admin_hash": "a" * 64,
        "keys": {"made": {"project": "default", "hash": "b" * 64}},
    }
    (tmp_path / "edge.json").write_text(json.dumps(held), encoding="utf-8")
    file = tmp_path / "penstock.yaml"
    file.write_text(
        "providers: {openai: {}}\nroutes: {fast: {deployments: [openai/gpt-5-mini]}}\n"
        f"gateway:\n  access: edge.json\n  keys: {{own: {{project: default, hash: {'c' * 64}}}}}\n",
        encoding="utf-8",
    )
    config = completed(load(file, credentials_of=()))
    url = {"nats": config.nats.model_copy(update={"url": f"nats://u:{CANARY}@127.0.0.1:9"})}
    told = effective(config.model_copy(update=url), file, nats="given", access=config.gateway.access)
    assert not told.changed()
    sources = {row.path: (row.source, row.where) for row in told.rows}
    access = ("access file", str(tmp_path / "edge.json"))
    assert sources["gateway.pepper"] == sources["gateway.keys.made.hash"] == access
    assert sources["gateway.keys.own.hash"] == ("file", "penstock.yaml:5")
    assert sources["nats.url"] == ("command line", "--nats")
    for secret in (CANARY, "a" * 64, "b" * 64, "c" * 64):
        assert secret not in str(told.rows)
