"""What verifiers said, what drafts and verification cost, and what the verifier alone would have cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from catalogue.prices import Price
from job_contracts.chat import Usage
from job_contracts.facts import AttemptFact
from job_contracts.followups import MARK, OF_ROUTE
from job_contracts.spend import AskDrafts, VerifiedRoute
from ledger.bookings import booking
from ledger.comparison import Other
from ledger.database import Database
from ledger.drafts import Verifications
from ledger.reports import Reports
from ledger.store import Store
from runtime.settings import Config
from tests.support.ledger_facts import fact

AT = 1_790_000_000.0
JUDGED = {"by": "premium", "mode": "before", "when": "low_confidence", "confidence": "judge", "judge": "cheap"}
CONFIG = Config.model_validate(
    {
        "providers": {"openai": {"key": "k", "base_url": "http://127.0.0.1:9/v1"}},
        "routes": {
            "fast": {"deployments": ["openai/mini"], "verify": {"by": "premium", "budget": {"day": 1}}},
            "careful": {"deployments": ["openai/nano"], "verify": {"by": "premium", "mode": "before"}},
            "judged": {"deployments": ["openai/tiny"], "verify": JUDGED},
            "cheap": {"deployments": ["openai/judge"]},
            "premium": {"deployments": ["openai/large"]},
        },
    }
)
DEAR = Other("openai/large", (Price(input=Decimal(1000), output=Decimal(2000)),))


def answer(number: int, **over: Any) -> AttemptFact:
    return fact(number, **{"route": "fast", "model": "mini", "deployment": "openai/mini", **over})


def verdict(number: int, said: str | None, **over: Any) -> AttemptFact:
    """In the background: on the verifier's own route, and for the other one's."""
    tags = {MARK: "verify", OF_ROUTE: "fast"}
    where = {"route": "premium", "model": "large", "deployment": "openai/large", "reason": "verify", "tags": tags}
    return fact(number, **{**where, "verdict": said, "cost": Decimal("0.1"), **over})


async def report(database: Database, told: list[AttemptFact], **asked: Any) -> dict[str, VerifiedRoute]:
    store = Store(database)
    seq = await store.position()
    if told:
        await store.store([booking(one) for one in told], before=seq, through=seq + 1, at=AT)
    found = Verifications(Reports(database.engine), CONFIG, lambda _: DEAR)
    return {row.route: row for row in (await found.report(AskDrafts(**asked), AT + 10)).rows}


async def test_verdicts_in_the_background_are_told_of_the_route_whose_answers_they_judge(database: Database) -> None:
    told = [answer(number) for number in range(1, 5)]
    told += [verdict(11, "accept"), verdict(12, "accept"), verdict(13, "replace"), verdict(14, "unread")]
    told += [verdict(15, None, won=False), verdict(16, None, tags={MARK: "judge", OF_ROUTE: "fast"})]
    told += [fact(17, route="premium", model="large", deployment="openai/large")]  # somebody's own job there
    told += [answer(18, reason="shadow", tags={MARK: "shadow", OF_ROUTE: "other"})]
    row = (await report(database, told))["fast"]
    assert (row.accept, row.correct, row.replace, row.unread) == (2, 0, 1, 1)
    assert row.agreement == 2 / 3
    assert (row.verifier, row.mode) == ("premium", "after")
    assert (row.drafts.attempts, row.drafts.cost) == (4, Decimal("0.04"))
    assert row.verification == Decimal("0.4")
    (alone,) = row.alone
    assert alone.cost == Decimal("0.08")  # four answers of 10 and 5 tokens
    assert alone.difference == Decimal("0.08") - Decimal("0.44")


async def test_drafts_and_verdicts_of_one_job_are_told_apart_by_their_deployments(database: Database) -> None:
    told = [answer(number, route="careful", model="nano", deployment="openai/nano") for number in range(1, 4)]
    own = {"route": "careful", "reason": "user", "tags": {OF_ROUTE: "fast"}}  # a tag that anybody may write
    told += [verdict(11, "correct", **own), verdict(12, "accept", **own), verdict(13, "accept", won=False, **own)]
    found = await report(database, told)
    row = found["careful"]
    assert (row.accept, row.correct, row.agreement, row.mode) == (1, 1, 0.5, "before")
    assert (row.drafts.attempts, row.verification) == (3, Decimal("0.3"))
    assert found["fast"] == VerifiedRoute(route="fast", verifier="premium", mode="after", alone=found["fast"].alone)


async def test_what_a_judge_costs_is_verification(database: Database) -> None:
    told = [answer(number, route="judged", model="tiny", deployment="openai/tiny") for number in range(1, 4)]
    told += [answer(number, route="judged", model="judge", deployment="openai/judge") for number in range(11, 14)]
    told += [verdict(21, "replace", route="judged", reason="user")]
    row = (await report(database, told))["judged"]
    assert (row.drafts.attempts, row.drafts.cost) == (3, Decimal("0.03"))
    assert row.verification == Decimal("0.13")


async def test_a_period_and_a_project_are_told_alone(database: Database) -> None:
    mine = {"project": "mine", "attempt": "mine.verify-1.1"}
    told = [verdict(1, "accept"), verdict(2, "accept", started=AT + 7200), verdict(3, "replace", **mine)]
    assert (await report(database, told, until=AT))["fast"].accept == 1
    assert (await report(database, [], since=AT + 7200))["fast"].accept == 1
    row = (await report(database, [], project="mine", route="fast"))["fast"]
    assert (row.accept, row.replace, row.agreement) == (0, 1, 0.0)
    assert list(await report(database, [], route="premium")) == []


async def test_a_statement_that_corrects_an_attempt_leaves_its_verdict(database: Database) -> None:
    await report(database, [verdict(1, "accept")])
    corrected = verdict(1, None, told_by="statement", cost=Decimal("0.3"), usage=Usage(input=9, output=9))
    row = (await report(database, [corrected]))["fast"]
    assert (row.accept, row.verification) == (1, Decimal("0.3"))
