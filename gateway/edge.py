"""What one process of the edge holds: everything a request needs, made once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.lingering import Lingering

if TYPE_CHECKING:
    from gateway.caller import Keyring
    from gateway.producers import Producers
    from runtime.bus.port import Bus
    from runtime.clock import Clock
    from runtime.settings import Config
    from runtime.settings import Edge as EdgeSettings
    from runtime.telemetry import Telemetry


@dataclass(slots=True)
class Edge:
    """The parts that routes use."""

    config: Config
    keys: Keyring
    producers: Producers
    bus: Bus
    clock: Clock
    telemetry: Telemetry
    draining: bool = False
    """Streams are to end, to be resumed at another edge; nothing new is taken."""
    streams: int = 0
    """Streams of events that are open."""
    lingering: Lingering = field(init=False)

    def __post_init__(self) -> None:
        self.lingering = Lingering(self.bus, self.producers, self.settings.linger)

    @property
    def settings(self) -> EdgeSettings:
        """The edge's own section."""
        return self.config.gateway
