"""What one process of the edge holds: everything a request needs, made once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.batches.desk import Batches
from gateway.batches.records import Records
from gateway.files.contents import Contents
from gateway.files.store import Files
from gateway.lingering import Lingering
from gateway.tracing import Tracing

if TYPE_CHECKING:
    from gateway.caller import Keyring
    from gateway.key_desk import KeyDesk
    from gateway.producers import Producers
    from runtime.bus.port import Bus
    from runtime.clock import Clock
    from runtime.settings import Config
    from runtime.settings.services import Edge as EdgeSettings
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
    key_desk: KeyDesk
    draining: bool = False
    """Streams are to end, to be resumed at another edge; nothing new is taken."""
    streams: int = 0
    """Streams of events that are open."""
    name: str = "edge"
    lingering: Lingering = field(init=False)
    files: Files = field(init=False)
    records: Records = field(init=False)
    """Of batches."""
    contents: Contents = field(init=False)
    """Of files."""
    batches: Batches = field(init=False)
    tracing: Tracing = field(init=False)

    def __post_init__(self) -> None:
        self.lingering = Lingering(self.bus, self.producers, self.settings.linger)
        self.files = Files(self.bus, self.clock, self.settings.files)
        self.records = Records(self.bus)
        self.contents = Contents(self.bus, self.files, self.records)
        self.batches = Batches(self, self.name)
        self.tracing = Tracing(self.config, self.telemetry, self.clock)

    @property
    def settings(self) -> EdgeSettings:
        """The edge's own section."""
        return self.config.gateway
