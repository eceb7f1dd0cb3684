"""``python -m workers --pool NAME --config FILE``: wires a worker's process together."""

from __future__ import annotations

import os
import re
import secrets
import socket
import sys
from argparse import Namespace
from importlib.metadata import version

from catalogue.load import CatalogueError, providers
from runtime import command
from runtime.agreed import configured
from runtime.bus import connect
from runtime.clock import SystemClock
from runtime.connection import bus_settings, prepare
from runtime.health import Health
from runtime.service import Service
from runtime.settings import Config
from runtime.telemetry import COMMON, INFO, WARNING, Metrics, Telemetry, write_logs
from runtime.tracing.exporting import sending
from workers.assembly import assemble
from workers.dialects import DIALECTS
from workers.instruments import INSTRUMENTS, gauges

END = 30.0
"""Seconds beyond the drain in which everything must have stopped."""


def worker_id(name: str | None) -> str:
    """A name in subjects and outcomes that no other process has, nor this one after a restart."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", name or f"{socket.gethostname()}-{os.getpid()}")
    return f"{plain[:50]}-{secrets.token_hex(4)}"


async def serve(config: Config, arguments: Namespace) -> int:
    """Run one worker until it is told to stop; returns the exit status."""
    telemetry, metrics = Telemetry(), Metrics("workers")
    write_logs(telemetry, f"workers {arguments.pool}", sys.stdout.write)
    metrics.listen(telemetry, (*COMMON, *INSTRUMENTS))
    metrics.configured(configured(config).fingerprint)
    command.crash_points(telemetry, "workers")
    worker = worker_id(arguments.name)

    def of_bus(kind: str, detail: str) -> None:
        telemetry.emit(f"bus.{kind}", INFO if kind == "connected" else WARNING, detail=detail)

    try:
        rows = providers(config.catalogue)
    except CatalogueError as error:
        raise command.Unusable(str(error)) from error
    name = f"worker {arguments.pool} {worker}"
    bus = await connect(bus_settings(config.nats, name=name), on_event=of_bus)
    service = Service("workers", telemetry, drain=config.workers.drain + END)
    try:
        await prepare(bus, config)
        try:
            made = assemble(
                config,
                pool=arguments.pool,
                worker=worker,
                bus=bus,
                clock=SystemClock(),
                telemetry=telemetry,
                catalogue=rows,
                dialects=DIALECTS,
            )
            settings = config.telemetry.traces
            traces = sending(settings, telemetry, process="workers", version=version("penstock"))
        except ValueError as error:
            raise command.Unusable(str(error)) from error
        health = Health(telemetry, metrics, host=arguments.health_host, port=arguments.health_port)
        health.check("broker", lambda: None if bus.connected else "not connected")
        health.check("pool", lambda: "draining" if made.pool.draining else None)
        gauges(metrics, made.pool, made.books, made.streams)
        service.add(health, traces, *made.duties)
        return await service.run()
    finally:
        await bus.close()


if __name__ == "__main__":
    parser = command.parser("workers", "Calls one provider: takes its assignments, streams tokens, stores results.")
    parser.add_argument("--pool", required=True, metavar="NAME", help="the provider of the configuration to serve")
    given = parser.parse_args()
    sys.exit(command.main(given, serve, credentials_of={given.pool}))
