"""``python -m console --config FILE --port 8401``: wires the console's process together.

``python -m console --key NAME --config FILE`` makes a key for a person, and says what the configuration holds of it.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
from argparse import Namespace

from catalogue.load import CatalogueError
from console.asking import OPERATOR
from console.assembly import assemble
from console.effective import effective
from console.instruments import INSTRUMENTS, gauges
from console.people import hashed
from job_contracts import subjects
from runtime import command
from runtime.access import completed
from runtime.agreed import configured
from runtime.bus import connect
from runtime.clock import SystemClock
from runtime.collecting import set_aside
from runtime.connection import bus_settings
from runtime.health import Health
from runtime.service import Service
from runtime.settings import Config
from runtime.telemetry import COMMON, Metrics, Telemetry, write_logs

END = 10.0
"""Seconds in which everything must have stopped."""


async def serve(config: Config, arguments: Namespace) -> int:
    """Run one console until it is told to stop; returns the exit status."""
    access, config = config.gateway.access, completed(config)
    if arguments.key:
        return made_key(config, arguments.key)
    telemetry, metrics = Telemetry(), Metrics("console")
    write_logs(telemetry, "console", sys.stdout.write)
    metrics.configured(configured(config).fingerprint)
    name = f"console {arguments.name or f'{socket.gethostname()}-{os.getpid()}'}"
    settings = bus_settings(config.nats, name=name).model_copy(
        update={"inbox_prefix": subjects.inbox_prefix(OPERATOR)}  # the desk answers the operator nowhere else
    )
    bus = await connect(settings)
    service = Service("console", telemetry, drain=END)
    try:
        health = Health(telemetry, metrics, host=arguments.health_host, port=arguments.health_port)
        health.check("broker", lambda: None if bus.connected else "not connected")
        made = assemble(
            config,
            bus=bus,
            clock=SystemClock(),
            telemetry=telemetry,
            told=health.find,
            host=arguments.host,
            port=arguments.port,
            effective=effective(config, arguments.config, nats=arguments.nats, access=access),
        )
        metrics.listen(telemetry, (*COMMON, *INSTRUMENTS))
        gauges(metrics, made.console.guard.sessions, made.console.feeds, made.playing)
        service.add(health, made.playing, made.server)
        set_aside()
        return await service.run()
    except CatalogueError as error:
        raise command.Unusable(str(error)) from error
    finally:
        await bus.close()


def made_key(config: Config, name: str) -> int:
    """Make a person's key: it goes to standard output, what the configuration is to hold to standard error."""
    key = f"psc_{secrets.token_hex(32)}"
    digest = hashed(key, config.gateway.pepper.get_secret_value())
    print(key)
    print(f"console: {{people: {{{name}: {{hash: {digest}, role: operator}}}}}}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    parser = command.parser("console", "What operators see, in a browser.")
    parser.add_argument("--host", default="127.0.0.1", metavar="HOST", help="where to listen")
    parser.add_argument("--port", type=int, default=8401, metavar="N", help="its port; 0 takes any that is free")
    parser.add_argument("--key", metavar="NAME", help="make a key for a person, and end")
    sys.exit(command.main(parser.parse_args(), serve))
