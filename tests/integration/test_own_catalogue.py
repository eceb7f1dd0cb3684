"""A catalogue that cannot be used ends a service at once, with its file and line, whether there is a broker or not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT


@pytest.mark.parametrize("process", [["scheduler"], ["workers", "--pool", "openai"]])
@pytest.mark.parametrize(
    ("file", "expected"),
    [("colour = 1\n", "openai.toml:1: colour"), (None, "mine: not a folder; name one with a file NAME.toml")],
)
def test_a_service_refuses_a_wrong_catalogue(
    tmp_path: Path, process: list[str], file: str | None, expected: str
) -> None:
    (tmp_path / "penstock.yaml").write_text(
        "catalogue: mine\nproviders: {openai: {key: k}}\nroutes: {fast: {deployments: [openai/gpt-5.4]}}\n"
        "nats: {url: 'nats://127.0.0.1:1'}\n"
    )
    if file is not None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "openai.toml").write_text(file)
    done = subprocess.run(
        [sys.executable, "-m", process[0], "--config", str(tmp_path / "penstock.yaml"), *process[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 78
    assert "the configuration cannot be used" in done.stderr
    assert expected in done.stderr
