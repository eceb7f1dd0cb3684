"""What an operator may write of experiments, and what is refused, in words."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from job_contracts.experiments import Experiment, Metric, problems, refused

WRITTEN = """
cheaper-summaries:
  route: summaries
  unit: user
  challengers: {mini: {route: summaries-mini}}
  metrics: [cost, latency, error_rate, feedback, judge]
  judge: {route: judge, share: 0.05}
  ramp: {by: result, steps: [0.01, 0.05, 0.25, 1], hold: 86400, jobs: 500}
  guardrails:
    - {metric: error_rate, worse_by: 0.02}
    - {metric: cost, worse_by: 0.1}
"""
ROUTES = {"summaries", "summaries-mini", "judge", "chat"}


def read(text: str = WRITTEN) -> dict[str, Experiment]:
    return TypeAdapter(dict[str, Experiment]).validate_python(yaml.safe_load(text))


def changed(**over: Any) -> Experiment:
    written = yaml.safe_load(WRITTEN)["cheaper-summaries"]
    return Experiment.model_validate({**written, **over})


def test_an_experiment_is_read_from_yaml() -> None:
    experiments = read()
    assert problems(experiments, ROUTES) == []
    told = experiments["cheaper-summaries"]
    assert told.weights == {"control": 1, "mini": 1}
    assert told.each == pytest.approx(0.01)
    assert (told.served_by("control"), told.served_by("mini")) == ("summaries", "summaries-mini")


def test_unknown_routes_are_refused_by_name_wherever_they_stand() -> None:
    assert problems(read(), {"other"}) == [
        f"experiments.cheaper-summaries.{field}: there is no route {route!r} (there are: other)"
        for field, route in (
            ("route", "summaries"),
            ("challengers.mini.route", "summaries-mini"),
            ("judge.route", "judge"),
        )
    ]


def test_a_route_is_under_one_experiment_at_a_time_and_no_arm_leads_into_another() -> None:
    one, chained = changed(), changed(route="chat", challengers={"x": {"route": "summaries"}})
    assert problems({"a": one, "b": one}, ROUTES) == [
        "experiments.b.route: 'summaries' is under experiment already, in experiments.a"
    ]
    assert problems({"a": one, "c": chained}, ROUTES) == [
        "experiments.c.challengers.x.route: 'summaries' is itself under experiment: a"
    ]


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"challengers": {}}, "at least 1 item"),
        ({"challengers": {"control": {"route": "x"}}}, "is the route itself"),
        ({"ramp": {"steps": [0.05, 0.01]}}, "steps must grow"),
        ({"metrics": ["cost", "cost"]}, "each at most once"),
        ({"metrics": ["judge"]}, "error_rate, cost is not among the metrics"),
        ({"judge": None}, "the metric judge needs a judge"),
        ({"judge": {"route": "summaries-mini"}}, "serves an arm, and cannot judge itself"),
        ({"adopted": "maxi"}, "there is no challenger 'maxi' (there are: mini)"),
        ({"alfa": 0.1}, "Extra inputs"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(over: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        changed(**over)
    assert said in str(refusal.value)


def test_what_moves_units_or_changes_the_promise_cannot_change_while_it_runs() -> None:
    before = changed()
    assert refused(before, changed(adopted="mini", power=0.9, guardrails=[], ramp={"by": "schedule"})) == []
    assert refused(before, changed(unit="session", control_weight=3)) == [
        "unit: cannot change while the experiment runs; begin one of another name",
        "control_weight: cannot change while the experiment runs; begin one of another name",
    ]


def test_metrics_know_which_way_is_worse_and_how_they_are_compared() -> None:
    assert [metric for metric in Metric if metric.more_is_better] == [Metric.FEEDBACK, Metric.JUDGE]
    assert [metric for metric in Metric if metric.relative] == [Metric.COST, Metric.LATENCY]
