"""What follows the jobs of a route: copies for another route, and second opinions on their answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

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
    mode: Literal["after"] = "after"
    """``after``: the answer is given at once, and verified in the background."""
    when: Literal["all", "sample", "low_confidence"] = "sample"
    """Which answers are verified: all; a sample; or those whose model was not sure of its tokens or does not tell how
    sure it was, and a sample of the others."""
    share: Share = 0.05
    """The sample's share of the answers."""
    below: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Confidence (the geometric mean of the tokens' probabilities, from 0 to 1) below which it was not sure."""
    budget: Bounding
    """US dollars that verification in the background may cost in each window; nobody else pays for it."""
    within: Span = 3_600.0
    """What has not been verified by then stays unverified."""
    most: Annotated[int, Field(gt=0)] = 1_000
    """Unfinished follow-ups of one project from which on nothing further is verified."""
