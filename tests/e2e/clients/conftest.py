"""One appliance for all clients, and the environment in which they are installed (``make clients``)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from appliance.configuration import BUILT_IN
from tests.support.pages import ROOT

CLIENTS = Path(sys.prefix) / "clients"
EXAMPLES = ROOT / "examples" / "clients"
PATIENCE = 100.0
"""Seconds a client has for all that it does, its imports included."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the appliance is and who asks it."""

    url: str
    key: str
    admin_key: str
    simulator: str

    @property
    def environ(self) -> dict[str, str]:
        """The variables that the vendors' clients read by themselves, and nothing that points elsewhere."""
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}  # noqa: TID251
        return kept | {
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "OPENAI_API_KEY": self.key,
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": self.key,
        }


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """An appliance with the built-in routes, a route that keeps its readers waiting, and one that makes vectors."""
    folder = tmp_path_factory.mktemp("appliance")
    (folder / "penstock.yaml").write_text(yaml.safe_dump(_configuration()), encoding="utf-8")
    words = [
        "up",
        "--simulate",
        "--json",
        "--port",
        "0",
        "--no-console",
        "--nats-port",
        "0",
        "--config",
        str(folder / "penstock.yaml"),
    ]
    command = [sys.executable, "-m", "appliance", *words, "--data-dir", str(folder / "data")]
    with (
        (folder / "errors").open("wb") as errors,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (folder / "errors").read_text(encoding="utf-8")
            card = json.loads(line)
            yield Place(card["gateway_url"], card["project_key"], card["admin_key"], card["simulator_url"])
        finally:
            process.terminate()
            status = process.wait(timeout=60)
    assert status == 0


def _configuration() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(BUILT_IN)
    config["routes"]["slow"] = {"deployments": ["openai/gpt-4.1-mini+ttft=0.8+tps=2"]}
    config["routes"]["vectors"] = {"deployments": ["openai/text-embedding-3-small"]}
    config["gateway"] = {"ping": 0.2}  # signs of life in every stream that waits
    return config


@dataclass(frozen=True, slots=True)
class Programs:
    """Runs a client's program as a person would; gives what it printed."""

    place: Place
    folder: Path

    def python(self, program: Path, *, interpreter: Path = CLIENTS / "bin" / "python") -> str:
        return self.run(str(interpreter), str(program))

    def node(self, program: Path) -> str:
        """Node looks for packages beside the program: so that is where it is put."""
        shutil.copy(program, self.folder)
        (self.folder / "node_modules").symlink_to(CLIENTS / "node_modules")
        return self.run(str(CLIENTS / "bin" / "node"), program.name)

    def run(self, *command: str) -> str:
        environ = self.place.environ | {"PYTHONDONTWRITEBYTECODE": "", "HOME": str(self.folder)}
        ran = subprocess.run(
            command,
            cwd=self.folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr + ran.stdout
        return ran.stdout


@pytest.fixture
def programs(place: Place, tmp_path: Path) -> Programs:
    if not (CLIENTS / ".set-up").exists():
        pytest.fail(f"the clients are not there ({CLIENTS}): run `make clients`")
    return Programs(place, tmp_path)
