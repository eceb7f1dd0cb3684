"""Jobs at an experiment: where they are served, when that changes, and where their end counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from job_contracts.experiments import Challenger, Experiment, Guardrail, Metric, Ramp
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from job_contracts.results import Settlement
from job_contracts.trials import Trial
from scheduler.policy.board import Board
from scheduler.policy.decisions import Dispatch, Finish
from scheduler.policy.experiments.book import Book
from scheduler.policy.experiments.ramp import begun
from scheduler.policy.facts import AttemptEnded, InFlight, PoolSeen, Submitted
from scheduler.policy.rules import DeploymentRule, DomainRule, ProjectRule, RouteRule, Rules
from scheduler.policy.seats import Running
from scheduler.trials import book_of, kept_of

WHOLE = Experiment(route="r", challengers={"b": Challenger(route="s")}, ramp=Ramp(steps=(1.0,)))


def board(experiment: Experiment = WHOLE, *, window: int | None = None) -> Board:
    rules = Rules(
        domains={"a": DomainRule("a", "a"), "b": DomainRule("b", "b")},
        deployments={"a/m": DeploymentRule("a/m", "a", "a"), "b/m": DeploymentRule("b/m", "b", "b", window=window)},
        routes={"r": RouteRule("r", ("a/m",)), "s": RouteRule("s", ("b/m",))},
        projects={"demo": ProjectRule("demo")},
        pools={"a": None, "b": None},
        experiments={"exp": experiment},
    )
    made = Board(rules)
    for pool in ("a", "b"):
        made.apply(PoolSeen(pool, 1000), 0.0)
    return made


def submit(made: Board, numbers: Iterable[int], *, estimate: int = 10) -> None:
    for number in numbers:
        fact = Submitted("demo", f"j-{number}", number + 1, "r", "std", 5, 0.0, estimate, f"t{number}", "h")
        made.apply(replace(fact, session=f"s{number}"), 0.0)


def served(made: Board, now: float = 1.0) -> dict[str, Dispatch]:
    found = {one.job: one for one in made.decide(now, 1000) if isinstance(one, Dispatch)}
    made.stored(found.values(), now)
    return found


def stopped(made: Board, arm: str = "b") -> None:
    made.place_trials({"exp": Running(WHOLE, replace(begun(0.0), halted={arm: "harm"}))}, 2.0)


def test_both_arms_get_jobs_and_each_dispatch_tells_its_arm() -> None:
    made = board()
    submit(made, range(200))
    found = served(made).values()
    arms = {one.trial.arm for one in found if one.trial is not None}
    assert arms == {"control", "b"}
    assert all(one.trial is not None and (one.route == "s") == (one.trial.arm == "b") for one in found)
    assert all(one.trial is not None and one.trial.began > 0 for one in found)


def test_a_job_that_one_arm_cannot_serve_takes_no_part() -> None:
    made = board(window=1000)
    submit(made, range(50), estimate=100_000)
    assert {(one.route, one.trial) for one in served(made).values()} == {("r", None)}


def test_what_waits_for_a_stopped_arm_goes_to_the_control_uncounted() -> None:
    made = board()
    submit(made, range(50))
    stopped(made)
    found = served(made, 3.0).values()
    assert {one.route for one in found} == {"r"}
    assert {None if one.trial is None else one.trial.arm for one in found} == {None, "control"}


def failed(made: Board, one: Dispatch, kind: FailureKind, now: float) -> None:
    failure = Failure(kind=kind, message="no")
    made.apply(AttemptEnded("demo", one.job, one.attempt, one.deployment, failure, None), now)


def test_a_job_under_way_in_a_stopped_arm_is_tried_again_at_the_control() -> None:
    made = board()
    submit(made, range(50))
    one = next(each for each in served(made).values() if each.route == "s")
    stopped(made)
    failed(made, one, FailureKind.OVERLOADED, 3.0)
    again = next(each for each in served(made, 60.0).values() if each.job == one.job)
    assert (again.route, again.deployment, again.trial, again.attempt) == ("r", "a/m", None, 2)


def test_an_end_that_is_the_arms_counts_there_and_the_clients_own_does_not() -> None:
    made = board()
    submit(made, range(50))
    one, other = [each for each in served(made).values() if each.route == "s"][:2]
    failed(made, one, FailureKind.BAD_REQUEST, 3.0)
    failed(made, other, FailureKind.INVALID_JOB, 3.0)
    ends = {each.job: each for each in made.decide(3.0, 0) if isinstance(each, Finish)}
    assert ends[one.job].trial == one.trial
    assert ends[other.job].trial is None
    assert ends[one.job].state is JobState.FAILED


def test_an_earlier_leaders_word_on_an_arm_holds() -> None:
    made = board()
    submit(made, range(20))
    trial = Trial(experiment="exp", arm="b", bucket=3, began=7.0)
    made.apply(InFlight("demo", "j-1", 1, "b/m", 10, 10, route="s", trial=trial), 1.0)
    failure = Failure(kind=FailureKind.OVERLOADED, message="no")
    made.apply(AttemptEnded("demo", "j-1", 1, "b/m", failure, None), 1.0)
    again = served(made, 60.0)["j-1"]
    assert (again.route, again.trial) == ("s", trial)


def settled(arm: str, bucket: int, *, state: JobState = JobState.SUCCEEDED) -> Settlement:
    trial = Trial(experiment="exp", arm=arm, bucket=bucket, began=5.0)
    return Settlement(state=state, token="t", body_hash="h", trial=trial, finished=6.5)


def test_a_book_comes_back_from_its_checkpoint_and_decides_the_same() -> None:
    book = Book()
    rail = Guardrail(metric=Metric.ERROR_RATE, worse_by=0.02)
    wanted = {"exp": WHOLE.model_copy(update={"guardrails": (rail,)})}
    assert book.configure(wanted, ("r", "s"), 1.0) == ["exp"]
    for number in range(120):
        assert book.told(settled("control", number)) == "control"
        book.told(settled("b", number, state=JobState.FAILED if number % 2 else JobState.SUCCEEDED))
    book.told(settled("b", 1, state=JobState.CANCELLED))
    book.told(settled("nobody", 1))
    other = book_of(kept_of(book, 7).model_validate_json(kept_of(book, 7).model_dump_json()))
    assert other.accounts["exp"].sums == book.accounts["exp"].sums
    assert book.accounts["exp"].jobs == {"control": 120, "b": 120}
    assert book.accounts["exp"].of("b").by[Metric.LATENCY].mean == 1_500_000
    assert book.decide(9.0) == other.decide(9.0) != []
    assert list(other.accounts["exp"].progress.halted) == ["b"]


def test_a_change_that_would_move_units_is_refused_once_and_a_new_name_begins() -> None:
    book = Book()
    book.configure({"exp": WHOLE}, ("r", "s"), 1.0)
    user = WHOLE.model_copy(update={"unit": "user"})
    assert book.configure({"exp": user}, ("r", "s"), 2.0) == ["exp"]
    assert book.configure({"exp": user}, ("r", "s"), 3.0) == []
    assert book.accounts["exp"].settings == WHOLE
    assert book.configure({"two": user}, ("r", "s"), 4.0) == ["two", "exp"]
    assert book.accounts["exp"].ended == 4.0
    assert book.configure({"two": user, "new": user}, ("r",), 5.0) == []
    assert book.unknown == {"new": ("s",)}, "a route that this scheduler does not know"
    assert book.configure({"two": user}, ("r", "s"), 4.0 + 31 * 86_400.0) == ["exp"]
