"""compose.yaml on a machine without Docker: its commands and health checks as plain processes, paths mapped."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from appliance.ports import free_ports
from runtime.broker import binary

ROOT = Path(__file__).resolve().parents[2]
_VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::-([^}]*))?\}")


def compose_file(variables: Mapping[str, str]) -> dict[str, Any]:
    """The file, its variables filled in as compose does; an unset one without a default is empty."""
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    filled = _VARIABLE.sub(lambda found: variables.get(found[1]) or found[2] or "", text)
    loaded: dict[str, Any] = yaml.safe_load(filled)
    return loaded


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

    LISTENING = (("broker", "4222"), ("broker", "8222"), ("simulator", "8090"))

    def __post_init__(self) -> None:
        every = [*self.LISTENING, *((name, "8080") for name in self.compose["services"])]
        self.ports = dict(zip(every, free_ports(len(every)), strict=True))
        for volume in self.compose["volumes"]:
            (self.folder / volume).mkdir(mode=0o700)

    def order(self) -> list[str]:
        """The services' names, each after those it depends on."""
        services, ordered = self.compose["services"], list[str]()

        def visit(name: str) -> None:
            for needed in services[name].get("depends_on", {}):
                visit(needed)
            if name not in ordered:
                ordered.append(name)

        for name in services:
            visit(name)
        return ordered

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start a service's command."""
        log = (self.folder / f"{name}.log").open("wb")
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
        program = {"python": sys.executable, "nats-server": str(binary())}.get(command[0]) or shutil.which(command[0])
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
        return codes

    def _here(self, name: str, word: str) -> str:
        word = re.sub(r"(?<=[:/@])(broker|simulator)(?=:\d)", "127.0.0.1", word)
        for (owner, port), there in self.ports.items():
            if owner == name or port != "8080":
                word = re.sub(rf"(?:(?<=:)|^){port}\b", str(there), word)
        word = "127.0.0.1" if word == "0.0.0.0" else word
        return self._mounted(name, word) if word.startswith("/") and word != "/dev/null" else word

    def _mounted(self, name: str, path: str) -> str:
        """A path in the container: a volume's folder here, or a bound file with addresses and paths mapped."""
        for mount in self.compose["services"][name]["volumes"]:
            source, target = mount.split(":")[:2]
            if path != target and not path.startswith(f"{target}/"):
                continue
            if not source.startswith("."):
                return str(self.folder / source) + path.removeprefix(target)
            text = (ROOT / source).read_text(encoding="utf-8")
            copy = self.folder / f"{name}-{Path(target).name}"
            copy.write_text(self._mapped(text), encoding="utf-8")
            return str(copy)
        raise AssertionError(f"{name}: nothing is mounted at {path}")

    def _mapped(self, text: str) -> str:
        """A configuration's text: service names and ports, volumes' paths, and the include that is relative."""
        text = re.sub(r"(?<=//)(broker|simulator)(?=:\d)", "127.0.0.1", text).replace("0.0.0.0:", "127.0.0.1:")
        for (_, port), there in self.ports.items():
            text = re.sub(rf"(?<=:){port}\b", str(there), text) if port != "8080" else text
        text = text.replace('"../../keys/', '"keys/')  # the copy lies beside the folders
        text = text.replace("file:/keys/", f"file:{self.folder}/keys/")
        return text.replace('"/data/', f'"{self.folder}/broker/')
