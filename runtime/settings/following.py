"""What follows the jobs of a route: copies for another route, and second opinions on their answers."""

from __future__ import annotations

from typing import Annotated

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
