"""Moves the tables from one step to another: the one room that needs alembic.

It is imported when tables move, seldom: alembic brings a language of templates along, a fifth of a second per start.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def upgrade(connection: Connection, folders: list[Path], to: str) -> None:
    """Forward to a step."""
    script = _script(folders)
    _run(connection, script, lambda revision, _: script._upgrade_revs(to, revision))  # noqa: SLF001 - it has no other name


def downgrade(connection: Connection, folders: list[Path], to: str) -> None:
    """Back to a step."""
    script = _script(folders)
    _run(connection, script, lambda revision, _: script._downgrade_revs(to, revision))  # noqa: SLF001 - as above


def _script(folders: list[Path]) -> ScriptDirectory:
    return ScriptDirectory(str(folders[0].parent), version_locations=[str(folder) for folder in folders])


def _run(connection: Connection, script: ScriptDirectory, steps: Callable[[Any, Any], Any]) -> None:
    context = MigrationContext.configure(connection, opts={"fn": steps, "script": script, "transactional_ddl": True})
    with Operations.context(context):
        context.run_migrations()
