"""Budgets against a naive model, under any order of what can happen: nothing is overshot, nobody is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from catalogue.prices import Price
from job_contracts.failures import FailureKind
from job_contracts.jobs import Bounds
from job_contracts.money import Budget, picodollars, window_start
from scheduler.policy.board import Board
from scheduler.policy.decisions import Dispatch, Finish
from scheduler.policy.facts import AttemptEnded, Charged, InFlight, PoolSeen, Submitted
from scheduler.policy.purses import Spending
from scheduler.policy.rules import ProjectRule
from tests.unit.scheduler_policy import made

pytestmark = pytest.mark.timeout(600)  # seconds, most of which go into making the steps to a fault few

WALL = 1_700_000_000.0
KEY = Bounds(budget=Budget(hour=Decimal("0.004"), total=Decimal("0.02")))
BUDGETS = {
    "project:p": Budget(hour=Decimal("0.006"), day=Decimal("0.02")),
    "tag:p/team=red": Budget(day=Decimal("0.003")),
    "key:p/k": KEY.budget,
    "key:q/k": KEY.budget,
}
LAWS = made.rules(
    {"r": ("a/m", "b/m")},
    facts={
        "a/m": {"prices": (Price(input=Decimal(1), output=Decimal(1)),), "window": 100_000},
        "b/m": {"prices": (Price(input=Decimal(2), output=Decimal(2)),), "window": 100_000},
    },
    projects={
        "p": ProjectRule("p", budget=BUDGETS["project:p"], tags={"team=red": Budget(day=Decimal("0.003"))}),
        "q": ProjectRule("q"),
    },
    concurrency={"a": 3, "b": 2},
)

BENCHED = 120.0
"""Seconds for which a deployment that failed may be left alone."""

Attempt = tuple[str, str, int]


class Budgets(RuleBasedStateMachine):
    """``work`` is what lies in WORK, ``ledger`` the facts; both outlive a leader, the board does not."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.seq = 0
        self.board = self.fresh()
        self.jobs: dict[tuple[str, str], Submitted] = {}
        self.work: dict[Attempt, Dispatch] = {}
        self.ledger: list[Charged] = []
        self.told: list[Charged] = []
        self.tags: dict[str, dict[str, str]] = {}
        self.outcomes: dict[tuple[str, str], AttemptEnded] = {}
        self.checkpoint: tuple[Spending, int] = (Spending(), 0)

    def fresh(self) -> Board:
        made_board = Board(LAWS, now=self.now, wall=WALL + self.now)
        for pool in ("a", "b"):
            made_board.apply(PoolSeen(pool, 100), self.now)
        return made_board

    @initialize()
    def begin(self) -> None:
        self.board.trust_spending(True)

    # ------------------------------------------------------------------------------------------------- what can happen

    @rule(
        project=st.sampled_from("ppq"),
        key=st.sampled_from([None, "k"]),
        red=st.booleans(),
        size=st.integers(1, 2_000),
        deadline=st.sampled_from([None, 600.0, 90_000.0]),
    )
    def submit(self, project: str, key: str | None, red: bool, size: int, deadline: float | None) -> None:
        self.seq += 1
        over: dict[str, Any] = {"key": key, "bounds": None if key is None else KEY}
        over["tags"] = {"team": "red" if red else "blue"}
        over["deadline"] = None if deadline is None else self.now + deadline
        fact = made.job(self.seq, project=project, size=size, max_output=100, submitted=self.now, **over)
        self.jobs[project, fact.job] = fact
        self.tags[fact.job] = dict(fact.tags)
        self.board.apply(fact, self.now)

    def carry_out(self, room: int) -> list[Dispatch]:
        """Ends are written; what is to be sent is left to the caller."""
        taken: list[Dispatch] = []
        for decision in self.board.decide(self.now, room):
            if isinstance(decision, Dispatch):
                taken.append(decision)
            elif isinstance(decision, Finish):
                assert decision.failure.kind in {FailureKind.BUDGET, FailureKind.EXPIRED}
                self.jobs.pop((decision.project, decision.job), None)
                self.board.apply(made.settled(decision), self.now)
        return taken

    @rule(room=st.integers(1, 6), stored=st.booleans())
    def decide(self, room: int, stored: bool) -> None:
        taken = self.carry_out(room)
        if stored:
            for each in taken:
                self.work[each.project, each.job, each.attempt] = each
            self.board.stored(taken, self.now)
        else:
            self.board.refused(taken, self.now)

    def under_way(self) -> list[Attempt]:
        """Attempts in WORK that have not ended."""
        ended = {fact.attempt for fact in self.ledger}
        return [attempt for attempt in self.work if attempt not in ended]

    @precondition(lambda self: bool(self.under_way()))
    @rule(data=st.data(), share=st.floats(0, 1), how=st.sampled_from(["succeeded", "failed", "uncalled"]))
    def end(self, data: st.DataObject, share: float, how: str) -> None:
        attempt = data.draw(st.sampled_from(self.under_way()))
        each = self.work[attempt]
        if how == "uncalled":
            del self.work[attempt]
            self.outcome(made.ended(each, FailureKind.HANDED_BACK, called=False))
            return
        if how == "succeeded":
            self.jobs.pop(attempt[:2], None)
            self.board.apply(made.succeeded(each), self.now)
        assert each.cost is not None
        tags = self.tags[attempt[1]]
        light = Charged(attempt, each.project, each.route, each.key, tags, each.charged, None, each.cost, (False,) * 4)
        cost = int(each.cost * share)
        heavy = Charged(
            attempt, each.project, each.route, each.key, tags, each.charged, cost, each.cost, (False, False, True, True)
        )
        self.ledger.extend([light, heavy] if how == "failed" else [heavy])
        if how == "failed":
            self.tell(len(self.ledger))
            self.outcome(made.ended(each, FailureKind.SERVER_ERROR))

    def outcome(self, fact: AttemptEnded) -> None:
        """It lies in OUT until the job has its result."""
        self.outcomes[fact.project, fact.job] = fact
        self.board.apply(fact, self.now)

    @precondition(lambda self: len(self.told) < len(self.ledger))
    @rule(count=st.integers(1, 3))
    def tell(self, count: int) -> None:
        """The leader reads on in LEDGER; sometimes something is told again."""
        for fact in self.ledger[len(self.told) : len(self.told) + count]:
            self.told.append(fact)
            self.board.apply(fact, self.now)
            self.work.pop(fact.attempt, None)

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def tell_again(self, data: st.DataObject) -> None:
        self.board.apply(data.draw(st.sampled_from(self.told)), self.now)

    @rule(seconds=st.sampled_from([1.0, 700.0, 3_600.0, 40_000.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def keep(self) -> None:
        self.checkpoint = self.board.spending(), len(self.told)

    @rule()
    def take_over(self) -> None:
        """Another leader: the checkpoint, the jobs, WORK, then LEDGER to its end."""
        self.board = self.fresh()
        spending, read = self.checkpoint
        self.board.restore_spending(spending)
        for fact in self.jobs.values():
            self.board.apply(fact, self.now)
        for each in self.work.values():
            self.board.apply(
                InFlight(
                    each.project,
                    each.job,
                    each.attempt,
                    each.deployment,
                    each.input_tokens,
                    each.output_tokens,
                    each.history,
                    cost=each.cost,
                    charged=each.charged,
                    route=each.route,
                    key=each.key,
                    tags=self.tags[each.job],
                ),
                self.now,
            )
        for key, outcome in self.outcomes.items():
            if key in self.jobs:
                self.board.apply(outcome, self.now)
        taken = self.carry_out(5)
        assert all(each.project == "q" and each.key is None for each in taken), "nothing is trusted yet"
        self.board.refused(taken, self.now)
        for index, told in enumerate(self.ledger):
            self.board.apply(replace(told, counted=index >= read), self.now)
            self.work.pop(told.attempt, None)
        self.told = list(self.ledger)
        self.board.trust_spending(True)

    # --------------------------------------------------------------------------------------------------- what must hold

    def paid(self, payer: str) -> Iterator[tuple[float, int]]:
        """Time and amount of everything that payer is committed to, as WORK and LEDGER have it."""
        best: dict[Attempt, Charged] = {}
        for fact in self.ledger:
            other = best.get(fact.attempt)
            if other is None or fact.weight > other.weight:
                best[fact.attempt] = fact
        for fact in best.values():
            if payer in self.payers(fact.project, fact.key, fact.tags):
                yield fact.at, fact.reserved or 0 if fact.cost is None else fact.cost
        for attempt, each in self.work.items():
            if attempt not in best and payer in self.payers(each.project, each.key, self.tags[each.job]):
                yield each.charged, each.cost or 0

    @staticmethod
    def payers(project: str, key: str | None, tags: Any) -> set[str]:
        found = {f"project:{project}"}
        if key is not None:
            found.add(f"key:{project}/{key}")
        if tags.get("team") == "red":
            found.add(f"tag:{project}/team=red")
        return found

    @invariant()
    def no_window_is_overshot(self) -> None:
        for payer, budget in BUDGETS.items():
            assert budget is not None
            for window, amount in budget.amounts():
                by_start: dict[float, int] = {}
                for at, cost in self.paid(payer):
                    start = window_start(window, at)
                    by_start[start] = by_start.get(start, 0) + cost
                assert all(total <= picodollars(amount) for total in by_start.values()), (payer, window)

    @invariant()
    def what_is_reserved_is_the_attempts_whose_facts_were_not_told(self) -> None:
        told = {fact.attempt for fact in self.told}
        wall = WALL + self.now
        counts = self.board.counts(self.now)
        for (payer, window), (_, spent, reserved) in counts.budgets.items():
            begin = window_start(window, wall)
            live = sum(
                each.cost or 0
                for attempt, each in self.work.items()
                if attempt not in told
                and payer in self.payers(each.project, each.key, self.tags[each.job])
                and window_start(window, each.charged) == begin
            )
            assert reserved == live, (payer, window)
            if len(self.told) == len(self.ledger):
                facts = sum(cost for at, cost in self.paid(payer) if window_start(window, at) == begin)
                assert spent + reserved == facts, (payer, window)

    def teardown(self) -> None:
        """Whatever happened: as attempts end and windows pass, every job goes or is told why not, and nobody waits."""
        self.tell(len(self.ledger))
        for _ in range(400):
            self.decide(50, stored=True)
            if self.jobs and not self.work:
                self.nobody_waits_beside_room()
            for attempt, each in list(self.work.items()):
                tags, cost, surest = self.tags[each.job], each.cost, (False, True, True, True)
                fact = Charged(attempt, each.project, each.route, each.key, tags, each.charged, cost, each.cost, surest)
                self.jobs.pop(attempt[:2], None)
                self.board.apply(made.succeeded(each), self.now)
                self.ledger.append(fact)
            self.tell(len(self.ledger))
            self.no_window_is_overshot()
            if not self.jobs:
                return
            wake = self.board.next_wake(self.now)
            assert wake is not None, "somebody waits for nothing"
            self.now = max(self.now, wake)
        raise AssertionError(f"{len(self.jobs)} jobs are left")

    def nobody_waits_beside_room(self) -> None:
        """Nothing is under way: a job that all its payers could pay at the dearer deployment is looked at soon."""
        wake = self.board.next_wake(self.now)
        assert wake is not None, "somebody waits for nothing"
        wall = WALL + self.now
        for job in self.jobs.values():
            worst = 2 * (job.size + 100) * 1_000_000
            payers = self.payers(job.project, job.key, job.tags)
            room = all(
                worst + sum(cost for at, cost in self.paid(payer) if window_start(window, at) == begin)
                <= picodollars(amount)
                for payer, budget in BUDGETS.items()
                if payer in payers and budget is not None
                for window, amount in budget.amounts()
                for begin in (window_start(window, wall),)
            )
            assert not room or wake <= self.now + BENCHED, f"{job.job} waits although it could be paid"


TestBudgets = Budgets.TestCase
TestBudgets.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
