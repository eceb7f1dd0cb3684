"""Waits for the lease of its shard and leads, again and again; hands over at once when it is told to stop."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from runtime.agreed import configured
from runtime.bus.port import BusError
from runtime.service import Duty
from runtime.telemetry import INFO, WARNING
from scheduler.leadership import Lease
from scheduler.leading import Leading
from scheduler.policy.board import Board
from scheduler.policy.resolving import rules_from
from scheduler.policy.retiring import days_left
from scheduler.scaling import Figures
from scheduler.term import Term

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from catalogue.rows import ProviderRow
    from job_contracts.experiments import Experiment
    from runtime.bus.port import Bus
    from runtime.clock import Clock
    from runtime.settings import Config
    from runtime.telemetry import Telemetry


class Scheduler(Duty):
    """The scheduler's main duty: candidate, then leader, then candidate again."""

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        telemetry: Telemetry,
        config: Config,
        catalogue: Mapping[str, ProviderRow],
        *,
        owner: str,
        version: str,
        experiments: Callable[[], Mapping[str, Experiment]] | None = None,
    ) -> None:
        """``experiments``: what the configuration says of them now, where it is read again."""
        super().__init__("scheduler", telemetry, grace=10.0)
        self._bus = bus
        self._clock = clock
        self._config = config
        self._configured = configured(config, clock.wall())
        self._rules = rules_from(config, catalogue)
        self._owner = owner
        self._version = version
        self._experiments = experiments
        self.leading: Leading | None = None
        self.board: Board | None = None
        """What it knows, standing by or leading."""
        self.figures = Figures(clock)
        """How many workers each pool should have, as whoever leads has told."""

    @property
    def ready(self) -> str | None:
        """``None`` when this process leads or stands by, else what is missing."""
        if not self._bus.connected:
            return "not connected to the broker"
        if self.leading is not None and not self.leading.recovered:
            return "recovering"
        return None

    @property
    def leads(self) -> bool:
        """Whether it is dispatching."""
        return self.leading is not None and self.leading.recovered

    def retiring(self) -> dict[str, int]:
        """Days until each deployment that retires does, by the configuration this process has read."""
        today = datetime.fromtimestamp(self._clock.wall(), UTC).date()
        return days_left(self._rules.deployments.values(), today)

    async def run(self) -> None:
        """Until the process is to end."""
        scheduling = self._config.scheduler
        while not self.stopping.is_set():
            lease = Lease(
                self._bus,
                self._clock,
                self.telemetry,
                shard=scheduling.shard,
                owner=self._owner,
                lease=scheduling.lease,
                replicated=self._config.nats.replicas > 1,
            )
            self.board = Board(self._rules, now=self._clock.monotonic(), wall=self._clock.wall())
            term = Term(self._bus, self._clock, self.telemetry, self._config, lease, self.board, live=self._experiments)
            term.figures, term.configured = self.figures, self._configured
            period = Leading(term, self._version)
            try:
                predecessor = await lease.acquire(self.stopping, period.standby.look)
                if predecessor is None:
                    return
                self.telemetry.emit("lease.acquired", INFO, epoch=lease.epoch, silence=round(predecessor.silence, 2))
                self.leading = period
                await period.run(predecessor, self.stopping)
            except BusError as error:
                self.telemetry.emit("term.failed", WARNING, error=type(error).__name__, why=str(error))
                await self.pause(0.5)
            finally:
                self.leading = None
                await lease.resign()  # first: whoever stands by need not wait for our cleaning up
                await period.close()
            self.telemetry.emit("term.ended", INFO)
