"""An address is connected to as it says, or refused in words that hold no secret."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from ledger.addresses import BadAddress, place
from ledger.database import Database

SECRET = "swordfish"
SERVER = f"postgresql://user:{SECRET}@db.example:6432/books"


def test_a_relative_file_begins_beside_the_configuration(tmp_path: Path) -> None:
    assert place("sqlite:///books.db", tmp_path).url.database == str(tmp_path / "books.db")
    assert place("sqlite:////var/books.db", tmp_path).url.database == "/var/books.db"


def test_what_says_how_to_encrypt_goes_to_the_driver_and_files_are_found_beside_the_configuration(
    tmp_path: Path,
) -> None:
    (tmp_path / "root.crt").write_text("")
    told = place(f"{SERVER}?sslmode=verify-full&sslrootcert=root.crt", tmp_path)
    assert dict(told.url.query) == {}
    assert told.url.password == SECRET
    asked = parse_qs(urlsplit(told.told["dsn"]).query)
    assert asked == {"sslmode": ["verify-full"], "sslrootcert": [str(tmp_path / "root.crt")]}


def test_without_a_word_of_it_the_driver_is_told_nothing() -> None:
    assert place(SERVER).told == {}


def test_a_socket_of_this_machine_may_be_named() -> None:
    assert dict(place("postgresql://user@/books?host=/run/postgresql").url.query) == {"host": "/run/postgresql"}


@pytest.mark.parametrize(
    "url",
    [
        SECRET,
        "sqlite://",
        "sqlite:///:memory:",
        f"mysql://user:{SECRET}@db/books",
        f"sqlite:///books.db?mode={SECRET}",
        f"{SERVER}?sslmode={SECRET}",
        f"{SERVER}?sslmode=verify-full&sslmode=disable",
        f"{SERVER}?sslmode=verify-full&sslrootcert={SECRET}",
        f"{SERVER}?sslmode=prefer&sslrootcert=root.crt",
        f"{SERVER}?sslrootcert=root.crt",
        f"{SERVER}?ssl_mode=require",
        f"{SERVER}?options={SECRET}",
        f"{SERVER}?command_timeout=0&password={SECRET}",
    ],
)
def test_what_we_would_not_do_is_refused_without_a_secret(url: str, tmp_path: Path) -> None:
    (tmp_path / "root.crt").write_text("")
    with pytest.raises(BadAddress, match=r"^ledger\.database") as refused:
        Database(url, tmp_path)
    assert SECRET not in str(refused.value)
