"""What a worker is sent for a ``Dispatch``: the assignment as JSON, the submitted body its last member, as it was."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.attempts import Assignment, Grant
from job_contracts.codec import encode
from job_contracts.money import dollars
from job_contracts.tracing import of_job
from runtime.bus.port import Outgoing
from scheduler.policy.continuing import continued
from scheduler.policy.stages import accept_from, checking

if TYPE_CHECKING:
    from job_contracts.attempts import Adaptation
    from runtime.settings import Config
    from runtime.settings.routing import Route
    from scheduler.policy.decisions import Dispatch
    from scheduler.submissions import Entry

ON_TIME = 2 / 3
"""Share of the skew in which a call must begin. The rest is for what no worker can hold to: that the scheduler's clock
and its own differ, that a connection must be made, and the way to the provider."""
SHORTEST = 0.15
"""Seconds a grant is good for at least, however small the skew."""


def pool_of(deployment: str) -> str:
    """The pool that serves a deployment: its provider's."""
    return deployment.partition("/")[0]


def assignment(
    dispatch: Dispatch, entry: Entry, body: bytes | None, config: Config, *, shard: int, epoch: int, wall: float
) -> Outgoing:
    """The message for one dispatch. ``body`` must be one JSON document (checked at intake); ``None`` for a blob.

    It does not replace what an earlier attempt may have left on its subject: whoever removes that looks first whether
    its cost was told.
    """
    route = config.routes[dispatch.route]
    provider, _, model = dispatch.deployment.partition("/")
    order = Assignment.model_construct(
        job_id=dispatch.job,
        project=dispatch.project,
        attempt=dispatch.attempt,
        deployment=dispatch.deployment,
        provider=provider,
        model=model,
        grant=Grant.model_construct(
            domain=dispatch.domain,
            input_tokens=dispatch.input_tokens,
            output_tokens=dispatch.output_tokens,
            valid_for=_valid_for(config, dispatch.domain),
            granted=wall,
            cost=None if dispatch.cost is None else dollars(dispatch.cost),
            charged=dispatch.charged,
            max_output=dispatch.max_output,
        ),
        timeouts=route.timeouts,
        adaptation=_adaptation(route, dispatch.deployment),
        fit=route.fit,
        on_invalid=route.on_invalid,
        tell_invalid=route.tell_invalid,
        route=dispatch.route,
        token=entry.token,
        body_hash=entry.body_hash,
        submitted=entry.submitted,
        deadline=entry.deadline,
        stream=entry.stream and route.verifier is None,
        switched_from=dispatch.switched_from,
        switch_reason=dispatch.switch_reason,
        history=dispatch.history,
        decision=dispatch.decision,
        continues=_continues(dispatch, route) if dispatch.history and entry.stream else None,
        epoch=epoch,
        blob=entry.blob,
        key=dispatch.key,
        tags=entry.tags,
        constraints=dispatch.constraints,
        trial=dispatch.trial,
        late_after=None if dispatch.late is None else dispatch.late[0 if entry.stream else 1],
        hedge=dispatch.hedge,
        checking=checking(route.verify, dispatch.job, entry.token) if dispatch.draft is None else None,
        draft=dispatch.draft,
        accept_from=accept_from(route.verify, dispatch.draft),
    )
    data = encode(order)
    if body is not None:
        data = b"".join((data[:-1], b',"job":', body, b"}"))
    subject = subjects.work(shard, provider, dispatch.project, dispatch.job)
    if entry.trace is None:
        return Outgoing(subject, data)
    span = of_job(entry.trace, dispatch.project, dispatch.job, entry.token)
    return Outgoing(subject, data, span.headers)


def _continues(dispatch: Dispatch, route: Route) -> int | None:
    """The attempt whose answer may be gone on with; on a route that joins nothing there is none."""
    return continued(dispatch.history, dispatch.deployment) if route.broken_stream == "continue" else None


def _valid_for(config: Config, domain: str) -> float:
    """Seconds a grant may be used: where a provider meters, so much less than its buckets reckon with (``skew``) that
    the call is there in time as well.
    """
    provider, _, own = domain.partition(":")
    limits = config.providers[provider].domains[own].limits if own else config.providers[provider].limits
    if limits.metered:
        return min(config.scheduler.grant_valid, max(ON_TIME * limits.skew, SHORTEST))
    return config.scheduler.grant_valid


def _adaptation(route: Route, deployment: str) -> Adaptation | None:
    """The first matching rule; the deployment that stands first is the one the instructions were written for."""
    if deployment == route.deployments[0]:
        return None
    for rule in route.on_switch:
        if fnmatchcase(deployment, rule.to):
            return rule.adaptation()
    return None
