"""Yesterday through a changed configuration: who comes, how places answer, and what the sides tell."""

from __future__ import annotations

from decimal import Decimal

import pytest

from catalogue.prices import Price
from job_contracts.chat import Usage
from job_contracts.facts import AttemptFact
from job_contracts.failures import FailureKind
from job_contracts.money import Budget, picodollars
from scheduler.policy.rules import Limit, ProjectRule, Rules
from scheduler.whatif.places import Places
from scheduler.whatif.sides import compared, text
from scheduler.whatif.traffic import Arrival, arrivals, counting
from tests.unit.scheduler_policy import made
from tests.unit.scheduler_whatif.told import MIDNIGHT, fact

PRICES = {
    "a/m": {"prices": (Price(input=Decimal(1), output=Decimal(10)),)},
    "b/m": {"prices": (Price(input=Decimal("0.5"), output=Decimal(5)),)},
}


def rules(*places: str, **over: object) -> Rules:
    """One route over these."""
    given: dict[str, object] = {"facts": PRICES, **over}
    return made.rules({"r": places or ("a/m",)}, **given)  # type: ignore[arg-type]


def yesterday(count: int = 60) -> list[AttemptFact]:
    """Answers that took one to four seconds."""
    return [fact(number, seconds=1.0 + number % 4) for number in range(count)]


def test_the_rules_that_were_bring_back_what_was() -> None:
    told = compared(yesterday(), {"as it is": rules()})
    was, again = told.sides["recorded"], told.sides["as it is"]
    assert (was.jobs, was.answered, was.attempts) == (again.jobs, again.answered, again.attempts) == (60, 60, 60)
    assert again.answers == was.answers == {"a/m": 60}
    assert again.latency.p50 == pytest.approx(was.latency.p50, abs=0.11)
    assert again.latency.p99 == pytest.approx(was.latency.p99, abs=0.11)
    assert again.cost == 60 * picodollars(Decimal("0.002"))


def test_another_place_costs_what_the_same_tokens_cost_there() -> None:
    told = compared(yesterday(), {"as it is": rules(), "changed": rules("b/m")})
    assert told.sides["changed"].cost * 2 == told.sides["as it is"].cost
    assert told.sides["changed"].answers == {"b/m": 60}
    assert told.notes[-1] == "b/m has no answers in the facts: it answers like a/m, and never fails"


def test_a_tighter_limit_makes_jobs_wait_and_a_short_deadline_lets_them_expire() -> None:
    tight = rules(limits={"a": (Limit("requests", 3),)}, default_deadline=120.0)
    told = compared(yesterday(), {"as it is": rules(), "changed": tight})
    changed = told.sides["changed"]
    assert changed.held_up > 40
    assert changed.refused == {"expired": changed.jobs - changed.answered}
    assert changed.refused["expired"] > 10
    assert changed.waiting.p95 is not None
    assert changed.waiting.p95 > 30.0


def test_a_budget_refuses_what_it_does_not_pay_for() -> None:
    budget = {"p": ProjectRule("p", budget=Budget(day=Decimal("0.05")))}
    bounded = {"a/m": {**PRICES["a/m"], "max_output": 1_000}}
    told = compared(yesterday(), {"changed": rules(projects=budget, default_deadline=3_600.0, facts=bounded)})
    changed = told.sides["changed"]
    assert changed.cost <= picodollars(Decimal("0.05"))
    assert changed.refused == {"budget": 60 - changed.answered}
    assert 5 < changed.answered < 30


def test_a_route_or_a_place_that_is_gone_refuses_its_jobs_by_name() -> None:
    nowhere = made.rules({"other": ("a/m",)})
    told = compared(yesterday(3), {"changed": nowhere})
    assert told.sides["changed"].refused == {"unknown_route": 3}


def test_failures_come_at_the_rate_they_had_and_both_sides_meet_the_same() -> None:
    facts: list[AttemptFact] = []
    for number in range(300):
        if number % 3 == 0:
            lost = fact(number, won=False, reason="failed", failure="server_error", usage=Usage(), cost="0")
            facts += [lost, fact(number, attempt=2, deployment="b/m", seconds=2.0)]
        else:
            facts.append(fact(number))
    told = compared(facts, {"as it is": rules("a/m", "b/m"), "changed": rules("a/m", "b/m")})
    was, again = told.sides["recorded"], told.sides["as it is"]
    assert again == told.sides["changed"]
    assert was.elsewhere == 100
    assert 60 < again.elsewhere < 140
    other = compared(facts, {"as it is": rules("a/m", "b/m")}, seed=1).sides["as it is"]
    assert other.elsewhere != again.elsewhere


def test_an_hour_of_failures_stays_in_its_hour() -> None:
    facts = [
        fact(number, won=not 360 <= number < 720, failure="overloaded" if 360 <= number < 720 else None)
        for number in range(1_080)
    ]
    places = Places(counting(facts))
    job = Arrival(MIDNIGHT, "p", "j", "r", Usage(input=10, output=10))
    assert places.ends(job, "a/m", 1, MIDNIGHT + 60.0).kind is None
    assert places.ends(job, "a/m", 1, MIDNIGHT + 4_000.0).kind is FailureKind.OVERLOADED
    assert places.ends(job, "a/m", 1, MIDNIGHT + 8_000.0).kind is None


def test_of_facts_told_twice_one_counts_and_copies_are_no_jobs() -> None:
    loser = fact(1, won=False, told_by="leader", usage=Usage(reported=False))
    shadow = fact(2, reason="shadow", won=False)
    found = arrivals(counting([loser, fact(1), fact(1), shadow]))
    assert [(each.project, each.at, each.usage.output) for each in found] == [("p", MIDNIGHT + 10.0, 100)]


def test_a_job_that_nobody_answered_would_have_taken_what_its_route_takes() -> None:
    lost = fact(9, won=False, failure="server_error", usage=Usage(input=700))
    found = arrivals(counting([*yesterday(4), lost]))
    assert found[-1].usage == Usage(input=700, output=100, reported=False)


def test_the_table_has_a_column_a_side_and_says_what_is_approximated() -> None:
    told = text(compared(yesterday(), {"as it is": rules(), "changed": rules("b/m")}))
    head, *rows = told.splitlines()
    assert head.split() == ["recorded", "as", "it", "is", "changed"]
    assert any(row.split() == ["cost,", "USD", "0.0600", "0.1200", "0.0600"] for row in rows)
    assert any(row.startswith("at b/m") and row.endswith("60 (100%)") for row in rows)
    assert any(row.startswith("approximated: facts tell no lane") for row in rows)


def test_nothing_yesterday_is_nothing_on_each_side() -> None:
    told = compared([], {"as it is": rules()})
    assert told.sides["as it is"].jobs == 0
    assert told.as_json()["sides"]["recorded"]["cost"] == "0"
