"""How far a count of tokens is off for one model, learned from what its provider reports. Pure.

A count is taken for ``fixed + ratio * count`` tokens. Small prompts teach ``fixed`` (what a provider writes before and
around the tools), large ones ``ratio`` (its vocabulary); how far the large ones are off nevertheless is the margin.
Everything learned is bounded: one odd report, or a provider that lies, must not make a model useless.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from catalogue.tokens import TokenFacts

LARGE = 1_000
"""Tokens from which on a prompt teaches the ratio; what is fixed does not count for much in it."""
WEIGHT = 0.1
"""Of the newest report in an average, once ten have been seen."""
NARROWEST, WIDEST = 0.5, 2.5
"""Bounds of a learned ratio."""
LEAST_FIXED, MOST_FIXED = -50.0, 4_000.0
"""Bounds of what is learned to be fixed, in tokens."""
SURE, UNSURE = 0.02, 0.3
"""Bounds of the margin."""
SPREADS = 2.0
"""The margin in average deviations: with twice the average few prompts of a usual distribution lie beyond."""
RAISE = 1.08
"""An overflow that was not expected says only that the count was too low: by so much it is raised each time."""


class Calibration:
    """The correction of one way to count, for one model with tools or without; ``margin`` at first is that way's."""

    __slots__ = ("_large", "_small", "_spread", "fixed", "ratio")

    def __init__(self, facts: TokenFacts, *, tools: bool, margin: float) -> None:
        self.ratio = facts.ratio
        self.fixed = float(facts.fixed + (facts.tools_fixed if tools else 0))
        self._spread = margin / SPREADS
        self._small = self._large = 0

    def expected(self, count: float) -> float:
        """Tokens the provider will report for a prompt of this count."""
        return self.fixed + self.ratio * count

    def count_for(self, tokens: float) -> float:
        """The count of a prompt that the provider takes for so many tokens."""
        return (tokens - self.fixed) / self.ratio

    @property
    def margin(self) -> float:
        """Share by which the expected tokens may be exceeded."""
        return min(max(self._spread * SPREADS, SURE), UNSURE)

    def see(self, count: float, reported: int) -> None:
        """A prompt of this count was reported to have so many tokens."""
        if count <= 0 or reported <= 0:
            return
        if count < LARGE:
            self._small += 1
            fixed = min(max(reported - self.ratio * count, LEAST_FIXED), MOST_FIXED)
            self.fixed += (fixed - self.fixed) * _weight(self._small)
            return
        self._large += 1
        off = min(abs(reported / max(self.expected(count), 1.0) - 1.0), 1.0)
        self._spread += (off - self._spread) * _weight(self._large)
        ratio = min(max((reported - self.fixed) / count, NARROWEST), WIDEST)
        self.ratio += (ratio - self.ratio) * _weight(self._large)

    def overflowed(self) -> None:
        """The provider refused as too long what was expected to fit."""
        self.ratio = min(self.ratio * RAISE, WIDEST)
        self._spread = min(self._spread * 1.5, UNSURE / SPREADS)


def _weight(seen: int) -> float:
    # The start values stand for two reports, so that one alone does not replace them.
    return max(1.0 / (seen + 2), WEIGHT)
