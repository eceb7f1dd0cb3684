"""Puts one machine's processes together: keys, ports, files, and how each process is started and known to be ready."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

from appliance import configuration
from appliance.configuration import Operator, Simulated
from appliance.errors import WrongUse
from appliance.http import NoAnswer, ask, is_ready
from appliance.keys import Keys, keys_of
from appliance.places import Places, write_private
from appliance.ports import LOOPBACK, asked_for, free_ports
from appliance.supervisor import Spec
from appliance.users import users_of
from runtime.broker import BrokerConfig, BrokerError, command, write_config

ROOT = Path(__file__).resolve().parents[1]
"""The tree that the services are run from."""

SCHEDULER, SIMULATOR, BROKER = "scheduler", "simulator", "broker"

_LEADER = re.compile(rb"^\w*_leader(?:\{[^}]*\})? 1(?:\.0)?$", re.MULTILINE)

_PRODUCTION_FIRST, _SIMULATOR_NEXT, _BROKER_LAST = 0, 1, 2
"""The order in which processes are stopped."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What ``up`` was asked for. ``simulated`` and ``over`` are the demo's: see ``configuration``."""

    data_dir: Path
    nats_port: int = 4222
    config: Path | None = None
    simulate: bool = False
    sync: Literal["default", "always"] = "always"
    simulated: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    over: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Assembly:
    """Everything there is to start, and where it will be.

    ``services`` and ``base_urls`` are addresses by name; ``project`` and ``route`` the first of the configuration.
    """

    specs: tuple[Spec, ...]
    keys: Keys
    project: str
    route: str
    nats_url: str
    simulator_url: str | None
    services: Mapping[str, str]
    base_urls: Mapping[str, str]

    @property
    def project_key(self) -> SecretStr:
        """The key of the first project."""
        return self.keys.projects[self.project]

    @property
    def metrics(self) -> dict[str, str]:
        """Where each process tells its measurements."""
        found = {name: f"{url}/metrics" for name, url in self.services.items()}
        return found if self.simulator_url is None else {**found, SIMULATOR: f"{self.simulator_url}/metrics"}


def assemble(wishes: Wishes, places: Places) -> Assembly:
    """Make keys and files below ``places``, choose ports, and say what to start. Starts nothing.

    Raises:
        ApplianceError: the configuration is wrong, a port is taken, the keys cannot be read, there is no broker.
    """
    operator = configuration.operator(wishes.config, simulate=wishes.simulate)
    projects = tuple(operator.config.projects)
    if configuration.SERVICE_USER in projects:
        raise WrongUse(f"projects.{configuration.SERVICE_USER}: the services' own name; call the project otherwise")
    nats_port = asked_for(wishes.nats_port, option="--nats-port", what="the broker")
    keys = keys_of(places.keys, projects)
    nats_url = f"nats://{LOOPBACK}:{nats_port}"
    specs = [_broker(wishes, places, keys, projects, nats_port)]
    played = configuration.simulated(operator.config) if wishes.simulate else ()
    simulator, base_urls = _simulator(wishes, places, played) if wishes.simulate else (None, {})
    if simulator is not None:
        specs.append(simulator[0])
    write_private(places.service_password, keys.service_password.get_secret_value() + "\n")
    _write_config(wishes, places, operator, nats_url, base_urls)
    pools = tuple(operator.config.providers)
    ports = dict(zip((SCHEDULER, *pools), free_ports(1 + len(pools)), strict=True))
    scheduler = _service(places, nats_url, SCHEDULER, ports[SCHEDULER], "scheduler")
    specs.append(replace(scheduler, ready=partial(leads, f"http://{LOOPBACK}:{ports[SCHEDULER]}")))
    specs += [_service(places, nats_url, f"worker-{pool}", ports[pool], "workers", "--pool", pool) for pool in pools]
    services = {SCHEDULER: ports[SCHEDULER], **{f"worker-{pool}": ports[pool] for pool in pools}}
    return Assembly(
        specs=tuple(specs),
        keys=keys,
        project=projects[0],
        route=next(iter(operator.config.routes)),
        nats_url=nats_url,
        simulator_url=simulator[1] if simulator is not None else None,
        services={name: f"http://{LOOPBACK}:{port}" for name, port in services.items()},
        base_urls=base_urls,
    )


def _broker(wishes: Wishes, places: Places, keys: Keys, projects: tuple[str, ...], port: int) -> Spec:
    for stale in places.broker.glob("*.ports"):  # what a killed server left behind
        stale.unlink(missing_ok=True)
    config = BrokerConfig(host=LOOPBACK, port=port, sync=wishes.sync, users=users_of(keys, projects))
    try:
        argv = command(write_config(config, places.broker))
    except BrokerError as error:
        raise WrongUse(str(error)) from error
    return Spec(
        name=BROKER,
        argv=argv,
        ready=partial(greets, LOOPBACK, port),
        stops=_BROKER_LAST,
        own_log=places.broker / "nats-server.log",
    )


def _simulator(
    wishes: Wishes, places: Places, played: tuple[Simulated, ...]
) -> tuple[tuple[Spec, str], dict[str, str]]:
    main, *others = free_ports(1 + len(played))
    ports = {one.provider: port for one, port in zip(played, others, strict=True)}
    settings = configuration.simulator_settings(played, port=main, ports=ports, more=wishes.simulated)
    write_private(places.simulator, json.dumps(settings, indent=2))
    url = f"http://{LOOPBACK}:{main}"
    argv = (sys.executable, "-m", "simulator", "--config", str(places.simulator))
    spec = Spec(SIMULATOR, argv, _ready(url), cwd=ROOT, stops=_SIMULATOR_NEXT, grace=10.0)
    return (spec, url), {one.provider: f"http://{LOOPBACK}:{ports[one.provider]}{one.path}" for one in played}


def _write_config(
    wishes: Wishes, places: Places, operator: Operator, nats_url: str, base_urls: Mapping[str, str]
) -> None:
    text = configuration.effective(
        operator, nats_url=nats_url, password_file=places.service_password, base_urls=base_urls, over=wishes.over
    )
    write_private(places.config, text)


def _service(places: Places, nats_url: str, name: str, port: int, module: str, *more: str) -> Spec:
    argv = (sys.executable, "-m", module, "--config", str(places.config), "--nats", nats_url)
    return Spec(
        name=name,
        argv=(*argv, "--health-port", str(port), *more),
        ready=_ready(f"http://{LOOPBACK}:{port}"),
        wave=1,
        stops=_PRODUCTION_FIRST,
        grace=45.0,
        cwd=ROOT,
    )


def _ready(url: str) -> Callable[[], Awaitable[bool]]:
    return partial(is_ready, f"{url}/readyz")


async def leads(url: str, *, timeout: float = 2.0) -> bool:
    """Whether the scheduler there dispatches: one that stands by is ready, and yet nobody answers while it is alone."""
    try:
        told = await ask(f"{url}/metrics", timeout=timeout)
    except NoAnswer:
        return False
    return _LEADER.search(told.body) is not None


async def greets(host: str, port: int, *, timeout: float = 2.0) -> bool:
    """Whether a NATS server with JetStream greets there."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                line = await reader.readline()
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
        return line.startswith(b"INFO ") and bool(json.loads(line[5:]).get("jetstream"))
    except (OSError, TimeoutError, ValueError):
        return False
