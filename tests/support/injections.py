"""Texts that would do harm where a text becomes part of a statement, of a pattern, or of a page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

INJECTIONS = (
    "'",
    '"',
    "''",
    "`",
    "\\",
    "\\'; DROP TABLE attempts; --",
    "'; DROP TABLE spend; --",
    '"; DROP TABLE spend; --',
    "x'; DELETE FROM entries WHERE 'a' = 'a",
    "x'); INSERT INTO forgotten VALUES (1, 'a', 9e9, 'begun'); --",
    "' OR '1'='1",
    "' OR 1=1 --",
    "') OR ('1'='1",
    "1 OR 1=1",
    "' UNION SELECT debit, credit, amount FROM entries --",
    "' AND (SELECT count(*) FROM attempts) > 0 --",
    "'; SELECT pg_sleep(30); --",
    "' || (SELECT version()) || '",
    "$$; DROP TABLE tags; $$",
    "$1",
    "?1",
    ":names",
    "%(names)s",
    "%s",
    "{0}",
    "%",
    "_",
    "a%' ESCAPE '!",
    "/* */ UNION ALL SELECT 1 /*",
    "x\n; DROP TABLE sources; --",
    "\u02bc; DROP TABLE sources; --",
    "\uff07 OR \uff07 1\uff07=\uff071",
    "null",
    "NULL",
    "true",
    "0x27",
    "{'; DROP TABLE tags; --}",
    '["x", "\'; DROP TABLE tags; --"]',
)


@contextmanager
def statements(engine: AsyncEngine) -> Iterator[list[str]]:
    """The texts of all that the database is asked meanwhile."""
    heard: list[str] = []

    def hear(*told: Any) -> None:
        heard.append(str(told[2]))

    event.listen(engine.sync_engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", hear)
