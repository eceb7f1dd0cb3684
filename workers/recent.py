"""Names that were met lately, the oldest forgotten: a worker runs for months."""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from typing import Generic, TypeVar

__all__ = ["Recent"]

K = TypeVar("K")

MOST = 10_000
"""Names that are kept."""


class Recent(Generic[K]):
    """Names and when each was met. Times are monotonic, in seconds."""

    __slots__ = ("_met",)

    def __init__(self) -> None:
        self._met: OrderedDict[K, float] = OrderedDict()

    def __contains__(self, name: K) -> bool:
        return name in self._met

    def meet(self, name: K, now: float) -> None:
        """Keep it."""
        self._met[name] = now
        if len(self._met) > MOST:
            self._met.popitem(last=False)

    def since(self, name: K, now: float) -> float:
        """Seconds since it was met; infinite if it was not, or is forgotten."""
        return now - self._met.get(name, -inf)
