"""Prints the tail of the sizes after the architecture tests: an aim is watched, a limit is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.architecture.sizes import FILE_AIM, FUNCTION_AIM, tail

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

SHOWN = 10


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    beyond = tail()
    if not beyond:
        return
    terminalreporter.section(f"beyond the aim of {FILE_AIM} lines a file, {FUNCTION_AIM} a function")
    for size in beyond[:SHOWN]:
        terminalreporter.write_line(f"{size.lines:5} {size.place}")
    if len(beyond) > SHOWN:
        terminalreporter.write_line(f"  and {len(beyond) - SHOWN} more")
