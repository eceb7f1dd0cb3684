"""Rooms that only compute: nothing in them reads a clock, a die, the machine or the network."""

from __future__ import annotations

import ast
import sys

import pytest

from tests.architecture.tree import Module, imported, modules, present

ROOMS = (
    *("job_contracts", "catalogue", "scheduler.policy", "scheduler.whatif", "workers.dialects", "gateway.bodies"),
    *("ledger.bookings", "ledger.deltas", "ledger.drift", "ledger.entries", "ledger.periods"),
    *("workers.answers.bounds", "workers.answers.judging", "workers.answers.sieve"),
    *("ledger.statements", "ledger.statement_csv", "ledger.statement_json", "ledger.statement_lines"),
)

EXCEPTIONS = {
    "catalogue.load": "reads the rows of catalogue/providers from disk, once, for the process that asks",
    "catalogue.library": "reads the table of prices that genai-prices is, when something asks for one",
}
"""Modules inside a pure room that touch the outside, each with the reason."""

IMPURE = {
    *("asyncio", "concurrent", "multiprocessing", "select", "selectors", "signal", "subprocess", "threading"),
    *("random", "secrets", "time", "uuid"),
    *("fileinput", "ftplib", "glob", "http", "imaplib", "importlib", "io", "os", "pathlib", "platform", "shutil"),
    *("smtplib", "socket", "socketserver", "sqlite3", "ssl", "sys", "tempfile", "urllib"),
    *("logging", "warnings"),
}
"""Parts of the standard library that ask the machine something or tell it something."""

COMPUTING = {"urllib.parse"}
"""Parts of impure packages that only compute."""

THIRD_PARTY = {"annotated_types", "jsonschema_rs", "pydantic", "pydantic_core", "typing_extensions"}
OWN = {"job_contracts", "catalogue", "scheduler", "workers", "ledger", "gateway"}
TOUCHING = {"breakpoint", "exec", "eval", "input", "open", "print"}


def _modules_of(room: str) -> list[Module]:
    inside = [module for module in modules(*present()) if module.is_in(room)]
    return [module for module in inside if module.name not in EXCEPTIONS]


def _allowed(name: str) -> bool:
    if any(name == part or name.startswith(f"{part}.") for part in COMPUTING):
        return True
    root = name.partition(".")[0]
    if root in sys.stdlib_module_names:
        return root not in IMPURE or name == "urllib"
    return root in THIRD_PARTY | OWN


@pytest.mark.parametrize("room", ROOMS)
def test_a_pure_room_imports_nothing_that_touches_the_outside(room: str) -> None:
    breaches = [
        f"{module.at(node)} imports {name}"
        for module in _modules_of(room)
        for name, node in imported(module)
        if not _allowed(name)
    ]
    assert not breaches, "\n".join(breaches)


@pytest.mark.parametrize("room", ROOMS)
def test_a_pure_room_imports_only_pure_rooms_of_ours(room: str) -> None:
    breaches = [
        f"{module.at(node)} imports {name}"
        for module in _modules_of(room)
        for name, node in imported(module)
        if name.partition(".")[0] in present() and not any(_inside(name, pure) for pure in ROOMS)
    ]
    assert not breaches, "\n".join(breaches)


def _inside(name: str, room: str) -> bool:
    """The room itself, what is in it, or the packages on the way to it (`from workers import dialects`)."""
    return name == room or name.startswith(f"{room}.") or room.startswith(f"{name}.")


@pytest.mark.parametrize("room", ROOMS)
def test_a_pure_room_opens_and_prints_nothing(room: str) -> None:
    breaches = [
        f"{module.at(node)} calls {node.func.id}()"
        for module in _modules_of(room)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TOUCHING
    ]
    assert not breaches, "\n".join(breaches)


@pytest.mark.parametrize("room", ROOMS)
def test_a_pure_room_awaits_nothing(room: str) -> None:
    breaches = [
        module.at(node)
        for module in _modules_of(room)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await)
    ]
    assert not breaches, "\n".join(breaches)


def test_the_exceptions_are_still_needed() -> None:
    names = {module.name for module in modules(*present())}
    forgotten = [
        name
        for name in EXCEPTIONS
        if name in names and all(_allowed(n) for m in modules(*present()) if m.name == name for n, _ in imported(m))
    ]
    assert not forgotten, f"pure after all: {forgotten}"
