"""compose.yaml on a machine without Docker: its commands and health checks as plain processes, paths mapped.

What the image of Postgres does before its command is done here with the machine's own programs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, ClassVar

import yaml

from appliance.ports import free_ports
from runtime.broker import binary
from tests.support.postgres import USER, Postgres, programs

ROOT = Path(__file__).resolve().parents[2]
_VARIABLE = re.compile(r"\$\{([A-Z_0-9]+)(?::-([^}]*))?\}")


def compose_file(variables: Mapping[str, str], *profiles: str) -> dict[str, Any]:
    """The file, its variables filled in as compose does; an unset one without a default is empty.

    With ``profiles`` only the services that run with these.
    """
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    filled = _VARIABLE.sub(lambda found: variables.get(found[1]) or found[2] or "", text)
    loaded: dict[str, Any] = yaml.safe_load(filled)
    if profiles:
        services = loaded["services"].items()
        loaded["services"] = {
            name: one for name, one in services if not one.get("profiles") or set(one["profiles"]) & set(profiles)
        }
    return loaded


def variables_of(name: str) -> dict[str, str]:
    """What a file for ``--env-file`` sets."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@dataclass
class Machine:
    """Runs services of a compose file below ``folder``.

    Every container has a network of its own; here they share one, so each listening port becomes a free one, and a
    service's name becomes the loopback.
    """

    compose: dict[str, Any]
    folder: Path
    ports: dict[tuple[str, str], int] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    database: Postgres | None = None

    LISTENING: ClassVar[Mapping[str, Sequence[str]]] = {
        **dict.fromkeys(("broker", "broker-2", "broker-3"), ("4222", "6222", "8222")),
        "simulator": ("8090",),
        "gateway": ("8400", "8080"),
        "console": ("8401", "8080"),
        "postgres": ("5432",),
    }

    def __post_init__(self) -> None:
        services = [name for name in self.compose["services"] if name not in self.LISTENING]
        every = [(name, port) for name, ports in self.LISTENING.items() for port in ports]
        every += [(name, "8080") for name in services]
        self.ports = dict(zip(every, free_ports(len(every)), strict=True))
        for volume in self.compose["volumes"]:
            (self.folder / volume).mkdir(mode=0o700)

    def order(self) -> list[str]:
        """The services' names, each after those it depends on."""
        services, ordered = self.compose["services"], list[str]()

        def visit(name: str) -> None:
            for needed in services[name].get("depends_on", {}):
                if needed in services:
                    visit(needed)
            if name not in ordered:
                ordered.append(name)

        for name in services:
            visit(name)
        return ordered

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start a service's command."""
        log = (self.folder / f"{name}.log").open("wb")
        if name == "postgres":
            with log:
                self.running[name] = self._postgres(self.compose["services"][name], log)
            return self.running[name]
        with log:
            process = subprocess.Popen(
                self.argv(name, self.compose["services"][name]["command"]),
                cwd=ROOT,
                env={**os.environ, **self.compose["services"][name].get("environment", {})},  # noqa: TID251 - a child's
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.running[name] = process
        return process

    def _postgres(self, service: dict[str, Any], log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Made on the first start: the superuser's password, then the script, while only the socket is open."""
        if self.database is None:
            self.database = Postgres()
            self.database.make(
                *service["environment"]["POSTGRES_INITDB_ARGS"].split(),
                password=(self.folder / "ledger-keys" / "database.password").read_text(encoding="utf-8"),
            )
            self.database.start("listen_addresses=''", f"unix_socket_directories={self.database.folder}")
            own = {"PGHOST": str(self.database.folder), "PGPORT": str(self.database.port)}
            own["POSTGRES_PASSWORD_FILE"] = str(self.folder / "ledger-keys" / "database.password")
            env = {**os.environ, **own}  # noqa: TID251 - a child's
            script = next(one.split(":")[0] for one in service["volumes"] if "docker-entrypoint-initdb.d" in one)
            subprocess.run([ROOT / script], env=env, check=True, stdout=log, stderr=log, timeout=60)
            self.database.stop("fast")
        program, *options = service["command"]
        options += ["-p", str(self.ports["postgres", "5432"])]
        for setting in ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"):
            options += ["-c", setting]
        user = USER if os.geteuid() == 0 else None
        return subprocess.Popen(
            [str(programs() / program), "-D", "data", *options],
            cwd=self.database.folder,
            user=user,
            group=user,
            stdout=log,
            stderr=log,
        )

    def healthy(self, name: str) -> bool:
        """Run a service's health check once."""
        kind, *command = self.compose["services"][name]["healthcheck"]["test"]
        assert kind == "CMD"
        return subprocess.run(self.argv(name, command), cwd=ROOT, check=False, timeout=20).returncode == 0

    def run(self, name: str, command: str) -> str:
        """Run a further command as a service would, to its end; what it printed."""
        argv = self.argv(name, command.split())
        return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout

    def said(self, name: str) -> str:
        """What a service has printed."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def argv(self, name: str, command: list[str]) -> list[str]:
        """A command of the container of service ``name``, as it runs here."""
        known = {"python": sys.executable, "nats-server": str(binary()), "pg_isready": str(programs() / "pg_isready")}
        program = known.get(command[0]) or shutil.which(command[0])
        assert program, f"{command[0]} is not installed here"
        return [program, *(self._here(name, word) for word in command[1:])]

    def stop(self) -> dict[str, int]:
        """Ask everything to end, dependants first; exit codes by name. What does not end is killed."""
        codes: dict[str, int] = {}
        for name in reversed(self.order()):
            process = self.running.pop(name, None)
            if process is None:
                continue
            process.terminate()
            try:
                codes[name] = process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[name] = process.wait()
        if self.database is not None:
            self.database.remove()
            self.database = None
        return codes

    def _here(self, name: str, word: str) -> str:
        word = self.ports_of(name, word)
        word = "127.0.0.1" if word == "0.0.0.0" else word
        return self._mounted(name, word) if word.startswith("/") and word != "/dev/null" else word

    def ports_of(self, name: str, text: str) -> str:
        """``text`` as service ``name`` says it, every address in it one that listens here."""
        if (name, text) in self.ports:
            return str(self.ports[name, text])
        others = "|".join(sorted(self.LISTENING, key=len, reverse=True))

        def here(found: re.Match[str]) -> str:
            owner = name if found[1] in ("0.0.0.0", "127.0.0.1") else found[1]
            port = self.ports.get((owner, found[2]))
            return f"127.0.0.1:{port}" if port else found[0]

        return re.sub(rf"(?<![\w.-])({others}|0\.0\.0\.0|127\.0\.0\.1):(\d+)\b", here, text)

    def _mounted(self, name: str, path: str) -> str:
        """A path in the container: a volume's folder here, or a bound file with addresses and paths mapped."""
        volumes = {
            target: source for source, target, *_ in (m.split(":") for m in self.compose["services"][name]["volumes"])
        }
        for target, source in volumes.items():
            if path != target and not path.startswith(f"{target}/"):
                continue
            if source in self.compose["volumes"]:
                return str(self.folder / source) + path.removeprefix(target)
            text = self.ports_of(name, (ROOT / source).read_text(encoding="utf-8"))
            text = text.replace('"../../keys/', '"keys/')  # the copy lies beside the folders
            text = text.replace("file:/keys/", f"file:{self.folder}/keys/")
            text = text.replace("file:/ledger-keys/", f"file:{self.folder}/ledger-keys/")
            text = text.replace("access: /keys/", f"access: {self.folder}/keys/")
            if "/data" in volumes:
                text = text.replace('"/data/', f'"{self.folder / volumes["/data"]}/')
            copy = self.folder / f"{name}-{Path(target).name}"
            copy.write_text(text, encoding="utf-8")
            return str(copy)
        raise AssertionError(f"{name}: nothing is mounted at {path}")
