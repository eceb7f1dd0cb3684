"""``python -m appliance up | demo | keys | ready``: Penstock on one machine, and what containers need of it."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from appliance.errors import ApplianceError


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 as asked, 1 it could not run, 2 wrong use or configuration."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except ApplianceError as error:
        print(f"appliance: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return code


def _up(options: argparse.Namespace) -> int:
    from pydantic import SecretStr  # noqa: PLC0415 - as below

    from appliance.assembly import Wishes  # noqa: PLC0415 - as below
    from appliance.places import default_data_dir  # noqa: PLC0415 - as below
    from appliance.up import up  # noqa: PLC0415 - `ready` is a container's health check: it loads nothing it can do without

    variables = dict(os.environ)  # noqa: TID251 - here the environment enters
    wishes = Wishes(
        data_dir=(options.data_dir or default_data_dir(variables, Path.home())).absolute(),
        port=options.port,
        nats_port=options.nats_port,
        console_port=None if options.no_console else options.console_port,
        config=options.config,
        simulate=options.simulate,
        postgres=SecretStr(options.postgres) if options.postgres else None,
        sync=options.sync,
        variables=variables,
    )
    return asyncio.run(up(wishes, as_json=options.json, verbose=options.verbose))


def _demo(options: argparse.Namespace) -> int:
    from appliance.demo.tour import demo  # noqa: PLC0415 - as above

    return asyncio.run(demo(options.keep, dict(os.environ)))  # noqa: TID251 - here the environment enters


def _keys(options: argparse.Namespace) -> int:
    from appliance.handover import show, write  # noqa: PLC0415 - as above

    print(show(options.dir) if options.show else write(options.config, options.dir, options.nodes, options.ledger))
    return 0


def _ready(options: argparse.Namespace) -> int:
    from appliance.http import is_ready  # noqa: PLC0415 - as above

    return 0 if asyncio.run(is_ready(options.url)) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m appliance", description="Penstock on one machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_up(commands.add_parser("up", help="start broker, services (and simulator), and keep them running"))
    demo = commands.add_parser("demo", help="a tour of a minute over simulated providers; exits 0 if all was kept")
    demo.add_argument("--keep", type=Path, metavar="DIR", help="leave the data directory with the logs here")
    demo.set_defaults(run=_demo)
    keys = commands.add_parser(
        "keys", help="make keys and the broker's users, for a broker that is not the appliance's"
    )
    keys.add_argument("--config", type=Path, metavar="FILE", help="the YAML configuration with the projects")
    keys.add_argument("--dir", type=Path, default=Path("/keys"), help="where to keep them (default /keys)")
    keys.add_argument(
        "--nodes",
        type=lambda text: tuple(text.split(",")),
        default=(),
        metavar="HOST:PORT,…",
        help="the nodes of the broker's cluster: also make routes.conf, by which they know each other",
    )
    keys.add_argument("--ledger", type=Path, metavar="DIR", help="also make a password for the ledger's Postgres there")
    keys.add_argument("--show", action="store_true", help="print the projects' keys, make nothing")
    keys.set_defaults(run=_keys)
    ready = commands.add_parser("ready", help="exit 0 if a URL answers 200")
    ready.add_argument("url")
    ready.set_defaults(run=_ready)
    return parser


def _add_up(up: argparse.ArgumentParser) -> None:
    up.add_argument("--data-dir", type=Path, metavar="DIR", help="state, keys, logs (default ~/.local/state/penstock)")
    up.add_argument("--port", type=_port, default=8400, help="the HTTP edge's port, 0 for a free one (default 8400)")
    up.add_argument("--nats-port", type=_port, default=4222, help="the broker's port, 0 for a free one (default 4222)")
    up.add_argument("--console-port", type=_port, default=8401, help="the console's port (default 8401)")
    up.add_argument("--no-console", action="store_true", help="start no console")
    up.add_argument("--config", type=Path, metavar="FILE", help="the YAML configuration")
    up.add_argument(
        "--simulate", action="store_true", help="play every provider that the configuration gives no base_url"
    )
    up.add_argument(
        "--postgres",
        metavar="URL",
        help="keep the ledger there: postgresql://user:password@host/name (default: a file)",
    )
    up.add_argument("--json", action="store_true", help="first line on stdout: one JSON object, once all are ready")
    up.add_argument(
        "--sync",
        choices=("default", "always"),
        default="always",
        help="when the broker flushes: always (default) survives a power cut, default is faster",
    )
    up.add_argument("--verbose", action="store_true", help="also show on stderr what the processes log")
    up.set_defaults(run=_up)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
