"""Facts in a file: as the broker keeps them, one a line, or as the ledger exports attempts (JSON or CSV)."""

from __future__ import annotations

import csv
import json
from datetime import datetime
from typing import Any

from job_contracts.chat import Usage
from job_contracts.codec import ContractError, check
from job_contracts.facts import AttemptFact

NO_SUBMISSION = "the ledger's export tells no submission: each job comes when its first attempt was granted"
_FIGURES = ("input", "cache_read", "cache_write", "output", "reasoning")
_SAME = ("attempt", "project", "route", "deployment", "provider", "model", "reason", "told_by")


class NoFacts(ValueError):
    """The file holds something else; the text says where."""


def read(data: bytes) -> tuple[list[AttemptFact], tuple[str, ...]]:
    """The facts of a file, and what is approximated in them. Raises NoFacts."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        message = f"byte {error.start} is not UTF-8"
        raise NoFacts(message) from error
    if text.startswith("attempt,"):
        rows: list[Any] = list(csv.DictReader(text.splitlines()))
    else:
        rows = _objects(text)
    found = [_fact(row, number) for number, row in enumerate(rows, 1)]
    exported = any(not fact.submitted for fact in found)
    return found, (NO_SUBMISSION,) if exported else ()


def _objects(text: str) -> list[Any]:
    rows: list[Any] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            one = json.loads(line)
        except ValueError as error:
            message = f"line {number} is no JSON"
            raise NoFacts(message) from error
        # A page of ``GET /v1/spend/attempts`` is one line with many rows.
        rows += one["rows"] if isinstance(one, dict) and isinstance(one.get("rows"), list) else [one]
    return rows


def _fact(row: Any, number: int) -> AttemptFact:
    try:
        values = _exported(row) if isinstance(row, dict) and "at" in row else row
        return check(AttemptFact, values)
    except (ContractError, KeyError, ValueError, TypeError) as error:
        message = f"row {number} is no fact of an attempt: {error}"
        raise NoFacts(message) from error


def _exported(row: dict[str, Any]) -> dict[str, Any]:
    """A fact in the ledger's words, in the contract's."""
    at = row["at"]
    when = at if isinstance(at, int | float) else datetime.fromisoformat(at).timestamp()
    return {
        **{name: row[name] for name in _SAME},
        "key": row["key"] or None,
        "started": when,
        "charged": when,
        "seconds": float(row["seconds"]),
        "first_token": None if row["first_token"] in {None, ""} else float(row["first_token"]),
        "failure": row["failure"] or None,
        "won": _flag(row["won"]),
        "stated": _flag(row["stated"]),
        "price": row["price"] or None,
        "cost": row["cost"] or None,
        "reserved": row["reserved"] or None,
        "usage": Usage(**{name: int(row[name]) for name in _FIGURES}, reported=_flag(row["reported"])),
        "tags": row["tags"] if isinstance(row["tags"], dict) else _tags(row["tags"] or ""),
    }


def _tags(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.split(",") if pair)
    return {name: value for name, _, value in pairs}


def _flag(value: Any) -> bool:
    return value if isinstance(value, bool) else str(value).lower() == "true"
