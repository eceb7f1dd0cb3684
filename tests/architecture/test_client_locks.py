"""The locks of other people's clients hold versions and hashes, and no address."""

from __future__ import annotations

import json
import re

from tests.architecture.tree import ROOT

FOLDER = ROOT / "examples" / "clients"


def test_every_pin_of_pythons_clients_has_its_hashes() -> None:
    text = (FOLDER / "clients.lock").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip()]
    assert [line[:80] for line in lines if not re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)] == []
    assert not re.search(r"://|file:", text)


def test_every_pin_of_nodes_clients_has_its_hash_and_no_address() -> None:
    lock = json.loads((FOLDER / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert [name for name, package in packages.items() if "integrity" not in package or "resolved" in package] == []
    wanted = json.loads((FOLDER / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert wanted == {name: packages[f"node_modules/{name}"]["version"] for name in wanted}
