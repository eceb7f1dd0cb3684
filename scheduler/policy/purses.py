"""What every payer has spent and reserved, by calendar window: exact sums in picodollars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Sums = Mapping[str, tuple[tuple[float, int], ...]]
"""By window: UTC seconds at which one began, and what was spent in it."""


@dataclass(slots=True, frozen=True)
class Spending:
    """By payer (``project:p``, ``route:r``, ``key:p/k``, ``tag:p/name=value``); windows that are over are left out."""

    payers: Mapping[str, Sums] = field(default_factory=dict)
