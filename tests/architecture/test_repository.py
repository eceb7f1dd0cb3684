"""The repository speaks of itself alone: no machine, no index, no secret; and its lock answers its needs."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from tests.architecture.tree import ROOT, files

INDEX = re.compile(r"pypi\.org|pythonhosted\.org|/simple/|--extra-index-url|--index-url|find-links\s*=")
MACHINE = re.compile(r"(?<![\w.$}])/(?:home|Users)/[a-z]\w*/|(?<![\w.$}])/root/|[A-Z]:\\\\?Users")
SECRET = re.compile(
    r"\bsk-(?:proj-|ant-)?[A-Za-z0-9_-]{32,}|\bAIza[A-Za-z0-9_-]{35}|\bAKIA[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}"
    r"|-----BEGIN (?:[A-Z]+ )?PRIVATE KEY"
)
OUTSIDE = re.compile(r"\.\./shared")

INSIDE_AN_IMAGE = ("Dockerfile", "compose.yaml", "deploy/")
"""Paths in these are paths of a container, not of a machine."""


def _texts() -> Iterator[tuple[str, str]]:
    for path in files():
        if path == Path(__file__):
            continue  # the patterns themselves
        try:
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def _found(pattern: re.Pattern[str], *, outside_of: tuple[str, ...] = ()) -> list[str]:
    return [
        f"{place}:{text.count(chr(10), 0, hit.start()) + 1} {hit.group()}"
        for place, text in _texts()
        if not place.startswith(outside_of or ("\0",))
        for hit in pattern.finditer(text)
    ]


def test_no_file_names_the_address_of_a_package_index() -> None:
    assert _found(INDEX) == []


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    here = [place for place in (ROOT, ROOT.parent, Path.home()) if len(place.parts) > 2]
    assert _found(MACHINE, outside_of=INSIDE_AN_IMAGE) == []
    if here:
        assert _found(re.compile("|".join(rf"{re.escape(str(place))}\b" for place in here))) == []


def test_no_file_holds_a_secret() -> None:
    assert _found(SECRET) == []


def test_only_tests_look_beside_the_repository() -> None:
    assert _found(OUTSIDE, outside_of=("tests/",)) == []


def test_the_lock_pins_every_direct_need_with_hashes() -> None:
    pins = _pins()
    for need in _needs():
        version, hashes = pins[canonicalize_name(need.name)]
        assert need.specifier.contains(version), f"{need} is locked at {version}; run `make lock`"
        assert hashes
    assert all(hashes for _, hashes in pins.values())


def _pins() -> dict[NormalizedName, tuple[str, list[str]]]:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", " ")
    pins = {}
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            pin = re.match(r"([\w.-]+)==(\S+)", line)
            assert pin, f"not a pin: {line[:80]}"
            pins[canonicalize_name(pin[1])] = (pin[2], re.findall(r"--hash=sha256:([0-9a-f]{64})\b", line))
    return pins


def _needs() -> list[Requirement]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        settings = tomllib.load(file)
    project = settings["project"]
    lists = [
        settings["build-system"]["requires"],
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *settings["dependency-groups"].values(),
    ]
    return [Requirement(need) for needs in lists for need in needs if isinstance(need, str)]
