"""Spreads the starts of calls, so that a burst of grants does not reach a provider in one millisecond.

The scheduler alone decides how many calls there are; here they only keep a distance. The pace is at least twice the
limit's own, and drains a whole burst within a third of the time the limit tolerates as lateness (``Limits.skew``),
which is half of what a grant is good for, so smoothing never makes a call late. A domain without a request limit is
not slowed at all.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from aiolimiter import AsyncLimiter

from runtime.settings.routing import Limits, Provider

__all__ = ["Smoothing", "pace"]

_AT_ONCE = 0.01
"""Seconds' worth of calls that may start together: finer steps cost timers and gain nothing."""
_DRAINED = 1 / 3
"""Of the skew, the part in which a whole burst has started."""
_MAX_DOMAINS = 1024


def pace(limits: Limits) -> float | None:
    """Starts a second a worker keeps to under ``limits``; ``None`` without a request limit."""
    if limits.rpm is None:
        return None
    rate = limits.rpm / 60.0
    burst = max(1.0, rate * limits.window * limits.burst)
    return max(2 * rate, burst / (limits.skew * _DRAINED)) if limits.skew else None


class Smoothing:
    """One spacer a limit domain of this worker's provider."""

    def __init__(self, provider: Provider, *, enabled: bool = True) -> None:
        self._provider = provider
        self._enabled = enabled
        self._spacers: dict[str, AsyncLimiter | None] = {}

    async def turn(self, domain: str, model: str) -> None:
        """Wait for this call's turn; returns at once if the domain has no request limit."""
        if not self._enabled:
            return
        try:
            spacer = self._spacers[domain]
        except KeyError:
            spacer = self._made(domain, model)
        if spacer is not None:
            await spacer.acquire()

    def _made(self, domain: str, model: str) -> AsyncLimiter | None:
        if len(self._spacers) >= _MAX_DOMAINS:
            self._spacers.clear()
        rate = pace(self._limits(model))
        together = max(1.0, rate * _AT_ONCE) if rate is not None else 0.0
        made = AsyncLimiter(together, together / rate) if rate is not None else None
        self._spacers[domain] = made
        return made

    def _limits(self, model: str) -> Limits:
        for domain in self._provider.domains.values():
            if any(fnmatchcase(model, pattern) for pattern in domain.models):
                return domain.limits
        return self._provider.limits
