"""The page of drafts and shadows: what the ledger tells, of which period, and of which project."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from console.filters import at
from job_contracts import subjects
from job_contracts.codec import decode, encode
from job_contracts.spend import (
    Alternative,
    AskDrafts,
    AskSpend,
    DraftReport,
    Spend,
    SpendRow,
    Sums,
    VerifiedRoute,
)
from runtime.bus.port import Message
from runtime.settings import Config
from tests.support.clock import ManualClock
from tests.support.console import MADE, VIEWER, Served, config, record, served, stored
from tests.support.console_rows import cells, gone, words

DAY = 86_400
HOUR = int(ManualClock().wall()) // 3_600 * 3_600
FAST = VerifiedRoute(
    route="fast",
    verifier="premium",
    mode="after",
    accept=1_500,
    correct=300,
    replace=150,
    unread=50,
    agreement=1_500 / 1_950,
    drafts=Sums(attempts=20_000, won=19_000, unpriced=3, cost=Decimal("12.5")),
    verification=Decimal("3.000125"),
    alone=(
        Alternative(deployment="openai/gpt-5", cost=Decimal(40), difference=Decimal("24.499875")),
        Alternative(deployment="openai/unknown", notes=("no price is known",)),
    ),
)
SLOW = VerifiedRoute(route="slow", verifier="premium", mode="before")


def settings() -> Config:
    """A route that is verified and copied, and an experiment with a judge."""
    ours = config()
    verify = {"by": "premium", "mode": "after", "when": "all", "budget": {"day": 1}}
    raw: dict[str, Any] = {
        "providers": {"openai": {"key": "k"}},
        "routes": {
            "fast": {
                "deployments": ["openai/gpt-5-mini"],
                "verify": verify,
                "shadow": {"to": "next", "share": 0.1, "budget": {"day": 1}},
            },
            "slow": {"deployments": ["openai/gpt-5-nano"], "verify": {"by": "premium", "mode": "before"}},
            "next": {"deployments": ["openai/gpt-4o"]},
            "premium": {"deployments": ["openai/gpt-5"]},
        },
        "projects": {"acme": {}},
        "experiments": {
            "try": {
                "route": "fast",
                "challengers": {"b": {"route": "next"}},
                "metrics": ["cost", "error_rate", "judge"],
                "judge": {"route": "premium", "budget": {"day": 1}},
            }
        },
    }
    return Config.model_validate(raw).model_copy(update={"gateway": ours.gateway, "console": ours.console})


@dataclass
class LedgerDesk:
    """Answers what a test says."""

    rows: tuple[VerifiedRoute, ...] = (FAST, SLOW)
    spent: dict[str, tuple[SpendRow, ...]] = field(
        default_factory=lambda: {
            "shadow": (SpendRow(route="next", attempts=2_000, cost=Decimal("0.25"), unpriced=1),),
            "verify": (SpendRow(route="premium", attempts=2_000, cost=Decimal(3)), SpendRow(route="was", attempts=1)),
        }
    )
    asked: list[AskDrafts | AskSpend] = field(default_factory=list)

    async def drafts(self, message: Message) -> bytes:
        self.asked.append(decode(AskDrafts, message.data))
        return encode(DraftReport(since=HOUR - 7 * DAY, through=1e9, rows=self.rows, approximated=("in thousands",)))

    async def spend(self, message: Message) -> bytes:
        asked = decode(AskSpend, message.data)
        self.asked.append(asked)
        rows = self.spent.get(asked.reason or "", ())
        total = Sums(attempts=sum(row.attempts for row in rows), cost=sum((row.cost for row in rows), start=Decimal(0)))
        return encode(Spend(since=asked.since, rows=rows, total=total))


@pytest.fixture
async def console() -> AsyncIterator[Served]:
    async with served(settings()) as made:
        yield made


@pytest.fixture
async def ledger(console: Served) -> LedgerDesk:
    made = LedgerDesk()
    await console.bus.respond(subjects.ledger_desk("drafts"), made.drafts)
    await console.bus.respond(subjects.ledger_desk("spend"), made.spend)
    return made


async def test_every_number_is_the_ledgers(console: Served, ledger: LedgerDesk) -> None:
    async with console.browser(VIEWER) as browser:
        page = (await browser.get("/drafts")).text
    shows = cells(page)["draft-fast"]
    assert [shows[name] for name in ("accept", "correct", "replace", "unread", "agreement", "answers")] == [
        *("1,500", "300", "150", "50", "76.9 %", "20,000"),
    ]
    assert (shows["their cost, USD"], shows["verification, USD"], shows["both, USD"]) == (
        *("12.50 (3 without a price)", "3.000125", "15.500125"),
    )
    empty = cells(page)["draft-slow"]
    assert (empty["verdicts"], empty["agreement"], empty["accept"]) == ("no verdict", "–", "0")
    for said in ("openai/gpt-5 40.00 24.499875 –", "openai/unknown – – no price is known", "in thousands"):
        assert said in words(page), said
    assert 'aria-label="1,500 accept, 300 correct, 150 replace, 50 unread"' in page


async def test_copies_and_verification_are_told_by_the_route_that_ran_them_and_lead_to_their_rows(
    console: Served, ledger: LedgerDesk
) -> None:
    async with console.browser(VIEWER) as browser:
        page = (await browser.get("/drafts?days=30")).text
    shows, since = cells(page), HOUR - 30 * DAY
    assert list(shows["aside-shadow-next"].values()) == ["shadow", "next", "fast", "2,000", "0.25 (1 without a price)"]
    assert list(shows["aside-verify-premium"].values())[2:] == ["fast, the experiment try", "2,000", "3.00"]
    assert shows["aside-verify-was"]["for"] == "no route of the configuration as it is"
    assert "verify, in all 2,001 3.00" in words(page)
    for link in (
        f"route=next&amp;reason=shadow&amp;since={at(since)}",
        f"route=premium&amp;reason=verify&amp;since={at(since)}",
        f"reason=verify&amp;since={at(since)}",
        f"route=premium&amp;reason=verify&amp;tag=penstock_route%3Dfast&amp;since={at(since)}",
    ):
        assert f'href="/attempts?{link}"' in page, link
    assert {one.since for one in ledger.asked} == {float(since)}


@pytest.mark.parametrize(
    ("address", "days"),
    [("", 7), ("?days=1", 1), ("?days=45", 45), ("?days=99999", 3_650), ("?days=0", 7), ("?days=x", 7)],
)
async def test_the_period_is_in_the_address(console: Served, ledger: LedgerDesk, address: str, days: int) -> None:
    async with console.browser(VIEWER) as browser:
        page = (await browser.get(f"/drafts{address}")).text
    assert {one.since for one in ledger.asked} == {float(HOUR - days * DAY)}
    assert re.findall(r"<strong[^>]*>([\d,]+)</strong>", page) == [f"{days:,}"]


async def test_a_projects_key_sees_its_routes_and_its_sums_alone(console: Served, ledger: LedgerDesk) -> None:
    await stored(console.bus, record(MADE, scope={"routes": ["fast"]}))
    async with console.browser(MADE) as browser:
        page = (await browser.get("/drafts")).text
    assert {one.project for one in ledger.asked} == {"acme"}
    assert "draft-fast" in page
    assert "draft-slow" not in page
    assert "Sums are those of your project." in words(page)


async def test_where_nothing_is_verified_or_copied_the_page_says_how_it_would_be(
    console: Served, ledger: LedgerDesk
) -> None:
    ledger.rows, ledger.spent = (), {}
    async with console.browser(VIEWER) as browser:
        text = words((await browser.get("/drafts")).text)
    assert "No route has its answers verified. Verdicts are here once a route has verify" in text
    assert "No copy ran, and nothing was verified in the background." in text


async def test_while_no_ledger_answers_nothing_is_shown(console: Served) -> None:
    async with console.browser(VIEWER) as browser:
        answer = await browser.get("/drafts")
    assert answer.status_code == 503
    assert "no ledger answers at the moment" in answer.text


async def test_shares_fill_the_bar_and_no_more(console: Served, ledger: LedgerDesk) -> None:
    async with console.browser(VIEWER) as browser:
        page = (await browser.get("/drafts")).text
    bars = re.findall(r'<rect class="(\w+)" x="([\d.]+)" width="([\d.]+)"', page)
    assert bars == [
        ("accept", "0.0", "75.0"),
        ("correct", "75.0", "15.0"),
        ("replace", "90.0", "7.5"),
        ("unread", "97.5", "2.5"),
    ]
    assert ledger.asked


async def test_what_others_named_is_text_and_never_markup(console: Served, ledger: LedgerDesk) -> None:
    nasty = '"><script>alert(1)</script><b>{{ 7*191 }}'
    other = Alternative(deployment=nasty, notes=(nasty,))
    ledger.rows = (FAST.model_copy(update={"verifier": nasty, "alone": (other,)}),)
    ledger.spent = {"shadow": (SpendRow(route=nasty, attempts=1),)}
    async with console.browser(VIEWER) as browser:
        assert gone((await browser.get("/drafts")).text)
