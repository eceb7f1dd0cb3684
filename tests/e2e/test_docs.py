"""What the documentation shows runs as it stands: snippets against the appliance, orders against the simulator."""

from __future__ import annotations

import gc
import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pages import ROOT, Block, blocks

SNIPPETS = [block for block in blocks() if (block.language, block.mark) == ("python", "run: appliance")]
SCRIPTS = [block for block in blocks() if (block.language, block.mark) == ("sh", "run: appliance")]
ORDERS = [
    line for block in blocks() if block.language == "sh" for line in block.code.splitlines() if line.startswith("curl ")
]


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What ``appliance up --simulate --json`` says of itself."""
    ports = ["--nats-port", "0", "--port", "0", "--no-console"]
    command = [sys.executable, "-m", "appliance", "up", "--simulate", "--json", *ports, "--data-dir"]
    with subprocess.Popen(
        [*command, str(tmp_path_factory.mktemp("appliance"))], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()
            status = process.wait(timeout=60)
    assert status == 0


def where(appliance: dict[str, str]) -> dict[str, str]:
    """The variables by which clients find an appliance."""
    return {
        "PENSTOCK_URL": appliance["nats_url"],
        "PENSTOCK_GATEWAY": appliance["gateway_url"],
        "PENSTOCK_KEY": appliance["project_key"],
        "PENSTOCK_ADMIN_KEY": appliance["admin_key"],
    }


@pytest.mark.parametrize("block", SNIPPETS, ids=lambda block: block.place)
def test_a_snippet_runs_against_the_appliance(
    block: Block, appliance: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a program, but in this process: starting an interpreter costs more than the snippet."""
    for name, value in where(appliance).items():
        monkeypatch.setenv(name, value)
    space: dict[str, object] = {"__name__": "__main__"}
    with warnings.catch_warnings():
        # What it leaves open a program's end closes; here it would be found at some time, and called another test's.
        warnings.simplefilter("ignore", ResourceWarning)
        exec(compile(block.code, block.place, "exec", dont_inherit=True), space)
        space.clear()
        gc.collect()
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("block", SCRIPTS, ids=lambda block: block.place)
def test_a_script_runs_against_the_appliance(block: Block, appliance: dict[str, str], tmp_path: Path) -> None:
    programs = str(Path(sys.executable).parent)
    environ = os.environ | {  # noqa: TID251
        **where(appliance),
        "PATH": f"{programs}:{os.environ['PATH']}",  # noqa: TID251
    }
    run = subprocess.run(
        ["sh", "-e", "-c", block.code],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()


@pytest.fixture(scope="module")
def simulator() -> Iterator[str]:
    """Address of a simulator of our own."""
    command = [sys.executable, "-m", "simulator", "--port", "0", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
            process.wait(timeout=30)


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_to_the_simulator_is_understood(order: str, simulator: str) -> None:
    words = shlex.split(order)
    method = words[words.index("-X") + 1] if "-X" in words else "GET"
    data = words[words.index("-d") + 1].encode() if "-d" in words else None
    (url,) = [word for word in words if word.startswith("http://")]
    address = re.sub(r"^http://[^/]+", simulator, url)
    with urllib.request.urlopen(urllib.request.Request(address, data=data, method=method), timeout=10) as answer:
        assert answer.status == 200
        assert json.loads(answer.read())
