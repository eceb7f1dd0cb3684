"""Processes that end when the appliance does, however it ends: by the kernel on Linux, by a guardian elsewhere."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from appliance import guardian

PR_SET_PDEATHSIG = 1


class Leash:
    """Starts processes that do not outlive this one.

    On Linux each asks the kernel, between fork and exec, to be killed when its parent is gone (prctl(2),
    ``PR_SET_PDEATHSIG``), and then looks whether the parent was gone before it could ask. The kernel counts the thread
    that forked as the parent, so ``start`` belongs into the main thread. Elsewhere, or with ``kernel=False``, a
    guardian process holds the reading end of a pipe whose writing end only this process has: the pipe's end tells it
    to kill what it was told of.
    """

    def __init__(self, *, kernel: bool = sys.platform.startswith("linux")) -> None:
        self._kernel = kernel
        self._guardian: subprocess.Popen[bytes] | None = None

    async def start(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None, cwd: Path
    ) -> asyncio.subprocess.Process:
        """Start ``argv`` in a session of its own (the terminal's Ctrl-C is ours to pass on), its output on one pipe.

        Raises:
            OSError: it cannot be executed.
        """
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=_bound_to_parent(os.getpid()) if self._kernel else None,
        )
        if not self._kernel:
            self._tell(f"+{process.pid}\n")
        return process

    def ended(self, pid: int) -> None:
        """Forget a process that has ended: its number may be given to somebody else."""
        if not self._kernel:
            self._tell(f"-{pid}\n")

    def close(self) -> None:
        """End the guardian, if there is one; what still runs ends with it."""
        if self._guardian is not None and self._guardian.stdin is not None:
            self._guardian.stdin.close()
            self._guardian.wait(timeout=5)
            self._guardian = None

    def _tell(self, line: str) -> None:
        if self._guardian is None or self._guardian.poll() is not None:
            self._guardian = subprocess.Popen(
                [sys.executable, "-I", "-S", guardian.__file__], stdin=subprocess.PIPE, start_new_session=True
            )
        if self._guardian.stdin is not None:
            self._guardian.stdin.write(line.encode("ascii"))
            self._guardian.stdin.flush()


def _bound_to_parent(parent: int) -> Callable[[], None]:
    # Looked up before the fork: between fork and exec nothing may be loaded, and no lock may be waited for.
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    kill = ctypes.c_ulong(signal.SIGKILL)

    def bind() -> None:
        prctl(PR_SET_PDEATHSIG, kill, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return bind
