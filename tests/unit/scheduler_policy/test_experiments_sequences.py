"""Intervals looked at after each job: wrong no more often than stated, and narrow enough to find what is there.

``python -m benchmarks.experiments`` says the same of 10,000 experiments and of more kinds of jobs.
"""

from __future__ import annotations

from math import comb, exp, isinf, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.experiments import ALPHA, CASES, POWER, Case, false_alarms, narrow, power
from job_contracts.experiments import Metric
from scheduler.policy.experiments.sequences import (
    difference_interval,
    half_width,
    information_for,
    log_evidence,
    log_likelihood,
    log_mixture,
    rate_interval,
    tuned,
)

ALPHAS = st.floats(0.001, 0.2)
COUNTED = st.integers(1, 400).flatmap(lambda count: st.tuples(st.just(count), st.integers(0, count)))


def test_a_thousand_experiments_without_a_difference_raise_false_alarms_at_most_at_the_stated_rate() -> None:
    alarms = false_alarms(Case(Metric.COST, narrow, 500), 1000)
    assert 0 < alarms <= ALPHA * 1000  # none at all would say that they could find nothing either


def test_so_do_experiments_whose_units_have_jobs_that_are_alike() -> None:
    assert false_alarms(CASES["cost, ten alike a unit"], 150) <= ALPHA * 150


@pytest.mark.parametrize("name", ["error rate", "judge's score"])
def test_so_do_rates_and_scores(name: str) -> None:
    assert false_alarms(CASES[name], 150) <= ALPHA * 150


def test_a_real_difference_of_three_percent_is_found_with_the_stated_power_by_the_jobs_that_were_told() -> None:
    found, _jobs = power(400)
    assert found >= POWER * 400


@pytest.mark.parametrize("rate", [0.02, 0.5, 0.97])
def test_a_rate_leaves_its_interval_no_more_often_than_stated_however_often_it_is_looked_at(rate: float) -> None:
    missed = 0
    for seed in range(300):
        random, total = Random(seed), 0
        for count in range(1, 301):
            total += random.random() < rate
            inside = log_mixture(count, total) - log_likelihood(count, total, rate) < log(1 / 0.1)
            if count % 100 == 0 or not inside:
                low, high = rate_interval(count, total, 0.1)
                assert inside == (low < rate < high)
            if not inside:
                missed += 1
                break
    assert missed <= 30


@given(seen=COUNTED, alpha=ALPHAS)
def test_the_interval_of_a_rate_holds_its_estimate_and_is_wider_for_a_smaller_alpha(
    seen: tuple[int, int], alpha: float
) -> None:
    count, total = seen
    low, high = rate_interval(count, total, alpha)
    assert 0 <= low <= total / count <= high <= 1
    wider = rate_interval(count, total, alpha / 2)
    assert wider.low <= low
    assert high <= wider.high


@given(one=COUNTED, other=COUNTED, alpha=ALPHAS)
def test_an_interval_of_a_difference_leaves_out_what_the_evidence_rules_out_and_turns_with_the_arms(
    one: tuple[int, int], other: tuple[int, int], alpha: float
) -> None:
    low, high = difference_interval(one, other, alpha)
    back = difference_interval(other, one, alpha)
    assert -1 <= low <= other[1] / other[0] - one[1] / one[0] <= high <= 1
    assert (back.low, back.high) == pytest.approx((-high, -low), abs=1e-5)
    ruled_out = log_evidence(one, other, 0.0) >= log(1 / alpha)
    if low > 1e-6 or high < -1e-6:
        assert ruled_out
    if low < -1e-6 and high > 1e-6:
        assert not ruled_out


def test_the_mixture_of_likelihoods_adds_up_to_one_over_all_that_may_be_seen() -> None:
    for count in (1, 2, 7, 30):
        total = sum(comb(count, seen) * exp(log_mixture(count, seen)) for seen in range(count + 1))
        assert total == pytest.approx(1.0)


@given(alpha=ALPHAS, width=st.floats(0.005, 0.5), power_=st.floats(0.5, 0.99))
def test_more_information_narrows_and_what_is_told_for_a_power_is_enough(
    alpha: float, width: float, power_: float
) -> None:
    rho = tuned(width, alpha)
    needed = information_for(width, alpha, rho, power_)
    assert half_width(needed, alpha, rho) <= width
    assert half_width(2 * needed, alpha, rho) < half_width(needed, alpha, rho)
    assert isinf(half_width(0.0, alpha, rho))


def test_an_interval_is_narrowest_at_the_width_it_is_tuned_for() -> None:
    best = tuned(0.03, ALPHA)
    needed = information_for(0.03, ALPHA, best, 0.5)
    for times in (0.2, 0.5, 2.0, 5.0):
        assert half_width(needed, ALPHA, best * times) > half_width(needed, ALPHA, best)
