"""Who may import whom: the contracts of pyproject.toml, and what import-linter cannot say."""

from __future__ import annotations

import subprocess
import sys
import tomllib

from tests.architecture.tree import PUBLISHED, ROOT, imported, modules, present

OWN_ROOTS = {*PUBLISHED}
LIGHT_ROOTS = {"nats", "pydantic", "pydantic_core", "annotated_types", "typing_extensions"}
CLI_ROOTS = {"rich", "typer"}


def _import_linter() -> dict[str, object]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        settings: dict[str, object] = tomllib.load(file)["tool"]["importlinter"]
    return settings


def test_the_import_contracts_are_kept() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    run = subprocess.run([*command, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_package_is_under_the_contracts() -> None:
    assert set(present()) == set(_import_linter()["root_packages"])  # type: ignore[call-overload]


def test_no_top_level_package_stands_outside_the_layout() -> None:
    known = {*present(), "tests", "benchmarks", "migrations", "examples"}
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert found <= known, f"not in the layout of ARCHITECTURE.md: {sorted(found - known)}"


def test_of_the_services_the_gateway_and_one_room_of_the_console_are_clients() -> None:
    services = ("console", "ledger", "scheduler", "simulator", "workers")
    clients = {
        module.name for module in modules(*services) for name, _ in imported(module) if name.startswith("producer_sdk")
    }
    assert clients == {"console.playing"}


def test_what_clients_install_imports_the_standard_library_nats_and_pydantic_alone() -> None:
    heavy = [
        f"{module.at(node)} imports {name}"
        for module in modules(*PUBLISHED)
        for name, node in imported(module)
        if (root := name.partition(".")[0]) not in sys.stdlib_module_names | OWN_ROOTS | LIGHT_ROOTS
        and not (root in CLI_ROOTS and module.is_in("producer_sdk.cli"))
    ]
    assert not heavy, "\n".join(heavy)


def test_the_product_never_imports_its_tests_or_benchmarks() -> None:
    backwards = [
        f"{module.at(node)} imports {name}"
        for module in modules(*present())
        for name, node in imported(module)
        if name.partition(".")[0] in {"tests", "benchmarks", "examples", "pytest"}
    ]
    assert not backwards, "\n".join(backwards)
