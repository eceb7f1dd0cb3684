"""Routes that verify before they answer: a draft at their own deployments first, then a verdict at another route's.

The verifiers stand behind the route's own deployments. A job may go to the one kind or to the other, as it has a draft
or not, so all that decides where a job goes decides it in both stages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from job_contracts.attempts import Checking
from job_contracts.jobs import JobState
from scheduler.policy.followups import fraction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_contracts.attempts import Draft
    from scheduler.policy.configured import Configured, VerifyLike
    from scheduler.policy.jobs import Job


@dataclass(slots=True, frozen=True)
class Stages:
    """Which deployments of a route do what."""

    drafting: int
    """Mask of those that answer."""
    verifying: int
    """Mask of those that verify."""
    returns: bool = True
    """Whether a draft that nobody has verified is the answer."""

    def closed(self, job: Job) -> int:
        """Where the job may not go in its stage."""
        return self.verifying if job.story is None or job.story.draft is None else self.drafting

    def reason(self, job: Job, index: int) -> str | None:
        """Why not there."""
        if not self.closed(job) >> index & 1:
            return None
        return "it verifies answers" if self.verifying >> index & 1 else "it has made its draft"

    def answer(self, job: Job, state: JobState) -> Draft | None:
        """The draft that is the answer of a job that ends so without a verdict."""
        draft = None if job.story is None or state is JobState.CANCELLED else job.story.draft
        return draft if self.returns and draft is not None and draft.fits else None


def staged(
    name: str, config: Configured, deployments: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[str, ...], Stages | None]:
    """The deployments of a route, its verifiers behind them."""
    verify = config.routes[name].verify
    own = deployments[name]
    if verify is None or verify.mode != "before":
        return own, None
    others = tuple(each for each in deployments[verify.by] if each not in own)
    drafting, both = (1 << len(own)) - 1, (1 << len(own) + len(others)) - 1
    return (*own, *others), Stages(drafting, both & ~drafting, verify.unverified == "return")


def checking(verify: VerifyLike | None, job: str, token: str) -> Checking | None:
    """What becomes of a draft of this job: ``None`` if it is the answer in any case."""
    if verify is None or verify.mode != "before":
        return None
    always = verify.when == "all" or fraction("verify", job, token) < verify.share
    below = verify.below if verify.when == "low_confidence" else None
    if below is None:
        return Checking(always=True) if always else None
    return Checking(always=always, below=below, self_reported=verify.confidence == "self_reported", unfit=True)
