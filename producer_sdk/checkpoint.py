"""Where ``Producer.map`` remembers what is done: one SQLite file, written often enough and never relied on alone.

What the file does not know yet is known to the gateway by its idempotency key, so a lost last row costs a question and
not a second execution.
"""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Self

from job_contracts.codec import ContractError, decode, encode
from job_contracts.results import Result
from producer_sdk.errors import InvalidRequest

if TYPE_CHECKING:
    from types import TracebackType

SCHEMA = """
CREATE TABLE IF NOT EXISTS run (id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS item (
    key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    round INTEGER NOT NULL DEFAULT 0,
    result TEXT
) WITHOUT ROWID;
"""


class Checkpoint:
    """The finished items of a run. A context manager; committing on exit and whenever ``save`` is called."""

    def __init__(self, path: str | Path) -> None:
        try:
            self._db = sqlite3.connect(path)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(SCHEMA)
            row = self._db.execute("SELECT id FROM run").fetchone()
            if row is None:
                row = (secrets.token_hex(8),)
                self._db.execute("INSERT INTO run (id) VALUES (?)", row)
            self._db.commit()
        except sqlite3.DatabaseError as error:
            message = f"checkpoint: {path} is no checkpoint: {error}"
            raise InvalidRequest(
                message, field="checkpoint", remedy="name a new file, or one an earlier run wrote"
            ) from error
        self.run: str = row[0]
        """Random name of the run; part of every idempotency key."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.commit()
        self._db.close()

    def finished(self, key: str, fingerprint: str) -> Result | None:
        """The result of an item, if it is the same request and succeeded."""
        row = self._db.execute("SELECT fingerprint, result FROM item WHERE key = ?", (key,)).fetchone()
        if row is None or row[0] != fingerprint or row[1] is None:
            return None
        try:
            return decode(Result, row[1])
        except ContractError:
            return None

    def idempotency_key(self, key: str, fingerprint: str) -> str:
        """The key under which an item is submitted; another one after a failure, so that it is tried again."""
        row = self._db.execute(
            "SELECT round FROM item WHERE key = ? AND fingerprint = ?", (key, fingerprint)
        ).fetchone()
        return f"map:{self.run}:{key[:128]}:{fingerprint}:{row[0] if row else 0}"

    def succeeded(self, key: str, fingerprint: str, result: Result) -> None:
        """Remember a result; durable with the next ``save``."""
        self._db.execute(
            "INSERT INTO item (key, fingerprint, result) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
            "fingerprint = excluded.fingerprint, result = excluded.result",
            (key, fingerprint, encode(result).decode()),
        )

    def failed(self, key: str, fingerprint: str) -> None:
        """Remember that the next run should try this item under a new key."""
        self._db.execute(
            "INSERT INTO item (key, fingerprint, round) VALUES (?, ?, 1) ON CONFLICT (key) DO UPDATE SET "
            "fingerprint = excluded.fingerprint, round = item.round + 1, result = NULL",
            (key, fingerprint),
        )

    def save(self) -> None:
        """Make everything so far durable."""
        self._db.commit()
