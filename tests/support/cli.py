"""The command ``penstock`` in the test's own process: what it says and how it ends, without starting an interpreter.

Each group of commands has a test that starts a process as well: signals, pipes and exit codes are the system's.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner

from producer_sdk.cli.app import app


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended: its exit code, its standard output, its standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The output as one document."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The output as a document a line."""
        return [json.loads(line) for line in self.out.splitlines()]


def invoke(*words: str, **environ: str) -> Done:
    """``penstock WORDS`` with these variables and no other of Penstock's. What it does not catch is raised.

    A command that runs a loop of its own cannot be called where one runs; from a test's loop call it in a thread.
    """
    others: dict[str, str | None] = dict.fromkeys(name for name in os.environ if name.startswith("PENSTOCK"))  # noqa: TID251
    done = CliRunner().invoke(app, words, env={**others, "COLUMNS": "200", **environ})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Done(done.exit_code, done.stdout, done.stderr)
