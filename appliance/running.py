"""An appliance that runs: the data directory held, every process kept alive, what runs now written down."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from appliance.assembly import Assembly, Wishes, assemble
from appliance.places import Places, locked, write_private
from appliance.supervisor import Happening, Mirror, Patience, Ready, Supervisor

PATIENCE = Patience(ready_within=60.0)


@dataclass(frozen=True, slots=True)
class Running:
    """What was put together, and who keeps it alive."""

    places: Places
    assembly: Assembly
    supervisor: Supervisor

    def card(self) -> dict[str, Any]:
        """The machine-readable answer of ``up``: addresses, keys, process ids."""
        admin = self.assembly.keys.admin
        return {
            "gateway_url": self.assembly.gateway_url,
            "console_url": self.assembly.console_url,
            "nats_url": self.assembly.nats_url,
            "admin_key": admin.get_secret_value() if admin is not None else None,
            "project_key": self.assembly.project_key.get_secret_value(),
            "project": self.assembly.project,
            "simulator_url": self.assembly.simulator_url,
            "pids": self.supervisor.pids,
            "metrics": self.assembly.metrics,
            "data_dir": str(self.places.root),
        }


@asynccontextmanager
async def appliance(
    wishes: Wishes, *, say: Callable[[Happening], None], mirror: Mirror | None = None
) -> AsyncIterator[Running]:
    """Hold the data directory, prepare everything, and stop every process at the end; the block starts them.

    Raises:
        ApplianceError: it cannot run here, in words for a person.
    """
    places = Places(wishes.data_dir)
    places.prepare()
    with locked(places):
        assembly = assemble(wishes, places)
        supervisor: Supervisor

        def note(happening: Happening) -> None:
            say(happening)
            if isinstance(happening, Ready):
                _write_down(places, assembly, supervisor)

        supervisor = Supervisor(assembly.specs, places.logs, say=note, patience=PATIENCE, mirror=mirror)
        try:
            yield Running(places, assembly, supervisor)
        finally:
            await supervisor.stop()
            places.state.unlink(missing_ok=True)


def _write_down(places: Places, assembly: Assembly, supervisor: Supervisor) -> None:
    """What runs now, for whoever looks: no keys in it."""
    state = {
        "gateway_url": assembly.gateway_url,
        "console_url": assembly.console_url,
        "nats_url": assembly.nats_url,
        "simulator_url": assembly.simulator_url,
        "pids": supervisor.pids,
        "restarts": {name: child.restarts for name, child in supervisor.children.items()},
        "metrics": assembly.metrics,
    }
    write_private(places.state, json.dumps(state, indent=2) + "\n")
