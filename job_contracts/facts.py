"""What the ledger is told: at least one fact an attempt that may have called its provider, many in a message.

The worker that made an attempt tells its fact. Where it no longer can (it was lost, or was killed between its report
and its fact), the leader does: from the attempt's record where there is one, else with the attempt's reservation as
the estimate. So an attempt may have several facts, in any order, and each may come twice. One counts: the one that
``outweighs`` the others. What the provider's statement says, call by call, is the last word. Else a fact of the attempt
whose result is the visible one comes before one that says it lost; then usage that the provider reported comes before
an estimate; then the worker's word before the leader's.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from job_contracts.chat import Usage
from job_contracts.codec import VERSION, Version, Wire
from job_contracts.failures import ReadKind
from job_contracts.trials import Trial

Reason = Literal["user", "failed", "cancelled", "hedged", "shadow", "verify"]


class AttemptFact(Wire):
    """What one attempt used. ``attempt`` (project, job id and number, dots between) and ``submitted`` make it one:
    it may be told twice, and by two, see above.
    """

    attempt: str
    project: str
    route: str
    deployment: str
    provider: str
    model: str
    submitted: float = 0.0
    """UTC seconds of the job's submission, as its ticket says: a job that is submitted anew after its result expired
    begins again with attempt 1."""
    started: float
    """UTC seconds."""
    seconds: float
    first_token: float | None = None
    usage: Usage
    cost: Decimal | None = None
    """US dollars: as the provider stated them, else by its price; ``None`` where neither is known. Whoever tells the
    fact prices it, so ledger and budgets count the same."""
    stated: bool = False
    """Whether the provider said so itself."""
    price: Annotated[str, Field(max_length=128)] | None = None
    """Version of the price it was reckoned by (``catalogue.prices``)."""
    reserved: Decimal | None = None
    """US dollars that had been reserved for it."""
    charged: float = 0.0
    """UTC seconds that tell the windows it counts in, as its grant said; 0: those of ``started``."""
    key: str | None = None
    """Id of the virtual key behind the job."""
    reason: Reason
    failure: ReadKind | None = None
    won: bool
    """Whether its result became the job's visible one; an attempt that cost and did not win is waste."""
    told_by: Literal["worker", "leader", "statement"] = "worker"
    """The leader tells what a lost worker could not; its usage is an estimate unless it is ``reported``. A statement is
    the provider's own account, imported later."""
    instead: Decimal | None = None
    """Of a statement: US dollars that had counted for the attempt until then. Whoever has forgotten the attempt since
    counts the difference."""
    tags: dict[str, str] = Field(default_factory=dict)
    trial: Trial | None = None
    """The job's place in an experiment, for reports: an experiment itself counts results."""
    verdict: str | None = None
    """Of an attempt that judged another answer: what it said of it."""

    @property
    def at(self) -> float:
        """UTC seconds of the hour, day and month it belongs to."""
        return self.charged or self.started

    def outweighs(self, other: AttemptFact) -> bool:
        """Whether this fact counts and ``other``, of the same attempt, does not; False for the same fact told twice."""
        return self._weight() > other._weight()

    def _weight(self) -> tuple[bool, bool, bool, bool]:
        return self.told_by == "statement", self.won, self.usage.reported, self.told_by == "worker"


class Facts(Wire):
    """A batch of facts, stored before the attempts in it are acknowledged."""

    version: Version = VERSION
    facts: tuple[AttemptFact, ...]
