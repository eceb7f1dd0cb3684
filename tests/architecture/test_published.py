"""What clients install: complete, documented, and nothing else."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from functools import cached_property
from pathlib import Path
from types import ModuleType

import pytest

from tests.architecture.tree import PUBLISHED, ROOT, files, modules


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        yield archive


def test_the_wheel_holds_the_contracts_and_the_sdk_alone(wheel: zipfile.ZipFile) -> None:
    roots = {name.partition("/")[0] for name in wheel.namelist()}
    assert {root for root in roots if not root.endswith(".dist-info")} == set(PUBLISHED)


def test_the_wheel_holds_every_file_of_them(wheel: zipfile.ZipFile) -> None:
    names = {path.relative_to(ROOT).as_posix() for path in files()}
    assert {name for name in names if name.startswith(tuple(f"{p}/" for p in PUBLISHED))} <= set(wheel.namelist())


def test_the_wheel_needs_nats_and_pydantic_and_offers_the_cli(wheel: zipfile.ZipFile) -> None:
    (metadata,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    needs = HeaderParser().parsestr(wheel.read(metadata).decode()).get_all("Requires-Dist", [])
    plain = {need.split(">")[0] for need in needs if "extra ==" not in need}
    extra = {need.split(">")[0] for need in needs if "extra == 'cli'" in need.replace('"', "'")}
    assert plain == {"nats-py", "pydantic"}
    assert extra == {"rich", "typer"}


def test_the_command_of_the_wheel_exists() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        scripts: dict[str, str] = tomllib.load(file)["project"]["scripts"]
    for target in scripts.values():
        name, _, function = target.partition(":")
        assert callable(getattr(importlib.import_module(name), function))


def test_every_name_the_sdk_offers_is_there() -> None:
    sdk = importlib.import_module("producer_sdk")
    offered = getattr(sdk, "__all__", [])
    assert offered, "producer_sdk/__init__.py says in __all__ what it offers"
    assert [name for name in offered if not hasattr(sdk, name)] == []


@pytest.mark.parametrize("package", PUBLISHED)
def test_everything_public_in_a_published_package_says_what_it_is(package: str) -> None:
    silent = [place for name in _public_modules(package) for place in _undocumented(importlib.import_module(name))]
    assert not silent, "without a docstring:\n" + "\n".join(silent)


@pytest.mark.parametrize("package", PUBLISHED)
def test_a_published_package_says_that_it_is_typed(package: str) -> None:
    assert (Path(ROOT) / package / "py.typed").exists()


def _public_modules(package: str) -> list[str]:
    names = [module.name for module in modules(package)]
    return [name for name in names if not any(part.startswith("_") for part in name.split("."))]


def _undocumented(module: ModuleType) -> Iterator[str]:
    if not inspect.getdoc(module):
        yield module.__name__
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(thing) and not inspect.getdoc(thing):
            yield f"{module.__name__}.{name}"
        elif inspect.isclass(thing):
            yield from _undocumented_of_class(module.__name__, thing)


def _undocumented_of_class(module: str, owner: type) -> Iterator[str]:
    if not owner.__doc__:
        yield f"{module}.{owner.__qualname__}"
    for name, thing in vars(owner).items():
        documentable = inspect.isroutine(thing) or isinstance(thing, property | cached_property)
        if name.startswith("_") or name == "model_post_init" or not documentable:
            continue
        # Through the class, so that what a base class says about a method counts for the one that overrides it.
        if not inspect.getdoc(getattr(owner, name)):
            yield f"{module}.{owner.__qualname__}.{name}"
