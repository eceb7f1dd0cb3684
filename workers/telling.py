"""What is told of an attempt that has ended (``attempt.ended``): names, numbers and times, never content."""

from __future__ import annotations

from job_contracts.attempts import Assignment
from job_contracts.facts import AttemptFact
from workers.records import Ending
from workers.reporting import Stored

__all__ = ["told_of"]


def told_of(
    assignment: Assignment, ending: Ending, stored: Stored, *, lane: str, fact: AttemptFact | None, ended: float
) -> dict[str, object]:
    """The event's fields; ``ended`` is when its report was stored, in UTC seconds.

    ``waited`` and ``handover`` go by two clocks, ``whole`` by the producer's and this one: none is told below zero.
    """
    usage, failure, grant = ending.usage, ending.failure, assignment.grant
    won = fact is not None and fact.won
    cost = ending.charge.cost
    per_token = None
    if ending.first_token is not None and failure is None and usage.output > 1:
        per_token = (ending.seconds - ending.first_token) / (usage.output - 1)
    estimated = usage.input / grant.input_tokens if usage.reported and usage.input and grant.input_tokens else None
    return {
        "attempt": assignment.attempt_id,
        "project": assignment.project,
        "provider": assignment.provider,
        "model": assignment.model,
        "lane": lane,
        "outcome": failure.kind.value if failure is not None else "succeeded",
        "stored": stored.value,
        "seconds": ending.seconds if ending.called else None,
        "first_token": ending.first_token,
        "per_token": per_token,
        "waited": max(0.0, grant.granted - assignment.submitted) if assignment.attempt == 1 else None,
        "handover": max(0.0, ending.started - grant.granted) if ending.called else None,
        "reporting": max(0.0, ended - ending.started - ending.seconds) if ending.called else None,
        "whole": max(0.0, ended - assignment.submitted) if won else None,
        "input": usage.input,
        "output": usage.output,
        "cache_read": usage.cache_read,
        "cache_write": usage.cache_write,
        "reasoning": usage.reasoning,
        "estimated": estimated,
        "reason": "" if fact is None else fact.reason,
        "cost": None if fact is None or cost is None else float(cost),
    }
