"""What is queued beyond what memory is meant for: counted, left in its stream, and read in when there is room.

The first half of the places is for whoever comes; of the second half each project has an equal part. So nobody can fill
the index and shut the others out, and there are never more entries than places. A project that has used up its part
goes on in its stream: its submissions are read in by arrival, one run after another, as its own jobs end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from scheduler.entries import Entries


RUN = 500
"""Submissions read in at a time at most."""


class Unread:
    """One project's submissions that are not in the index: all from ``start`` on, up to and with ``last``."""

    __slots__ = ("count", "last", "start")

    def __init__(self, seq: int) -> None:
        self.start = seq
        self.last = seq
        self.count = 1
        """About how many they are: those that another leader has removed are still counted."""


class Overflow:
    """Which submissions stay unread, and from where they are to be read."""

    def __init__(self, entries: Entries, most: int, projects: Collection[str]) -> None:
        self._entries = entries
        self._open = most // 2
        self._part = max(1, (most - self._open) // max(1, len(projects)))
        self._known = frozenset(projects)
        self.projects: dict[str, Unread] = {}
        """Those that have submissions unread."""

    def leaves(self, project: str, seq: int, *, most: int) -> bool:
        """Whether this submission, which has just been read, is to stay unread; it is counted then.

        Once one of a project stays unread all that come after it do, so that they keep their order. What exceeds the
        ``most`` jobs a project may have is not left: it is to be refused.
        """
        unread = self.projects.get(project)
        if unread is None:
            if project not in self._known or self.room(project):
                return False
            if self._entries.of(project) >= most:
                return False
            self.projects[project] = Unread(seq)
            return True
        if seq <= unread.last:
            return seq >= unread.start  # it was handed over before, and is counted
        if self._entries.of(project) + unread.count >= most:
            return False
        unread.count += 1
        unread.last = seq
        return True

    def room(self, project: str) -> int:
        """How many more of the project's jobs have a place in the index."""
        return max(0, self._open - len(self._entries), self._part - self._entries.of(project))

    def wanting(self) -> list[str]:
        """Projects with submissions unread and room for a run of them."""
        enough = max(1, min(RUN, self._part // 2))
        return [project for project in self.projects if self.room(project) >= enough]

    def indexed(self, project: str) -> None:
        """One of them has been read, be it in its turn or ahead of it."""
        unread = self.projects.get(project)
        if unread is not None:
            unread.count = max(0, unread.count - 1)

    def advance(self, project: str, seq: int) -> None:
        """Nothing of the project's is unread up to and with ``seq``."""
        unread = self.projects.get(project)
        if unread is not None:
            unread.start = max(unread.start, seq + 1)
            if unread.start > unread.last:
                del self.projects[project]

    def count(self, project: str) -> int:
        """About how many of a project's submissions are unread."""
        unread = self.projects.get(project)
        return 0 if unread is None else unread.count

    def recount(self, stored: int) -> None:
        """Only ``stored`` submissions are unread in all: a standby goes on counting what its leader has removed."""
        total = self.total
        if total > stored:
            for unread in self.projects.values():
                unread.count = unread.count * stored // total

    @property
    def total(self) -> int:
        """About how many submissions are unread."""
        return sum(unread.count for unread in self.projects.values())

    def holds(self, project: str, seq: int) -> bool:
        """Whether a submission is among those that are not read yet."""
        unread = self.projects.get(project)
        return unread is not None and unread.start <= seq <= unread.last

    @property
    def floor(self) -> int | None:
        """The lowest sequence that may be unread: it and what lies above must not be purged."""
        return min((unread.start for unread in self.projects.values()), default=None)
