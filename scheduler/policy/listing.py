"""A stretch of the jobs without a result, as operators look for them; to look changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from job_contracts.jobs import LANES, JobState
from scheduler.policy.explain import waits_for
from scheduler.policy.jobs import BLOCKED, ENDING, FLYING, QUEUED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from job_contracts.finding import AskFind
    from job_contracts.jobs import Lane
    from scheduler.policy.jobs import Job
    from scheduler.policy.turns import Deployment
    from scheduler.policy.world import World

ENDS = "its end is decided, and is being written"


@dataclass(slots=True, frozen=True)
class Listed:
    """What a list tells of one job; ``submitted`` is on the caller's monotonic scale."""

    place: int
    project: str
    job: str
    state: JobState
    route: str
    lane: Lane
    deployment: str | None
    attempts: int
    waiting_for: str | None


@dataclass(slots=True, frozen=True)
class Stretch:
    """What was found among ``looked`` jobs up to ``place``; ``more``: it is not the end."""

    jobs: tuple[Listed, ...]
    matching: int
    looked: int
    place: int
    more: bool


def stretch(world: World, asked: AskFind, place: int, now: float, *, most: int, rows: int) -> Stretch:
    """Look at ``most`` jobs behind a place (before it, if that was asked for), and no further than to ``rows`` of those
    that match; with 0 they are counted alone.
    """
    run = _within(world.places.after(place) if asked.before is None else world.places.before(place), asked)
    found: list[Listed] = []
    looked = matching = 0
    for job in islice(run, most):
        looked += 1
        place = job.seq
        if _matches(world, asked, job, now):
            matching += 1
            if rows:
                found.append(_listed(world, job, now))
                if matching == rows:
                    break
    return Stretch(tuple(found), matching, looked, place, next(run, None) is not None)


def _within(run: Iterable[Job], asked: AskFind) -> Iterator[Job]:
    """As far as was asked for."""
    for job in run:
        if asked.before is None:
            if asked.until is not None and job.seq > asked.until:
                return
        elif job.seq <= asked.after:
            return
        yield job


def _matches(world: World, asked: AskFind, job: Job, now: float) -> bool:
    """What costs least is asked first."""
    if asked.project is not None and job.tenant.name != asked.project:
        return False
    if asked.lane is not None and LANES[job.lane] != asked.lane:
        return False
    if asked.route is not None and job.route_name != asked.route:
        return False
    if asked.submitted_before is not None and job.submitted - now > asked.submitted_before - world.accounts.wall(now):
        return False
    if asked.pool is not None or asked.deployment is not None:
        places = _places(job)
        if asked.deployment is not None and all(each != asked.deployment for each in places):
            return False
        if asked.pool is not None and all(each.partition("/")[0] != asked.pool for each in places):
            return False
    return asked.state is None or _is(world, asked, job, now)


def _is(world: World, asked: AskFind, job: Job, now: float) -> bool:
    if asked.state == "in_line":
        return job.state == QUEUED and job.flow is not None
    if asked.state == "dispatched":
        return job.state == FLYING
    return job.state != FLYING and _state(world, job, now)[0] == asked.state


def _places(job: Job) -> tuple[str, ...]:
    """Names of the deployments where it is under way, or of the one where it would go first."""
    story = job.story
    if job.state == FLYING and story is not None:
        second = () if story.second is None else (story.second.deployment.name,)
        return (*(() if story.at is None else (story.at,)), *second)
    first = _first(job)
    return () if first is None else (first.name,)


def _first(job: Job) -> Deployment | None:
    if job.state not in {QUEUED, BLOCKED} or job.flow is None:
        return None
    group = job.flow.group
    return group.route.deployments[(*group.first, *group.then)[0]]


def _state(world: World, job: Job, now: float) -> tuple[JobState, str | None]:
    """As ``explain`` says it, without what looks at other jobs."""
    if job.state == FLYING:
        return JobState.DISPATCHED, None
    if job.state == ENDING:
        return JobState.QUEUED, ENDS
    waiting, pause = waits_for(world, job, now)
    return JobState.QUEUED if pause is None else JobState.HELD, waiting


def _listed(world: World, job: Job, now: float) -> Listed:
    state, waiting = _state(world, job, now)
    return Listed(
        place=job.seq,
        project=job.tenant.name,
        job=job.id,
        state=state,
        route=job.route_name,
        lane=LANES[job.lane],
        deployment=next(iter(_places(job)), None),
        attempts=0 if job.story is None else job.story.attempt,
        waiting_for=waiting,
    )
