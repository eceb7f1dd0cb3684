"""Routes that verify before they answer: a draft at their own deployments first, then a verdict at another route's.

The verifiers stand behind the route's own deployments, and so do the judges whose score may spare them. A job may go to
one kind alone, as it has a draft or not, and a score or not, so all that decides where a job goes decides it in every
stage.
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
    judging: int = 0
    """Mask of those that score drafts first; 0 where nobody does."""

    def closed(self, job: Job) -> int:
        """Where the job may not go in its stage."""
        draft = None if job.story is None else job.story.draft
        if draft is None:
            stage = self.drafting
        else:
            stage = self.judging if self.judging and draft.score is None else self.verifying
        return (self.drafting | self.judging | self.verifying) & ~stage

    def reason(self, job: Job, index: int) -> str | None:
        """Why not there."""
        if not self.closed(job) >> index & 1:
            return None
        if self.drafting >> index & 1:
            return "it has made its draft"
        return "it verifies answers" if self.verifying >> index & 1 else "it scores drafts"

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
    judges = () if verify.judge is None else deployments[verify.judge]
    names = tuple(dict.fromkeys((*own, *judges, *deployments[verify.by])))
    drafting = _mask(names, own)
    judging, verifying = _mask(names, judges) & ~drafting, _mask(names, deployments[verify.by]) & ~drafting
    return names, Stages(drafting, verifying, verify.unverified == "return", judging)


def _mask(names: tuple[str, ...], those: tuple[str, ...]) -> int:
    return sum(1 << place for place, name in enumerate(names) if name in those)


def checking(verify: VerifyLike | None, job: str, token: str) -> Checking | None:
    """What becomes of a draft of this job: ``None`` if it is the answer in any case."""
    if verify is None or verify.mode != "before":
        return None
    always = verify.when == "all" or fraction("verify", job, token) < verify.share
    below = verify.below if verify.when == "low_confidence" else None
    if below is None:
        return Checking(always=True) if always else None
    return Checking(
        always=always,
        below=below,
        self_reported=verify.confidence == "self_reported",
        unfit=True,
        judged=verify.confidence == "judge",
    )


def accept_from(verify: VerifyLike | None, draft: Draft | None) -> float | None:
    """From which score on a draft is the answer, if a judge is to score it; ``None`` if it is to be verified."""
    asks = verify is not None and verify.judge is not None and draft is not None and draft.score is None
    return verify.below if asks and verify is not None else None
