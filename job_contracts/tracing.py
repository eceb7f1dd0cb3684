"""The trace that a job belongs to: one header (W3C Trace Context), read and written, and the ids within it. Pure.

A job has one span of its own, and each attempt one below that, beside those before it. Their ids are made of what they
are about, not drawn: whoever tells of a job, before or after somebody else led, tells of the same span.

    producer's span                    (if its program traces)
    └── job                            submission to result, told by the leader
        ├── attempt 1                  told by the worker that made it; by the leader if it was lost
        ├── attempt 2
        └── what follows the job       its shadow, a second opinion, a score, a replay: jobs of their own
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

__all__ = ["Trace", "of_attempt", "of_job", "read_trace", "sampled_trace"]

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
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


def sampled_trace(project: str, job: str, token: str, ratio: float) -> Trace | None:
    """The trace of a submission that came with none, if it is one of the share that is recorded."""
    trace = _digest(32, project, job, token)
    return Trace(trace, "", sampled=True) if int(trace[16:], 16) < ratio * _RATIOS else None


def of_job(trace: Trace, project: str, job: str, token: str) -> Trace:
    """The job's own span in a trace."""
    return Trace(trace.id, _digest(16, trace.id, project, job, token), trace.sampled)


def of_attempt(job: Trace, attempt: int) -> Trace:
    """An attempt's span below its job's."""
    return Trace(job.id, _digest(16, job.id, job.span, str(attempt)), job.sampled)


def _digest(length: int, *parts: str) -> str:
    digest = sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()[:length]
    return digest if digest.strip("0") else digest[:-1] + "1"
