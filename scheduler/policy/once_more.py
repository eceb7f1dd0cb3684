"""Whether a job goes back to where it has just failed, before another place is tried: one failure there may be chance.

Three things speak for it: the failure is of a kind that comes alone and the place is otherwise well; or the place says
itself that it will take it in a moment. And there must be a reason to stay: nobody else is free, the session's prompt
cache is there, or the operator wishes it. It is bounded: once for each place and job, within the deadline, and paid
from the project's retry budget; where that is used up, another place is as good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from job_contracts.failures import FailureKind

if TYPE_CHECKING:
    from job_contracts.failures import Failure
    from scheduler.policy.jobs import Job, Story
    from scheduler.policy.rules import OnceMore
    from scheduler.policy.turns import Deployment, Route

CHANCE = frozenset({FailureKind.SERVER_ERROR, FailureKind.RESET, FailureKind.STREAM_TRUNCATED})
"""Kinds that come alone: the next call may well succeed."""
LATER = frozenset({FailureKind.RATE_LIMIT, FailureKind.OVERLOADED})
"""Kinds with which a place may say when it will take the job."""


@dataclass(slots=True, frozen=True)
class Standing:
    """The place where a job has just failed for the first time, as far as it matters here."""

    rule: OnceMore
    single: bool
    """Whether it served well before, and this is its only failure since."""
    home: bool
    """Whether the job's session stays there for the sake of its prompt cache."""
    affordable: bool
    """Whether the project's retry budget has room."""
    left: float
    """Seconds until the job's deadline."""
    usual: float
    """Seconds that an answer takes there; 0 where none is known."""


def standing(job: Job, route: Route, story: Story, place: int | None, now: float) -> Standing | None:
    """What is known of it; ``None`` where nothing more need be asked: another kind of failure, or not its first one."""
    failure, rule = story.last, route.rule.once_more
    if failure is None or place is None or rule.when == "never" or failure.kind not in CHANCE | LATER:
        return None
    deployment = route.deployments[place]
    if deployment.benched(now) or not _first(story, deployment):
        return None
    return Standing(
        rule=rule,
        single=deployment.breaker.single,
        home=_at_home(job, route, place),
        affordable=job.tenant.retries.affords(now),
        left=job.deadline - now,
        usual=deployment.seconds.value if deployment.seconds.count else 0.0,
    )


def pause(failure: Failure, place: Standing | None, *, alone: bool) -> float | None:
    """Seconds until the job goes back there; ``None`` if another place, or the usual pause, comes first.

    ``alone``: nobody else could take it now.
    """
    if place is None:
        return None
    limited = failure.kind is FailureKind.RATE_LIMIT
    if not (place.home or place.rule.when == "always" or (alone and not limited)):
        return None  # of several that are limited the first that opens takes it, without a decision
    told = failure.retry_after
    fit = place.single if failure.kind in CHANCE else told is not None
    wait = told or 0.0
    # A rate limit was no attempt, so waiting for its end repeats nothing.
    if not fit or wait > place.rule.within or wait + place.usual >= place.left or not (limited or place.affordable):
        return None
    return wait


def _first(story: Story, deployment: Deployment) -> bool:
    """Whether the job has failed there only this once, by the records that travel with it: so a new leader knows it."""
    return sum(1 for record in story.history if record.deployment == deployment.name) <= 1


def _at_home(job: Job, route: Route, place: int) -> bool:
    if job.session is None or route.planner is None:
        return False
    sums = route.planner.sums(job, route.barred(job))
    return sums is not None and sums.stays and sums.home == place
