"""The trace that a job belongs to: its headers (W3C Trace Context), read and written, and the ids within it. Pure.

A job has one span of its own, and each attempt one below that, beside those before it. Their ids are made of what they
are about, not drawn: whoever tells of a job, before or after somebody else led, tells of the same span.

    producer's span                    (if its program traces); or the request's, told by the edge that answered it
    └── job                            submission to result, told by the leader
        ├── attempt 1                  told by the worker that made it; by the leader if it was lost
        ├── attempt 2
        └── what follows the job       its shadow, a second opinion, a score, a replay: jobs of their own
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256

from job_contracts.subjects import H_STATE, H_TRACE

__all__ = ["Trace", "begun_trace", "of_attempt", "of_job", "of_request", "read_trace", "sampled_trace", "trace_in"]

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_STATE = re.compile(r"[\x20-\x7e]{1,512}", re.ASCII)
"""What a ``tracestate`` may look like: it is not read, only passed on, and a longer one may be dropped."""
_SAMPLED = 1
_RATIOS = 2**64
"""A trace is recorded if the last eight bytes of its id, as a number, are below this times the ratio."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A place in a trace: ``span`` is what comes next is a child of, empty at a trace's beginning."""

    id: str
    span: str
    sampled: bool
    """Whether it is recorded; where it is not, its id may still stand in logs."""
    state: str = ""
    """What other tracing systems say of it (``tracestate``), passed on as it came; empty where nobody records it."""

    @property
    def headers(self) -> dict[str, str]:
        """All that goes on with a message. Not for a trace that has no span yet."""
        return {H_TRACE: self.header, H_STATE: self.state} if self.state else {H_TRACE: self.header}

    @property
    def header(self) -> str:
        """As ``traceparent``. Not for a trace that has no span yet."""
        return f"00-{self.id}-{self.span}-{'01' if self.sampled else '00'}"


def read_trace(header: str | None) -> Trace | None:
    """The place that a ``traceparent`` names; ``None`` if it names none, which is no error: then there is no trace."""
    found = _FORM.fullmatch(header) if header is not None else None
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not trace.strip("0") or not span.strip("0"):
        return None
    return Trace(trace, span, bool(int(flags, 16) & _SAMPLED))


def trace_in(headers: Mapping[str, str]) -> Trace | None:
    """The place that a message's headers name, with its ``tracestate`` if it is recorded."""
    given = headers.get(H_TRACE)
    trace = None if given is None else read_trace(given)
    state = headers.get(H_STATE) if trace is not None and trace.sampled else None
    return trace if trace is None or not state or not _STATE.fullmatch(state) else replace(trace, state=state)


def begun_trace(request: str, ratio: float) -> Trace:
    """The trace of an edge's request that came with none: recorded if it is one of that share."""
    trace = _digest(32, request)
    return Trace(trace, "", sampled=int(trace[16:], 16) < ratio * _RATIOS)


def of_request(trace: Trace, request: str) -> Trace:
    """An edge's span of a request in a trace."""
    return replace(trace, span=_digest(16, trace.id, trace.span, request))


def sampled_trace(project: str, job: str, token: str, ratio: float) -> Trace | None:
    """The trace of a submission that came with none, if it is one of the share that is recorded."""
    trace = _digest(32, project, job, token)
    return Trace(trace, "", sampled=True) if int(trace[16:], 16) < ratio * _RATIOS else None


def of_job(trace: Trace, project: str, job: str, token: str) -> Trace:
    """The job's own span in a trace."""
    return Trace(trace.id, _digest(16, trace.id, project, job, token), trace.sampled, trace.state)


def of_attempt(job: Trace, attempt: int) -> Trace:
    """An attempt's span below its job's."""
    return Trace(job.id, _digest(16, job.id, job.span, str(attempt)), job.sampled, job.state)


def _digest(length: int, *parts: str) -> str:
    digest = sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()[:length]
    return digest if digest.strip("0") else digest[:-1] + "1"
