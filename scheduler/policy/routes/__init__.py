"""Which deployment of a route comes first: one strategy a file, a pure function over the candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.policy.routes.candidates import Strategy
from scheduler.policy.routes.ordered import ordered

if TYPE_CHECKING:
    from collections.abc import Mapping

STRATEGIES: Mapping[str, Strategy] = {"ordered": Strategy(ordered, fixed=True)}
"""By the name an operator writes. A new one is a file here and a line in this table."""
