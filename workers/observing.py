"""What is told of a traced attempt when it has ended. Nobody comes here for an attempt that has no trace."""

from __future__ import annotations

from urllib.parse import urlsplit

from job_contracts.attempts import Assignment
from job_contracts.followups import kind_of
from job_contracts.tracing import Trace, of_attempt, trace_in
from runtime.bus.port import Message
from runtime.telemetry import TRACE, Telemetry
from runtime.tracing.observations import ATTEMPT, AttemptSeen
from workers.records import Ending

__all__ = ["Observer", "traced"]


def traced(message: Message) -> Trace | None:
    """The span of the job whose assignment that is, if it has one; what is logged from here on names its trace."""
    trace = trace_in(message.headers) if message.headers else None
    if trace is not None:
        TRACE.set(trace.id)
    return trace


class Observer:
    """Tells of one pool's attempts. ``vendor``: the provider by its name in the catalogue."""

    def __init__(self, telemetry: Telemetry, *, vendor: str, base_url: str, worker: str) -> None:
        self._telemetry, self._vendor, self._worker = telemetry, vendor, worker
        address = urlsplit(base_url)
        standing = 443 if address.scheme == "https" else 80
        self._server = None if address.hostname is None else (address.hostname, address.port or standing)

    def ended(self, job: Trace, assignment: Assignment, ending: Ending, stored: str) -> None:
        """An attempt below ``job`` has ended, and its report is ``stored``, or is not."""
        if not job.sampled:
            return
        decoded, failure, first = ending.decoded, ending.failure, assignment.attempt == 1
        embeds = decoded is not None and decoded.embeddings is not None
        if decoded is None and assignment.job is not None:
            embeds = assignment.job.embedding is not None
        seen = AttemptSeen(
            span=of_attempt(job, assignment.attempt),
            job_span=job.span,
            project=assignment.project,
            job=assignment.job_id,
            attempt=assignment.attempt,
            route=assignment.route,
            deployment=assignment.deployment,
            model=assignment.model,
            vendor=self._vendor,
            worker=self._worker,
            operation="embeddings" if embeds else "chat",
            server=self._server,
            started=ending.started,
            seconds=ending.seconds,
            waited=max(0.0, assignment.grant.granted - assignment.submitted) if first else None,
            called=ending.called,
            streamed=assignment.stream,
            first_token=ending.first_token,
            failure=None if failure is None else failure.kind,
            usage=ending.usage,
            cost=ending.charge.cost,
            finish=None if decoded is None or embeds else decoded.finish_reason.value,
            answered_by=None if decoded is None else decoded.model,
            switched_from=assignment.switched_from,
            switch_reason=assignment.switch_reason,
            hedge=assignment.hedge,
            continued=ending.continued,
            follow_up=kind_of(assignment.job_id),
            stored=stored,
        )
        self._telemetry.emit(ATTEMPT, observation=seen)
