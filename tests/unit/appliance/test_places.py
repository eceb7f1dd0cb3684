"""The data directory: where it is, who may read it, and that one appliance has it at a time."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.errors import Busy, WrongUse
from appliance.places import Places, default_data_dir, locked, write_private


def test_the_default_directory_follows_the_xdg_rules() -> None:
    home = Path("/nowhere/ada")
    assert default_data_dir({}, home) == home / ".local" / "state" / "penstock"
    assert default_data_dir({"XDG_STATE_HOME": "/var/state"}, home) == Path("/var/state/penstock")
    assert default_data_dir({"XDG_STATE_HOME": "relative"}, home) == home / ".local" / "state" / "penstock"


def test_the_folders_are_private(tmp_path: Path) -> None:
    places = Places(tmp_path / "data")
    places.prepare()
    places.prepare()
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (places.root, places.broker, places.logs)} == {0o700}


def test_a_directory_that_cannot_be_made_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WrongUse, match="--data-dir"):
        Places(tmp_path / "file" / "data").prepare()


def test_a_second_appliance_is_refused_with_the_first_ones_process_id(tmp_path: Path) -> None:
    places = Places(tmp_path)
    with locked(places), pytest.raises(Busy, match=rf"process {os.getpid()}.*--data-dir"), locked(places):
        pass
    with locked(places):
        pass


def test_the_lock_is_free_again_when_its_holder_is_killed(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time; from appliance.places import *\n"
        "with locked(Places(pathlib.Path(sys.argv[1]))): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Busy, match=f"process {holder.pid}"), locked(Places(tmp_path)):
            pass
        holder.kill()
        holder.wait()
    with locked(Places(tmp_path)):
        pass


def test_a_private_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old and long")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
