"""``ledger.database`` as it is written, and what is connected to: which file, or which server and how it is encrypted.

What an address asks for and we would not do is refused, never passed over: who writes ``sslmode=verify-full`` must
not get less. No text of a refusal holds a password, or the value of a parameter.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BadAddress", "Place", "address", "place"]

MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""What ``sslmode`` may say, from none to the whole; it means what it does to libpq."""
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
"""Parameters that name a file; a relative one begins beside the configuration."""
HOSTS = ("host", "port")
"""Parameters that say where the server is, for a socket of this machine."""


class BadAddress(ValueError):
    """``ledger.database`` is no address of a database that the ledger can use; the text holds no password."""


@dataclass(frozen=True, slots=True)
class Place:
    """What SQLAlchemy connects to, and what its driver is told beside it."""

    url: URL
    told: Mapping[str, Any]


def address(url: str, folder: Path | None = None) -> URL:
    """What SQLAlchemy connects to, see ``place``."""
    return place(url, folder).url


def place(url: str, folder: Path | None = None) -> Place:
    """Relative files begin at ``folder``. Raises BadAddress."""
    try:
        told = make_url(url)
    except (ArgumentError, ValueError):
        raise BadAddress("ledger.database is no address; write sqlite:///FILE or postgresql://user@host/name") from None
    if told.drivername == "sqlite":
        if not told.database or told.database == ":memory:":
            raise BadAddress("ledger.database names no file; write sqlite:///FILE")
        _only(told, ())
        return Place(told.set(drivername="sqlite+aiosqlite", database=str((folder or Path()) / told.database)), {})
    if told.drivername in {"postgresql", "postgres"}:
        _only(told, ("sslmode", *FILES, *HOSTS))
        where = told.set(drivername="postgresql+asyncpg", query={n: v for n, v in told.query.items() if n in HOSTS})
        return Place(where, _encrypted(told, folder or Path()))
    raise BadAddress(f"ledger.database: {told.drivername!r:.40} is not known; write sqlite:///FILE or postgresql://…")


def _only(told: URL, known: tuple[str, ...]) -> None:
    for name, value in told.query.items():
        if name not in known:
            may = f"only {', '.join(known)} may be given" if known else "none may be given"
            raise BadAddress(f"ledger.database: parameter {name!r:.40} is not known here; {may}")
        if not isinstance(value, str) and name not in HOSTS:
            raise BadAddress(f"ledger.database: parameter {name!r} is given twice")


def _encrypted(told: URL, folder: Path) -> dict[str, Any]:
    """The driver reads these parameters from an address of its own, and does with them what libpq does."""
    asked = {name: str(value) for name, value in told.query.items() if name not in HOSTS}
    if not asked:
        return {}
    if asked.get("sslmode", "prefer") not in MODES:
        raise BadAddress(f"ledger.database: sslmode is none of {', '.join(MODES)}")
    if asked.get("sslmode", "prefer") in MODES[:3] and len(asked) > ("sslmode" in asked):
        raise BadAddress("ledger.database: certificates without sslmode=require, verify-ca or verify-full")
    for name in FILES:
        if name in asked:
            asked[name] = str((folder / asked[name]).absolute())
            if not Path(asked[name]).is_file():
                raise BadAddress(f"ledger.database: there is no file where {name} says")
    return {"dsn": f"postgresql:///?{urlencode(asked)}"}
