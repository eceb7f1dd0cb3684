"""What is known of one project: its jobs, what it has in flight, and its allowance of retries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.policy.retry_budget import RetryBudget

if TYPE_CHECKING:
    from scheduler.policy.jobs import Job
    from scheduler.policy.rules import ProjectRule
    from scheduler.policy.turns import Flow


class Tenant:
    """One project; ``rule`` is ``None`` for one that the configuration does not name."""

    __slots__ = ("bytes", "flying", "jobs", "key", "name", "paused", "retries", "rule", "weight")

    def __init__(self, name: str, rule: ProjectRule | None, key: str | None = None) -> None:
        self.name = name
        self.key = name if key is None else key
        """By which its queues and shares are told from others': a project's follow-ups have theirs."""
        self.rule = rule
        self.weight = 1.0 if rule is None else rule.weight
        self.jobs: dict[str, Job] = {}
        self.bytes = 0
        """Of the bodies of those."""
        self.flying = 0
        self.paused: dict[Flow, None] = {}
        """Flows that are out of every ring until an attempt of the project ends."""
        self.retries = RetryBudget(0.2 if rule is None else rule.retry_share)

    @property
    def full(self) -> bool:
        """Whether it may not have another attempt in flight."""
        most = None if self.rule is None else self.rule.max_in_flight
        return most is not None and self.flying >= most
