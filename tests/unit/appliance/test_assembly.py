"""What is put together for one machine: which process, with which words, seeing what."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from appliance.assembly import Assembly, Wishes, assemble
from appliance.errors import PortTaken, WrongUse
from appliance.places import Places
from runtime.config import DATABASE, load

FILE = """
providers:
  openai: {key: "${OPENAI_API_KEY}"}
  anthropic: {key: "${ANTHROPIC_API_KEY}", region: "${REGION}"}
  onprem: {dialect: openai_chat, base_url: "http://127.0.0.1:9/v1", key: "${REGION}"}
routes: {fast: {deployments: [openai/gpt-5-mini, onprem/small]}}
projects: {research: {}, ops: {}}
workers: {drain: 70}
"""
VARIABLES = {"OPENAI_API_KEY": "one", "ANTHROPIC_API_KEY": "two", "REGION": "eu", "PATH": "/bin"}


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = Places(tmp_path / "data")
    made.prepare()
    return made


def _assembled(places: Places, *, simulate: bool, monkeypatch: pytest.MonkeyPatch) -> Assembly:
    for name, value in VARIABLES.items():
        if name != "PATH":
            monkeypatch.setenv(name, value)
    file = places.root / "operator.yaml"
    file.write_text(FILE)
    return assemble(Wishes(places.root, nats_port=0, config=file, simulate=simulate, variables=VARIABLES), places)


def test_there_is_a_process_for_each_service_and_a_worker_for_each_provider(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _assembled(places, simulate=False, monkeypatch=monkeypatch)
    names = [spec.name for spec in made.specs]
    assert names == ["broker", "scheduler", "gateway", "ledger", "worker-openai", "worker-anthropic", "worker-onprem"]
    assert made.simulator_url is None
    assert set(made.metrics) == set(names) - {"broker"}
    assert [spec.wave for spec in made.specs] == [0, 1, 1, 1, 1, 1, 1]
    assert [spec.stops for spec in made.specs] == [2, 0, 0, 1, 0, 0, 0]
    assert {spec.grace for spec in made.specs[1:]} == {85.0}


def test_a_worker_sees_its_own_providers_key_and_no_other_process_sees_any(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _assembled(places, simulate=False, monkeypatch=monkeypatch)
    seen = {spec.name: set(spec.env or ()) & {"OPENAI_API_KEY", "ANTHROPIC_API_KEY"} for spec in made.specs}
    assert seen == {
        "broker": set(),
        "scheduler": set(),
        "gateway": set(),
        "ledger": set(),
        "worker-openai": {"OPENAI_API_KEY"},
        "worker-anthropic": {"ANTHROPIC_API_KEY"},
        "worker-onprem": set(),
    }
    assert all({"REGION", "PATH"} <= set(spec.env or ()) for spec in made.specs)  # a key's, and something else's


def _ledgers_database(places: Places) -> str:
    return load(places.config, credentials_of={DATABASE}).ledger.database.get_secret_value()


def test_the_ledger_is_kept_in_the_data_directory_unless_told_otherwise(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    _assembled(places, simulate=False, monkeypatch=monkeypatch)
    assert _ledgers_database(places) == f"sqlite:///{places.root}/ledger.db"
    assert load(places.config).ledger.auto_migrate is True


def test_a_database_of_the_operators_is_the_ledgers_and_its_password_nobody_elses(places: Places) -> None:
    file = places.root / "operator.yaml"
    file.write_text(FILE.replace('"${OPENAI_API_KEY}"', "k").replace('"${ANTHROPIC_API_KEY}"', "k"))
    with file.open("a") as more:
        more.write(
            'ledger: {database: "postgresql://penstock:${DATABASE_PASSWORD}@db/penstock", auto_migrate: false}\n'
        )
    variables = {"DATABASE_PASSWORD": "hunter2", "REGION": "eu"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        made = assemble(Wishes(places.root, nats_port=0, config=file, variables=variables), places)
        assert _ledgers_database(places) == "postgresql://penstock:hunter2@db/penstock"
        assert load(places.config).ledger.auto_migrate is False
    assert "hunter2" not in places.config.read_text()
    assert [spec.name for spec in made.specs if "DATABASE_PASSWORD" in (spec.env or ())] == ["ledger"]


def test_a_relative_database_lies_beside_the_operators_file_and_an_option_comes_before_it(places: Places) -> None:
    folder = places.root / "conf"
    folder.mkdir()
    file = folder / "operator.yaml"
    file.write_text(
        "providers: {openai: {key: k}}\nroutes: {fast: {deployments: [openai/gpt-5-mini]}}\n"
        "ledger: {database: 'sqlite:///spent.db', keep_days: 7}\n"
    )
    assemble(Wishes(places.root, nats_port=0, config=file), places)
    assert _ledgers_database(places) == f"sqlite:///{folder}/spent.db"
    url = SecretStr("postgresql://penstock:a${b@db/penstock")
    assemble(Wishes(places.root, nats_port=0, config=file, postgres=url), places)
    assert _ledgers_database(places) == url.get_secret_value()
    assert load(places.config).ledger.keep_days == 7


def test_no_secret_is_in_a_command_line(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _assembled(places, simulate=True, monkeypatch=monkeypatch)
    secrets = {made.project_key.get_secret_value(), made.keys.service_password.get_secret_value(), "one", "two"}
    assert not any(secret in word.split("=") for spec in made.specs for word in spec.argv for secret in secrets)


def test_every_file_with_a_secret_is_private(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    _assembled(places, simulate=True, monkeypatch=monkeypatch)
    written = [path for path in places.root.rglob("*") if path.is_file() and path.name != "operator.yaml"]
    assert {path.name for path in written} >= {"keys.json", "service.password", "penstock.yaml", "nats-server.json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}


def test_what_the_simulator_plays_is_where_the_services_look_for_it(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _assembled(places, simulate=True, monkeypatch=monkeypatch)
    config = load(places.config)
    played = json.loads(places.simulator.read_text())
    ports = {one["name"]: one["port"] for one in played["providers"]}
    assert set(ports) == {"openai", "anthropic"}
    assert config.providers["openai"].base_url == f"http://127.0.0.1:{ports['openai']}/v1"
    assert config.providers["onprem"].base_url == "http://127.0.0.1:9/v1"
    assert made.simulator_url == f"http://127.0.0.1:{played['port']}"
    assert config.nats.url == made.nats_url


def test_a_lone_scheduler_takes_over_sooner_unless_told_otherwise(places: Places) -> None:
    assemble(Wishes(places.root, nats_port=0, simulate=True), places)
    assert load(places.config).scheduler.lease == 4.0
    file = places.root / "operator.yaml"
    file.write_text(f"{places.config.read_text()}".replace("lease: 4.0", "lease: 9.0"))
    assemble(Wishes(places.root, nats_port=0, simulate=True, config=file), places)
    assert load(places.config).scheduler.lease == 9.0


def test_a_project_cannot_have_the_services_name(places: Places) -> None:
    file = places.root / "operator.yaml"
    file.write_text("providers: {openai: {}}\nroutes: {f: {deployments: [openai/x]}}\nprojects: {service: {}}\n")
    with pytest.raises(WrongUse, match=r"projects\.service"):
        assemble(Wishes(places.root, nats_port=0, config=file), places)


def test_a_taken_port_is_refused_before_anything_is_written(places: Places) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortTaken):
        assemble(Wishes(places.root, nats_port=taken.getsockname()[1], simulate=True), places)
    assert not places.keys.exists()
