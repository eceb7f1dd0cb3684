"""What follows a job that has ended: decided by a fingerprint of its submission, so a successor decides the same.

Follow-ups are kept apart from their project's own jobs: they have queues, shares, retries and bounds of their own, and
whatever the project is held to (routes, lanes, jobs at once) neither bounds them nor is used up by them. Its
constraints hold for them as for every other job.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING

from job_contracts.jobs import LANES
from scheduler.policy.tenants import Tenant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_contracts.experiments import Experiment, Judge
    from job_contracts.followups import FollowUp
    from job_contracts.money import Budget
    from scheduler.policy.configured import RouteLike
    from scheduler.policy.rules import ProjectRule

WEIGHT = 0.1
"""Part of its project's weight, against its own background jobs and all other projects'."""
JUDGED_WITHIN = 3_600.0
"""Seconds that a score may take."""
JUDGED_AT_ONCE = 1_000
"""Unfinished follow-ups of one project from which on no further answer of it is scored."""


@dataclass(slots=True, frozen=True)
class FollowRule:
    """One kind of follow-up."""

    kind: FollowUp
    to: str
    """The route that it runs on."""
    share: float
    """Of the jobs that end with an answer, from 0 to 1."""
    budget: Budget | None
    within: float
    """Seconds it may take."""
    most: int
    """Unfinished follow-ups of one project from which on no further one is begun."""
    below: float | None = None
    """Of answers: all whose model was less sure than that are followed as well, or did not tell how sure it was."""

    def wants(self, job: str, token: str, confidence: float | None) -> bool:
        """Whether it is to follow a job with an answer of that confidence."""
        unsure = self.below is not None and (confidence is None or confidence < self.below)
        return unsure or fraction(self.kind, job, token) < self.share


@dataclass(slots=True, frozen=True)
class Followed:
    """All that follows the jobs of one route."""

    rules: tuple[FollowRule, ...]

    def budget(self, kind: str) -> Budget | None:
        """What may be spent on such ones."""
        return next((rule.budget for rule in self.rules if rule.kind == kind), None)

    def due(self, job: str, token: str) -> tuple[FollowRule, ...]:
        """What may have to follow this job, once it has an answer."""
        return tuple(rule for rule in self.rules if rule.wants(job, token, None))


def followed_by(route: RouteLike) -> Followed | None:
    """What the configuration says of a route, ``None`` if nothing follows its jobs."""
    rules: list[FollowRule] = []
    shadow = route.shadow
    if shadow is not None:
        rules.append(FollowRule("shadow", shadow.to, shadow.share, shadow.budget, shadow.within, shadow.most))
    verify = route.verify
    if verify is not None and verify.mode == "after":
        share = 1.0 if verify.when == "all" else verify.share
        below = verify.below if verify.when == "low_confidence" else None
        rules.append(FollowRule("verify", verify.by, share, verify.budget, verify.within, verify.most, below))
    return Followed(tuple(rules)) if rules else None


def judged_by(experiments: Mapping[str, Experiment]) -> dict[str, Judge]:
    """Who scores answers in experiments, by the route that is under experiment."""
    return {each.route: each.judge for each in experiments.values() if each.judge is not None and each.adopted is None}


def judging(judge: Judge) -> FollowRule:
    """How scores follow: the same fingerprint decides in all arms, so that alike jobs of them are scored."""
    return FollowRule("judge", judge.route, judge.share, judge.budget, JUDGED_WITHIN, JUDGED_AT_ONCE)


def fraction(what: str, job: str, token: str) -> float:
    """A number from 0 to 1 (exclusive) that one submission always has, and that is spread evenly over all of them."""
    digest = blake2b(f"{what} {job} {token}".encode("utf-8", "replace"), digest_size=7).digest()
    return int.from_bytes(digest, "big") / 2.0**56


def following(project: str) -> str:
    """The key of a project's follow-ups among tenants; no project is called so."""
    return f"{project}/follow-ups"


def follower(project: str, rule: ProjectRule | None) -> Tenant:
    """The tenant of a project's follow-ups: the leader submits them, so only what they may go to is asked for."""
    if rule is None:
        return Tenant(project, None, following(project))
    own = replace(
        rule,
        routes=None,
        lanes=LANES,
        weight=rule.weight * WEIGHT,
        max_queued=2**31,
        max_in_flight=None,
        max_queued_bytes=None,
        limits=(),
        concurrency=None,
        budget=None,
        tags={},
    )
    return Tenant(project, own, following(project))
