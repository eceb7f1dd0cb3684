"""What the architecture tests look at: the packages of the repository, their modules, their syntax trees."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PUBLISHED = ("job_contracts", "producer_sdk")
"""What the wheel holds."""

PRODUCT = (
    *PUBLISHED,
    "catalogue",
    "runtime",
    "scheduler",
    "workers",
    "ledger",
    "gateway",
    "console",
    "simulator",
    "appliance",
)
"""Every package of the product, those included that a later version brings."""


@dataclass(frozen=True)
class Module:
    """One file of Python: its dotted name, its path, its syntax tree."""

    name: str
    path: Path
    tree: ast.Module
    lines: int

    @property
    def place(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    def at(self, node: ast.stmt | ast.expr | ast.excepthandler) -> str:
        return f"{self.place}:{node.lineno}"

    def is_in(self, room: str) -> bool:
        return self.name == room or self.name.startswith(f"{room}.")


def present(packages: tuple[str, ...] = PRODUCT) -> list[str]:
    return [package for package in packages if (ROOT / package / "__init__.py").exists()]


@cache
def modules(*folders: str) -> tuple[Module, ...]:
    """Every module below the folders, in the order of their names."""
    return tuple(_module(path) for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))


def _module(path: Path) -> Module:
    parts = path.relative_to(ROOT).with_suffix("").parts
    source = path.read_text(encoding="utf-8")
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(name, path, ast.parse(source, str(path)), source.count("\n") + 1)


def imported(module: Module) -> Iterator[tuple[str, ast.stmt]]:
    """The dotted names a module imports, wherever the statement stands; a relative import is made absolute."""
    package = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            ancestors = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*ancestors, *([node.module] if node.module else [])])
            yield base, node
            yield from ((f"{base}.{alias.name}", node) for alias in node.names)


@cache
def files() -> tuple[Path, ...]:
    """Every file that belongs to the repository: what git tracks, and what it would."""
    # A clone may belong to another user than the one who runs the tests (a container's root, for one).
    command = ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    paths = (ROOT / name for name in sorted(set(listing.stdout.split("\0"))) if name)
    return tuple(path for path in paths if path.is_file())
