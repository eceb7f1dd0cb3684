"""What is refused at once, before anything is spent: each refusal names the field and the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.failures import Failure, FailureKind
from scheduler.policy.routes.candidates import too_long

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scheduler.policy.facts import Submitted
    from scheduler.policy.jobs import Job
    from scheduler.policy.payers import Payer
    from scheduler.policy.rules import ProjectRule, Rules
    from scheduler.policy.turns import Route

NAMED = 12
"""Routes or reasons listed in a message at most."""


def refusal(
    fact: Submitted,
    project: ProjectRule | None,
    route: Route | None,
    rules: Rules,
    *,
    queued: int,
    size: int = 0,
    key: Payer | None = None,
) -> Failure | None:
    """Why a job cannot be accepted, ``None`` if it can. ``queued`` is what its project has unfinished besides, ``size``
    the bytes of that, ``key`` what its key has.
    """
    if project is None:
        return Failure(
            kind=FailureKind.FORBIDDEN,
            message=f"there is no project {fact.project!r}",
            field="project",
            remedy="ask the operator to add the project to the configuration",
        )
    if route is None:
        return Failure(
            kind=FailureKind.UNKNOWN_ROUTE,
            message=f"there is no route {fact.route!r}",
            field="route",
            remedy=f"use one of: {_listed(_routes(project, rules))}",
        )
    if project.routes is not None and fact.route not in project.routes:
        return Failure(
            kind=FailureKind.FORBIDDEN,
            message=f"project {fact.project!r} may not use route {fact.route!r}",
            field="route",
            remedy=f"use one of: {_listed(_routes(project, rules))}; or ask the operator for this one",
        )
    if fact.lane not in project.lanes:
        return Failure(
            kind=FailureKind.FORBIDDEN,
            message=f"project {fact.project!r} may not use lane {fact.lane!r}",
            field="lane",
            remedy=f"use one of: {_listed(project.lanes)}",
        )
    if queued >= project.max_queued:
        return Failure(
            kind=FailureKind.QUEUE_FULL,
            message=f"project {fact.project!r} already has {queued} unfinished jobs, as many as it may have",
            field="project",
            remedy="submit again when some have finished, or ask the operator for a larger max_queued",
        )
    return _too_much(fact, project, size, key) if fact.counted else None


def _too_much(fact: Submitted, project: ProjectRule, size: int, key: Payer | None) -> Failure | None:
    """Whether there are too many bytes, or too much of its key."""
    if project.max_queued_bytes is not None and size + fact.size > project.max_queued_bytes:
        return _full(f"project {fact.project!r}", "project", f"{size} bytes", "max_queued_bytes")
    bounds = fact.bounds
    if key is None or bounds is None:
        return None
    if bounds.max_queued is not None and key.jobs >= bounds.max_queued:
        return _full(key.label, "key", f"{key.jobs} jobs", "max_queued")
    if bounds.max_queued_bytes is not None and key.bytes + fact.size > bounds.max_queued_bytes:
        return _full(key.label, "key", f"{key.bytes} bytes", "max_queued_bytes")
    return None


def _full(who: str, field: str, what: str, limit: str) -> Failure:
    return Failure(
        kind=FailureKind.QUEUE_FULL,
        message=f"{who} has {what} unfinished, and with this job it would have more than it may",
        field=field,
        remedy=f"submit again when some have finished, or ask the operator for a larger {limit}",
    )


def impossible(job: Job, route: Route) -> Failure:
    """No deployment of the route can ever serve the job."""
    expected = [(rule, route.expected(job, rule)) for rule in route.rules]
    if "embeddings" not in job.needs and all(too_long(rule, estimate) for rule, estimate in expected):
        reasons = [f"{rule.name}: {too_long(rule, estimate)}" for rule, estimate in expected]
        return Failure(
            kind=FailureKind.CONTEXT_OVERFLOW,
            message=f"the conversation does not fit any model of route {route.name!r}: {_listed(reasons, '; ')}",
            field="conversation.messages",
            remedy="shorten the conversation, use a route to a model with a larger window, or have the operator let "
            "this route trim conversations (fit: trim)",
        )
    reasons = [f"{rule.name}: {route.unfit(job, index)}" for index, rule in enumerate(route.rules)]
    if any(route.admission.by_constraint(index, job.demands) for index in range(len(route.rules))):
        return Failure(
            kind=FailureKind.CONSTRAINT,
            message=f"no deployment of route {route.name!r} may serve this job: {_listed(reasons, '; ')}",
            field="constraints",
            remedy="use a route with a deployment that meets the constraints of the job and of its project, or ask the "
            "operator to say what is not known of a provider (region, hosting, zero_retention, quantisation)",
        )
    return Failure(
        kind=FailureKind.NO_DEPLOYMENT,
        message=f"no deployment of route {route.name!r} can serve this job: {_listed(reasons, '; ')}",
        field="route",
        remedy="use a route whose models can do this, or shorten the conversation",
    )


def _routes(project: ProjectRule, rules: Rules) -> list[str]:
    return sorted(rules.routes if project.routes is None else project.routes)


def _listed(names: Iterable[str], between: str = ", ") -> str:
    every = list(names)
    more = f"{between}and {len(every) - NAMED} more" if len(every) > NAMED else ""
    return between.join(every[:NAMED]) + more
