"""``python -m simulator``: simulated providers as a process of their own, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

import uvloop
from pydantic import ValidationError

from simulator.configuration import BadConfiguration, load
from simulator.server import Simulator
from simulator.settings import Settings

BAD_CONFIGURATION = 2
PORT_TAKEN = 3


def main(arguments: list[str] | None = None) -> int:
    """Run until told to stop; returns the exit code: 0 stopped, 2 wrong configuration, 3 a port is taken."""
    options = _parser().parse_args(arguments)
    try:
        settings = _with_options(load(options.config) if options.config else Settings(), options)
    except BadConfiguration as error:
        print(error, file=sys.stderr)
        return BAD_CONFIGURATION
    try:
        uvloop.run(_run(settings, as_json=options.json))
    except OSError as error:
        print(f"cannot listen: {error}", file=sys.stderr)
        return PORT_TAKEN
    return 0


async def _run(settings: Settings, *, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stop.set)
    async with Simulator(settings) as simulator:
        if as_json:
            print(json.dumps({"url": simulator.url, "base_urls": simulator.base_urls}), flush=True)
        else:
            rows = [("control", simulator.url), *simulator.base_urls.items()]
            print("\n".join(f"{name:<12} {url}" for name, url in rows), flush=True)
        await stop.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulator", description="Simulated OpenAI, Anthropic and Gemini, with limits and faults."
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings in YAML (see simulator/settings.py)")
    parser.add_argument("--host", help="the address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="the main port: control and every provider by path (0: a free one)")
    parser.add_argument(
        "--ports", type=_ports, default={}, metavar="NAME=PORT,...", help="ports of single providers (0: a free one)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON line with the URLs when ready")
    return parser


def _ports(text: str) -> dict[str, int]:
    try:
        return {name: int(port) for name, port in (part.split("=") for part in text.split(","))}
    except ValueError:
        raise argparse.ArgumentTypeError(f"`{text}` is not of the form openai=8101,anthropic=8102") from None


def _with_options(settings: Settings, options: argparse.Namespace) -> Settings:
    """The settings with what the command line says instead.

    Raises:
        BadConfiguration: a port that is none, or for a provider that is not there.
    """
    names = [one.name for one in settings.providers]
    unknown = [name for name in options.ports if name not in names]
    if unknown:
        raise BadConfiguration(f"--ports: no provider is called `{unknown[0]}`; there are {', '.join(names)}")
    changed = settings.model_dump()
    for one in changed["providers"]:
        one["port"] = options.ports.get(one["name"], one["port"])
    changed |= {name: value for name in ("host", "port") if (value := getattr(options, name)) is not None}
    try:
        return Settings.model_validate(changed)
    except ValidationError as error:
        rows = [f"{'.'.join(map(str, row['loc']))}: {row['msg']}" for row in error.errors()]
        raise BadConfiguration("\n".join(rows)) from error


if __name__ == "__main__":
    sys.exit(main())
