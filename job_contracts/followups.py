"""Jobs that follow another one: a copy of it for another route, a second opinion on its answer, or a score. Pure.

The leader submits them when a job has ended, under an id made of that job's submission; its stem tells them from all
others wherever they come by. They are their project's, wait in lane ``bg``, are paid from a purse of their own, and
carry every constraint of the job they follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic_core import to_json

from job_contracts.facts import Reason
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import Ticket, body_hash
from job_contracts.subjects import FOLLOW_UP_STEMS, follow_up_job_id

FollowUp = Literal["shadow", "verify", "judge"]
"""A copy of the job; a check of its answer; a score of it. The stem of the id, and the value of ``MARK``."""

MARK, OF_ROUTE, OF_JOB, OF_DRAFT = "penstock", "penstock_route", "penstock_job", "penstock_draft"
"""Tags of a follow-up: what it is, which route's which job it follows, and which deployment's answer it judges."""
LAST = 9
"""Their priority: within a project's share of the lane they come after everything else."""

_DROPPED = frozenset({"idempotency_key", "deadline", "not_before", "session", "max_cost", "replay_of"})
_STEMS = tuple(f"{stem}-" for stem in FOLLOW_UP_STEMS)
_KINDS: dict[str, FollowUp] = {"shadow": "shadow", "verify": "verify", "judge": "judge"}
_REASONS: dict[FollowUp, Reason] = {"shadow": "shadow", "verify": "verify", "judge": "verify"}
"""In the ledger: a score is a verification to it, so that whoever reads facts need know no further word."""


def follows(job_id: str) -> bool:
    """Whether a job is such a one."""
    return job_id.startswith(_STEMS)


def kind_of(job_id: str) -> FollowUp | None:
    """Which of these a job is, ``None`` if none."""
    return _KINDS[job_id.partition("-")[0]] if follows(job_id) else None


def spent_on(job_id: str) -> Reason | None:
    """The ledger's reason for every attempt of such a job, whatever became of it; ``None`` for any other job."""
    kind = kind_of(job_id)
    return None if kind is None else _REASONS[kind]


def reason_of(job_id: str, failure: Failure | None) -> Reason:
    """Why an attempt of a job was made, as the ledger tells it: what follows a job is never its user's spend."""
    own = spent_on(job_id)
    if own is not None:
        return own
    if failure is None:
        return "user"
    return "cancelled" if failure.kind is FailureKind.CANCELLED else "failed"


def origin_of(tags: Mapping[str, str]) -> str:
    """The route whose job a follow-up follows, as its tags say; empty if they do not."""
    return tags.get(OF_ROUTE, "")


def follow_up(
    kind: FollowUp,
    job_id: str,
    ticket: Ticket,
    fields: Mapping[str, Any],
    *,
    route: str,
    now: float,
    within: float,
    draft: str | None = None,
) -> tuple[str, bytes, Ticket]:
    """Id, body and ticket of what follows a job; ``fields`` are its body's, ``now`` is UTC seconds.

    The body is the same however often it is made. It may take ``within`` seconds. What the user asked of the job's
    time, money and session is no matter of its follow-up; what was asked of the place where it is worked on is.
    """
    name = follow_up_job_id(kind, job_id, ticket.token)
    tags = {MARK: kind, OF_ROUTE: ticket.route[:128], OF_JOB: job_id}
    if draft is not None:
        tags[OF_DRAFT] = draft[:128]
    own = {"id": name, "route": route, "lane": "bg", "priority": LAST, "tags": tags, "stream": False}
    kept = {field: value for field, value in fields.items() if field not in _DROPPED}
    data = to_json({**kept, **own})
    changed = {
        "route": route,
        "lane": "bg",
        "priority": LAST,
        "deadline": now + within,
        "not_before": None,
        "submitted": now,
        "token": body_hash(f"{name} {ticket.token}".encode("utf-8", "replace")),
        "body_hash": body_hash(data),
        "stream": False,
        "session": None,
        "max_cost": None,
        "blob": None,
        "replay_of": None,
        "key": None,
        "bounds": None,
        "tags": tags,
    }
    return name, data, ticket.model_copy(update=changed)
