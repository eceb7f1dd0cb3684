"""How many workers each pool should have, as the leader tells whoever stands by; an autoscaler asks any of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from job_contracts.codec import VERSION, Version, Wire

Count = Annotated[int, Field(ge=0)]


class PoolScale(Wire):
    """One pool at a moment."""

    pool: Annotated[str, Field(min_length=1, max_length=64)]
    desired: Count
    """Workers it should have: ``needed``, damped."""
    needed: Count
    """Workers that this moment alone asks for."""
    workers: Count
    """Workers that live and take work."""
    slots: Annotated[float, Field(gt=0)]
    """Calls at once of one worker; of those that live the mean."""
    in_flight: Count
    """Attempts that hold a place."""
    waiting: Count
    """Jobs that wait and would go there first."""
    held_back: Count
    """About how many of those wait for a limit, a breaker or their project: more workers would not help them."""


class Scales(Wire):
    """On ``penstock.scaling.<shard>`` (core message): what the leader tells every other second."""

    version: Version = VERSION
    at: float
    """UTC seconds."""
    pools: tuple[PoolScale, ...] = ()
