"""Keys and users for the broker: what each may do, and that what is handed over stays the same."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from appliance.errors import WrongUse
from appliance.handover import show, write
from appliance.keys import keys_of
from appliance.users import as_include, users_of


def test_a_project_may_name_its_own_subjects_alone(tmp_path: Path) -> None:
    keys = keys_of(tmp_path / "keys.json", ["demo", "other"])
    service, demo, other = users_of(keys, ["demo", "other"])
    assert (service.name, service.publish, service.subscribe) == ("service", None, None)
    assert demo.password == keys.projects["demo"]
    assert other.publish is not None
    assert demo.subscribe == ("penstock.v1.live.demo.>", "_INBOX_demo.>")
    assert demo.publish is not None
    assert all(".demo." in subject for subject in demo.publish)
    assert not set(demo.publish) & set(other.publish)


def test_a_project_that_is_no_longer_configured_has_no_user(tmp_path: Path) -> None:
    keys = keys_of(tmp_path / "keys.json", ["demo", "gone"])
    assert [user.name for user in users_of(keys, ["demo"])] == ["service", "demo"]


def test_the_include_is_what_the_server_reads(tmp_path: Path) -> None:
    text = as_include(users_of(keys_of(tmp_path / "keys.json", ["demo"]), ["demo"]))
    comment, _, rest = text.partition("\n")
    assert comment.startswith("#")
    assert rest.startswith("accounts: ")
    accounts = json.loads(rest.removeprefix("accounts: "))
    (service,), (demo,) = accounts["SERVICES"]["users"], accounts["PROJECT_demo"]["users"]
    assert (service["user"], demo["user"]) == ("service", "demo")
    assert "permissions" not in service
    assert demo["permissions"]["subscribe"]["allow"] == ["penstock.v1.live.demo.>", "_INBOX_demo.>"]
    assert "jetstream" not in accounts["PROJECT_demo"], "the streams are the services' alone"
    told = json.dumps(accounts["PROJECT_demo"]["imports"])
    assert told.count(".demo.>") == told.count("penstock.v1."), "a project's account reaches its own subjects alone"


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
