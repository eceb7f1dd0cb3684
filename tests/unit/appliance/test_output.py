"""Log files: of bounded size, with an end that can be shown."""

from __future__ import annotations

import stat
from pathlib import Path

from appliance.output import REMEMBERED, LogFile


def test_lines_arrive_as_they_came_and_the_end_can_be_shown(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log")
    log.write(b"one\ntw")
    log.write(b"o\nthree")
    assert log.tail(2) == "two\nthree"
    log.close()
    assert (tmp_path / "a.log").read_bytes() == b"one\ntwo\nthree"
    assert stat.S_IMODE((tmp_path / "a.log").stat().st_mode) == 0o600


def test_a_full_file_is_put_aside_and_the_oldest_goes(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log", largest=10, kept=2)
    for number in range(6):
        log.write(f"line {number}\n".encode())
    log.close()
    texts = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert texts == {"a.log": "line 5\n", "a.log.1": "line 4\n", "a.log.2": "line 3\n"}


def test_a_later_start_appends(tmp_path: Path) -> None:
    for text in (b"first\n", b"second\n"):
        log = LogFile(tmp_path / "a.log")
        log.write(text)
        log.close()
    assert (tmp_path / "a.log").read_bytes() == b"first\nsecond\n"


def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log")
    log.write(b"x" * 1_000_000)
    log.write(b"\n" + b"y\n" * 10_000)
    log.close()
    assert len(log.tail(1_000_000).splitlines()) == REMEMBERED
    assert len(log.tail(1_000_000)) < 100 * REMEMBERED


def test_a_disk_that_takes_nothing_stops_nobody(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "no such folder" / "a.log")
    log.write(b"lost\n")
    assert log.lost == 5
    assert log.tail() == "lost"
