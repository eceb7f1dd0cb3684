"""Plain examples of the messages most tests need; every field can be given another value by name."""

from __future__ import annotations

from typing import Any

from job_contracts.attempts import Assignment, Grant
from job_contracts.chat import Answer, Conversation, FinishReason, TextPart, Usage
from job_contracts.codec import encode
from job_contracts.jobs import Job, JobState, Ticket, body_hash
from job_contracts.results import AttemptRecord, Result, Times

SUBMITTED = 1_750_000_000.0
"""UTC seconds; the wall clock of ``tests.support.clock.ManualClock`` starts there."""


def conversation(text: str = "Say hello.", **over: Any) -> Conversation:
    """One user turn."""
    return Conversation.model_validate({"messages": [{"role": "user", "content": text}], **over})


def job(job_id: str = "stem-leaf", **over: Any) -> Job:
    """A small job on route ``fast``."""
    return Job.model_validate({"id": job_id, "route": "fast", "conversation": conversation(), **over})


def ticket(of: Job | None = None, **over: Any) -> Ticket:
    """The ticket that belongs to a job."""
    of = of or job()
    fields: dict[str, Any] = {
        "route": of.route,
        "lane": of.lane,
        "priority": of.priority,
        "deadline": of.deadline,
        "not_before": of.not_before,
        "submitted": SUBMITTED,
        "token": "token",
        "body_hash": body_hash(encode(of)),
        "input_estimate": 12,
        "stream": of.stream,
        "session": of.session,
        "max_cost": of.max_cost,
    }
    return Ticket.model_validate(fields | over)


def assignment(of: Job | None = None, **over: Any) -> Assignment:
    """The first attempt of a job, at ``openai/gpt-5-mini``."""
    if "blob" not in over:
        over = {"job": of or job(), **over}
    deployment = over.get("deployment", "openai/gpt-5-mini")
    provider, _, model = deployment.partition("/")
    fields: dict[str, Any] = {
        "job_id": (of or job()).id,
        "project": "default",
        "attempt": 1,
        "deployment": deployment,
        "provider": provider,
        "model": model,
        "grant": Grant(domain=provider, input_tokens=12, output_tokens=256, valid_for=5.0, granted=SUBMITTED),
        "route": "fast",
        "token": "token",
        "body_hash": body_hash(encode(of or job())),
        "submitted": SUBMITTED,
        "epoch": 1,
    }
    return Assignment.model_validate(fields | over)


def record(number: int = 1, **over: Any) -> AttemptRecord:
    """An attempt of one second at ``openai/gpt-5-mini``."""
    fields: dict[str, Any] = {
        "number": number,
        "deployment": "openai/gpt-5-mini",
        "provider": "openai",
        "model": "gpt-5-mini",
        "started": SUBMITTED,
        "seconds": 1.0,
    }
    return AttemptRecord.model_validate(fields | over)


def result(job_id: str = "stem-leaf", text: str = "Hello.", **over: Any) -> Result:
    """A success that says ``text``."""
    fields: dict[str, Any] = {
        "job": job_id,
        "project": "default",
        "state": JobState.SUCCEEDED,
        "route": "fast",
        "token": "token",
        "body_hash": "hash",
        "nonce": f"{job_id}.1",
        "answer": Answer(parts=(TextPart(text=text),)),
        "finish_reason": FinishReason.STOP,
        "usage": Usage(input=12, output=2),
        "provider": "openai",
        "model": "gpt-5-mini",
        "deployment": "openai/gpt-5-mini",
        "attempts": (record(),),
        "times": Times(submitted=SUBMITTED, dispatched=SUBMITTED, finished=SUBMITTED + 1.0),
    }
    return Result.model_validate(fields | over)
