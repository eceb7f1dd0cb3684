"""What benchmarks.edge measures: this gateway, and others beside it, each before the same simulator."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import yaml

ROOT = Path(__file__).parent.parent
ANSWERS: Mapping[str, Mapping[str, Any]] = {
    "quick": {"answer": {"shortest": 16, "longest": 16}},
    "slow": {"pace": {"latency": 0.5, "ttft": 0.5}, "answer": {"shortest": 16, "longest": 16}},
    "burst": {"answer": {"shortest": 256, "longest": 256}},
}
"""What the simulator plays, each as a provider of its own: short and at once, after 0.5 s, long and at once."""
SPOKEN, PACE, TOKENS = "spoken", 30, 256
"""What ``edge_provider`` plays: tokens a second and tokens of an answer."""
MODEL = "gpt-5-mini"
BEARER = {"authorization": "Bearer bench"}
MASTER = f"sk-{secrets.token_hex(32)}"
"""What is asked for by a gateway that does not start without."""
STARTING = 90.0
"""Seconds a system may take until it answers."""


@dataclass
class System:
    """Something that speaks the OpenAI API over HTTP. ``pids``: the processes whose CPU counts, children included."""

    name: str
    urls: dict[str, str]
    """By what is asked for, up to and without ``/chat/completions``."""
    models: dict[str, str]
    pids: dict[str, int]
    headers: dict[str, dict[str, str]]

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU by process so far."""
        return {name: sum(_seconds(one) for one in _family(pid)) for name, pid in self.pids.items()}

    def memory(self) -> dict[str, float]:
        """Resident MiB by process."""
        return {name: sum(one.memory_info().rss for one in _family(pid)) / 2**20 for name, pid in self.pids.items()}


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _seconds(process: psutil.Process) -> float:
    try:
        return sum(process.cpu_times()[:2])
    except psutil.NoSuchProcess:
        return 0.0


@contextmanager
def simulator() -> Iterator[dict[str, str]]:
    """The provider's side: base URLs by what is asked for."""
    providers = [{"name": name, "dialect": "openai", **more} for name, more in ANSWERS.items()]
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        path = Path(folder) / "simulator.yaml"
        path.write_text(yaml.safe_dump({"log_size": 0, "providers": providers}))
        with _started([sys.executable, "-m", "simulator", "--config", str(path), "--json"]) as (_, card):
            bases = {name: f"{url}/v1" for name, url in card["base_urls"].items()}
            with _started([sys.executable, "-m", "benchmarks.edge_provider", str(PACE), str(TOKENS)]) as (_, lean):
                yield {**bases, SPOKEN: f"{lean['base_url']}/v1"}


@contextmanager
def direct(bases: Mapping[str, str]) -> Iterator[System]:
    """The simulator itself: what there would be without a gateway."""
    yield System("direct", dict(bases), dict.fromkeys(bases, MODEL), {}, dict.fromkeys(bases, BEARER))


@contextmanager
def ours(bases: Mapping[str, str], sync: str, *, workers: Mapping[str, Any] | None = None) -> Iterator[System]:
    """The appliance: broker, scheduler, edge and a pool each provider."""
    config = {
        "providers": {
            name: {"dialect": "openai_chat", "base_url": url, "key": "bench", "slots": 1_024}
            for name, url in bases.items()
        },
        "routes": {name: {"deployments": [f"{name}/{MODEL}"]} for name in bases},
        "projects": {"bench": {}},
        "workers": dict(workers or {}),
    }
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        path = Path(folder) / "penstock.yaml"
        path.write_text(yaml.safe_dump(config))
        command = [
            sys.executable,
            "-m",
            "appliance",
            "up",
            "--json",
            "--no-console",
            "--config",
            str(path),
            "--sync",
            sync,
        ]
        command += ["--port", "0", "--nats-port", "0", "--data-dir", f"{folder}/data"]
        with _started(command) as (_, card):
            key = {"authorization": f"Bearer {card['project_key']}"}
            pids = {name: int(pid) for name, pid in card["pids"].items()}
            urls = dict.fromkeys(bases, f"{card['gateway_url']}/v1")
            yield System("penstock", urls, {name: name for name in bases}, pids, dict.fromkeys(bases, key))


@contextmanager
def litellm(python: str, bases: Mapping[str, str]) -> Iterator[System]:
    """LiteLLM's proxy, one worker, without its database. ``python``: an interpreter that has ``litellm[proxy]``."""
    models = [
        {"model_name": name, "litellm_params": {"model": f"openai/{MODEL}", "api_base": url, "api_key": "bench"}}
        for name, url in bases.items()
    ]
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        path, port = Path(folder) / "config.yaml", _free()
        path.write_text(yaml.safe_dump({"model_list": models, "litellm_settings": {"telemetry": False}}))
        command = [str(Path(python).with_name("litellm")), "--config", str(path), "--port", str(port)]
        with _served([*command, "--host", "127.0.0.1"], f"http://127.0.0.1:{port}/health/liveliness") as child:
            urls, names = dict.fromkeys(bases, f"http://127.0.0.1:{port}/v1"), {name: name for name in bases}
            master = {"authorization": f"Bearer {MASTER}"}
            yield System(
                "litellm",
                urls,
                names,
                {"litellm": child.pid},
                dict.fromkeys(bases, master),
            )


@contextmanager
def portkey(folder: str, bases: Mapping[str, str]) -> Iterator[System]:
    """Portkey's gateway. ``folder``: where ``npm install @portkey-ai/gateway`` was run."""
    port = _free()
    script = Path(folder) / "node_modules/@portkey-ai/gateway/build/start-server.js"
    command = ["node", str(script), f"--port={port}", "--headless"]
    with _served(command, f"http://127.0.0.1:{port}/") as child:
        headers = {
            name: {**BEARER, "x-portkey-provider": "openai", "x-portkey-custom-host": url}
            for name, url in bases.items()
        }
        urls = dict.fromkeys(bases, f"http://127.0.0.1:{port}/v1")
        yield System("portkey", urls, dict.fromkeys(bases, MODEL), {"portkey": child.pid}, headers)


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@contextmanager
def _started(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """One of ours, which tells on its first line what there is."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        line = child.stdout.readline() if child.stdout else ""
        if not line.startswith("{"):
            raise SystemExit(f"{' '.join(command)} did not start: {line!r}")
        yield child, json.loads(line)
    finally:
        child.terminate()
        child.wait(60)


@contextmanager
def _served(command: list[str], ready: str) -> Iterator[subprocess.Popen[str]]:
    """Something else, once it answers 200 at ``ready``; it runs without this program's environment."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}  # noqa: TID251 - to hand on
    child = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        env={
            **kept,
            "NODE_ENV": "production",
            "LITELLM_LOG": "ERROR",
            "LITELLM_MASTER_KEY": MASTER,
            "TRUSTED_CUSTOM_HOSTS": "127.0.0.1",
        },
        start_new_session=True,
    )
    try:
        ends = time.monotonic() + STARTING
        while not _answers(ready):
            if child.poll() is not None or time.monotonic() > ends:
                raise SystemExit(f"{' '.join(command)} did not start")
            time.sleep(0.2)  # noqa: TID251 - waits for a program that says nothing
        yield child
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(child.pid, number)
                child.wait(10)


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:  # noqa: S310 - an address of this program's own
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
