"""Sums of experiments: the same from any parts in any order, and a spread that knows of units."""

from __future__ import annotations

from random import Random
from statistics import fmean, pvariance, variance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_contracts.experiments import Metric
from scheduler.policy.experiments.moments import BUCKETS, ArmSums, Ended, Moments, Scored

SEEN = st.lists(st.tuples(st.integers(0, 10**13), st.integers(0, BUCKETS - 1)), max_size=40)


def moments(seen: list[tuple[int, int]]) -> Moments:
    made = Moments()
    for value, bucket in seen:
        made.see(value, bucket)
    return made


def merged(*parts: Moments) -> Moments:
    made = Moments()
    for part in parts:
        made.add(part)
    return made


def figures(made: Moments) -> tuple[float, ...]:
    return (made.count, made.total, made.squares, made.filled, made.plain, made.grouped, made.alike)


@given(a=SEEN, b=SEEN, c=SEEN)
def test_adding_up_is_associative_and_order_does_not_matter_to_the_last_bit(
    a: list[tuple[int, int]], b: list[tuple[int, int]], c: list[tuple[int, int]]
) -> None:
    x, y, z = moments(a), moments(b), moments(c)
    whole = moments(a + b + c)
    for other in (merged(merged(x, y), z), merged(x, merged(y, z)), merged(z, y, x), moments(c[::-1] + b + a)):
        assert other == whole
        assert figures(other) == figures(whole)


@given(seen=SEEN)
def test_what_is_written_down_is_read_again_as_it_was(seen: list[tuple[int, int]]) -> None:
    made = moments(seen)
    read = Moments.of(made.kept())
    assert read == made
    assert figures(read) == figures(made)


@given(seen=SEEN.filter(lambda seen: len(seen) > 1))
def test_the_plain_spread_is_that_of_the_mean_of_independent_jobs(seen: list[tuple[int, int]]) -> None:
    values = [value for value, _ in seen]
    assert moments(seen).plain == pytest.approx(variance(values) / len(values))
    assert moments(seen).mean == pytest.approx(fmean(values))


def test_the_spread_between_buckets_is_that_of_the_mean_when_jobs_of_a_unit_are_alike() -> None:
    means, told = [], []
    for seed in range(300):
        random, made = Random(seed), Moments()
        for _unit in range(200):
            bucket, own = random.randrange(BUCKETS), random.gauss(1000, 200)
            for _job in range(10):
                made.see(round(random.gauss(own, 100)), bucket)
        means.append(made.mean)
        told.append(made.grouped)
        assert made.plain < made.grouped / 3
        assert made.alike > 3
    assert fmean(told) == pytest.approx(pvariance(means), rel=0.25)


def test_while_few_units_are_known_all_jobs_of_one_count_for_one() -> None:
    made = moments([(1, 7)] * 50)
    assert made.count / made.alike == 1


def test_an_end_and_a_score_go_to_their_metrics() -> None:
    sums = ArmSums()
    sums.see(Ended(3, failed=False, cost=5, seconds=0.25))
    sums.see(Ended(4, failed=True, cost=7, seconds=9.0))
    sums.see(Scored(3, Metric.JUDGE, 0.75))
    sums.see(Scored(3, Metric.FEEDBACK, 9.0))
    assert {metric: (made.count, made.total) for metric, made in sums.by.items()} == {
        Metric.COST: (2, 12),
        Metric.LATENCY: (1, 250_000),
        Metric.ERROR_RATE: (2, 1),
        Metric.FEEDBACK: (1, 10**6),
        Metric.JUDGE: (1, 750_000),
    }
    both = ArmSums()
    both.add(sums)
    both.add(sums)
    assert both.jobs == 4
