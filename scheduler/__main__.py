"""``python -m scheduler --config FILE``: wires the scheduler's process together."""

from __future__ import annotations

import os
import socket
import sys
from argparse import Namespace
from importlib.metadata import version

from catalogue.load import CatalogueError, providers
from runtime import command
from runtime.agreed import configured
from runtime.bus import connect
from runtime.clock import SystemClock
from runtime.collecting import spare_survivors
from runtime.connection import bus_settings, prepare
from runtime.health import Health
from runtime.service import Service
from runtime.settings import Config
from runtime.telemetry import COMMON, Metrics, Telemetry, write_logs
from runtime.tracing.exporting import CannotTrace, sending
from scheduler import commands
from scheduler.instruments import INSTRUMENTS, gauges
from scheduler.rereading import Rereading
from scheduler.service import Scheduler


async def serve(config: Config, arguments: Namespace) -> int:
    """Run one scheduler process until it is told to stop; returns the exit status."""
    spare_survivors()
    telemetry, metrics, clock = Telemetry(), Metrics("scheduler"), SystemClock()
    write_logs(telemetry, "scheduler", sys.stdout.write)
    metrics.configured(configured(config).fingerprint)
    metrics.listen(telemetry, (*COMMON, *INSTRUMENTS))
    metrics.forget_levels(telemetry, "term.ended")
    command.crash_points(telemetry, "scheduler")
    owner = arguments.name or f"{socket.gethostname()}-{os.getpid()}"
    try:
        rows = providers(config.catalogue)
        traces = sending(config.telemetry.traces, telemetry, process="scheduler", version=version("penstock"))
    except (CatalogueError, CannotTrace) as error:
        raise command.Unusable(str(error)) from error
    bus = await connect(bus_settings(config.nats, name=f"scheduler {owner}"))
    service = Service("scheduler", telemetry)
    try:
        await prepare(bus, config)
        rereading = Rereading(arguments.config, config, telemetry)
        scheduler = Scheduler(
            *(bus, clock, telemetry, config, rows),
            owner=owner,
            version=version("penstock"),
            experiments=rereading.wanted,
        )
        health = Health(telemetry, metrics, host=arguments.health_host, port=arguments.health_port)
        health.check("scheduler", lambda: scheduler.ready)
        gauges(metrics, scheduler)
        scheduler.figures.serve(health, config.providers)
        service.add(health, traces, rereading, scheduler)
        return await service.run()
    finally:
        await bus.close()


def main(given: list[str]) -> int:
    """Read the command line and do what it says."""
    if given[:1] and given[0] in commands.COMMANDS:
        return commands.main(given)
    parser = command.parser("scheduler", "Assigns queued jobs to worker pools within every provider's limits.")
    return command.main(parser.parse_args(given), serve)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
