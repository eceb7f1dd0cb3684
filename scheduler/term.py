"""What the rooms of one period of standing by and leading share: connection, clock, rules, and the state in memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from job_contracts import subjects
from scheduler.background import Background
from scheduler.bodies import Bodies
from scheduler.followups import FollowUps
from scheduler.overflow import Overflow
from scheduler.scaling import Figures
from scheduler.submissions import Submissions
from scheduler.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from job_contracts.configured import Configured
    from job_contracts.experiments import Experiment
    from runtime.bus.port import Bus
    from runtime.clock import Clock
    from runtime.settings import Config
    from runtime.telemetry import Telemetry
    from scheduler.leadership import Lease
    from scheduler.policy.board import Board


@dataclass(slots=True)
class Term:
    """One period of one shard, from standing by to the end of the lease; all of it is forgotten then."""

    bus: Bus
    clock: Clock
    telemetry: Telemetry
    config: Config
    lease: Lease
    board: Board
    bodies: Bodies = field(init=False)
    background: Background = field(init=False)
    overflow: Overflow = field(init=False)
    followups: FollowUps = field(init=False)
    figures: Figures = field(init=False)
    """How many workers each pool should have; a process keeps them over its terms."""
    tracing: Tracing = field(init=False)
    submissions: Submissions = field(default_factory=Submissions)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by whoever learns something that may permit a decision."""
    followed: float = 0.0
    """UTC seconds at which it followed an earlier term, whose results it has not all read; 0 if there was none."""
    leads: bool = False
    """Whether this process may act on what it reads; while it stands by, another one does."""
    configured: Configured | None = None
    """What this process tells of its configuration."""
    live: Callable[[], Mapping[str, Experiment]] | None = None
    """What the configuration says of experiments now, where it is read again."""

    def __post_init__(self) -> None:
        """The rest starts empty."""
        self.bodies = Bodies(self.bus, self.shard)
        self.tracing = Tracing(self.config, self.telemetry, self.clock, stream=self.stream(subjects.SUBMIT))
        self.background = Background(self.telemetry)
        self.overflow = Overflow(
            self.submissions.entries, self.config.scheduler.max_indexed, frozenset(self.config.projects)
        )
        self.followups = FollowUps(self)
        self.figures = Figures(self.clock)
        self.submissions.floor = lambda: self.overflow.floor

    def wanted(self) -> Mapping[str, Experiment]:
        """What the configuration says of experiments now."""
        return self.config.experiments if self.live is None else self.live()

    @property
    def shard(self) -> int:
        """The shard that is led."""
        return self.config.scheduler.shard

    def stream(self, name: str) -> str:
        """The name of this shard's stream of that kind."""
        return subjects.stream_name(name, self.shard)

    def republish(self, project: str, job: str) -> None:
        """Show a finished job's record again to whoever waits for it."""
        self.background.start(self._republish(project, job))

    async def _republish(self, project: str, job: str) -> None:
        record = await self.bus.last(subjects.RES, subjects.result(project, job))
        await self.bus.publish(subjects.live_result(project, job), record.data)
