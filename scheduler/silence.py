"""How long a leader has been silent, as a contender observes it (rule R5). Pure."""

from __future__ import annotations

from math import inf

MAX_GAP = 1.2
"""Longest pause between two looks for the silence between them to count (R5)."""
GRACE = 2.0
"""Seconds of silence that are enough after a time in which the record could not be read: whoever owns it and lives has
been trying to renew it all along, and does so before these are over (R5)."""


class Silence:
    """How long an owner has been seen to do nothing, on the clock of whoever watches (R5).

    Time counts only between looks that saw the same record at most ``MAX_GAP`` apart. ``lease`` seconds of it are
    enough; ``GRACE`` are, when the record is still the one of before a gap of half a lease or more.
    """

    def __init__(self, lease: float) -> None:
        self._lease = lease
        self._enough = lease
        self._watched = -1
        self._since = self._seen = -inf

    def note(self, seq: int, asked: float, answered: float) -> None:
        """The record was at ``seq`` when it was read between these two times."""
        same = seq == self._watched
        if not same or asked - self._seen > MAX_GAP:
            gap = answered - self._seen
            self._enough = min(GRACE, self._lease) if same and gap >= self._lease / 2 else self._lease
            self._watched, self._since = seq, answered
        self._seen = answered

    @property
    def seconds(self) -> float:
        """Observed so far."""
        return self._seen - self._since

    @property
    def over(self) -> bool:
        """Whether the owner may be succeeded."""
        return self.seconds >= self._enough
