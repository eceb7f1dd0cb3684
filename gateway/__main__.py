"""``python -m gateway --config FILE --port 8400``: wires the edge's process together."""

from __future__ import annotations

import os
import socket
import sys
from argparse import Namespace
from importlib.metadata import version

from gateway.assembly import assemble
from gateway.instruments import INSTRUMENTS, gauges
from runtime import command
from runtime.access import completed
from runtime.agreed import configured
from runtime.bus import connect
from runtime.clock import SystemClock
from runtime.connection import bus_settings, prepare
from runtime.health import Health
from runtime.service import Service
from runtime.settings import Config
from runtime.telemetry import COMMON, Metrics, Telemetry, write_logs
from runtime.tracing.exporting import CannotTrace, sending

END = 15.0
"""Seconds beyond the drain in which everything must have stopped."""


async def serve(config: Config, arguments: Namespace) -> int:
    """Run one edge until it is told to stop; returns the exit status."""
    config = completed(config)
    telemetry, metrics = Telemetry(), Metrics("gateway")
    write_logs(telemetry, "gateway", sys.stdout.write)
    metrics.configured(configured(config).fingerprint)
    command.crash_points(telemetry, "gateway")
    try:
        traces = sending(config.telemetry.traces, telemetry, process="gateway", version=version("penstock"))
    except CannotTrace as error:
        raise command.Unusable(str(error)) from error
    name = f"gateway {arguments.name or f'{socket.gethostname()}-{os.getpid()}'}"
    bus = await connect(bus_settings(config.nats, name=name))
    service = Service("gateway", telemetry, drain=config.gateway.drain + END)
    try:
        await prepare(bus, config)
        health = Health(telemetry, metrics, host=arguments.health_host, port=arguments.health_port)
        health.check("broker", lambda: None if bus.connected else "not connected")
        made = assemble(
            config,
            bus=bus,
            clock=SystemClock(),
            telemetry=telemetry,
            health=health,
            host=arguments.host,
            port=arguments.port,
            name=name,
        )
        metrics.listen(telemetry, (*COMMON, *INSTRUMENTS))
        gauges(metrics, made.edge, made.server)
        service.add(health, traces, *made.duties)
        return await service.run()
    finally:
        await bus.close()


if __name__ == "__main__":
    parser = command.parser("gateway", "The HTTP edge: OpenAI- and Anthropic-compatible, over the queue.")
    parser.add_argument("--host", default="127.0.0.1", metavar="HOST", help="where to listen")
    parser.add_argument("--port", type=int, default=8400, metavar="N", help="its port; 0 takes any that is free")
    sys.exit(command.main(parser.parse_args(), serve))
