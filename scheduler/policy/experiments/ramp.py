"""How many units take part by now, and which arms are stopped: steps go up alone, and what is stopped stays so."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from job_contracts.experiments import CONTROL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_contracts.experiments import Experiment, Guardrail, Metric, Ramp
    from scheduler.policy.experiments.comparing import Difference

    Compared = Mapping[str, Mapping[Metric, Difference]]
    """By challenger."""


@dataclass(slots=True, frozen=True)
class Progress:
    """Where an experiment stands: all that is remembered of it beside its sums."""

    began: float
    """UTC seconds, as all times of experiments: they outlive processes."""
    since: float
    """When the present step began."""
    step: int = 0
    jobs: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Jobs each arm had seen by then."""
    halted: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Stopped arms, and why."""

    def share(self, ramp: Ramp) -> float:
        """Of all units that take part. With fewer steps than before, the last one counts."""
        return ramp.steps[min(self.step, len(ramp.steps) - 1)]


@dataclass(slots=True, frozen=True)
class Raise:
    """Go on to this step."""

    step: int
    why: str


@dataclass(slots=True, frozen=True)
class Halt:
    """Stop this arm: its units go back to the control's route, and are counted no more."""

    arm: str
    why: str


@dataclass(slots=True, frozen=True)
class Hold:
    """Change nothing; the reason, for whoever asks."""

    why: str


Decision = Raise | Halt | Hold


def decide(
    experiment: Experiment, progress: Progress, compared: Compared, jobs: Mapping[str, int], now: float
) -> Decision:
    """What is next; asked again after each decision that was carried out, until it says ``Hold``."""
    if experiment.adopted is not None:
        return Hold(f"{experiment.adopted} is adopted")
    running = [arm for arm in experiment.challengers if arm not in progress.halted]
    for arm in running:
        crossed = _crossed(experiment, compared.get(arm, {}))
        if crossed:
            return Halt(arm, crossed)
    if not running:
        return Hold("every challenger is stopped")
    return _stepping(experiment, progress, {arm: compared.get(arm, {}) for arm in running}, jobs, now)


def moved(progress: Progress, decision: Decision, jobs: Mapping[str, int], now: float) -> Progress:
    """Where it stands once that is carried out; a decision taken twice changes nothing."""
    match decision:
        case Raise(step) if step > progress.step:
            return replace(progress, step=step, since=max(now, progress.since), jobs=dict(jobs))
        case Halt(arm, why) if arm not in progress.halted:
            return replace(progress, halted={**progress.halted, arm: why})
    return progress


def _stepping(
    experiment: Experiment, progress: Progress, compared: Compared, jobs: Mapping[str, int], now: float
) -> Decision:
    ramp, following = experiment.ramp, progress.step + 1
    if following >= len(ramp.steps):
        return Hold("the last step is reached")
    if ramp.by == "schedule":
        due = min(int(max(0.0, now - progress.began) / ramp.hold), len(ramp.steps) - 1)
        return Raise(due, "by schedule") if due > progress.step else Hold("the next step is not due yet")
    left = ramp.hold - (now - progress.since)
    if left > 0:
        return Hold(f"this step is held for {left:,.0f} more seconds")
    for arm in (CONTROL, *compared):
        missing = ramp.jobs - (jobs.get(arm, 0) - progress.jobs.get(arm, 0))
        if missing > 0:
            return Hold(f"{arm} has {missing:,} jobs to go in this step")
    for arm, differences in compared.items():
        looks = _looks(experiment, differences)
        if looks:
            return Hold(f"{arm}: {looks}")
    return Raise(following, "no guardrail looks crossed")


def _crossed(experiment: Experiment, differences: Mapping[Metric, Difference]) -> str:
    """The first guardrail that is surely crossed."""
    for rail in experiment.guardrails:
        found = differences.get(rail.metric)
        if found is not None and found.harm.low > rail.worse_by:
            return f"{_name(rail)} is worse by {_amount(rail, found.harm.low)} at least; {_amount(rail)} are allowed"
    return ""


def _looks(experiment: Experiment, differences: Mapping[Metric, Difference]) -> str:
    """The first guardrail that seems to be crossed, sure or not."""
    for rail in experiment.guardrails:
        found = differences.get(rail.metric)
        if found is not None and found.harm_seen > rail.worse_by:
            return f"{_name(rail)} looks worse by {_amount(rail, found.harm_seen)}; {_amount(rail)} are allowed"
    return ""


def _name(rail: Guardrail) -> str:
    return rail.metric.value.replace("_", " ")


def _amount(rail: Guardrail, amount: float | None = None) -> str:
    unit = "%" if rail.metric.relative else "points"
    return f"{100 * (rail.worse_by if amount is None else amount):.3g} {unit}"


def begun(now: float) -> Progress:
    """An experiment that begins now."""
    return Progress(began=now, since=now)
