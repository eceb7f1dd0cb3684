"""The page of models: facts and prices are the catalogue's, and whose word each is stands beside it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from catalogue.load import CatalogueError, providers
from catalogue.prices import price_at
from catalogue.pricing import version_of
from console.assembly import assemble
from console.deployments import SOON, deployments, routes_of
from console.filters import at
from console.pages import money
from console.panels.models import HOUR, Health, Hour
from console.people import Person
from job_contracts import subjects
from job_contracts.codec import decode, encode
from job_contracts.keys import Scope
from job_contracts.operating import ToldDeployment, ToldPool
from job_contracts.spend import AskSpend, Spend, SpendRow, Sums
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import Message
from runtime.settings import Config
from runtime.telemetry import Telemetry
from tests.support.clock import ManualClock
from tests.support.console import ADMIN, MADE, VIEWER, Served, config, overview, record, served, stored
from tests.support.console_rows import cells, gone, words
from tests.support.measured import rules

WALL = ManualClock().wall()
BEGIN = int(WALL) // HOUR * HOUR - 23 * HOUR
MINI, FIVE = "openai/gpt-5-mini", "openai/gpt-5"
TODAY = datetime.fromtimestamp(WALL, UTC).date()


def told(*rows: SpendRow) -> Spend:
    total = Sums(attempts=sum(row.attempts for row in rows), won=sum(row.won for row in rows))
    return Spend(since=float(BEGIN), rows=rows, total=total)


async def ledger(console: Served, *pages: Spend) -> list[AskSpend]:
    """One that answers page by page; what it is asked."""
    asked: list[AskSpend] = []

    async def answer(message: Message) -> bytes:
        asked.append(decode(AskSpend, message.data))
        return encode(pages[(len(asked) - 1) % len(pages)])

    await console.bus.respond(subjects.ledger_desk("spend"), answer)
    return asked


async def shown(browser: httpx.AsyncClient, address: str = "/models") -> str:
    answer = await browser.get(address)
    assert answer.status_code == 200, answer.text
    return answer.text


def of(settings: Config, catalogue: Path | None = None) -> Any:
    return deployments(settings, providers(catalogue), tuple(settings.routes), WALL)


async def test_what_is_known_of_a_model_is_what_the_catalogue_says() -> None:
    row, found = providers()["openai"], of(config())[MINI]
    facts, price = row.model("gpt-5-mini"), price_at(row.prices("gpt-5-mini"), datetime.fromtimestamp(WALL, UTC))
    assert price is not None
    async with served() as console, console.browser(VIEWER) as browser:
        page = await shown(browser)
        one = await shown(browser, f"/models?on={MINI}")
    shows = cells(page)[f"model-{MINI}"]
    assert shows["input"] == money(price.input)
    assert shows["output"] == money(price.output)
    assert shows["cached"] == money(price.rate("cache_read"))
    assert shows["window"] == f"{facts.context_window:,}"
    assert shows["dialect"] == (facts.dialect or row.dialect)
    assert str(facts.retires) in shows["retires"]
    assert facts.retires is not None
    assert f"in {(facts.retires - TODAY).days:,} days" in shows["retires"]
    assert facts.successor in shows["retires"]
    assert found.line is not None
    for said in (version_of(price), row.retention, row.docs, *facts.capabilities, f"{facts.max_output:,} tokens"):
        assert said.replace("_", " ") in words(one).replace("_", " "), said
    assert f'href="/pools?on=deployment:{MINI}#order"' in one


OWN = """
dialect = "openai_chat"
base_url = "http://127.0.0.1:1"
models = [{name = "m", prices = [{input = 3}]}]
"""


def test_whose_word_a_price_is_is_told(tmp_path: Path) -> None:
    """The library's, the gateway's own rows', or the operator's file: a change of a provider's, or one of its own."""
    (tmp_path / "openai.toml").write_text('[[models]]\nname = "gpt-5"\nprices = [{input = 1, output = 2}]\n')
    (tmp_path / "mine.toml").write_text(OWN)
    rows = providers(tmp_path)

    def source(provider: str, model: str) -> str:
        return rows[provider].source(model, rows[provider].prices(model)[-1])

    assert source("openai", "gpt-5-mini") == "library"
    assert {source("openai", "gpt-5"), source("mine", "m")} == {"operator"}
    told = [(name, model.name) for name, row in providers().items() for model in row.models if model.prices]
    assert {source(*one) for one in told} == {"catalogue"}
    with pytest.raises(ValueError, match="not in"):
        rows["mine"].source("m", rows["openai"].prices("gpt-5")[-1])


def test_an_exception_with_a_date_is_the_operators_and_before_it_the_librarys_price_holds(tmp_path: Path) -> None:
    since = TODAY + timedelta(days=5)
    (tmp_path / "openai.toml").write_text(
        f'[[models]]\nname = "gpt-5-mini"\nprices = [{{since = {since}, input = 9, output = 9}}]\n'
    )
    settings, rows = config(), providers(tmp_path)
    before = deployments(settings, rows, ("fast",), WALL)[MINI]
    after = deployments(settings, rows, ("fast",), WALL + 6 * 86_400)[MINI]
    assert [(line.source, line.holds) for line in before.lines] == [("library", True), ("operator", False)]
    assert [(line.source, line.holds) for line in after.lines] == [("library", False), ("operator", True)]
    assert after.line is not None
    assert (after.line.price.since, after.line.price.input) == (since, Decimal(9))


def test_a_cheaper_tier_has_its_share_of_the_price_and_the_same_source() -> None:
    usual = of(config())[MINI].line
    raw = {"providers": {"openai": {"key": "k", "tier": "batch"}}, "routes": {"r": {"deployments": [MINI]}}}
    cheaper = of(Config.model_validate(raw))[MINI]
    assert cheaper.line.price.input == usual.price.input * providers()["openai"].tiers["batch"].price
    assert cheaper.line.source == usual.source
    assert ("tier", "batch") in cheaper.said


def test_at_an_address_of_your_own_no_day_is_known_and_without_a_row_nothing_but_what_you_said() -> None:
    provider = {"dialect": "openai_chat", "base_url": "http://127.0.0.1:1", "region": "eu", "zero_retention": True}
    raw = {
        "providers": {"openai": {**provider, "catalogue": "openai"}, "house": provider},
        "routes": {"r": {"deployments": [MINI, "house/big"]}},
    }
    found = of(Config.model_validate(raw))
    assert (found[MINI].retires, found[MINI].left, found[MINI].soon) == (None, None, False)
    house = found["house/big"]
    assert (house.line, house.window, house.capabilities, house.region) == (None, None, None, "eu")
    said = dict(house.said)
    assert set(said) == {"base_url", "dialect", "region", "zero_retention"}
    assert "127.0.0.1" not in str(said)


async def test_a_model_that_retires_soon_or_has_is_marked_in_words() -> None:
    day = providers()["openai"].model("gpt-5-mini").retires
    assert day is not None
    for left, said in ((31, ""), (30, "retires"), (1, "retires"), (0, "retired"), (-400, "retired")):
        async with served() as console, console.browser(VIEWER) as browser:
            wall = datetime(day.year, day.month, day.day, 12, tzinfo=UTC) - timedelta(days=left)
            console.clock.correct(wall.timestamp() - console.clock.wall())
            shows = cells(await shown(browser))[f"model-{MINI}"]["retires"]
            assert shows.startswith(said or str(day)), (left, shows)


def test_the_page_marks_what_the_alert_tells() -> None:
    (alert,) = [one for one in rules() if one.get("alert") == "PenstockModelRetires"]
    assert alert["expr"].endswith(f"<= {SOON}")


async def test_hours_are_the_ledgers_and_lead_to_its_rows() -> None:
    first = SpendRow(deployment=MINI, hour=BEGIN, attempts=40, won=30)
    last = SpendRow(deployment=MINI, hour=BEGIN + 23 * HOUR, attempts=1_200, won=1_200)
    other = SpendRow(deployment=FIVE, hour=BEGIN + HOUR, attempts=7, won=6)
    gone_by = SpendRow(deployment="openai/old", hour=BEGIN, attempts=9, won=9)
    async with served() as console, console.browser(ADMIN) as browser:
        asked = await ledger(console, told(first, other).model_copy(update={"after": "on"}), told(last, gone_by))
        page = await shown(browser)
    assert [(one.by, one.since, one.project, one.after) for one in asked] == [
        (("deployment", "hour"), float(BEGIN), None, None),
        (("deployment", "hour"), float(BEGIN), None, "on"),
    ]
    shows = cells(page)[f"model-{MINI}"]
    assert (shows["attempts"], shows["did not win"]) == ("1,240", "10")
    assert "1,240 attempts in 24 hours, 10 did not win (0.8\N{NO-BREAK SPACE}%); 1,200 in the fullest hour" in page
    assert f'href="/attempts?deployment={MINI}&amp;since={at(BEGIN)}&amp;won=false"' in page
    assert (
        f'href="/attempts?deployment={MINI}&amp;since={at(BEGIN + 23 * HOUR)}&amp;until={at(BEGIN + 24 * HOUR)}"'
        in page
    )
    table = page[page.index("As a table") :]
    assert re.findall(r">([\d,]+)</a>", table) == ["1,200", "7", "1", "40", "10"]
    assert "openai/old" not in page


def test_every_bar_that_is_not_empty_is_seen_and_none_leaves_the_drawing() -> None:
    drawn = Health((Hour(0, 100_000, 1), Hour(1, 1, 1), Hour(2), Hour(3, 50_000, 50_000))).drawn()
    assert drawn == [(0, 20.0, 1.0), (1, 1.0, 1.0), (2, 0.0, 0.0), (3, 10.0, 10.0)]
    assert Health((Hour(0),)).drawn() == [(0, 0.0, 0.0)]


async def test_what_the_leader_and_the_ledger_do_not_say_is_not_known_and_prices_are_shown_all_the_same() -> None:
    async with served() as console, console.browser(VIEWER) as browser:
        console.desk.silent = True
        page = await shown(browser)
    shows = cells(page)[f"model-{MINI}"]
    assert (shows["now"], shows["in flight"], shows["attempts"], shows["did not win"]) == ("–", "–", "–", "–")
    assert "Part of this is not known now: no ledger answers at the moment." in page
    assert "Part of this is not known now: away." in page
    assert shows["input"] == "0.25"


async def test_how_it_is_now_is_the_leaders() -> None:
    one = ToldDeployment(name=MINI, limit="openai", in_flight=1_234, benched="server errors")
    pool = ToldPool(name="openai", state="running", deployments=(one,))
    async with served() as console, console.browser(VIEWER) as browser:
        console.desk.now = overview(pools=(pool,))
        page = await shown(browser)
        detail = await shown(browser, f"/models?on={MINI}")
    shows = cells(page)[f"model-{MINI}"]
    assert (shows["now"], shows["in flight"]) == ("left alone server errors", "1,234")
    assert 'id="benched">1<' in page
    assert "1,234 in flight" in words(detail)


async def test_a_projects_key_sees_its_routes_and_its_sums_alone() -> None:
    async with served() as console:
        asked = await ledger(console, told(SpendRow(deployment=MINI, hour=BEGIN, attempts=3, won=3)))
        await stored(console.bus, record(MADE, scope={"routes": ["fast"]}))
        async with console.browser(MADE) as browser:
            page = await shown(browser)
            assert FIVE + '"' not in page
            assert "/pools" not in page
            assert "in flight" not in page
            assert (await browser.get(f"/models?on={FIVE}")).status_code == 400
            assert "/pools" not in await shown(browser, f"/models?on={MINI}")
    assert {one.project for one in asked} == {"acme"}
    assert console.desk.looks == 0


def test_whose_key_reaches_which_routes() -> None:
    settings = config()
    limited = Config.model_validate(
        {**settings.model_dump(exclude_unset=True), "projects": {"acme": {"routes": ["slow"]}}}
    )
    assert routes_of(settings, Person("anna", "viewer")) == ("fast", "slow")
    assert routes_of(settings, Person("k", "viewer", "acme", "k")) == ("fast", "slow")
    assert routes_of(settings, Person("k", "viewer", "acme", "k", Scope(routes=("fast",)))) == ("fast",)
    assert routes_of(limited, Person("k", "viewer", "acme", "k", Scope(routes=("fast",)))) == ()
    assert routes_of(settings, Person("k", "viewer", "gone", "k")) == ()


async def test_with_no_route_to_see_the_page_says_how_models_come_here() -> None:
    async with served() as console:
        await stored(console.bus, record(MADE, scope={"routes": ["elsewhere"]}))
        async with console.browser(MADE) as browser:
            assert "Models are here once" in await shown(browser)


async def test_what_others_named_is_text_and_never_markup() -> None:
    raw: dict[str, Any] = {
        "providers": {"openai": {"key": "k"}},
        "routes": {"<b>r": {"deployments": ['openai/"><script>alert(1)</script>{{ 7*191 }}']}},
    }
    settings = config().model_copy(
        update=dict(Config.model_validate(raw)) | {"gateway": config().gateway, "console": config().console}
    )
    async with served(settings) as console, console.browser(VIEWER) as browser:
        for address in (
            "/models",
            "/models?on=openai%2F%22%3E%3Cscript%3Ealert(1)%3C/script%3E%7B%7B%207*191%20%7D%7D",
        ):
            assert gone(await shown(browser, address)), address
        answer = await browser.get("/models?on=<script>")
        assert answer.status_code == 400
        assert gone(answer.text)


def test_a_catalogue_that_cannot_be_read_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "openai.toml").write_text("prices = 1")
    settings = config().model_copy(update={"catalogue": tmp_path})
    with pytest.raises(CatalogueError, match=r"openai\.toml"):
        assemble(
            settings,
            bus=MemoryBroker().bus(),
            clock=ManualClock(),
            telemetry=Telemetry(),
            told=lambda *_: (200, "text/plain", b""),
        )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "0.00"),
        ("1234.5", "1,234.50"),
        ("0.000125", "0.000125"),
        ("1E-7", "0.0000001"),
        ("-3", "-3.00"),
        (None, "–"),
    ],
)
def test_dollars_are_written_exactly(value: str | None, text: str) -> None:
    assert money(None if value is None else Decimal(value)) == text
