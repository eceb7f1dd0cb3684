"""Keys: made once, kept, and of no use to whoever reads the admin's hash."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from appliance.errors import WrongUse
from appliance.keys import keys_of
from job_contracts.keys import mistyped


def test_a_first_start_makes_the_keys_and_shows_the_admin_key_once(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    first, second = keys_of(path, ["demo"]), keys_of(path, ["demo"])
    assert first.admin is not None
    assert second.admin is None
    assert second.is_admin(first.admin.get_secret_value())
    assert not second.is_admin(first.admin.get_secret_value() + "0")
    assert second.projects == first.projects
    assert second.service_password == first.service_password


def test_the_file_is_private_and_does_not_hold_the_admin_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys = keys_of(path, ["demo"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keys.admin is not None
    secret = keys.admin.get_secret_value().removeprefix("psa_")
    assert len(bytes.fromhex(secret)) == 32
    assert secret not in path.read_text()


def test_a_key_names_its_project_and_has_256_random_bits_and_a_checksum(tmp_path: Path) -> None:
    keys = keys_of(tmp_path / "keys.json", ["re_search-2", "demo"])
    key = keys.projects["re_search-2"].get_secret_value()
    prefix, _, secret = key.rpartition("_")
    assert prefix == "psk_re_search-2"
    assert len(bytes.fromhex(secret[:-8])) == 32
    assert not mistyped(key)
    assert len({one.get_secret_value() for one in keys.projects.values()}) == 2


def test_a_new_project_gets_a_key_and_the_others_keep_theirs(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    before = keys_of(path, ["demo"])
    after = keys_of(path, ["demo", "research"])
    assert after.projects["demo"] == before.projects["demo"]
    assert keys_of(path, ["demo"]).projects["research"] == after.projects["research"]


@pytest.mark.parametrize("broken", ["", "{}", '{"version": 2}', "not json"])
def test_a_broken_file_is_refused_and_left_alone(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(broken)
    with pytest.raises(WrongUse, match=r"keys\.json.*move it away"):
        keys_of(path, ["demo"])
    assert path.read_text() == broken


def test_a_refusal_does_not_repeat_what_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys_of(path, ["demo"])
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, "version": "x"}))
    with pytest.raises(WrongUse) as refused:
        keys_of(path, ["demo"])
    assert stored["projects"]["demo"] not in str(refused.value)


def test_keys_do_not_show_in_a_representation(tmp_path: Path) -> None:
    keys = keys_of(tmp_path / "keys.json", ["demo"])
    assert keys.projects["demo"].get_secret_value() not in repr(keys)
    assert keys.service_password.get_secret_value() not in repr(keys)
