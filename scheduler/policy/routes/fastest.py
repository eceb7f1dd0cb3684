"""The quickest answers lately, as long as there are not so many at once that the figures no longer hold.

What was measured with ten attempts under way says nothing about two thousand: the time is taken as longer in proportion
to what is under way beyond twice the usual, and to the share of the limits taken. So a burst spreads, and grows where
the answers stay quick. A place that is not known, or has not had a turn for long, gets one now and then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.policy.routes.strategy import Candidate
    from scheduler.policy.rules import RouteRule


EXPLORE = 64
"""Turns after which a place gets one whatever it was like."""
ENOUGH = 3.0
"""Answers from which on a place is known."""
TRIALS = 2
"""Attempts at once at a place that is not."""
FIRST = 8
"""Attempts at once that are never too many."""


def fastest(candidates: Sequence[Candidate], _: RouteRule) -> Sequence[Candidate]:
    """Who is to be tried out, then by time, then those of whom enough attempts are out and nothing is known."""
    streamed = all(each.first_token is not None for each in candidates if each.known >= ENOUGH)
    return sorted(candidates, key=lambda each: (*_rank(each, streamed=streamed), each.index))


def _rank(each: Candidate, *, streamed: bool) -> tuple[int, float]:
    seconds = expected(each, streamed=streamed)
    if seconds is None:
        return (0, each.in_flight) if each.in_flight < TRIALS else (2, each.in_flight)
    if each.since >= EXPLORE and each.in_flight < TRIALS:
        return 0, -each.since
    return 1, seconds


def expected(each: Candidate, *, streamed: bool) -> float | None:
    """Seconds: of the whole answer and once more until its first token, stretched by load; ``None`` if not known."""
    if each.known < ENOUGH or each.total is None:
        return None
    seconds = each.total + (each.first_token or 0.0) if streamed else each.total
    return seconds * (1.0 + min(each.load, 1.0) + surge(each))


def surge(each: Candidate) -> float:
    """How far what is under way is beyond what the measurements hold for; 0 while it is not."""
    return max(0.0, (each.in_flight + 1) / (2.0 * each.usual + FIRST) - 1.0)
