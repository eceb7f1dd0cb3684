"""Arms of experiments: a unit stays where it is, steps bring units in and move none, and weights are kept to."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from job_contracts.experiments import CONTROL, Challenger, Experiment, Ramp
from scheduler.policy.experiments.arms import assigned, place_of, unit_of
from scheduler.policy.experiments.moments import BUCKETS
from scheduler.policy.experiments.ramp import begun

NAMES = st.text(min_size=1, max_size=40)
SHARES = st.floats(0.0001, 1).map(lambda share: round(share, 6)).filter(bool)
STEPS = st.lists(SHARES, min_size=1, max_size=8, unique=True).map(lambda steps: tuple(sorted(steps)))
CHALLENGERS = {"mini": Challenger(route="fast-mini"), "large": Challenger(route="fast-large", weight=2)}
EXPERIMENT = Experiment(route="fast", challengers=CHALLENGERS)


@given(unit=NAMES, steps=STEPS)
def test_a_unit_that_takes_part_stays_in_its_arm_at_every_later_step(unit: str, steps: tuple[float, ...]) -> None:
    experiment = EXPERIMENT.model_copy(update={"ramp": Ramp(steps=steps)})
    progress = [replace(begun(0.0), step=step) for step in range(len(steps))]
    arms = [assigned("trial", experiment, at, "p", unit).arm for at in progress]
    joined = [arm for arm in arms if arm is not None]
    assert arms == [None] * (len(arms) - len(joined)) + joined
    assert len(set(joined)) <= 1


@given(unit=NAMES)
def test_where_a_unit_goes_does_not_depend_on_the_order_in_which_arms_are_written(unit: str) -> None:
    turned = EXPERIMENT.model_copy(update={"challengers": dict(reversed(CHALLENGERS.items()))})
    assert place_of("trial", EXPERIMENT, "p", unit) == place_of("trial", turned, "p", unit)


def test_the_place_of_a_unit_is_the_same_in_every_process_and_release() -> None:
    place = place_of("trial", EXPERIMENT, "p", "session-1")
    assert (round(place.joins, 6), place.arm, place.bucket) == (0.395913, "large", 77)


def test_at_every_step_the_arms_have_their_weights_and_the_buckets_are_filled_alike() -> None:
    places = [place_of("trial", EXPERIMENT, "p", f"session {n}") for n in range(40_000)]
    for share in (0.05, 0.25, 1.0):
        inside = [place for place in places if place.joins < share]
        assert abs(len(inside) / len(places) - share) < 0.01
        for arm, weight in EXPERIMENT.weights.items():
            assert abs(sum(place.arm == arm for place in inside) / len(inside) - weight / 4) < 0.03
    counts = [0] * BUCKETS
    for place in places:
        counts[place.bucket] += 1
    assert min(counts) > 0.7 * len(places) / BUCKETS


def test_two_experiments_and_two_projects_shuffle_units_independently() -> None:
    units = [f"user {n}" for n in range(4000)]
    one = [place_of("one", EXPERIMENT, "p", unit).arm for unit in units]
    for others in (
        [place_of("two", EXPERIMENT, "p", unit).arm for unit in units],
        [place_of("one", EXPERIMENT, "q", unit).arm for unit in units],
    ):
        same = sum(a == b for a, b in zip(one, others, strict=True)) / len(units)
        assert abs(same - 3 / 8) < 0.04  # 1/16 + 1/16 + 1/4


def test_units_of_a_stopped_arm_go_back_to_the_route_and_are_not_counted() -> None:
    stopped = replace(begun(0.0), step=3, halted={"mini": "it failed"})
    units = [unit for unit in map(str, range(200)) if place_of("trial", EXPERIMENT, "p", unit).arm == "mini"]
    assert units
    for unit in units:
        found = assigned("trial", EXPERIMENT, stopped, "p", unit)
        assert (found.route, found.arm) == ("fast", None)


def test_an_adopted_challenger_serves_everybody_and_a_job_without_a_unit_takes_no_part() -> None:
    everywhere = replace(begun(0.0), step=3)
    adopted = EXPERIMENT.model_copy(update={"adopted": "mini"})
    assert assigned("trial", EXPERIMENT, everywhere, "p", None).route == "fast"
    for unit in (None, "a", "b"):
        found = assigned("trial", adopted, everywhere, "p", unit)
        assert (found.route, found.arm) == ("fast-mini", None)


def test_a_unit_is_the_session_or_the_user_and_a_tag_comes_before_a_key() -> None:
    users = EXPERIMENT.model_copy(update={"unit": "user"})
    assert unit_of(EXPERIMENT, session="s", key="k", tags={"user": "u"}) == "s"
    assert unit_of(users, session="s", key="k", tags={"user": "u"}) == "user u"
    assert unit_of(users, session="s", key="k", tags={}) == "key k"
    assert unit_of(users, session="s", key=None, tags={}) is None
    assert CONTROL in EXPERIMENT.weights
