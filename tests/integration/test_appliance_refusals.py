"""What the appliance refuses before it starts anything: each in one clear message with the way out."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from appliance.places import Places, locked
from appliance.ports import free_port
from tests.support.appliances import run


async def test_without_a_configuration_it_says_how_to_go_on(tmp_path: Path) -> None:
    code, said, wrong = await run("up", "--data-dir", str(tmp_path), "--nats-port", "0")
    assert (code, said) == (2, "")
    assert "--simulate" in wrong
    assert "--config penstock.yaml" in wrong


async def test_a_second_appliance_on_the_directory_is_refused(tmp_path: Path) -> None:
    with locked(Places(tmp_path)):
        code, said, wrong = await run("up", "--simulate", "--data-dir", str(tmp_path), "--nats-port", "0")
    assert (code, said) == (1, "")
    assert "another appliance uses" in wrong
    assert "--data-dir" in wrong


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said, wrong = await run("up", "--simulate", "--data-dir", str(tmp_path), "--nats-port", str(port))
    assert (code, said) == (1, "")
    assert f"port {port} is taken" in wrong
    assert "--nats-port 0" in wrong


async def test_a_wrong_configuration_is_refused_with_its_line(tmp_path: Path) -> None:
    config = tmp_path / "penstock.yaml"
    config.write_text("providers:\n  openai: {key: x}\nroutes:\n  fast: {deployments: [opnai/gpt-5-mini]}\n")
    code, said, wrong = await run("up", "--config", str(config), "--data-dir", str(tmp_path / "d"), "--nats-port", "0")
    assert (code, said) == (2, "")
    assert "penstock.yaml:4:" in wrong
    assert "opnai" in wrong


@pytest.mark.parametrize("words", [["up", "--nats-port", "70000"], ["up", "--sync", "never"], ["fly"], []])
async def test_a_wrong_command_line_is_refused(words: list[str]) -> None:
    code, said, wrong = await run(*words)
    assert (code, said) == (2, "")
    assert "usage:" in wrong


async def test_a_health_check_tells_by_its_exit_code() -> None:
    assert await run("ready", f"http://127.0.0.1:{free_port()}/readyz") == (1, "", "")


async def test_damaged_keys_are_left_alone_and_named(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("{")
    code, said, wrong = await run("up", "--simulate", "--data-dir", str(tmp_path), "--nats-port", "0")
    assert (code, said) == (2, "")
    assert "keys.json" in wrong
    assert (tmp_path / "keys.json").read_text() == "{"
