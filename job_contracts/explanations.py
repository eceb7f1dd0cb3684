"""Where a job is and why, in words: the same for whoever asks over the broker or over HTTP."""

from __future__ import annotations

from job_contracts.jobs import JobState, JobStatus

_STATES = {
    JobState.QUEUED: "queued",
    JobState.HELD: "held back",
    JobState.DISPATCHED: "handed to a worker",
    JobState.STREAMING: "being answered",
}


def under_way(status: JobStatus, now: float) -> str:
    """Of a job that has not ended at ``now`` (UTC seconds)."""
    said = [_STATES.get(status.state, status.state.value)]
    if status.deployment is not None:
        said.append(f"at {status.deployment}")
    if status.attempts > 1:
        said.append(f"in attempt {status.attempts}")
    if status.waiting_for:
        said.append(f"waiting for {status.waiting_for}")
    if status.position is not None:
        said.append("next in line" if status.position == 0 else f"behind {status.position} others")
    if status.eta is not None:
        said.append(f"likely to be sent in {status.eta:.1f} s")
    if status.deadline is not None:
        said.append(f"expires in {max(0.0, status.deadline - now):.0f} s")
    return ", ".join(said)
