"""Why an attempt goes where it goes: the candidates, what counted of each, and what spoke against the others."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from job_contracts.codec import Wire

MOST_WEIGHED = 16
"""Candidates that a record names at most, the chosen one among them."""
MOST_SAID = 300
"""Characters of what speaks against one, at most."""


class Weighed(Wire):
    """One deployment of the route as it was at that moment; ``None`` is what did not count or was not known."""

    deployment: str
    against: Annotated[str, Field(max_length=MOST_SAID)] = ""
    """Why it did not take the job, in words; empty where it could have."""
    cost: Decimal | None = None
    """US dollars that the job was likely to cost there, its part from a prompt cache at the price of that."""
    seconds: float | None = None
    """That nine of ten answers kept to there lately."""
    first_token: float | None = None
    """Likewise, until the first token."""
    in_flight: int | None = None
    load: float | None = None
    """Share of its limits that would be taken with this attempt."""


class Staying(Wire):
    """Whether the job's session stays where its prompt cache is: as long as that is worth more than moving saves."""

    home: str
    cached: int
    """Tokens of its prompt likely to be in the cache there."""
    worth: Decimal | None = None
    """US dollars that the cache makes it cheaper; ``None`` where no price is known."""
    saves: Decimal | None = None
    """US dollars that the cheapest other deployment would; ``None`` where there is none with a known price."""
    stays: bool


class Choice(Wire):
    """One decision of a route."""

    strategy: str
    deployment: str | None = None
    """The chosen one; ``None`` while none takes the job."""
    weighed: Annotated[tuple[Weighed, ...], Field(max_length=MOST_WEIGHED)] = ()
    """In the order in which they would have been tried."""
    session: Staying | None = None
