"""The traces of jobs, as their leader keeps them: which job has one, what goes on with it, and what is told of its end.

A job that comes with a trace belongs to it, and the producer has decided whether that is recorded. Any other begins one
of its own, if it is among the share that the configuration wants: by what the job is, so that every leader, and a
standby, comes to the same. With that, a takeover needs no state: the spans of a job have the same ids whoever tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.followups import kind_of
from job_contracts.tracing import Trace, of_attempt, of_job, sampled_trace, trace_in
from runtime.tracing.observations import ATTEMPT, JOB, AttemptSeen, JobSeen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_contracts.attempts import Outcome
    from job_contracts.results import Settlement
    from runtime.clock import Clock
    from runtime.settings import Config
    from runtime.telemetry import Telemetry
    from scheduler.entries import Entry, JobKey

NONE: Mapping[str, str] = {}


class Tracing:
    """One term's traces. Everything here is asked only of jobs that have one, but for ``of``."""

    def __init__(self, config: Config, telemetry: Telemetry, clock: Clock, *, stream: str) -> None:
        traces = config.telemetry.traces
        self._ratio = 0.0 if traces is None else traces.ratio
        self._catalogue = {name: provider.catalogue or name for name, provider in config.providers.items()}
        self._telemetry, self._clock, self._stream = telemetry, clock, stream

    def of(self, headers: Mapping[str, str], key: JobKey, token: str) -> Trace | None:
        """What a submission's own span is a child of, ``None`` for a job without a trace."""
        found = trace_in(headers)
        if found is None and self._ratio:
            return sampled_trace(*key, token, self._ratio)
        return found

    def header(self, key: JobKey, entry: Entry | None) -> Mapping[str, str]:
        """What goes on with a job's messages: its own span, for what comes next to be a child of."""
        if entry is None or entry.trace is None:
            return NONE
        return of_job(entry.trace, *key, entry.token).headers

    def following(self, headers: Mapping[str, str], key: JobKey, token: str) -> Mapping[str, str]:
        """The same for what follows a job that has ended, by its submission's headers."""
        trace = self.of(headers, key, token)
        return NONE if trace is None else of_job(trace, *key, token).headers

    def settled(self, key: JobKey, entry: Entry, settlement: Settlement) -> None:
        """A job has its result."""
        trace = entry.trace
        if trace is None or not trace.sampled:
            return
        project, job = key
        seen = JobSeen(
            span=of_job(trace, project, job, entry.token),
            parent=trace.span,
            project=project,
            job=job,
            state=settlement.state,
            submitted=entry.submitted,
            finished=self._clock.wall(),
            attempts=settlement.attempt or None,
            deployment=settlement.deployment,
            stream=self._stream,
            follow_up=kind_of(job),
        )
        self._telemetry.emit(JOB, observation=seen)

    def lost(self, entry: Entry | None, outcome: Outcome) -> None:
        """An attempt has ended of which no worker will tell."""
        if entry is None or entry.trace is None or not entry.trace.sampled:
            return
        record = outcome.record
        job = of_job(entry.trace, outcome.project, outcome.job_id, entry.token)
        seen = AttemptSeen(
            span=of_attempt(job, record.number),
            job_span=job.span,
            project=outcome.project,
            job=outcome.job_id,
            attempt=record.number,
            route=outcome.route or "",
            deployment=record.deployment,
            model=record.model,
            vendor=self._catalogue.get(record.provider, record.provider),
            worker=outcome.worker,
            started=record.started,
            seconds=record.seconds,
            called=outcome.called,
            failure=outcome.failure.kind,
            usage=record.usage,
            cost=record.cost,
            hedge=outcome.hedge,
            follow_up=kind_of(outcome.job_id),
        )
        self._telemetry.emit(ATTEMPT, observation=seen)
