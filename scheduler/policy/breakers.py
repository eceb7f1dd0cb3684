"""Who is left alone: a circuit breaker per deployment that lets exactly one probe through before it trusts again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.policy.buckets import NEVER

if TYPE_CHECKING:
    from scheduler.policy.rules import BreakerRule

WELL = 3
"""Successes in a row after which one failure may be chance."""


class Breaker:
    """Closed; or open until a time and then half open, where one probe decides.

    ``failures`` in a row open it. A quarantine (a refused key, an exhausted quota, a model that is gone) opens it at
    once and for longer. What attempts from before the opening still report is not held against it a second time.
    """

    __slots__ = ("_bench", "_breaker", "_quarantine", "_row", "_served", "_times", "probing", "until", "why")

    def __init__(self, breaker: BreakerRule, quarantine: BreakerRule) -> None:
        self._breaker = breaker
        self._quarantine = quarantine
        self._bench = breaker
        self._row = 0
        self._served = 0
        """Successes in a row before the newest failure, or until now."""
        self._times = 0
        self.until = -NEVER
        self.probing = False
        self.why = ""

    @property
    def closed(self) -> bool:
        """Whether it is trusted."""
        return self._times == 0

    @property
    def single(self) -> bool:
        """Whether it served well, and has failed once since."""
        return self._times == 0 and self._row == 1 and self._served >= WELL

    def allows(self, now: float) -> bool:
        """Whether an attempt may start now."""
        return self._times == 0 or (now >= self.until and not self.probing)

    def enter(self) -> bool:
        """An attempt starts; True if it is the probe."""
        if self._times == 0:
            return False
        self.probing = True
        return True

    def succeeded(self, *, probe: bool) -> None:
        """An attempt succeeded; only the probe's success closes an open breaker."""
        if self._times == 0:
            self._served = 1 if self._row else min(self._served + 1, WELL)
            self._row = 0
        elif probe:
            self._times = self._row = 0
            self._served = 1
            self.probing = False
            self.why = ""

    def failed(self, why: str, now: float, *, probe: bool) -> None:
        """An attempt failed in a way that speaks against the deployment."""
        if self._times == 0:
            self._row += 1
            if self._row >= self._breaker.failures:
                self._open(self._breaker, why, now)
        elif probe:
            # A probe that fails otherwise does not tell that the reason for a quarantine is gone.
            self._open(self._bench, self.why if self._bench is self._quarantine else why, now)

    def quarantine(self, why: str, now: float, *, probe: bool) -> None:
        """It must not be used until a probe brings it back."""
        if self._times == 0 or probe or self._bench is not self._quarantine:
            self._open(self._quarantine, why, now, probe=probe)

    def left(self, *, probe: bool) -> None:
        """An attempt ended without saying anything about the deployment: another may probe."""
        if probe:
            self.probing = False

    def _open(self, bench: BreakerRule, why: str, now: float, *, probe: bool = True) -> None:
        if bench is not self._bench:
            self._times = 0
        self._bench = bench
        self.until = now + min(bench.open_for * 2.0 ** min(self._times, 30), bench.max_open)
        self._times += 1
        self._row = self._served = 0
        self.why = why
        if probe:
            self.probing = False
