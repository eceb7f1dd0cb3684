"""Puts one machine's processes together: keys, ports, files, and how each process is started and known to be ready."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
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
from appliance.users import callout_of, users_of
from runtime.broker import BrokerConfig, BrokerError, command, write_config
from runtime.bus.manifest import reserved
from runtime.connection import declared

ROOT = Path(__file__).resolve().parents[1]
"""The tree that the services are run from."""

SCHEDULER, GATEWAY, LEDGER, CONSOLE = "scheduler", "gateway", "ledger", "console"
SIMULATOR, BROKER = "simulator", "broker"

_LEADER = re.compile(rb"^\w*_leader(?:\{[^}]*\})? 1(?:\.0)?$", re.MULTILINE)

_BEYOND_DRAIN = 15.0
"""Seconds that a process has beyond its own drain before it is killed."""

_AMPLE = 2**50
"""Bytes the broker may reserve: the streams have limits of their own, a second one would only refuse to change them."""

_PRODUCTION_FIRST, _SIMULATOR_NEXT, _LEDGER_NEXT, _BROKER_LAST = 0, 1, 1, 2
"""The order in which processes are stopped: the ledger hears of what the workers finished last."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What ``up`` was asked for.

    ``variables``: the environment for the processes, as far as each may see it. ``simulated`` and ``over`` are the
    demo's: see ``configuration``.
    """

    data_dir: Path
    port: int = 0
    """Of the HTTP edge; 0 takes any that is free."""
    nats_port: int = 4222
    console_port: int | None = None
    """Of the console; 0 takes any that is free, None starts none."""
    config: Path | None = None
    simulate: bool = False
    postgres: SecretStr | None = None
    """Where the ledger is kept; None: where the configuration says, else in a file of the data directory."""
    sync: Literal["default", "always"] = "always"
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
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
    gateway_url: str
    console_url: str | None
    simulator_url: str | None
    services: Mapping[str, str]
    base_urls: Mapping[str, str]
    disk: int
    """Bytes that the streams may come to take on the disk."""

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
    projects = tuple(wishes.over.get("projects", operator.config.projects))
    configuration.check_names(projects)
    nats_port = asked_for(wishes.nats_port, option="--nats-port", what="the broker")
    port = asked_for(wishes.port, option="--port", what="the HTTP edge")
    console = wishes.console_port
    if console is not None:
        console = asked_for(console, option="--console-port", what="the console")
    keys = keys_of(places.keys, projects)
    nats_url = f"nats://{LOOPBACK}:{nats_port}"
    played = configuration.simulated(operator.config) if wishes.simulate else ()
    pools = {f"worker-{provider}": provider for provider in operator.config.providers}
    ports = iter(free_ports(5 + len(pools) + len(played), avoid=frozenset({nats_port, port, console or 0})))
    shown = () if console is None else (CONSOLE,)
    services = {name: f"http://{LOOPBACK}:{next(ports)}" for name in (SCHEDULER, GATEWAY, LEDGER, *shown, *pools)}
    simulator_url = f"http://{LOOPBACK}:{next(ports)}" if wishes.simulate else None
    origins = {one.provider: f"http://{LOOPBACK}:{next(ports)}" for one in played}

    specs = [_broker(wishes, places, keys, projects, nats_port)]
    if simulator_url is not None:
        specs.append(_simulator(wishes, places, played, simulator_url, origins))
    base_urls = {one.provider: origins[one.provider] + one.path for one in played}
    _write_config(wishes, places, operator, nats_url, base_urls, keys=keys)
    write_private(places.service_password, keys.service_password.get_secret_value() + "\n")
    http_ports = {GATEWAY: port} if console is None else {GATEWAY: port, CONSOLE: console}
    specs += _services(places, operator, nats_url, services, pools, http_ports=http_ports)
    return Assembly(
        specs=tuple(_seeing_its_own(specs, wishes.variables, operator, pools)),
        keys=keys,
        project=projects[0],
        route=next(iter(operator.config.routes)),
        nats_url=nats_url,
        gateway_url=f"http://{LOOPBACK}:{port}",
        console_url=None if console is None else f"http://{LOOPBACK}:{console}",
        simulator_url=simulator_url,
        services=services,
        base_urls=base_urls,
        disk=reserved(declared(operator.config), "file"),
    )


def _seeing_its_own(
    specs: list[Spec], variables: Mapping[str, str], operator: Operator, pools: Mapping[str, str]
) -> Iterator[Spec]:
    """Each process with the environment that it may see: a provider's key is its own pool's alone, the database's the
    ledger's.
    """
    keys, ledgers = configuration.credentials(operator), configuration.credentials_of_the_ledger(operator)
    every = ledgers.union(*keys.values())
    for spec in specs:
        hidden = every - (ledgers if spec.name == LEDGER else keys.get(pools.get(spec.name, ""), frozenset()))
        yield replace(spec, env={name: value for name, value in variables.items() if name not in hidden})


def _broker(wishes: Wishes, places: Places, keys: Keys, projects: tuple[str, ...], port: int) -> Spec:
    for stale in places.broker.glob("*.ports"):  # what a killed server left behind
        stale.unlink(missing_ok=True)
    config = BrokerConfig(
        host=LOOPBACK,
        port=port,
        sync=wishes.sync,
        users=users_of(keys),
        callout=callout_of(keys, projects),
        max_file_store=_AMPLE,
    )
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
    wishes: Wishes, places: Places, played: tuple[Simulated, ...], url: str, origins: Mapping[str, str]
) -> Spec:
    ports = {provider: _port(origin) for provider, origin in origins.items()}
    settings = configuration.simulator_settings(played, port=_port(url), ports=ports, more=wishes.simulated)
    write_private(places.simulator, json.dumps(settings, indent=2))
    argv = (sys.executable, "-m", "simulator", "--config", str(places.simulator))
    return Spec(SIMULATOR, argv, _ready(url), cwd=ROOT, stops=_SIMULATOR_NEXT, grace=10.0)


def _write_config(
    wishes: Wishes, places: Places, operator: Operator, nats_url: str, base_urls: Mapping[str, str], *, keys: Keys
) -> None:
    text = configuration.effective(
        operator,
        nats_url=nats_url,
        password_file=places.service_password,
        base_urls=base_urls,
        over=wishes.over,
        gateway={"access": str(places.edge)},
        ledger=_ledger(wishes, places, operator),
    )
    write_private(places.edge, json.dumps(keys.for_the_edge(), indent=2) + "\n")
    write_private(places.config, text)


def _ledger(wishes: Wishes, places: Places, operator: Operator) -> dict[str, Any]:
    """Its database, with an absolute path where it is a file; on one machine it brings its tables up to date itself."""
    told = operator.raw.get("ledger") or {}
    database = f"sqlite:///{places.ledger}"
    if wishes.postgres is not None:
        database = wishes.postgres.get_secret_value().replace("${", "$${")
    elif "database" in told:
        database = configuration.absolute_database(str(told["database"]), operator.folder)
    return {"auto_migrate": True, **told, "database": database}


def _services(
    places: Places,
    operator: Operator,
    nats_url: str,
    services: Mapping[str, str],
    pools: Mapping[str, str],
    *,
    http_ports: Mapping[str, int],
) -> Iterator[Spec]:
    grace = max(operator.config.workers.drain, operator.config.gateway.drain) + _BEYOND_DRAIN
    for name, url in services.items():
        what = ("workers", "--pool", pools[name]) if name in pools else (name,)
        argv = (sys.executable, "-m", *what, "--config", str(places.config), "--nats", nats_url)
        if name in http_ports:
            argv = (*argv, "--port", str(http_ports[name]))
        yield Spec(
            name=name,
            argv=(*argv, "--health-port", str(_port(url))),
            ready=partial(leads, url) if name == SCHEDULER else _ready(url),
            wave=1,
            stops=_LEDGER_NEXT if name == LEDGER else _PRODUCTION_FIRST,
            grace=grace,
            cwd=ROOT,
        )


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


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
