"""What follows jobs: which do, who pays, and what it takes of its project's own."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from catalogue.prices import Price
from job_contracts.experiments import Challenger, Experiment, Judge, Metric
from job_contracts.failures import Failure, FailureKind
from job_contracts.followups import OF_ROUTE, kind_of, reason_of, spent_on
from job_contracts.jobs import JobState
from job_contracts.money import PICO, Budget
from scheduler.policy.decisions import Dispatch, Finish
from scheduler.policy.experiments.ramp import begun
from scheduler.policy.facts import Charged
from scheduler.policy.followups import Followed, FollowRule, fraction
from scheduler.policy.rules import ProjectRule, Rules
from scheduler.policy.seats import Running
from tests.support.examples import examples
from tests.unit.scheduler_policy import made

FACTS = {"a/m": {"prices": (Price(input=Decimal(1), output=Decimal(1)),), "max_output": 1_000_000, "window": 2_000_000}}


def rules(purse: Budget | None, **project: Any) -> Rules:
    followed = Followed((FollowRule("shadow", "r", 1.0, purse, 60.0, 10),))
    return made.rules(facts=FACTS, projects={"p": ProjectRule("p", **project)}, route={"followed": followed})


def copy(seq: int = 1, **over: Any) -> Any:
    return made.job(seq, job=f"shadow-{seq}", lane="bg", tags={OF_ROUTE: "r"}, max_output=1_000_000, **over)


def charged(job: str, cost: int) -> Charged:
    weight = (False, True, True, True)
    tags = {OF_ROUTE: "r"} if kind_of(job) else {}
    return Charged(("p", job, 1), "p", "r", None, tags, 0.0, cost * PICO, None, weight)


@examples(30)
@given(st.floats(0.01, 0.99), st.sampled_from(["shadow", "verify"]))
def test_about_as_many_are_followed_as_the_share_says_and_always_the_same(share: float, kind: Any) -> None:
    followed = Followed((FollowRule(kind, "other", share, None, 1.0, 1),))
    due = [bool(followed.due(f"j-{number}", f"t{number}")) for number in range(2000)]
    assert abs(sum(due) / len(due) - share) < 0.06
    assert due == [bool(followed.due(f"j-{number}", f"t{number}")) for number in range(2000)]


def test_the_stem_tells_what_a_job_is_and_what_it_is_spent_on() -> None:
    assert [kind_of(f"{stem}-1") for stem in ("shadow", "verify", "judge", "a")] == ["shadow", "verify", "judge", None]
    assert [spent_on(f"{stem}-1") for stem in ("shadow", "verify", "judge", "a")] == [
        "shadow",
        "verify",
        "verify",
        None,
    ]
    assert reason_of("judge-1", Failure(kind=FailureKind.CANCELLED, message="")) == "verify"


def test_one_job_may_be_in_one_sample_and_not_in_another() -> None:
    pairs = {(fraction("shadow", f"j-{n}", "t") < 0.5, fraction("verify", f"j-{n}", "t") < 0.5) for n in range(100)}
    assert len(pairs) == 4


def test_a_project_without_money_has_its_jobs_held_and_their_copies_go() -> None:
    board = made.board(rules(Budget(day=Decimal(100)), budget=Budget(day=Decimal(0))))
    board.trust_spending(True)
    board.apply(copy(1, submitted=0.0), 0.0)
    board.apply(made.job(2, max_output=100), 0.0)
    decided = board.decide(0.0, 10)
    assert [one.job for one in decided if isinstance(one, Dispatch)] == ["shadow-1"]


def test_copies_never_cost_more_than_their_purse_and_nobody_else_anything() -> None:
    board = made.board(rules(Budget(day=Decimal(7)), budget=Budget(day=Decimal(100))))
    board.trust_spending(True)
    for seq in range(1, 5):  # each may cost three dollars
        board.apply(copy(seq, submitted=0.0), 0.0)
    went = [one for one in board.decide(0.0, 10) if isinstance(one, Dispatch)]
    assert len(went) == 2
    board.apply(charged("shadow-9", 1), 0.0)
    board.apply(charged("j-9", 2), 0.0)
    spent = board.spending().payers
    assert [spent["shadow:r"]["day"][0][1], spent["project:p"]["day"][0][1]] == [PICO, 2 * PICO]


def test_without_a_price_a_hard_purse_refuses() -> None:
    followed = Followed((FollowRule("shadow", "r", 1.0, Budget(day=Decimal(3)), 60.0, 10),))
    board = made.board(made.rules(projects={"p": ProjectRule("p")}, route={"followed": followed}))
    board.trust_spending(True)
    board.apply(copy(1, submitted=0.0), 0.0)
    (ended,) = board.decide(0.0, 10)
    assert isinstance(ended, Finish)
    assert ended.state is JobState.FAILED


def test_a_copy_waits_in_its_own_queue_beside_its_projects_background_jobs() -> None:
    board = made.board(rules(None, max_in_flight=1))
    board.apply(made.job(1, lane="bg"), 0.0)
    board.apply(copy(2, submitted=0.0), 0.0)
    board.apply(made.job(3, lane="bg"), 0.0)
    went = [one.job for one in board.decide(0.0, 10) if isinstance(one, Dispatch)]
    assert sorted(went) == ["j-1", "shadow-2"]
    assert (board.unfinished("p"), board.following("p")) == (2, 1)


def test_a_judge_is_paid_from_a_purse_of_its_own_that_may_change_meanwhile() -> None:
    def running(day: int) -> dict[str, Running]:
        judge = Judge(route="other", budget=Budget(day=Decimal(day)))
        arms = {"b": Challenger(route="c")}
        told = Experiment(route="r", challengers=arms, metrics=(Metric.JUDGE,), guardrails=(), judge=judge)
        return {"exp": Running(told, begun(0.0))}

    def asked(*seqs: int) -> list[str]:
        for seq in seqs:  # each may cost three dollars
            own = {"job": f"judge-{seq}", "lane": "bg", "tags": {OF_ROUTE: "r"}, "max_output": 1_000_000}
            board.apply(made.job(seq, submitted=0.0, **own), 0.0)
        return [one.job for one in board.decide(0.0, 10) if isinstance(one, Dispatch)]

    board = made.board(rules(None, budget=Budget(day=Decimal(0))))
    board.trust_spending(True)
    board.place_trials(running(4), 0.0)
    assert board.judge("exp") == Judge(route="other", budget=Budget(day=Decimal(4)))
    assert asked(1, 2) == ["judge-1"]
    board.place_trials(running(7), 0.0)
    assert asked(3) == ["judge-2"]


def test_a_copy_of_an_unknown_project_is_refused() -> None:
    board = made.board(rules(None))
    board.apply(copy(1, project="nobody", submitted=0.0), 0.0)
    (ended,) = board.decide(0.0, 10)
    assert isinstance(ended, Finish)
