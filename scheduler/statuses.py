"""What is told of a job that has no result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import ContractError, decode
from job_contracts.jobs import JobState, JobStatus, Ticket
from runtime.bus.port import NotFound

if TYPE_CHECKING:
    from scheduler.term import Term


def status_of(term: Term, project: str, job: str) -> JobStatus | None:
    """Of one that is indexed."""
    entry = term.submissions.entries.get((project, job))
    now = term.clock.monotonic()
    told = term.board.status(project, job, now)
    if entry is None or told is None:
        return None
    return JobStatus(
        job=job,
        state=told.state,
        route=told.route,
        lane=told.lane,
        token=entry.token,
        body_hash=entry.body_hash,
        submitted=entry.submitted,
        attempts=told.attempts,
        deployment=told.deployment,
        position=told.position,
        eta=told.eta,
        waiting_for=told.waiting_for,
        estimated_cost=told.estimated_cost,
        worst_cost=told.worst_cost,
        decision=term.board.choice(project, job, now),
        deadline=entry.deadline,
    )


async def unread_status(term: Term, project: str, job: str) -> JobStatus | None:
    """Of one that is stored and not indexed yet: what its submission says, and that it waits for its place."""
    stream, subject = term.stream(subjects.SUBMIT), subjects.queued(term.shard, project, job)
    try:
        stored = await term.bus.get_direct(stream, subject)
    except NotFound:
        return None
    if not term.overflow.holds(project, stored.seq):
        return None
    try:
        ticket = decode(Ticket, (stored.headers or {}).get(subjects.H_TICKET, ""))
    except ContractError:
        return None  # it will be refused when it is read
    waiting = term.overflow.count(project)
    return JobStatus(
        job=job,
        state=JobState.QUEUED,
        route=ticket.route,
        lane=ticket.lane,
        token=ticket.token,
        body_hash=ticket.body_hash,
        submitted=ticket.submitted,
        waiting_for=f"its place in the index: it is one of about {waiting} jobs of its project that are not in it",
        deadline=ticket.deadline,
    )
