"""Jobs of a route under experiment: which arm's route serves each of them, decided as late as it can be.

A job is bound to an arm when it joins its queue, and again whenever experiments stand differently while it waits.
Once it has been dispatched it stays, whatever the ramp does, unless its arm is stopped: then its further attempts are
the control's, and it counts for nobody. Who serves it is also who pays: the serving route's budget, not the other one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from job_contracts.jobs import JobState
from job_contracts.trials import Trial, counted
from scheduler.policy.experiments.arms import Assigned, assigned, unit_of
from scheduler.policy.experiments.ramp import Progress, begun

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_contracts.experiments import Experiment
    from job_contracts.failures import Failure
    from scheduler.policy.facts import InFlight, Submitted
    from scheduler.policy.jobs import Job
    from scheduler.policy.turns import Route
    from scheduler.policy.world import World


@dataclass(slots=True, frozen=True)
class Running:
    """One experiment as it is in force."""

    settings: Experiment
    progress: Progress


class Trials:
    """All that are in force. Before the leader has read how far they are, they stand at their beginning."""

    __slots__ = ("on", "running", "unsettled")

    def __init__(self, experiments: Mapping[str, Experiment]) -> None:
        self.running: Mapping[str, Running] = {}
        self.on: Mapping[str, str] = {}
        """The experiment of a route, by the route that jobs ask for."""
        self.unsettled = False
        """Whether jobs wait where an earlier state of them has sent them."""
        self.place({name: Running(settings, begun(0.0)) for name, settings in experiments.items()})

    def place(self, running: Mapping[str, Running]) -> None:
        """These, from now on."""
        self.running = running
        self.on = {each.settings.route: name for name, each in running.items()}


class Seat:
    """What has to be known of a job to send it to an arm, or back."""

    __slots__ = ("fact", "trial")

    def __init__(self, fact: Submitted) -> None:
        self.fact = fact
        self.trial: Trial | None = None
        """The arm it counts for, if any."""

    def begin(self, wall: float) -> Trial | None:
        """It is granted an attempt; the first one begins its time."""
        if self.trial is not None and not self.trial.began:
            self.trial = self.trial.model_copy(update={"began": wall})
        return self.trial

    def ending(self, state: JobState, failure: Failure, *, answered: bool = False) -> Trial | None:
        """Where it counts if the scheduler ends it so: what was never called has failed nowhere, unless it was kept
        waiting until it expired. ``answered``: its draft is its answer, whatever kept that from being verified.
        """
        if answered:
            return self.trial
        if self.trial is None or (not self.trial.began and state is not JobState.EXPIRED):
            return None
        return counted(self.trial, failure)


def bind(world: World, job: Job) -> None:
    """Let the arm's route serve a job that is about to join its queue."""
    seat = job.seat
    if seat is None:
        return
    to, trial = _due(world, job, seat)
    seat.trial = trial
    if to is not job.route:
        _move(world, job, to)


def moves(world: World, job: Job) -> bool:
    """Whether a job that waits would be bound otherwise now."""
    if job.seat is None:
        return False
    to, trial = _due(world, job, job.seat)
    return to is not job.route or trial != job.seat.trial


def recall(world: World, job: Job, fact: InFlight) -> None:
    """It turns out to have been dispatched by an earlier leader, who has the last word."""
    route = None if fact.route is None else world.routes.get(fact.route)
    if route is None:
        return
    if job.seat is not None:
        job.seat.trial = fact.trial
    if route is not job.route:
        _move(world, job, route)


def _due(world: World, job: Job, seat: Seat) -> tuple[Route | str, Trial | None]:
    name = world.trials.on.get(seat.fact.route)
    found = None if name is None else world.trials.running[name]
    if job.story is not None and job.story.attempt > 0:
        trial = seat.trial
        if trial is None or found is None or trial.experiment != name or trial.arm not in found.progress.halted:
            return job.route, trial
        return world.routes[found.settings.route], None
    if name is None or found is None:
        return world.routes.get(seat.fact.route, job.route), None
    place = _assigned(world, job, seat, name, found)
    trial = None if place.arm is None else Trial(experiment=name, arm=place.arm, bucket=place.bucket)
    return world.routes.get(place.route, job.route), trial


def _assigned(world: World, job: Job, seat: Seat, name: str, found: Running) -> Assigned:
    """A job that the route of any arm cannot serve takes no part: counted in one arm alone, such jobs would be the
    difference.
    """
    settings, fact = found.settings, seat.fact
    if settings.adopted is None:
        for arm in settings.weights:
            route = world.routes.get(settings.served_by(arm))
            if route is None or route.barred(job) == route.everywhere:
                return Assigned(settings.route)
    unit = unit_of(settings, session=fact.session, key=fact.key, tags=fact.tags)
    return assigned(name, settings, found.progress, job.tenant.name, unit)


def _move(world: World, job: Job, route: Route | str) -> None:
    job.route = route
    if isinstance(route, str) or job.seat is None:
        return
    fact = job.seat.fact
    job.session = fact.session if route.keeps_sessions else None
    job.wallet = world.wallet(job.tenant, fact, world.accounts.now, route.name)
    if job.story is not None:  # masks are of the route's own deployments
        job.story.tried = job.story.barred = 0
        if route.rule.stages is None:
            job.story.draft = None  # nobody there would verify it
