"""What limits did to jobs: when one began to hold them, and how long it held one that has gone. For telemetry alone.

A limit binds from when it first keeps somebody until a round in which it keeps nobody. Of a job that goes meanwhile the
wait is told from then on, or from when it could first have gone if that is later. Only the first attempt counts.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from scheduler.policy.buckets import NEVER
from scheduler.policy.domains import amount_of

if TYPE_CHECKING:
    from scheduler.policy.domains import Domain, Tokens
    from scheduler.policy.gates import Gate
    from scheduler.policy.jobs import Job

KEPT = 10_000
"""What is kept at most for whoever asks; older things fall out."""


class Bound(NamedTuple):
    """A limit began to hold jobs."""

    pool: str
    domain: str
    what: str
    """A unit, ``concurrency``, or ``closed`` after the provider refused a call."""


class Waited(NamedTuple):
    """A job has gone that a limit held."""

    pool: str
    domain: str
    seconds: float


class Feeling:
    """Notes it at the gates."""

    __slots__ = ("_felt",)

    def __init__(self) -> None:
        self._felt: deque[Bound | Waited] = deque(maxlen=KEPT)

    def told(self) -> list[Bound | Waited]:
        """All since this was last asked."""
        told = list(self._felt)
        self._felt.clear()
        return told

    def shut(self, gate: Gate, now: float) -> None:
        """Somebody waits at a gate that is not even asked. Workers that are busy are no limit."""
        if now < gate.domain.closed_until:
            self.binds(gate, "closed", now)
        elif not gate.domain.slots.free:
            self.binds(gate, "concurrency", now)

    def short(self, gate: Gate, tokens: Tokens, now: float) -> None:
        """Its buckets lack something for the next job."""
        gate.kept = True
        if gate.bound == NEVER:
            self.binds(gate, _lacking(gate.domain, tokens, now), now)

    def binds(self, gate: Gate, what: str, now: float) -> None:
        """It keeps somebody."""
        gate.kept = True
        if gate.bound == NEVER:
            gate.bound = now
            self._felt.append(Bound(gate.domain.rule.provider, gate.domain.name, what))

    def goes(self, gate: Gate, job: Job, now: float) -> None:
        """A job goes through a gate that is bound."""
        if job.story is None or not job.story.attempt:
            since = max(job.submitted, job.not_before or job.submitted, gate.bound)
            self._felt.append(Waited(gate.domain.rule.provider, gate.domain.name, max(0.0, now - since)))


def _lacking(domain: Domain, tokens: Tokens, now: float) -> str:
    """The unit that takes longest."""
    return max(domain.buckets, key=lambda unit: domain.buckets[unit].wait(amount_of(unit, tokens), now))
