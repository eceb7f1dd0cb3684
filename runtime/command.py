"""The command line that all processes share: configuration, broker, health and metrics, a name."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from runtime.bus.port import OutcomeUnknown, Refused, Unreachable
from runtime.config import ConfigError, load
from runtime.crash import VARIABLE, NoSuchPoint, crash_at
from runtime.service import run
from runtime.settings import Config
from runtime.telemetry import Telemetry

__all__ = ["BAD_CONFIG", "NO_BROKER", "Unusable", "crash_points", "main", "parser", "shown"]

BAD_CONFIG = 78
"""Exit status for a configuration that cannot be used (``EX_CONFIG`` of sysexits)."""


NO_BROKER = 69
"""Exit status when the broker does not answer at the start (``EX_UNAVAILABLE``); the supervisor tries again."""


class Unusable(Exception):
    """The configuration is well-formed, but this process cannot be set up from it; the text says why."""


def parser(process: str, description: str) -> argparse.ArgumentParser:
    """A parser with the shared options; a process adds its own."""
    made = argparse.ArgumentParser(prog=f"python -m {process}", description=description)
    made.add_argument("--config", type=Path, required=True, metavar="FILE", help="the YAML configuration")
    made.add_argument("--nats", metavar="URL", help="address of the broker, or of each node")
    made.add_argument("--health-host", default="127.0.0.1", metavar="HOST", help="where health and metrics listen")
    made.add_argument("--health-port", type=int, default=0, metavar="N", help="their port; 0 takes any that is free")
    made.add_argument("--name", metavar="ID", help="this process's name among its kind")
    return made


def main(
    arguments: argparse.Namespace,
    serve: Callable[[Config, argparse.Namespace], Awaitable[int]],
    *,
    credentials_of: Collection[str] = (),
) -> int:
    """Load the configuration and run the service; a bad configuration is told on stderr and ends with status 78.

    ``serve`` gets the configuration (``--nats`` already applied) and the arguments, and returns the exit status. Only
    the providers in ``credentials_of`` have their keys in it, and with ``runtime.config.DATABASE`` among them the
    ledger has its own: a process holds no credential it does not use.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a log line that waits in a buffer is no use to anybody
    try:
        config = load(arguments.config, credentials_of=credentials_of)
    except ConfigError as error:
        sys.stderr.write(f"the configuration cannot be used:\n{error}\n")
        return BAD_CONFIG
    if arguments.nats:
        config = config.model_copy(update={"nats": config.nats.model_copy(update={"url": arguments.nats})})
    try:
        return run(lambda: serve(config, arguments))
    except Unusable as error:
        sys.stderr.write(f"the configuration cannot be used:\n{error}\n")
        return BAD_CONFIG
    except Refused as error:
        sys.stderr.write(f"the broker at {shown(config.nats.url)} refuses what this needs: {error}\n")
        return BAD_CONFIG
    except (Unreachable, OutcomeUnknown) as error:
        sys.stderr.write(f"the broker at {shown(config.nats.url)} cannot be reached: {error}\n")
        return NO_BROKER


def crash_points(telemetry: Telemetry, process: str) -> None:
    """Let the process die where the environment asks for it. Raises Unusable when that is no point of it."""
    try:
        crash_at(telemetry, process, os.environ.get(VARIABLE))  # noqa: TID251 - for faults alone, no configuration
    except NoSuchPoint as error:
        raise Unusable(str(error)) from error


def shown(url: str) -> str:
    """An address, or several, without the users and passwords they may hold."""
    return ",".join(_bare(one.strip()) for one in url.split(","))


def _bare(url: str) -> str:
    scheme, found, rest = url.rpartition("://")
    return f"{scheme}{found}{rest.rpartition('@')[2]}"
