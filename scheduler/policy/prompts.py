"""What prompts turn out to be: how long, how much of them is read from a cache, and where a session's cache lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from scheduler.policy.estimates import WIDEST, Average

if TYPE_CHECKING:
    from job_contracts.chat import Usage
    from scheduler.policy.jobs import Job

KEPT = 300.0
"""Seconds that a prompt cache is held to live after it was last used."""
SESSIONS = 100_000
"""Remembered of one route at most; the longest unused are forgotten first."""


class Home(NamedTuple):
    """Where a session was served last."""

    place: int
    cached: int
    """Tokens of its prompt that are likely to be in the cache there."""
    at: float


class Prompts:
    """Averages by project and place, and the sessions of one route."""

    __slots__ = ("_hits", "_reads", "_sessions", "_totals")

    def __init__(self) -> None:
        self._totals: dict[tuple[str, int], Average] = {}
        self._reads: dict[tuple[str, int], Average] = {}
        self._hits: dict[int, Average] = {}
        self._sessions: dict[tuple[str, str], Home] = {}

    def tokens(self, project: str, index: int, counted: int) -> int:
        """Tokens of the whole prompt, cached or not, for a producer's count."""
        average = self._totals.get((project, index))
        return max(1, counted if average is None else round(counted * average.value))

    def read(self, project: str, index: int, tokens: int) -> int:
        """Of them those that are likely to come from the cache, for a job that belongs to no session."""
        average = self._reads.get((project, index))
        return 0 if average is None else min(tokens, round(tokens * average.value))

    def home(self, job: Job, now: float) -> Home | None:
        """Where the cache of the job's session lies, ``None`` if nowhere."""
        if job.session is None:
            return None
        home = self._sessions.get((job.tenant.name, job.session))
        if home is None or now - home.at > KEPT:
            return None
        hits = self._hits.get(home.place)
        return home if hits is None else home._replace(cached=round(home.cached * hits.value))

    def learn(self, job: Job, index: int, counted: int, usage: Usage, now: float) -> None:
        """What a job used there."""
        project = job.tenant.name
        if counted > 0 and usage.input > 0:
            ratio = min(max(usage.input / counted, 1 / WIDEST), WIDEST)
            self._totals.setdefault((project, index), Average()).see(ratio)
        if job.session is None:
            if usage.input > 0:
                self._reads.setdefault((project, index), Average()).see(min(usage.cache_read / usage.input, 1.0))
            return
        before = self._sessions.pop((project, job.session), None)
        if before is not None and before.place == index and before.cached > 0 and now - before.at <= KEPT:
            # Whether this place does keep caches shows when a session comes back.
            self._hits.setdefault(index, Average()).see(min(usage.cache_read / before.cached, 1.0))
        self._sessions[project, job.session] = Home(index, usage.input, now)
        if len(self._sessions) > SESSIONS:
            del self._sessions[next(iter(self._sessions))]
