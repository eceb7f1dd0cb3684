"""Jobs by place are what a plain dictionary of them would be, whatever comes and goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scheduler.policy import places as room
from scheduler.policy.jobs import Job
from scheduler.policy.places import LEAF, Places
from scheduler.policy.tenants import Tenant
from tests.unit.scheduler_policy import made

SEQS = st.integers(1, 6 * LEAF) | st.integers(10**9, 10**9 + LEAF)


def job(seq: int) -> Job:
    return Job(made.job(seq), Tenant("p", None), None, 0.0)


@given(st.lists(st.tuples(st.booleans(), SEQS), max_size=80), st.integers(0, 7 * LEAF))
def test_they_are_told_in_order_from_any_place_in_either_direction(steps: list[tuple[bool, int]], place: int) -> None:
    kept, model = Places(), dict[int, Job]()
    for adds, seq in steps:
        if adds and seq not in model:
            model[seq] = job(seq)
            kept.add(model[seq])
        elif not adds:
            kept.remove(model.pop(seq, job(seq)))
    assert [one.seq for one in kept.after(place)] == sorted(seq for seq in model if seq > place)
    assert [one.seq for one in kept.before(place)] == sorted((seq for seq in model if seq < place), reverse=True)
    assert [kept_one is model[kept_one.seq] for kept_one in kept.after(0)] == [True] * len(model)


def test_leaves_that_are_gone_do_not_stay_in_the_order() -> None:
    kept = Places()
    jobs = [job(seq * LEAF) for seq in range(1, 3 * room.STALE)]
    for one in jobs:
        kept.add(one)
    for one in jobs:
        kept.remove(one)
    assert len(kept._order) <= room.STALE + 1
    assert list(kept.after(0)) == []
