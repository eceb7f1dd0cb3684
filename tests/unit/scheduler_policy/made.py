"""Rules, facts and boards as these tests want them: everything has a default, each test says only what matters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from job_contracts.attempts import Fit
from job_contracts.chat import Usage
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from job_contracts.results import AttemptRecord
from scheduler.policy.board import Board
from scheduler.policy.decisions import Abort, Decision, Dispatch, Finish
from scheduler.policy.facts import AttemptEnded, Begun, CancelAsked, InFlight, Late, PoolSeen, Settled, Submitted
from scheduler.policy.rules import DeploymentRule, DomainRule, Limit, ProjectRule, RouteRule, Rules

PLENTY = 10_000


def rules(
    routes: Mapping[str, tuple[str, ...]] | None = None,
    *,
    limits: Mapping[str, tuple[Limit, ...]] | None = None,
    concurrency: Mapping[str, int] | None = None,
    facts: Mapping[str, dict[str, Any]] | None = None,
    projects: Mapping[str, ProjectRule] | None = None,
    max_attempts: int = 5,
    expected_output: int = 100,
    domains: Mapping[str, str] | None = None,
    fit: Fit = "refuse",
    route: Mapping[str, Any] | None = None,
    **further: Any,
) -> Rules:
    """Rules over ``routes``; one domain a provider unless ``domains`` puts a deployment into one of its own.

    ``route``: what further is said of each of them.
    """
    routes = {"r": ("a/m",)} if routes is None else routes
    deployments: dict[str, DeploymentRule] = {}
    for name in dict.fromkeys(each for places in routes.values() for each in places):
        provider = name.partition("/")[0]
        domain = (domains or {}).get(name, provider)
        deployments[name] = DeploymentRule(name, provider, domain, **(facts or {}).get(name, {}))
    names = dict.fromkeys((rule.domain, rule.provider) for rule in deployments.values())
    return Rules(
        domains={
            name: DomainRule(name, provider, (limits or {}).get(name, ()), (concurrency or {}).get(name))
            for name, provider in names
        },
        deployments=deployments,
        routes={
            name: RouteRule(
                name, places, max_attempts=max_attempts, expected_output=expected_output, fit=fit, **(route or {})
            )
            for name, places in routes.items()
        },
        projects=projects or {name: ProjectRule(name) for name in ("p", "q")},
        **further,
    )


def board(made: Rules | None = None, *, slots: int = PLENTY, now: float = 0.0) -> Board:
    """A board with workers in every pool."""
    made = rules() if made is None else made
    fresh = Board(made, now=now)
    for pool in {rule.provider: None for rule in made.domains.values()}:
        fresh.apply(PoolSeen(pool, slots), now)
    return fresh


def job(seq: int = 1, **over: Any) -> Submitted:
    """A submission; its id and token follow from its sequence."""
    values: dict[str, Any] = {
        "project": "p",
        "job": f"j-{seq}",
        "seq": seq,
        "route": "r",
        "lane": "std",
        "priority": 5,
        "submitted": 0.0,
        "input_estimate": 100,
        "token": f"t{seq}",
        "body_hash": f"h{seq}",
    }
    return Submitted(**(values | over))


def submit(to: Board, *facts: Submitted, now: float = 0.0) -> None:
    """Apply them in order."""
    for fact in facts:
        to.apply(fact, now)


def dispatched(of: Board, now: float = 0.0, room: int = 1000) -> list[Dispatch]:
    """Decide, store at once, return the dispatches."""
    found = [decision for decision in of.decide(now, room) if isinstance(decision, Dispatch)]
    of.stored(found, now)
    return found


def finishes(decisions: list[Decision]) -> list[Finish]:
    """The ends among them."""
    return [decision for decision in decisions if isinstance(decision, Finish)]


def aborts(decisions: list[Decision]) -> list[Abort]:
    """The aborts among them."""
    return [decision for decision in decisions if isinstance(decision, Abort)]


def failure(kind: FailureKind = FailureKind.SERVER_ERROR, **over: Any) -> Failure:
    """A failure of that kind."""
    return Failure(**({"kind": kind, "message": f"made up: {kind.value}"} | over))


def ended(
    of: Dispatch,
    kind: FailureKind = FailureKind.SERVER_ERROR,
    *,
    called: bool = True,
    usage: Usage | None = None,
    **over: Any,
) -> AttemptEnded:
    """That attempt failed."""
    why = failure(kind, **over)
    provider, _, model = of.deployment.partition("/")
    record = AttemptRecord(
        number=of.attempt,
        deployment=of.deployment,
        provider=provider,
        model=model,
        started=0.0,
        seconds=0.1,
        failure=why,
        usage=usage or Usage(reported=False),
    )
    return AttemptEnded(of.project, of.job, of.attempt, of.deployment, why, record, called, of.hedge)


def succeeded(
    of: Dispatch, usage: Usage | None = None, seconds: float = 0.5, first_token: float | None = None
) -> Settled:
    """That attempt wrote the job's result."""
    used = usage or Usage(input=of.input_tokens, output=of.output_tokens)
    return Settled(of.project, of.job, JobState.SUCCEEDED, of.attempt, of.deployment, used, seconds, first_token)


def settled(of: Finish) -> Settled:
    """The leader wrote the record it decided."""
    return Settled(of.project, of.job, of.state, of.attempt, None, Usage())


def cancel(of: Submitted, **over: Any) -> CancelAsked:
    """Its producer wants it stopped."""
    return CancelAsked(
        **({"project": of.project, "job": of.job, "token": of.token, "reason": "changed my mind"} | over)
    )


def in_flight(of: Dispatch) -> InFlight:
    """What its assignment in WORK says."""
    told = (of.project, of.job, of.attempt, of.deployment, of.input_tokens, of.output_tokens, of.history)
    return InFlight(*told, hedge=of.hedge)


def late(of: Dispatch) -> Late:
    """Its worker says that it is late."""
    return Late(of.project, of.job, of.attempt)


def begun(of: Dispatch) -> Begun:
    """Its worker says that it is the one that is shown."""
    return Begun(of.project, of.job, of.attempt)
