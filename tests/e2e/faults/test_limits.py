"""Every limit kept and used through deaths, pauses and stalls of the leader; the provider's own log decides.

3 schedulers, 8 workers of 2 pools, broker and simulator are processes of their own. The windows are short, and the
lateness reckoned with is half of them, so that a busy machine breaks no promise: a call comes late by as long as its
worker or its provider got no processor. How much of a limit is used is held in time made up
(``tests/unit/scheduler_policy/test_limits_used.py``) and measured by ``benchmarks/limits.py``.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fleet import Fleet, fleet
from benchmarks.limits import WORKERS, Case, bucket_of, configuration, judged, load, simulation
from benchmarks.windows import busy, seen, used
from runtime.settings import Config
from simulator.reports import LogLine
from tests.support.eventually import eventually

WINDOW, SKEW, BURST = 4.0, 2.0, 0.1
LEASE = 2.5
OUTSTANDING = 30
CASES = (
    Case("requests-fixed", "first", "requests", "fixed", 5),
    Case("requests-sliding", "first", "requests", "sliding", 5),
    Case("concurrency", "first", "concurrency", "sliding", 6),
    Case("input-sliding", "second", "input_tokens", "sliding", 600),
    Case("output-fixed", "second", "output_tokens", "fixed", 160),
)
ANSWER = 32
"""Tokens of every answer, and reserved for it from the first one on: what is granted is what is used, and *B + r·t* is
kept to the token. Of answers that differ, so many more may come as those under way exceed what was reserved for them.
"""
LEAST = 0.3
"""Of what the buckets can give, in the steady state: a machine that has no time for the calls is no fault of theirs."""


@pytest.mark.timeout(180)
async def test_no_limit_is_overshot_and_all_are_used_while_leaders_die_pause_and_stall(tmp_path: Path) -> None:
    values = configuration(CASES, WINDOW, skew=SKEW, burst=BURST)
    values |= {"scheduler": {"lease": LEASE, "renew": 0.5}}
    for route in values["routes"].values():
        route["expected_output"] = ANSWER
    providers = {name: {**row, "base_url": "http://simulated"} for name, row in values["providers"].items()}
    config = Config.model_validate({**values, "providers": providers})
    async with (
        fleet(tmp_path, values, simulated(), workers=WORKERS, sync="default") as running,
        load(running.broker.url, CASES, OUTSTANDING) as done,
    ):
        await passed(WINDOW)
        steady = time.time()
        await passed(2 * WINDOW)
        broken = time.time()
        leaders = await torment(running)
        mended = time.time()
        await passed(1.5 * WINDOW)
        end = time.time()
        lines = await running.simulator.control.log(100_000)
        audit = await running.simulator.control.audit()
    assert done.get("errors", 0) == 0, "every job has an answer"
    assert len(leaders) >= 3, f"leadership went {leaders}"
    assert audit.violations == 0
    assert [line.status for line in lines if line.status != 200] == []
    wrong = [word for case in CASES for word in broken_promises(case, config, lines, (steady, broken), (mended, end))]
    assert not wrong, "\n".join(wrong)


def simulated() -> dict[str, Any]:
    """The simulator's settings: no answer is shorter or longer than another."""
    values = simulation(CASES, WINDOW)
    for provider in values["providers"]:
        provider["answer"] = {"shortest": ANSWER, "longest": ANSWER}
    return values


async def torment(running: Fleet) -> list[str]:
    """What befalls the leader; the leaders there were, in order."""
    leaders = [await running.leader()]
    await running.kill_leader()
    leaders.append(await running.leader())
    await passed(1.0)
    pausing = asyncio.create_task(running.pause_leader(LEASE * 1.6))
    await running.other_leader(leaders[-1], within=30.0)
    leaders.append(await running.leader())
    await pausing
    for seconds in (0.2, 0.6, 1.2):
        await running.stall_commits(seconds)
        await passed(0.5)
    return leaders


async def passed(seconds: float) -> None:
    """The windows are real time, and so is what is done within them."""
    moment = time.time() + seconds
    await eventually(lambda: time.time() >= moment, within=seconds + 5.0)


def broken_promises(
    case: Case, config: Config, lines: tuple[LogLine, ...], steady: tuple[float, float], after: tuple[float, float]
) -> list[str]:
    bucket = bucket_of(config, case)
    found = []
    largest = max(case.taken(line) for line in lines if line.model == case.name)
    assert bucket is None or largest <= bucket.size, "a bucket grows for what is larger, and then allows for more"
    for span in (steady, after):
        row = judged(case, lines, bucket, WINDOW, phase="", span=span)
        if row.fullest > 1:
            found.append(f"{case.name}: a window (or a moment) had {row.fullest:.1%} of the limit")
        if row.needed is not None and row.needed > 1:
            found.append(f"{case.name}: more than B + r*t came, {row.needed:.1%} of the bucket were needed")
        if span is steady and row.used < LEAST * row.ceiling:
            found.append(f"{case.name}: {row.used:.1%} used, {row.ceiling:.1%} could have been")
    return found


# -- the judge itself


Calls = list[tuple[float, int]]
MOMENTS = st.integers(0, 48).map(lambda eighth: eighth / 8)
CALLS = st.lists(st.tuples(MOMENTS, st.integers(1, 5)), min_size=1, max_size=25)


@given(CALLS, st.integers(1, 30), st.sampled_from([0.5, 2.0, 4.0]))
def test_the_judge_finds_the_fullest_window_and_the_smallest_bucket(calls: Calls, rate: int, window: float) -> None:
    found = seen(calls, 10, window, rate)
    times = sorted({at for at, _ in calls})
    inside = [sum(amount for at, amount in calls if end - window < at <= end) for end in times]
    stretches = [
        sum(amount for at, amount in calls if begin <= at <= end) - rate * (end - begin)
        for begin, end in itertools.combinations_with_replacement(times, 2)
    ]
    assert found.most == max(inside)
    assert found.needed == pytest.approx(max(stretches))
    assert found.total == sum(amount for _, amount in calls)


def test_the_judge_sees_replicas_that_count_for_themselves_overshoot() -> None:
    each = [(eighth / 8, 1) for eighth in range(80)]
    three = [(at + shift, amount) for at, amount in each for shift in (0.0, 1 / 64, 1 / 32)]
    assert seen(each, 8, 1.0, 8.0).fullest == 1.0
    assert seen(three, 8, 1.0, 8.0).fullest == 3.0
    assert seen(three, 8, 1.0, 8.0).needed > 8
    assert used(three, 8, 1.0, 0.0, 10.0) == pytest.approx(3.0)


def test_the_judge_counts_calls_at_once() -> None:
    share, most = busy([(0.0, 2.0), (1.0, 3.0), (2.0, 4.0)], 2, 0.0, 4.0)
    assert (share, most) == (0.75, 2), "a place that becomes free is free at that moment"
