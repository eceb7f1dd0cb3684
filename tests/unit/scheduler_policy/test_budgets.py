"""Budgets at the board: reserved at worst, counted once, held without holding up anybody else."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter

from catalogue.prices import Price
from job_contracts.chat import Usage
from job_contracts.desk import Estimate, Planned
from job_contracts.failures import FailureKind
from job_contracts.jobs import Bounds, JobState
from job_contracts.money import PICO, Budget
from scheduler.policy.board import Board
from scheduler.policy.decisions import Dispatch
from scheduler.policy.facts import Charged, Fact, InFlight, PoolSeen, Settled, Uncharged
from scheduler.policy.purses import Spending
from scheduler.policy.rules import Limit, ProjectRule, RouteRule, Rules
from tests.unit.scheduler_policy.made import (
    board,
    cancel,
    dispatched,
    ended,
    finishes,
    job,
    rules,
    settled,
    submit,
    succeeded,
)
from tests.unit.scheduler_policy.trial import Trial, replay

CENT = PICO // 100
NOON = 1_700_000_000.0 - 1_700_000_000.0 % 86_400 + 43_200
"""UTC seconds of some noon."""
PRICE = (Price(input=Decimal(1), output=Decimal(10)),)
"""A job of 1,000 bytes and 900 tokens of output costs at most one cent."""
COSTS_A_CENT: dict[str, Any] = {"size": 1_000, "max_output": 900}


def priced(*routes: str, budget: Budget | None = None, **over: Any) -> Rules:
    """Rules whose only project has that budget."""
    names = routes or ("a/m",)
    facts = {name: {"prices": PRICE, "window": 100_000} for name in names}
    project = ProjectRule("p", budget=budget, **over)
    return rules({"r": names}, facts=facts, projects={"p": project, "q": ProjectRule("q")})


def trusted(made: Rules, wall: float = NOON) -> Board:
    """A board that has read all of LEDGER, with workers everywhere."""
    fresh = Board(made, wall=wall)
    fresh.trust_spending(True)
    for pool in {rule.provider: None for rule in made.domains.values()}:
        fresh.apply(PoolSeen(pool, 10_000), 0.0)
    return fresh


def charged(of: Dispatch, cost: int | None, **over: Any) -> Charged:
    """The fact of an attempt."""
    values: dict[str, Any] = {
        "attempt": (of.project, of.job, of.attempt),
        "project": of.project,
        "route": of.route,
        "key": of.key,
        "tags": {},
        "at": of.charged,
        "cost": cost,
        "reserved": of.cost,
        "weight": (False, True, True, True),
    }
    return Charged(**(values | over))


def sums(of: Board, payer: str = "project:p", window: str = "hour") -> tuple[int, int, int]:
    """Allowed, spent, reserved."""
    return of.counts().budgets[payer, window]  # type: ignore[index]


def test_five_hundred_jobs_on_a_budget_of_one_cent_never_have_more_reserved_than_that() -> None:
    of = trusted(priced(budget=Budget(hour=Decimal("0.01"))))
    submit(of, *(job(n, size=100, max_output=90) for n in range(1, 501)))
    spent, now = 0, 0.0
    for _ in range(40):
        under_way = dispatched(of, now)
        assert sum(each.cost or 0 for each in under_way) + spent <= CENT
        for each in under_way:
            of.apply(succeeded(each), now)
            of.apply(charged(each, each.cost), now)
            spent += each.cost or 0
        now += 1.0
    assert spent == CENT
    assert of.next_wake(now) is not None


def test_what_an_attempt_did_not_cost_lets_the_next_one_go() -> None:
    of = trusted(priced(budget=Budget(total=Decimal("0.01"))))
    submit(of, job(1, **COSTS_A_CENT), job(2, **COSTS_A_CENT))
    (first,) = dispatched(of)
    assert first.cost == CENT
    assert first.max_output == 900
    explained = of.status("p", "j-2", 0.0)
    assert explained is not None
    assert explained.state is JobState.HELD
    assert "project 'p' may spend $0.01 in total: $0 is spent and $0.01 is reserved" in (explained.waiting_for or "")
    of.apply(succeeded(first), 1.0)
    assert not dispatched(of, 1.0), "a result is no fact"
    of.apply(charged(first, 0), 2.0)
    assert [each.job for each in dispatched(of, 2.0)] == ["j-2"]


def test_a_blocked_job_goes_when_its_window_has_ended() -> None:
    of = trusted(priced(budget=Budget(hour=Decimal("0.01"))))
    submit(of, job(1, **COSTS_A_CENT), job(2, **COSTS_A_CENT))
    (first,) = dispatched(of)
    of.apply(succeeded(first), 1.0)
    of.apply(charged(first, CENT), 1.0)
    assert not dispatched(of, 1.0)
    explained = of.status("p", "j-2", 1.0)
    assert explained is not None
    assert "the window ends at" in (explained.waiting_for or "")
    assert explained.eta is not None
    wake = of.next_wake(1.0)
    assert wake is not None
    assert 3_600 <= wake < 3_601
    assert not dispatched(of, wake - 1)
    assert [each.job for each in dispatched(of, wake)] == ["j-2"]
    assert sums(of) == (CENT, 0, CENT)


def test_a_job_whose_deadline_comes_before_the_window_ends_fails_at_once_with_the_sums() -> None:
    of = trusted(priced(budget=Budget(day=Decimal("0.01"))))
    submit(of, job(1, **COSTS_A_CENT))
    (first,) = dispatched(of)
    submit(of, job(2, deadline=60.0, **COSTS_A_CENT))
    assert not of.decide(0.0, 10), "it waits for what is reserved"
    of.apply(charged(first, CENT), 1.0)
    (end,) = finishes(of.decide(1.0, 10))
    assert end.failure.kind is FailureKind.BUDGET
    assert "$0.01 is spent" in end.failure.message
    assert "after its deadline" in end.failure.message
    assert end.failure.remedy
    submit(of, job(3, deadline=60.0, **COSTS_A_CENT), now=2.0)
    (late,) = finishes(of.decide(2.0, 10))
    assert late.job == "j-3"


def test_what_never_fits_or_has_no_price_fails_on_submission_unless_another_deployment_can_take_it() -> None:
    made = priced("a/m", "b/m", budget=Budget(day=Decimal("0.005")))
    dear = trusted(made)
    submit(dear, job(1, **COSTS_A_CENT))
    (end,) = finishes(dear.decide(0.0, 10))
    assert end.failure.kind is FailureKind.BUDGET
    assert "more than the whole budget of project 'p' ($0.005 a day)" in end.failure.message
    cheap = replace(made.deployments["b/m"], prices=(Price(input=Decimal(0), output=Decimal(1)),))
    unknown = replace(made.deployments["a/m"], prices=())
    of = trusted(replace(made, deployments={"a/m": unknown, "b/m": cheap}))
    submit(of, job(1, **COSTS_A_CENT))
    assert [each.deployment for each in dispatched(of)] == ["b/m"]
    of = trusted(replace(made, deployments={"a/m": unknown, "b/m": unknown}))
    submit(of, job(1, **COSTS_A_CENT), job(2, project="q", **COSTS_A_CENT))
    (refused,) = [each for each in finishes(of.decide(0.0, 10)) if each.job == "j-1"]
    assert "is not known" in refused.failure.message


def test_max_cost_bounds_all_attempts_together() -> None:
    of = trusted(priced("a/m", "b/m"))
    submit(of, job(1, max_cost=Decimal("0.015"), **COSTS_A_CENT))
    (first,) = dispatched(of)
    failed = ended(first, usage=Usage(input=1, output=1))
    assert failed.record is not None
    record = failed.record.model_copy(update={"cost": Decimal("0.006")})
    of.apply(replace(failed, record=record), 1.0)
    (end,) = finishes(of.decide(2.0, 10))
    assert end.failure.kind is FailureKind.BUDGET
    assert "beside $0.006 for its attempts so far" in end.failure.message
    assert end.failure.field == "max_cost"


def test_a_soft_budget_holds_nobody() -> None:
    of = trusted(priced(budget=Budget(hour=Decimal("0.001"), soft=True)))
    submit(of, *(job(n, **COSTS_A_CENT) for n in range(1, 4)))
    assert len(dispatched(of)) == 3
    assert sums(of) == (CENT // 10, 0, 3 * CENT)


def test_nobody_goes_under_a_hard_budget_before_the_spend_is_known_and_everybody_else_does() -> None:
    of = board(priced(budget=Budget(hour=Decimal(1))))
    submit(of, job(1, **COSTS_A_CENT), job(2, project="q", **COSTS_A_CENT))
    assert [each.project for each in dispatched(of)] == ["q"]
    explained = of.status("p", "j-1", 0.0)
    assert explained is not None
    assert explained.waiting_for == "the spend so far is being read"
    of.trust_spending(True)
    assert [each.project for each in dispatched(of)] == ["p"]


def test_an_exhausted_budget_blocks_no_other_project_key_or_route() -> None:
    made = priced(budget=None)
    made = replace(made, routes={**made.routes, "s": RouteRule("s", ("a/m",), budget=Budget(total=Decimal(0)))})
    of = trusted(made)
    poor = Bounds(budget=Budget(total=Decimal("0.01")))
    submit(of, *(job(n, key="poor", bounds=poor, **COSTS_A_CENT) for n in range(1, 20)))
    submit(of, job(20, key="rich", **COSTS_A_CENT), job(21, **COSTS_A_CENT), job(22, route="s", **COSTS_A_CENT))
    submit(of, job(23, project="q", **COSTS_A_CENT))
    assert {each.job for each in dispatched(of)} == {"j-1", "j-20", "j-21", "j-23"}
    assert of.counts().held == {"key:p/poor": 18}


def test_tags_with_a_budget_pay_and_others_do_not() -> None:
    of = trusted(priced(tags={"team=red": Budget(total=Decimal("0.01"))}))
    submit(of, *(job(n, tags={"team": "red"}, **COSTS_A_CENT) for n in range(1, 3)))
    submit(of, job(3, tags={"team": "blue"}, **COSTS_A_CENT))
    assert {each.job for each in dispatched(of)} == {"j-1", "j-3"}


def test_a_fact_told_twice_counts_once_and_a_heavier_one_takes_its_place() -> None:
    of = trusted(priced(budget=Budget(total=Decimal(1))))
    submit(of, job(1, **COSTS_A_CENT))
    (first,) = dispatched(of)
    light = charged(first, None, weight=(False, False, False, False))
    of.apply(light, 1.0)
    of.apply(light, 1.0)
    assert sums(of, window="total") == (PICO, CENT, 0)
    of.apply(charged(first, 7), 2.0)
    of.apply(light, 3.0)
    of.apply(charged(first, 9, weight=(False, True, False, True)), 3.0)
    assert sums(of, window="total") == (PICO, 7, 0)


def test_a_statement_takes_the_place_of_what_is_remembered_and_counts_the_difference_of_what_is_not() -> None:
    of = trusted(priced(budget=Budget(total=Decimal(1))))
    submit(of, job(1, **COSTS_A_CENT))
    (first,) = dispatched(of)
    stated = (True, True, True, False)
    of.apply(charged(first, 50), 1.0)
    of.apply(charged(first, 20, weight=stated, instead=50), 2.0)
    of.apply(charged(first, 20, weight=stated, instead=50), 2.0)
    assert sums(of, window="total") == (PICO, 20, 0)
    forgotten = charged(first, 5, weight=stated, instead=12, attempt=("p", "long-ago", 1))
    of.apply(forgotten, 3.0)
    of.apply(forgotten, 3.0)
    assert sums(of, window="total") == (PICO, 13, 0)


def test_a_reservation_goes_when_no_fact_will_come_and_when_the_batch_was_refused() -> None:
    of = trusted(priced(budget=Budget(total=Decimal(1))))
    submit(of, *(job(n, **COSTS_A_CENT) for n in range(1, 4)))
    first, second, third = dispatched(of)
    assert sums(of, window="total")[2] == 3 * CENT
    of.apply(ended(first, FailureKind.HANDED_BACK, called=False), 1.0)
    of.apply(cancel(job(1)), 1.0)
    of.apply(Uncharged(second.project, second.job, second.attempt), 1.0)
    of.apply(succeeded(third), 1.0)
    assert sums(of, window="total")[2] == CENT
    of.apply(ended(third, FailureKind.HANDED_BACK, called=False), 1.0)
    assert sums(of, window="total")[2] == 0, "its job is forgotten, its reservation is not"
    submit(of, job(4, **COSTS_A_CENT), now=2.0)
    taken = [each for each in of.decide(2.0, 10) if isinstance(each, Dispatch)]
    of.refused(taken, 2.0)
    assert sums(of, window="total")[2] == 0


def test_a_successor_reads_work_then_ledger_and_has_the_same_sums() -> None:
    made = priced(budget=Budget(total=Decimal("0.03")))
    of = trusted(made)
    submit(of, *(job(n, **COSTS_A_CENT) for n in range(1, 6)))
    first, second, third = dispatched(of)
    of.apply(charged(first, CENT // 2), 1.0)
    kept = TypeAdapter(Spending).validate_json(TypeAdapter(Spending).dump_json(of.spending()))
    of.apply(charged(second, CENT), 1.0)
    successor = Board(made, wall=NOON + 1)
    successor.restore_spending(kept)
    submit(successor, job(3, **COSTS_A_CENT))
    for each in (first, second, third):
        successor.apply(
            InFlight(
                each.project,
                each.job,
                each.attempt,
                each.deployment,
                1,
                1,
                cost=each.cost,
                charged=each.charged,
                route="r",
            ),
            0.0,
        )
    successor.apply(charged(first, CENT // 2, counted=False), 0.0)
    successor.apply(charged(second, CENT), 0.0)
    assert sums(successor, window="total") == sums(of, window="total") == (3 * CENT, CENT + CENT // 2, CENT)


def test_what_was_spent_before_there_was_a_budget_counts_in_it() -> None:
    before = trusted(priced())
    submit(before, job(1, key="k", **COSTS_A_CENT))
    (first,) = dispatched(before)
    before.apply(charged(first, CENT), 1.0)
    after = trusted(priced(budget=Budget(month=Decimal("0.01"))))
    after.restore_spending(before.spending())
    submit(after, job(2, deadline=60.0, **COSTS_A_CENT))
    (end,) = finishes(after.decide(1.0, 10))
    assert end.failure.kind is FailureKind.BUDGET
    assert set(before.spending().payers) == {"project:p", "route:r", "key:p/k"}


def test_limits_of_a_project_and_a_key_hold_their_jobs_and_no_others() -> None:
    limited = ProjectRule("p", limits=(Limit("tokens", 60_000.0),), concurrency=2)
    made = rules(projects={"p": limited, "q": ProjectRule("q")})
    of = trusted(made)
    submit(of, *(job(n) for n in range(1, 6)), *(job(n, project="q") for n in range(6, 9)))
    under_way = dispatched(of)
    assert [each.project for each in under_way].count("p") == 2
    assert [each.project for each in under_way].count("q") == 3
    explained = of.status("p", "j-3", 0.0)
    assert explained is not None
    assert "project 'p' has as many attempts under way as it may have (2)" in (explained.waiting_for or "")
    mine = next(each for each in under_way if each.project == "p")
    of.apply(succeeded(mine), 1.0)
    assert [each.job for each in dispatched(of, 1.0)] == ["j-3"]
    assert "project:p" in of.levels(1.0)


def test_a_keys_tokens_refill_and_its_jobs_go_as_they_do() -> None:
    of = trusted(rules())
    bounds = Bounds(tpm=6_000.0)
    submit(of, *(job(n, key="k", bounds=bounds) for n in range(1, 5)))
    seen, now = len(dispatched(of)), 0.0
    assert seen < 4
    for _ in range(20):
        wake = of.next_wake(now)
        if wake is None or seen == 4:
            break
        assert wake >= now
        now = wake
        seen += len(dispatched(of, now))
    assert seen == 4
    assert now < 60.0


def test_a_project_and_a_key_may_have_so_many_unfinished_jobs_and_bytes() -> None:
    of = trusted(rules(projects={"p": ProjectRule("p", max_queued_bytes=1_000)}))
    few = Bounds(max_queued=1)
    submit(of, job(1, size=600, key="k", bounds=few), job(2, size=10, key="k", bounds=few), job(3, size=500))
    ends = finishes(of.decide(0.0, 0))
    assert [(end.job, end.failure.kind) for end in ends] == [
        ("j-2", FailureKind.QUEUE_FULL),
        ("j-3", FailureKind.QUEUE_FULL),
    ]
    assert [end.failure.field for end in ends] == ["key", "project"]
    for end in ends:
        of.apply(settled(end), 1.0)
    of.apply(succeeded(dispatched(of, 1.0)[0]), 2.0)
    submit(of, job(4, size=1_000, key="k", bounds=few), now=2.0)
    assert [each.job for each in dispatched(of, 2.0)] == ["j-4"]


def test_an_estimate_tells_where_a_job_would_go_what_it_costs_and_why_it_would_be_refused() -> None:
    of = trusted(priced(budget=Budget(day=Decimal("0.02"))))
    asked = Planned(route="r", input_estimate=250, max_output=900, size=1_000)
    assert of.estimate("p", asked, 0.0) == Estimate(
        deployment="a/m", expected=Decimal("0.00125"), worst=Decimal("0.01"), refused=None, decision=None
    )
    assert of.estimate("p", asked.model_copy(update={"max_output": 9_000}), 0.0).refused is not None
    assert of.estimate("nobody", asked, 0.0).refused is not None
    assert of.estimate("p", asked.model_copy(update={"route": "nowhere"}), 0.0).deployment is None
    assert not of.decide(0.0, 10)


def test_a_cancelled_job_that_waited_lets_the_next_one_have_its_turn() -> None:
    of = trusted(priced(budget=Budget(total=Decimal("0.012"))))
    small = {"size": 100, "max_output": 90}
    submit(of, job(1, **COSTS_A_CENT), job(2, **COSTS_A_CENT), job(3, **small))
    assert [each.job for each in dispatched(of)] == ["j-1"], "the third does not take what the second waits for"
    of.apply(cancel(job(2)), 1.0)
    assert [each.job for each in dispatched(of, 1.0)] == ["j-3"]


def test_a_run_under_budgets_and_limits_can_be_replayed_with_everything_asked_meanwhile() -> None:
    made = priced(
        "a/m", "b/m", budget=Budget(hour=Decimal("0.05"), day=Decimal("0.2")), limits=(Limit("requests", 600.0),)
    )
    bounds = Bounds(concurrency=3, budget=Budget(total=Decimal("0.08")))

    class Charging(Trial):
        """Tells the fact of each attempt when its end is told."""

        def tell(self, fact: Fact) -> None:
            super().tell(fact)
            if isinstance(fact, Settled) and fact.deployment is not None:
                commit = next(each for each in self.commits if each.dispatch.job == fact.job)
                super().tell(charged(commit.dispatch, (commit.dispatch.cost or 0) // 3))

    trial = Charging(trusted(made), seed=3, refuse=0.2)
    trial.submit(
        *(
            job(n, submitted=n * 0.1, deadline=n * 40.0, key="k" if n % 3 else None, bounds=bounds if n % 3 else None)
            for n in range(1, 80)
        )
    )
    trial.submit(*(job(n, submitted=n * 0.1, **COSTS_A_CENT) for n in range(80, 120)))
    trial.run(until=20_000.0)
    assert len(trial.commits) > 20
    for ask in (False, True):
        assert list(replay(trial.log, trusted(made), ask=ask)) == trial.decisions


def test_thousands_of_jobs_that_lose_their_room_change_places_a_thousand_a_round_and_are_then_left_alone() -> None:
    of = trusted(priced(budget=Budget(hour=Decimal("0.01"))))
    submit(of, *(job(n, deadline=7_000.0 if n % 2 else 60.0, **COSTS_A_CENT) for n in range(1, 3_501)))
    (first,) = dispatched(of)
    rounds = 0
    while of.next_wake(0.0) == 0.0:
        assert not of.decide(0.0, 10)
        rounds += 1
    assert rounds == 3
    of.apply(charged(first, CENT), 1.0)
    ends, rounds = 0, 0
    while of.next_wake(1.0) == 1.0:
        ends += len(finishes(of.decide(1.0, 10)))
        rounds += 1
    assert ends >= 1_749, "those whose deadline comes before the window ends are told at once"
    assert rounds < 10
    assert (of.next_wake(1.0) or 0.0) > 1.0
