"""Observations become OpenTelemetry's spans: made when they have ended, with ids that are known beforehand.

No span is open while a job runs, none is made for what is not recorded, and none for a token. Whoever has no trace in
the configuration never imports this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from job_contracts.jobs import JobState
from job_contracts.tracing import Trace
from runtime.settings.telemetry import Traces
from runtime.telemetry import Telemetry
from runtime.tracing.conventions import (
    Attributes,
    attempt_attributes,
    attempt_name,
    job_attributes,
    job_name,
    request_attributes,
    request_name,
)
from runtime.tracing.observations import ATTEMPT, JOB, REQUEST, AttemptSeen, JobSeen, RequestSeen

__all__ = ["Exporter", "processor"]

TIMEOUT = 5.0
"""Seconds one batch of spans may take on its way."""
SECOND = 1_000_000_000
_UNWELL = (JobState.FAILED, JobState.DEAD, JobState.EXPIRED)


class Exporter:
    """Hands spans to a processor, which sends them off in a thread of its own."""

    def __init__(self, to: SpanProcessor, *, process: str, version: str, conventions: str) -> None:
        self._to, self._conventions = to, conventions
        self._resource = Resource.create({"service.name": f"penstock-{process}", "service.version": version})
        self._scope = InstrumentationScope("penstock", version)

    def listen(self, telemetry: Telemetry) -> Callable[[], None]:
        """Make spans of all that is observed; returns how to stop."""
        told = {ATTEMPT: self._attempt, JOB: self._job, REQUEST: self._request}
        stops = [telemetry.on(event, listener) for event, listener in told.items()]

        def stop() -> None:
            for each in stops:
                each()

        return stop

    def _attempt(self, fields: Mapping[str, Any]) -> None:
        seen: AttemptSeen = fields["observation"]
        parent = Trace(seen.span.id, seen.job_span, seen.span.sampled)
        wrong = None if seen.failure is None else seen.failure.value
        attributes = attempt_attributes(seen, self._conventions)
        times = (seen.started, seen.started + seen.seconds)
        self._tell(attempt_name(seen), SpanKind.CLIENT, seen.span, parent, attributes, times, wrong)

    def _job(self, fields: Mapping[str, Any]) -> None:
        seen: JobSeen = fields["observation"]
        parent = Trace(seen.span.id, seen.parent, seen.span.sampled) if seen.parent else None
        wrong = seen.state.value if seen.state in _UNWELL else None
        times = (seen.submitted, seen.finished)
        self._tell(job_name(seen), SpanKind.CONSUMER, seen.span, parent, job_attributes(seen), times, wrong)

    def _request(self, fields: Mapping[str, Any]) -> None:
        seen: RequestSeen = fields["observation"]
        parent = Trace(seen.span.id, seen.parent, seen.span.sampled) if seen.parent else None
        wrong = "gone" if seen.status is None else str(seen.status) if seen.status >= 500 else None
        times = (seen.started, seen.finished)
        self._tell(request_name(seen), SpanKind.SERVER, seen.span, parent, request_attributes(seen), times, wrong)

    def _tell(  # noqa: PLR0917 - all there is of a span
        self,
        name: str,
        kind: SpanKind,
        span: Trace,
        parent: Trace | None,
        attributes: Attributes,
        times: tuple[float, float],
        wrong: str | None,
    ) -> None:
        begun, ended = times
        status = Status(StatusCode.UNSET) if wrong is None else Status(StatusCode.ERROR, wrong)
        told = ReadableSpan(
            name=name,
            context=_context(span),
            parent=None if parent is None else _context(parent, remote=True),
            resource=self._resource,
            attributes=attributes,
            kind=kind,
            status=status,
            start_time=int(begun * SECOND),
            end_time=int(max(begun, ended) * SECOND),
            instrumentation_scope=self._scope,
        )
        self._to.on_end(told)


def processor(settings: Traces) -> SpanProcessor:
    """Sends spans in batches to where the configuration says. Its shutdown sends what is left, and may take a while."""
    exporter = OTLPSpanExporter(endpoint=settings.endpoint, timeout=TIMEOUT)
    return BatchSpanProcessor(exporter, max_queue_size=settings.queue, max_export_batch_size=min(512, settings.queue))


def _context(trace: Trace, *, remote: bool = False) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if trace.sampled else TraceFlags.DEFAULT)
    state = TraceState.from_header([trace.state]) if trace.state else None
    return SpanContext(int(trace.id, 16), int(trace.span, 16), remote, flags, state)
