"""A job's place in an experiment, as it travels with its attempts; what is said of its answer; what operators ask."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from job_contracts.codec import VERSION, Version, Wire
from job_contracts.experiments import Metric
from job_contracts.failures import Failure, FailureKind

Score = Annotated[float, Field(ge=0, le=1)]
"""From 0 to 1, more is better."""

NOT_THE_ARMS = frozenset(
    {
        FailureKind.INVALID_JOB,
        FailureKind.UNKNOWN_ROUTE,
        FailureKind.FORBIDDEN,
        FailureKind.IDEMPOTENCY_CONFLICT,
        FailureKind.QUEUE_FULL,
        FailureKind.BUDGET,
        FailureKind.CANCELLED,
    }
)
"""Ends that say nothing of the arm that served the job: they are counted for none."""


class Trial(Wire):
    """Which arm of which experiment serves a job."""

    experiment: str
    arm: str
    bucket: Annotated[int, Field(ge=0)]
    """Of its unit: what belongs together is summed together."""
    began: float = 0.0
    """UTC seconds of the job's first grant; 0 before it."""


def counted(trial: Trial | None, failure: Failure | None) -> Trial | None:
    """The trial as a result tells it: none where what happened was not the arm's doing."""
    return None if trial is None or (failure is not None and failure.kind in NOT_THE_ARMS) else trial


class GivenScore(Wire):
    """What was said of one job's answer; it lies beside the result, once a job and metric (header of its message)."""

    version: Version = VERSION
    metric: Metric
    score: Score
    trial: Trial | None = None
    """As the job's result told it."""


class AskFeedback(Wire):
    """``feedback``: what a client says of the answer of one of its jobs."""

    version: Version = VERSION
    job: str
    score: Score


class TakenFeedback(Wire):
    """Answer to ``feedback``: it is stored for good."""

    version: Version = VERSION
    job: str
    first: bool
    """False if the job had been scored before: the first score stands."""
    experiment: str | None = None
    """The experiment that the job is part of, if any."""


class AskExperiments(Wire):
    """``experiments``, the operator's: how they stand."""

    version: Version = VERSION
    name: str | None = None
    """One of them alone."""


class AskStop(Wire):
    """``stop_arm``, the operator's: no further job goes to this arm, for good."""

    version: Version = VERSION
    experiment: str
    arm: str
    why: Annotated[str, Field(max_length=500)] = ""


class ToldDifference(Wire):
    """A challenger beside the control, by one metric: shares of cost and latency, points of the others."""

    metric: Metric
    estimate: float
    low: float | None = None
    """``None`` where nothing is ruled out."""
    high: float | None = None
    finding: str
    """``open``, ``different`` or ``same``."""
    more: int | None = None
    """Jobs of both arms together until it is likely to be decided."""


class ToldArm(Wire):
    """One arm."""

    name: str
    route: str
    jobs: int
    """That have ended."""
    failed: int = 0
    mean_cost: float | None = None
    """US dollars."""
    mean_seconds: float | None = None
    stopped: str | None = None
    """Why, if it is."""
    verdict: str | None = None
    """Of a challenger, in words."""
    differences: tuple[ToldDifference, ...] = ()


class Happened(Wire):
    """A line of an experiment's audit: what was changed or decided, when and why."""

    at: float
    """UTC seconds."""
    what: str
    """``began``, ``changed``, ``refused``, ``raised``, ``stopped`` or ``ended``."""
    why: str
    who: str = "scheduler"
    """``configuration``, ``operator``, or the scheduler itself."""


class ToldExperiment(Wire):
    """How one experiment stands."""

    name: str
    route: str
    running: bool
    """False when the configuration has it no more: its sums are kept for a while."""
    share: float
    """Of all units, that take part now."""
    step: int
    steps: int
    began: float
    """UTC seconds."""
    adopted: str | None = None
    holding: str
    """What keeps it at this step, as it was last decided."""
    refused: tuple[str, ...] = ()
    """Changes in the configuration that are not in force, and why."""
    arms: tuple[ToldArm, ...] = ()
    """The control first."""
    audit: tuple[Happened, ...] = ()
    """Newest last."""


class ToldExperiments(Wire):
    """Answer to ``experiments`` and ``stop_arm``."""

    version: Version = VERSION
    experiments: tuple[ToldExperiment, ...]
