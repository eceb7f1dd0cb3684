"""A process that kills what it was told of when its input ends: the leash where the kernel offers none.

Reads lines ``+PID`` and ``-PID`` from its standard input. Imports nothing but the standard library, and runs by path.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterable


def keep(lines: Iterable[str]) -> set[int]:
    """The processes that were named and not taken back, once the lines end."""
    alive: set[int] = set()
    for line in lines:
        sign, number = line[:1], line[1:].strip()
        if not number.isdecimal():
            continue
        if sign == "+":
            alive.add(int(number))
        else:
            alive.discard(int(number))
    return alive


def main() -> None:
    """Wait for the end of the input, then kill."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for pid in keep(sys.stdin):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
