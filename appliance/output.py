"""What the processes print: one log file each, of bounded size, whose end can be shown when something went wrong."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import IO

from appliance.places import PRIVATE_FILE

LARGEST = 8 * 1024 * 1024
"""Bytes of one log file before it is put aside."""

KEPT = 3
"""Files put aside that are kept beside the current one."""

REMEMBERED = 40
"""Lines at the end of the output that are kept in memory."""

_LONGEST_LINE = 2_000


class LogFile:
    """Appends bytes to ``path``; at ``largest`` bytes it becomes ``path.1``, that ``path.2``, and so on.

    A full disk does not stop the process that prints: what cannot be written is counted in ``lost`` (bytes).
    """

    def __init__(self, path: Path, *, largest: int = LARGEST, kept: int = KEPT) -> None:
        self.path = path
        self.lost = 0
        self._largest, self._kept = largest, kept
        self._file: IO[bytes] | None = None
        self._size = 0
        self._lines: deque[str] = deque(maxlen=REMEMBERED)
        self._rest = b""

    def write(self, data: bytes) -> None:
        """Append ``data`` as it came."""
        self._remember(data)
        try:
            file = self._file or self._open()
            if self._size and self._size + len(data) > self._largest:
                file = self._turn()
            file.write(data)
            self._size += len(data)
        except OSError:
            self.lost += len(data)

    def tail(self, lines: int = 15) -> str:
        """The last lines of what was written by this process, whole or not."""
        rest = [self._rest.decode("utf-8", "replace")] if self._rest else []
        return "\n".join([*self._lines, *rest][-lines:])

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _remember(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_LONGEST_LINE:]
        for line in whole[-REMEMBERED:]:
            self._lines.append(line[-_LONGEST_LINE:].decode("utf-8", "replace"))

    def _open(self) -> IO[bytes]:
        self._file = open(self.path, "ab", buffering=0, opener=_private)  # noqa: SIM115 - closed by `close`, or by a turn
        self._size = os.fstat(self._file.fileno()).st_size
        return self._file

    def _turn(self) -> IO[bytes]:
        self.close()
        for number in range(self._kept, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number}")
            newer = self.path if number == 1 else self.path.with_name(f"{self.path.name}.{number - 1}")
            if newer.exists():
                newer.replace(older)
        return self._open()


def end_of(path: Path, lines: int = 15) -> str:
    """The last lines of a file that somebody else writes; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - lines * _LONGEST_LINE))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])
    except OSError:
        return ""


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, PRIVATE_FILE)
