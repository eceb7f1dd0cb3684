"""What an operator writes of experiments: ``experiments:`` in the configuration, kept with the sums while they run."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from job_contracts.money import Budget

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

CONTROL = "control"
"""Name of the arm that is the route itself."""
Token = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$")]


class Metric(StrEnum):
    """What arms are compared by."""

    COST = "cost"
    """US dollars a job cost, all its attempts together; less is better."""
    LATENCY = "latency"
    """Seconds from the first dispatch to the end of a job that succeeded; less is better."""
    ERROR_RATE = "error_rate"
    """Share of jobs that failed; less is better."""
    FEEDBACK = "feedback"
    """What clients said of the answer, from 0 to 1; more is better."""
    JUDGE = "judge"
    """What a judging route said of the answer, from 0 to 1; more is better."""

    @property
    def relative(self) -> bool:
        """Whether arms are compared by the ratio of their means; the others, between 0 and 1, by the difference."""
        return self in {Metric.COST, Metric.LATENCY}

    @property
    def more_is_better(self) -> bool:
        """Whether it is a score."""
        return self in {Metric.FEEDBACK, Metric.JUDGE}


class _Section(BaseModel):
    """As every section of the configuration: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Challenger(_Section):
    """An arm that is tried beside the route itself."""

    route: Annotated[str, Field(min_length=1)]
    """The route that serves its jobs."""
    weight: Annotated[int, Field(gt=0, le=1000)] = 1
    """Units it gets, in proportion to the weights of the other arms."""


class Ramp(_Section):
    """How the share of units that take part grows."""

    by: Literal["schedule", "result"] = "result"
    """``schedule``: a step each ``hold``. ``result``: a step when it has been held so long, each arm has seen
    ``jobs`` more jobs, and no guardrail looks crossed."""
    steps: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1, max_length=20)] = (
        *(0.01, 0.05),
        *(0.25, 1.0),
    )
    """Shares of all units, growing."""
    hold: Annotated[float, Field(gt=0)] = 86_400.0
    """Seconds that each step is held at least."""
    jobs: Annotated[int, Field(ge=0)] = 500
    """Jobs each arm has to see in a step at least; for ``result`` alone."""

    @model_validator(mode="after")
    def _grows(self) -> Ramp:
        if any(one >= other for one, other in zip(self.steps, self.steps[1:], strict=False)):
            message = "steps must grow, such as [0.01, 0.05, 0.25, 1]: a unit that takes part is never sent away"
            raise ValueError(message)
        return self


class Guardrail(_Section):
    """An arm that is surely worse than the control by more than this is stopped."""

    metric: Metric
    worse_by: Annotated[float, Field(ge=0, le=10)]
    """Of cost and latency as a share of the control's (0.2: 20 %), of the others as a difference (0.02: 2 points)."""


class Judge(_Section):
    """Who scores answers."""

    route: Annotated[str, Field(min_length=1)]
    """The route that is asked; its shadows, and its budget, are no matter of that. It is no arm of the experiment."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Of the jobs that end with an answer, the same for all arms."""
    budget: Budget | None = None
    """US dollars that scores may cost in each window; nobody else pays for them."""


class Experiment(_Section):
    """One experiment on one route."""

    route: Annotated[str, Field(min_length=1)]
    """The route whose jobs take part; it is also the control."""
    unit: Literal["session", "user"] = "session"
    """Who stays in an arm: the job's session; or the user, which is the job's tag ``user``, else its key. Jobs that
    name none take no part."""
    challengers: Annotated[dict[Token, Challenger], Field(min_length=1, max_length=8)]
    """By name."""
    control_weight: Annotated[int, Field(gt=0, le=1000)] = 1
    """Units the control gets, in proportion."""
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)] = (Metric.COST, Metric.LATENCY, Metric.ERROR_RATE)
    """What arms are compared by."""
    alpha: Annotated[float, Field(ge=0.0001, le=0.2)] = 0.05
    """Chance that the experiment ever says something wrong, over all looks, metrics and challengers together."""
    power: Annotated[float, Field(ge=0.5, le=0.99)] = 0.8
    """Chance with which a difference is found by the time that is told."""
    smallest: Annotated[float, Field(ge=0.001, le=1)] = 0.03
    """The smallest difference worth knowing, measured as ``worse_by`` is; what is surely smaller is called none."""
    ramp: Ramp = Ramp()
    """How many take part."""
    guardrails: tuple[Guardrail, ...] = (Guardrail(metric=Metric.ERROR_RATE, worse_by=0.02),)
    """What stops an arm."""
    judge: Judge | None = None
    """Who scores answers; needed for the metric ``judge``."""
    adopted: Token | None = None
    """The challenger that has won: from now on it serves every job of the route, and nothing is compared any more."""

    @model_validator(mode="after")
    def _fits(self) -> Experiment:
        problem = self._problem()
        if problem:
            raise ValueError(problem)
        return self

    def _problem(self) -> str:
        if CONTROL in self.challengers:
            return f"challengers: {CONTROL!r} is the route itself; choose another name"
        if len(set(self.metrics)) < len(self.metrics):
            return "metrics: each at most once"
        loose = [rail.metric.value for rail in self.guardrails if rail.metric not in self.metrics]
        if loose:
            return f"guardrails: {', '.join(loose)} is not among the metrics"
        if (Metric.JUDGE in self.metrics) != (self.judge is not None):
            return "judge: the metric judge needs a judge, and a judge the metric"
        if self.judge is not None and self.judge.route in {self.served_by(arm) for arm in self.weights}:
            return f"judge.route: {self.judge.route!r} serves an arm, and cannot judge itself"
        if self.adopted is not None and self.adopted not in self.challengers:
            return (
                f"adopted: there is no challenger {self.adopted!r} (there are: {', '.join(sorted(self.challengers))})"
            )
        return ""

    @property
    def weights(self) -> dict[str, int]:
        """Of all arms, the control first, the others by name: the order must not depend on how they are written."""
        others = {name: self.challengers[name].weight for name in sorted(self.challengers)}
        return {CONTROL: self.control_weight, **others}

    @property
    def each(self) -> float:
        """The part of ``alpha`` that one comparison may use up."""
        return self.alpha / (len(self.metrics) * len(self.challengers))

    def served_by(self, arm: str) -> str:
        """The route that serves an arm."""
        return self.route if arm == CONTROL else self.challengers[arm].route


def problems(experiments: Mapping[str, Experiment], routes: Collection[str]) -> list[str]:
    """What is wrong with all of them together, in the words of the configuration; empty if nothing is."""
    known = f"(there are: {', '.join(sorted(routes))})"
    found: list[str] = []
    on: dict[str, str] = {}
    for name, experiment in experiments.items():
        place = f"experiments.{name}"
        asked = {"route": experiment.route}
        asked |= {f"challengers.{arm}.route": told.route for arm, told in experiment.challengers.items()}
        if experiment.judge is not None:
            asked["judge.route"] = experiment.judge.route
        found += [
            f"{place}.{field}: there is no route {route!r} {known}"
            for field, route in asked.items()
            if route not in routes
        ]
        other = on.setdefault(experiment.route, name)
        if other != name:
            found.append(f"{place}.route: {experiment.route!r} is under experiment already, in experiments.{other}")
    for name, experiment in experiments.items():
        found += [
            f"experiments.{name}.challengers.{arm}.route: {told.route!r} is itself under experiment: {on[told.route]}"
            for arm, told in experiment.challengers.items()
            if told.route in on
        ]
    return found


_FROZEN = ("route", "unit", "challengers", "control_weight", "metrics", "alpha", "smallest")
"""What moves units between arms, or changes what has been promised of the figures."""


def refused(before: Experiment, after: Experiment) -> list[str]:
    """What of a live change cannot be had while an experiment runs; it takes another name, and so new sums.

    Ramp, guardrails, power, the judge's route, share and budget, and ``adopted`` may change at any time.
    """
    changed = [field for field in _FROZEN if getattr(before, field) != getattr(after, field)]
    return [f"{field}: cannot change while the experiment runs; begin one of another name" for field in changed]
