"""Keys and users for the broker: what each may do, and that what is handed over stays the same."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from appliance.errors import WrongUse
from appliance.handover import show, write
from appliance.keys import keys_of
from appliance.users import as_include, callout_of, project_user, users_of


def test_a_project_may_name_its_own_subjects_alone() -> None:
    (demo, other) = (project_user(name, SecretStr("k")) for name in ("demo", "other"))
    assert demo.publish is not None
    assert other.publish is not None
    assert demo.subscribe == ("penstock.v1.live.demo.>", "_INBOX_demo.>")
    assert all(".demo." in subject for subject in demo.publish)
    assert not set(demo.publish) & set(other.publish)


def included(path: Path, projects: list[str]) -> dict[str, Any]:
    keys = keys_of(path / "keys.json", projects)
    comment, _, rest = as_include(users_of(keys), callout_of(keys, projects)).partition("\n")
    assert comment.startswith("#")
    assert not any(key.get_secret_value() in rest for key in keys.projects.values()), "it holds no project's key"
    assert keys.callout_seed.get_secret_value() not in rest
    parts = re.split(r"^(\w+): ", rest, flags=re.MULTILINE)[1:]
    return {name: json.loads(value) for name, value in zip(parts[::2], parts[1::2], strict=True)}


def test_a_project_that_is_no_longer_configured_has_no_account(tmp_path: Path) -> None:
    included(tmp_path, ["demo", "gone"])
    assert [name for name in included(tmp_path, ["demo"])["accounts"] if name.startswith("PROJECT_")] == [
        "PROJECT_demo"
    ]


def test_the_include_is_what_the_server_reads(tmp_path: Path) -> None:
    told = included(tmp_path, ["demo"])
    accounts = told["accounts"]
    (service,), (gate,) = accounts["SERVICES"]["users"], accounts["SYS"]["users"]
    assert accounts["PROJECT_demo"]["users"] == []
    assert "permissions" not in service
    assert told["system_account"] == "SYS"
    assert told["authorization"]["auth_callout"]["auth_users"] == [service["user"], gate["user"]] == ["service", "gate"]
    assert ">" not in gate["permissions"]["publish"]["allow"]
    assert "jetstream" not in accounts["PROJECT_demo"], "the streams are the services' alone"
    imports = json.dumps(accounts["PROJECT_demo"]["imports"])
    assert imports.count(".demo.>") == imports.count("penstock.v1."), (
        "a project's account reaches its own subjects alone"
    )


def test_keys_are_handed_over_once_and_kept(tmp_path: Path) -> None:
    config, folder = tmp_path / "penstock.yaml", tmp_path / "keys"
    config.write_text("projects: {demo: {}}")
    first, before = write(config, folder), (folder / "users.conf").read_text()
    second, after = write(config, folder), (folder / "users.conf").read_text()
    assert "psa_" in first
    assert "psa_" not in second
    assert before == after
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    key = json.loads((folder / "keys.json").read_text())["projects"]["demo"]
    assert show(folder).split() == ["demo", key]


def test_the_databases_password_is_made_once_in_a_folder_of_its_own_and_follows_from_nothing(tmp_path: Path) -> None:
    config = tmp_path / "penstock.yaml"
    config.write_text("projects: {demo: {}}")
    made = {}
    for name in ("one", "two"):
        write(config, tmp_path / "keys", ledger=tmp_path / name)
        write(config, tmp_path / "keys", ledger=tmp_path / name)
        (place,) = (tmp_path / name).iterdir()
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        made[name] = place.read_text().strip()
        assert len(bytes.fromhex(made[name])) == 32
    assert made["one"] != made["two"]
    assert not any(made["one"] in path.read_text() for path in (tmp_path / "keys").iterdir())


def test_without_keys_or_a_configuration_the_way_out_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="--config"):
        write(None, tmp_path)
    with pytest.raises(WrongUse, match="appliance keys --config"):
        show(tmp_path)


def test_the_nodes_of_a_cluster_get_one_password_that_is_kept_and_no_users(tmp_path: Path) -> None:
    config, folder = tmp_path / "penstock.yaml", tmp_path / "keys"
    config.write_text("projects: {demo: {}}")
    write(config, folder)
    assert not (folder / "routes.conf").exists(), "a single server needs none"
    write(config, folder, ["a:6222", "b:6222"])
    first = (folder / "routes.conf").read_text()
    password = keys_of(folder / "keys.json", ()).nodes_password.get_secret_value()
    assert f'"nats-route://node:{password}@b:6222"' in first
    assert stat.S_IMODE((folder / "routes.conf").stat().st_mode) == 0o600
    assert password not in (folder / "users.conf").read_text() + (folder / "keys.json").read_text()
    write(config, folder, ["a:6222", "b:6222"])
    assert (folder / "routes.conf").read_text() == first
