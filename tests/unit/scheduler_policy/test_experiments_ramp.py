"""How an experiment goes on: steps up, stops for good, and says in words what it knows."""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_contracts.experiments import CONTROL, Challenger, Experiment, Guardrail, Metric, Ramp
from scheduler.policy.experiments.comparing import Difference, Finding, compare, differs
from scheduler.policy.experiments.moments import BUCKETS, ArmSums, Ended
from scheduler.policy.experiments.ramp import Halt, Hold, Progress, Raise, begun, decide, moved
from scheduler.policy.experiments.sequences import Interval
from scheduler.policy.experiments.verdict import verdict

DAY = 86_400.0


def experiment(**over: Any) -> Experiment:
    return Experiment(**{"route": "fast", "challengers": {"mini": Challenger(route="fast-mini")}, **over})


def arm(count: int, *, seed: int, cost: float = 1.0, errors: float = 0.02, units: int = 10**6) -> ArmSums:
    random, sums = Random(seed), ArmSums()
    for _job in range(count):
        bucket = random.randrange(min(BUCKETS, units))
        spent, took = int(1e9 * cost * random.lognormvariate(0, 0.4)), random.lognormvariate(0, 0.3)
        sums.see(Ended(bucket, failed=random.random() < errors, cost=spent, seconds=took))
    return sums


def found(metric: Metric, low: float, high: float, *, more: int | None = None) -> Difference:
    finding = Finding.DIFFERENT if low > 0 or high < 0 else Finding.OPEN
    return Difference(metric, (low + high) / 2, Interval(low, high), finding, more)


def gone(told: Experiment, progress: Progress, seen: dict[str, int], now: float, **differences: Difference) -> Progress:
    compared = {"mini": {difference.metric: difference for difference in differences.values()}}
    return moved(progress, decide(told, progress, compared, seen, now), seen, now)


@given(times=st.lists(st.floats(-DAY, 10 * DAY), max_size=30), by=st.sampled_from(["schedule", "result"]))
def test_the_share_only_grows_whatever_the_clock_says(times: list[float], by: str) -> None:
    told = experiment(ramp=Ramp.model_validate({"by": by, "jobs": 0}))
    progress, shares = begun(0.0), [0.01]
    for now in times:
        progress = gone(told, progress, {}, now)
        shares.append(progress.share(told.ramp))
    assert shares == sorted(shares)


def test_by_schedule_a_step_is_due_each_time_it_has_been_held() -> None:
    told, progress = experiment(ramp=Ramp(by="schedule")), begun(0.0)
    steps = [gone(told, progress, {}, day * DAY).step for day in (0, 0.9, 1, 2.5, 3, 40)]
    assert steps == [0, 0, 1, 2, 3, 3]


def test_by_result_a_step_takes_its_time_its_jobs_and_guardrails_that_look_right() -> None:
    told, seen = experiment(), {CONTROL: 600, "mini": 600}
    fine, bad = found(Metric.ERROR_RATE, -0.01, 0.02), found(Metric.ERROR_RATE, -0.01, 0.09)
    assert gone(told, begun(0.0), seen, 0.5 * DAY, a=fine).step == 0
    assert gone(told, begun(0.0), {CONTROL: 600, "mini": 400}, DAY, a=fine).step == 0
    assert gone(told, begun(0.0), seen, DAY, a=bad).step == 0
    second = gone(told, begun(0.0), seen, DAY, a=fine)
    assert second.step == 1
    assert gone(told, second, seen, 2 * DAY, a=fine) == second, "the jobs of the step before do not count again"
    assert gone(told, second, {CONTROL: 1200, "mini": 1200}, 2 * DAY, a=fine).step == 2


def test_an_arm_that_is_surely_beyond_a_guardrail_is_stopped_and_stays_so() -> None:
    told = experiment()
    broken = {"mini": {Metric.ERROR_RATE: found(Metric.ERROR_RATE, 0.03, 0.09)}}
    decision = decide(told, begun(0.0), broken, {}, 1.0)
    assert decision == Halt("mini", "error rate is worse by 3 points at least; 2 points are allowed")
    stopped = moved(begun(0.0), decision, {}, 1.0)
    assert moved(stopped, decision, {}, 2.0) is stopped
    assert decide(told, stopped, {}, {CONTROL: 10**6}, 90 * DAY) == Hold("every challenger is stopped")


def test_of_a_score_less_is_worse() -> None:
    told = experiment(metrics=(Metric.FEEDBACK,), guardrails=(Guardrail(metric=Metric.FEEDBACK, worse_by=0.05),))
    worse, better = (found(Metric.FEEDBACK, sign * 0.1 - 0.02, sign * 0.1 + 0.02) for sign in (-1, 1))
    assert isinstance(decide(told, begun(0.0), {"mini": {Metric.FEEDBACK: worse}}, {}, 1.0), Halt)
    assert isinstance(decide(told, begun(0.0), {"mini": {Metric.FEEDBACK: better}}, {}, 1.0), Hold)


def test_an_arm_whose_jobs_all_fail_is_stopped_after_some_dozen_of_units_and_one_broken_unit_stops_nothing() -> None:
    told, control = experiment(), arm(40, seed=1)
    for failing, stops in ((arm(40, seed=2, errors=1.0), True), (arm(5000, seed=2, errors=1.0, units=1), False)):
        compared = {"mini": compare(told, control, failing)}
        assert isinstance(decide(told, begun(0.0), compared, {}, 1.0), Halt) is stops


def test_nothing_moves_once_a_challenger_is_adopted() -> None:
    assert decide(experiment(adopted="mini"), begun(0.0), {}, {}, 90 * DAY) == Hold("mini is adopted")


def test_a_step_that_was_taken_is_not_taken_again() -> None:
    second = moved(begun(0.0), Raise(1, ""), {"mini": 5}, 7.0)
    assert second == replace(begun(0.0), step=1, since=7.0, jobs={"mini": 5})
    assert moved(second, Raise(1, ""), {"mini": 9}, 9.0) is second


# -------------------------------------------------------------------------------------------------------------- words


def test_a_verdict_says_what_differs_by_how_much_what_does_not_and_what_is_missing() -> None:
    told = experiment()
    differences = compare(told, arm(3000, seed=1), arm(3000, seed=2, cost=0.88, errors=0.025))
    text = verdict("mini", differences, smallest=told.smallest, progress=begun(0.0))
    assert re.fullmatch(
        r"mini costs 1[0-4] % less \(\d+ to \d+\), its error rate is the same within 3 points, "
        r"its latency is not distinguishable yet; about \d+,000 more jobs are needed",
        text,
    )


def test_a_verdict_with_too_few_jobs_says_so() -> None:
    told = experiment()
    text = verdict("mini", compare(told, ArmSums(), ArmSums()), smallest=told.smallest, progress=begun(0.0))
    assert text == (
        "mini: its cost, latency and error rate are not distinguishable yet; "
        "how many more jobs are needed cannot be said yet"
    )


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (found(Metric.COST, -0.15, -0.08), "mini costs 12 % less (8 to 15)"),
        (found(Metric.COST, 1.5, 2.5), "mini costs 200 % more (150 to 250)"),
        (found(Metric.LATENCY, 0.002, 0.006), "mini takes 0.4 % longer (0.2 to 0.6)"),
        (found(Metric.ERROR_RATE, 0.01, 0.05), "mini fails more often, by 3 points (1 to 5)"),
        (found(Metric.JUDGE, 0.01, 0.05), "mini is judged better, by 3 points (1 to 5)"),
        (
            found(Metric.FEEDBACK, -0.2, 0.1, more=4000),
            "mini: its feedback is not distinguishable yet; about 4,000 more jobs are needed",
        ),
    ],
)
def test_a_verdict_names_each_metric_in_words_of_its_own(difference: Difference, said: str) -> None:
    assert verdict("mini", {difference.metric: difference}, smallest=0.03, progress=begun(0.0)) == said


def test_a_verdict_of_a_stopped_arm_says_why_and_asks_for_no_more_jobs() -> None:
    stopped = replace(begun(0.0), halted={"mini": "error rate is worse"})
    difference = found(Metric.COST, -0.2, 0.1, more=4000)
    assert verdict("mini", {Metric.COST: difference}, smallest=0.03, progress=stopped) == (
        "mini: its cost is not distinguishable yet; it was stopped: error rate is worse"
    )


def test_what_is_told_to_be_missing_is_about_what_it_takes() -> None:
    told = experiment(metrics=(Metric.COST,), guardrails=())
    early = compare(told, arm(1000, seed=1), arm(1000, seed=2, cost=0.97))[Metric.COST]
    assert early.finding is Finding.OPEN
    assert early.more is not None
    each = 1000 + early.more // 2
    late = [arm(each, seed=seed, cost=cost) for seed, cost in ((3, 1.0), (4, 0.97))]
    assert differs(Metric.COST, late[0].by[Metric.COST], late[1].by[Metric.COST], alpha=told.each, smallest=0.03)
