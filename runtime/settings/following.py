"""What follows the jobs of a route: copies for another route, and second opinions on their answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from runtime.settings.written import Bounding, Section, WrittenTime, seconds

Span = Annotated[float, BeforeValidator(seconds, json_schema_input_type=WrittenTime)]
Share = Annotated[float, Field(gt=0, le=1)]


class Shadow(Section):
    """Copies of a route's jobs that run in the background on another route, to see how that would do."""

    to: Annotated[str, Field(min_length=1)]
    """The route that the copies run on; its own shadows, and its budget, are no matter of theirs."""
    share: Share = 0.05
    """Of the jobs that end with an answer."""
    budget: Bounding
    """US dollars that the copies may cost in each window; nobody else pays for them."""
    within: Span = 3_600.0
    """A copy that has not run by then is dropped."""
    most: Annotated[int, Field(gt=0)] = 1_000
    """Unfinished copies of one project from which on no further one is made."""


class Verify(Section):
    """Second opinions on a route's answers, by the deployments of another route."""

    by: Annotated[str, Field(min_length=1)]
    """The route that verifies; its own shadows, and its budget, are no matter of that."""
    mode: Literal["before", "after"] = "after"
    """``after``: the answer is given at once, and verified in the background. ``before``: the route's own deployments
    make a draft, and what is given is what the verifier makes of it; nothing is streamed meanwhile."""
    when: Literal["all", "sample", "low_confidence"] = "sample"
    """Which answers are verified: all; a sample; or those whose model was not sure of its tokens or does not tell how
    sure it was, and a sample of the others."""
    share: Share = 0.05
    """The sample's share of the answers."""
    below: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Confidence, from 0 to 1, below which it was not sure."""
    confidence: Literal["logprobs", "self_reported", "judge"] = "logprobs"
    """Where confidence comes from. ``logprobs``: the geometric mean of the tokens' probabilities, where the job asks
    for them. ``self_reported``, with ``mode: before``: the model is asked to end its answer with a line that says how
    sure it is, which is taken off; an answer in JSON that is as it was asked for counts as sure. ``judge``, with
    ``mode: before``: the route ``judge`` scores each draft."""
    judge: str | None = None
    """The route that scores drafts, from 0 to 1: a cheaper one than the verifier's."""
    budget: Bounding | None = None
    """US dollars that verification in the background may cost in each window; nobody else pays for it. Verification
    before the answer is part of the job, and paid as the rest of it."""
    unverified: Literal["return", "fail"] = "return"
    """What becomes of a draft that no verifier could judge before the answer: it is given, and marked so, or the job
    fails."""
    within: Span = 3_600.0
    """What has not been verified by then stays unverified."""
    most: Annotated[int, Field(gt=0)] = 1_000
    """Unfinished follow-ups of one project from which on nothing further is verified."""

    @model_validator(mode="after")
    def _paid(self) -> Verify:
        asks = self.confidence in {"self_reported", "judge"}
        if asks and (self.mode, self.when) != ("before", "low_confidence"):
            message = f"confidence: {self.confidence} goes with mode: before and when: low_confidence"
            raise ValueError(message)
        if (self.confidence == "judge") != (self.judge is not None):
            message = "judge: the route that scores, with confidence: judge and with nothing else"
            raise ValueError(message)
        if self.mode == "after" and self.budget is None:
            message = "a budget, for what is verified in the background"
            raise ValueError(message)
        return self
