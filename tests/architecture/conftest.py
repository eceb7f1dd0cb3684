"""Prints the tail of the sizes after the architecture tests: an aim is watched, a limit is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.architecture.sizes import FILE_AIM, FUNCTION_AIM, TAIL

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

SHOWN = 10


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    # The test that measured them told them with its report: what comes from another process comes that way too.
    told = [
        value
        for report in terminalreporter.getreports("passed")
        for key, value in report.user_properties
        if key == TAIL
    ]
    for beyond in told:
        terminalreporter.section(f"beyond the aim of {FILE_AIM} lines a file, {FUNCTION_AIM} a function")
        for place, lines in beyond[:SHOWN]:
            terminalreporter.write_line(f"{lines:5} {place}")
        if len(beyond) > SHOWN:
            terminalreporter.write_line(f"  and {len(beyond) - SHOWN} more")
